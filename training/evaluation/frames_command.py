"""Imagined scenes and answers on held-out recorded frames, beside baselines that need no learning.

examples:
  uniugg eval frames data/kitchen --json figures.json --out pictures/
  uniugg eval frames data/kitchen --model runs/kitchen/unified/model --held-out 30

DATA is a recording from `uniugg data from-bag`, a folder of frames, or a folder of several. Measured are pairs among
the last frames of each, which training with the same --held-out never sees. The figures are those of `uniugg eval
rooms`; where depth was not measured nothing is judged, and the questions are those that depth and poses answer.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import rooms_command

if TYPE_CHECKING:
    from .rooms import Pairs

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg eval frames``."""
    parser.add_argument("data", type=Path, metavar="DATA", help="recorded frames")
    parser.add_argument("--held-out", type=float, default=0.1, metavar="N", help="last frames: a share or a number")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the order and of the questions")
    parser.add_argument("--scenes", type=int, default=256, metavar="N", help="pairs at most (%(default)s)")
    rooms_command.configure_measuring(parser)


def run(args: argparse.Namespace) -> int:
    """Measures, prints a table and writes what was asked for."""
    from ..data.bags.dataset import BagsConfig, BagsDataset

    def held_out(size: int) -> Pairs:
        source = BagsDataset(args.data, BagsConfig(size=size, held_out=args.held_out), "test", args.seed)
        args.scenes = min(args.scenes, len(source))
        return source

    return rooms_command.measure(args, held_out)
