"""Turn a recorded rosbag2, or a folder of frames, into training data.

examples:
  uniugg data from-bag my_bag/ data/kitchen
  uniugg data from-bag drive.mcap data/drive --short-side 256 --workers 4 --form shards
  uniugg data from-bag bag/ data/hall --color /cam0/image --depth /cam0/depth --color-info /cam0/info --fixed-frame odom
  uniugg train finetune --data data/kitchen --out runs/kitchen

The bag (sqlite3 or mcap, zstd or not) needs colour pictures, depth, a CameraInfo and TF; topics are found by what they
carry. OUT gets frames or shards, report.md, report.json and preview.png: look at the preview before training on it. A
run that was interrupted goes on where it stopped. A folder of frames has color/, depth/, K.txt, poses.txt and
frames.txt; training/data/frame_folder.py describes it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg data from-bag``."""
    from .align import Selection
    from .pairs import PairLimits

    parser.add_argument("bag", type=Path, help="folder of a rosbag2, its .mcap or .db3, or a folder of frames")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--form", choices=("folder", "shards"), default="folder", help="default: %(default)s")
    parser.add_argument("--short-side", type=int, metavar="PIXELS", help="make pictures smaller; default: as recorded")
    parser.add_argument("--per-shard", type=int, default=500, metavar="PAIRS", help="default: %(default)s")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice among many pairs")
    parser.add_argument("--overwrite", action="store_true", help="replace another conversion in OUT")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    topics = parser.add_argument_group("topics and frames (default: found)")
    for name in ("color", "depth", "color-info", "depth-info"):
        topics.add_argument(f"--{name}", metavar="TOPIC")
    topics.add_argument("--tf", nargs="+", metavar="TOPIC")
    topics.add_argument("--fixed-frame", metavar="FRAME", help="the world; default: map, world, odom or the root")
    topics.add_argument("--camera-frame", metavar="FRAME", help="optical frame of the colour camera")
    _fields(parser.add_argument_group("which pictures become frames"), Selection(), _SELECTION)
    _fields(parser.add_argument_group("which frames make pairs"), PairLimits(), _PAIRS)


def run(args: argparse.Namespace) -> int:
    """Converts and prints the summary."""
    from .align import Selection
    from .convert import Options, convert
    from .pairs import PairLimits
    from .topics import Topics

    options = Options(
        topics=Topics(
            args.color,
            args.depth,
            args.color_info,
            args.depth_info,
            None if args.tf is None else tuple(args.tf),
            args.fixed_frame,
            args.camera_frame,
        ),
        selection=Selection(**{name: getattr(args, name) for name in _SELECTION}),
        pairs=PairLimits(**{name: getattr(args, name) for name in _PAIRS}),
        form=args.form,
        short_side=args.short_side,
        per_shard=args.per_shard,
        seed=args.seed,
    )
    bar = None if args.quiet else _Bar()
    report = convert(
        args.bag,
        args.out,
        options,
        workers=args.workers,
        overwrite=args.overwrite,
        **({"progress": bar} if bar else {}),
    )
    if bar:
        bar.end()
    print(f"{report.frames} of {report.pictures} pictures, {report.pairs} pairs: {args.out}")
    for reason, count in report.dropped.items():
        print(f"  left out: {count} ({reason})")
    for warning in report.warnings:
        print(f"  warning: {warning}")
    print(f"look at {args.out / 'preview.png'} and {args.out / 'report.md'}")
    return 0


_SELECTION: dict[str, str] = {
    "depth_tolerance": "longest time between a picture and its depth, seconds",
    "pose_gap": "longest gap of the transforms to interpolate over, seconds",
    "every": "take only every n-th picture",
    "most": "stop after so many frames",
    "min_shift": "leave out frames that moved less, metres ...",
    "min_turn": "... and turned less, degrees; 0 and 0 keep all",
    "max_speed": "faster is a jump of the pose, metres a second",
    "max_turn_rate": "the same in degrees a second",
    "min_depth_share": "share of pixels that must have depth",
    "max_depth": "farther is unknown, metres",
}
_PAIRS: dict[str, str] = {
    "min_overlap": "share that each must see of the other",
    "max_overlap": "more is the same picture again",
    "min_baseline": "metres; this ...",
    "min_angle": "... or these degrees must be reached",
    "max_baseline": "metres",
    "max_angle": "degrees",
    "tries": "candidates of each frame that are measured",
    "per_frame": "pairs kept of each frame",
}


def _fields(group: Any, defaults: object, texts: dict[str, str]) -> None:
    """An option for each field of a settings class."""
    for name, text in texts.items():
        default = getattr(defaults, name)
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=int if default is None else type(default),
            default=default,
            metavar="N",
            help=text if default is None else f"{text} (default: %(default)s)",
        )


class _Bar:
    """A progress bar on standard error: redrawn on a terminal, a line a step elsewhere."""

    def __init__(self) -> None:
        self._step, self._begin, self._drawn = "", 0.0, 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self._step:
            self.end()
            self._step, self._begin, self._drawn = what, now, 0.0
        terminal = sys.stderr.isatty()
        if done < total and (now - self._drawn < 0.1 or not terminal):
            return
        self._drawn = now
        full = round(24 * done / max(total, 1))
        speed = done / max(now - self._begin, 1e-3)
        left = f"{(total - done) / speed:4.0f} s left" if 0 < done < total else f"{now - self._begin:4.0f} s"
        text = f"{what:<22} [{'#' * full}{'.' * (24 - full)}] {done}/{total}  {left}"
        sys.stderr.write(f"\r{text:<78}" if terminal else f"{text}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leaves the line."""
        if self._step and sys.stderr.isatty():
            sys.stderr.write("\n")
        self._step = ""
