"""Imagined scenes and answers in rooms of the test split, beside baselines that need no learning.

examples:
  uniugg eval rooms --json figures.json --out pictures/
  uniugg eval rooms --model runs/unified/model --regression runs/d-unified/model --seed 7
  uniugg eval rooms --preset tiny --scenes 4

error is the median over pixels of |imagined - true point| / distance of the true point from the target camera; a
pixel without a point counts as error 1. "unseen" are the pixels of the target view whose surface the reference does not
see, by true depth. The free baselines are the model's own reference cloud moved to the target camera, and the same
with holes filled from the nearest depth. Numeric answers score by mean relative accuracy, choices exactly; "blind" is
the same model with every picture token replaced by that of the mean feature.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from uniugg_core.commands import common

if TYPE_CHECKING:
    from .rooms import Pairs

__all__ = ["configure", "configure_measuring", "measure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg eval rooms``."""
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed draws other test rooms")
    parser.add_argument("--scenes", type=_count, default=256, metavar="N", help="rooms, one pair each (%(default)s)")
    configure_measuring(parser)


def configure_measuring(parser: argparse.ArgumentParser) -> None:
    """Adds what measuring has in common, whatever the scenes."""
    parser.add_argument("--questions", type=_whole, default=8, metavar="N", help="about each scene (%(default)s)")
    parser.add_argument("--samples", type=_count, default=4, metavar="K", help="for the uncertainty (%(default)s)")
    parser.add_argument("--batch", type=_count, default=16, metavar="N", help="scenes at a time (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write pictures of cases and curves here")
    parser.add_argument("--regression", type=Path, metavar="FOLDER", help="also measure this direct-regression variant")
    parser.add_argument("--steps", type=_count, metavar="N", help="denoising steps (default: the model's)")
    parser.add_argument("--scheduler", metavar="NAME", help="ddim, dpm++ or ddpm (default: the model's)")
    parser.add_argument("--guidance", type=float, metavar="X", help="guidance scale (default: the model's)")
    common.add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Measures, prints a table and writes what was asked for."""
    return measure(args)


def measure(args: argparse.Namespace, open_source: Callable[[int], Pairs] | None = None) -> int:
    """Measures on what `open_source` gives for a size of pictures (None: rooms); prints a table, writes the rest."""
    pipeline = common.load_pipeline(args)
    source = None if open_source is None else open_source(pipeline.config.image_size)
    from uniugg_core.folder import load_folder

    from .imagining import Sampling
    from .rooms import RoomsEvaluation, cases, evaluate_rooms
    from .sharing import Share
    from .tables import rooms_table, write_json

    regression = None
    if args.regression is not None:
        regression, _ = load_folder(args.regression, device=args.device, dtype=args.dtype)
    settings = RoomsEvaluation(
        scenes=args.scenes,
        seed=args.seed,
        questions=args.questions,
        samples=args.samples,
        batch=args.batch,
        sampling=Sampling(args.steps, args.scheduler, args.guidance),
    )
    share = Share()
    done = evaluate_rooms(pipeline, settings, source=source, regression=regression, progress=_progress)
    if not share.leads:
        return 0
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    report = {**done.report, "model": {**done.report["model"], "folder": args.model and str(args.model)}}
    if args.json is not None:
        write_json(report, args.json)  # before the table, whose reader may leave (`| head`)
    print(rooms_table(report))
    if args.out is not None:
        from .pictures import chosen_cases, plot_curves, save_cases

        args.out.mkdir(parents=True, exist_ok=True)
        chosen = chosen_cases(done.records)
        found = cases(pipeline, settings, list(chosen.values()), regression, source)
        names = save_cases(list(zip(chosen, found)), args.out)
        names += plot_curves(report, args.out)
        print(f"\n{args.out}/ has {', '.join(names)}")
    return 0


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} scenes", end="", file=sys.stderr, flush=True)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _whole(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value
