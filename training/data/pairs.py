"""Mine pairs of views by co-visibility, measured from depth and poses; several processes, one scene each at a time.

examples:
  uniugg data pairs /data/arkitscenes --processes 8
  uniugg data pairs /data/scannetpp --out pairs.npz --most 500 --covisibility 0.2 0.8

The list names frames, so it stays right when pictures are added. Training takes the list inside the folder by itself;
one that was written elsewhere is named as `data.options.pairs`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError

from .covisibility import covisibility
from .pair_list import DEFAULT_NAME, PairList
from .posed import Reader, Recording, hashed_share

__all__ = ["MiningConfig", "configure", "mine", "mine_scene", "run"]

Row = tuple[str, str, float, float]


@dataclass(frozen=True)
class MiningConfig:
    """What a good pair is."""

    covisibility: tuple[float, float] = (0.1, 0.9)  # both shares of a pair lie within
    least_motion: tuple[float, float] = (0.05, 5.0)  # metres or degrees that a pair moves at least
    frames: int = 200  # most frames of a scene that are compared, evenly spaced
    most: int = 400  # pairs of a scene
    width: int = 64  # pixels of the depth maps that are compared
    listed: bool = False  # take the set's own pairs with its scores, and compare nothing


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg data pairs``."""
    own = MiningConfig()
    parser.add_argument("folder", type=Path, help="a data set with depth and poses")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"npz or json (default: FOLDER/{DEFAULT_NAME})")
    parser.add_argument("--layout", metavar="WORDS", help="part of the layout's name, where a folder has several")
    parser.add_argument("--processes", type=int, default=2, help="scenes at once (default: %(default)s)")
    parser.add_argument("--covisibility", type=float, nargs=2, default=own.covisibility, metavar=("LOW", "HIGH"))
    parser.add_argument("--frames", type=int, default=own.frames, help="compared in each scene (default: %(default)s)")
    parser.add_argument("--most", type=int, default=own.most, help="pairs of each scene (default: %(default)s)")
    parser.add_argument("--listed", action="store_true", help="take the pairs that the set brings, mine none")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="option of the reader")


def run(args: argparse.Namespace) -> int:
    """Mines and writes; the exit status is 1 if no pair was found."""
    from ..typed import parse_change
    from .layouts import chosen_layout

    reader, scenes = chosen_layout(args.folder, args.layout)
    if args.processes < 1 or args.frames < 2 or args.most < 1:
        raise UniuggError(ErrorCode.REQUEST_INVALID, "--processes and --most are at least 1, --frames at least 2")
    out = args.out or args.folder / DEFAULT_NAME
    if out.suffix not in (".npz", ".json"):
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{out.name} ends neither in .npz nor in .json")
    options: dict[str, object] = {}
    for change in args.set:
        options |= parse_change(change)
    config = MiningConfig(covisibility=tuple(args.covisibility), frames=args.frames, most=args.most, listed=args.listed)

    def tell(name: str, rows: Sequence[Row], why: str) -> None:
        print(f"{name}: {len(rows)} pairs{f' ({why})' if why else ''}", file=sys.stderr)

    pairs = mine(reader, scenes, config, options, processes=args.processes, tell=tell)
    pairs.save(out)
    share = f", median covisibility {float(np.median(pairs.covisibility)):.2f}" if len(pairs) else ""
    print(f"{out}: {len(pairs)} pairs of {len(pairs.scenes)} of {len(scenes)} scenes{share}")
    return 0 if len(pairs) else 1


def mine(
    reader: Reader,
    scenes: Mapping[str, Path],
    config: MiningConfig,
    options: Mapping[str, object] | None = None,
    *,
    processes: int = 1,
    tell: Callable[[str, Sequence[Row], str], None] = lambda name, rows, why: None,
) -> PairList:
    """Pairs of all scenes, the same however many processes look for them.

    Args:
        reader: layout of the scenes.
        scenes: where they are, by name.
        config: what is wanted.
        options: of the reader.
        processes: scenes at once; 1 stays in this process.
        tell: called after each scene with its name, its pairs, and why there are none.
    """
    jobs = [(reader, name, path, dict(options or {}), config) for name, path in scenes.items()]
    found: list[tuple[str, list[Row]]] = []

    def take(name: str, answer: tuple[list[Row], str]) -> None:
        tell(name, *answer)
        found.append((name, answer[0]))

    if processes == 1 or len(jobs) == 1:
        for job in jobs:
            take(job[1], _try_scene(job))
    else:
        with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=get_context("spawn")) as pool:
            for job, answer in zip(jobs, pool.map(_try_scene, jobs)):
                take(job[1], answer)
    return PairList.collect(reader.layout, found)


def mine_scene(recording: Recording, config: MiningConfig) -> list[Row]:
    """Pairs of one scene with both shares, frames used about equally often."""
    usable = [number for number, frame in enumerate(recording.frames) if frame.depth is not None]
    picked = np.unique(np.linspace(0, len(usable) - 1, min(config.frames, len(usable))).round().astype(int))
    numbers, depths, matrices = [], [], []
    for number in (usable[at] for at in picked):
        try:
            depth, matrix = recording.depth(number, config.width)
        except UniuggError:
            continue  # damaged: the check says so, and nothing can be measured
        if depth.any() and (not depths or depth.shape == depths[0].shape):
            numbers.append(number)
            depths.append(depth)
            matrices.append(matrix)
    if len(numbers) < 2:
        return []
    depth, k, poses = np.stack(depths), np.stack(matrices), recording.poses[numbers]
    baseline = np.linalg.norm(poses[:, None, :3, 3] - poses[None, :, :3, 3], axis=-1)
    angle = np.degrees(np.arccos(np.clip(poses[:, :3, 2] @ poses[:, :3, 2].T, -1, 1)))
    moved = (baseline >= config.least_motion[0]) | (angle >= config.least_motion[1])
    tried = np.argwhere(np.triu(moved & (angle < 120), 1))
    if not len(tried):
        return []
    shares = np.concatenate([_both(depth, k, poses, part) for part in np.array_split(tried, len(tried) // 2000 + 1)])
    low, high = config.covisibility
    fits = np.flatnonzero((shares.min(1) >= low) & (shares.max(1) <= high))
    chosen = _balanced(tried[fits], config.most, seed=int(hashed_share(recording.name) * 2**32))
    names = [recording.frames[number].name for number in numbers]
    return [
        (names[i], names[j], float(a), float(b))
        for (i, j), (a, b) in zip(tried[fits[chosen]].tolist(), shares[fits[chosen]].tolist())
    ]


def _both(depth: np.ndarray, k: np.ndarray, poses: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(M, 2) covisibility of pairs both ways round."""
    return np.stack([covisibility(depth, k, poses, pairs[:, order], stride=3) for order in ((0, 1), (1, 0))], 1)


def _balanced(pairs: np.ndarray, most: int, seed: int) -> list[int]:
    """Up to `most` rows of `pairs` in which no frame is used much more often than another; sorted."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    if len(order) <= most:
        return sorted(order.tolist())
    used = np.zeros(int(pairs.max()) + 1, int)
    limit, chosen, rest = 1, [], order.tolist()
    while len(chosen) < most and rest:
        later = []
        for row in rest:
            if len(chosen) < most and used[pairs[row]].max() < limit:
                used[pairs[row]] += 1
                chosen.append(row)
            else:
                later.append(row)
        rest, limit = later, limit + 1
    return sorted(chosen)


def _try_scene(job: tuple[Reader, str, Path, dict[str, object], MiningConfig]) -> tuple[list[Row], str]:
    reader, name, path, options, config = job
    try:
        recording = reader.open(name, path, options)
        if config.listed:
            own = [(first, second, score, score) for first, second, score in recording.listed]
            return own, "" if own else "the set brings no pairs of this scene"
        rows = mine_scene(recording, config)
    except UniuggError as error:
        return [], str(error)
    return rows, "" if rows else "no two frames with depth see enough of each other"
