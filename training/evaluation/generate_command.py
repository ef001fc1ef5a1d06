"""Imagine the target views of pairs as pictures, for `uniugg eval generation` and for other systems to do the same.

examples:
  uniugg eval generate out/ --pairs 512
  uniugg eval generate out/ --source arkitscenes --path data/arkitscenes --pairs 2048 --model FOLDER
  uniugg eval generate out/ --source bags --path data/kitchen --option held_out=30 --pairs 64 --scenes

Writes OUT/input, real, projected, direct (and scenes) and pairs.json; the same command again goes on where it was, and
torchrun shares the pairs among processes.
Sources are those of training, in their test or validation split; without one, rooms.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg eval generate``."""
    from uniugg_core.commands import common

    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the pictures")
    parser.add_argument("--source", default="rooms", metavar="NAME", help="of the pairs (default: %(default)s)")
    parser.add_argument("--path", metavar="DIR", help="where the source lies")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of the source")
    parser.add_argument("--pairs", type=int, default=256, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first (several machines)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the pairs' order or of the rooms")
    parser.add_argument("--scenes", action="store_true", help="also write the clouds as PLY")
    parser.add_argument("--steps", type=int, metavar="N", help="denoising steps (default: the model's)")
    parser.add_argument("--scheduler", metavar="NAME", help="ddim, dpm++ or ddpm (default: the model's)")
    parser.add_argument("--guidance", type=float, metavar="X", help="guidance scale (default: the model's)")
    common.add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Generates; prints where."""
    from uniugg_core.commands import common

    from ..config import DataConfig
    from ..sources import open_source
    from ..typed import build, merged, parse_change
    from .generated import generate_views
    from .sharing import Share

    pipeline = common.load_pipeline(args)
    settings = {"source": args.source, "path": args.path, "seed": args.seed, "options": {}}
    if args.source == "rooms":
        settings["options"] = {"views": 6, "pairs": 1, "interleave": 1}
    for option in args.option:
        settings["options"] = merged(settings["options"], parse_change(option))
    data = build(DataConfig, settings, "generate")
    source = open_source(data, pipeline.config, "test")
    options = {"steps": args.steps, "scheduler": args.scheduler, "guidance": args.guidance}
    generate_views(
        pipeline, source, args.pairs, args.out, first=args.first, scenes=args.scenes, progress=_progress, **options
    )
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    if Share().leads:
        print(args.out)
    return 0


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} views", end="", file=sys.stderr, flush=True)
