"""Train a stage: encoder (1), vae (2), unified (3), or the small model's teacher.

examples:
  uniugg train encoder --config training/configs/tiny/encoder.yaml --out runs/encoder
  uniugg train encoder --config training/configs/tiny/encoder.yaml --out runs/encoder --resume
  uniugg train vae --config training/configs/tiny/vae.yaml --out runs/vae --set model.start=runs/encoder
  torchrun --nproc-per-node 8 -m training.cli encoder --config training/configs/paper/encoder.yaml --out runs/encoder

Ctrl-C and SIGTERM save a checkpoint after the current step; --resume goes on as if nothing had happened. OUT holds the
settings (train.json), the curve (metrics.jsonl, tensorboard/), the newest pictures and the checkpoints.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

__all__ = ["configure", "main", "run"]

_STAGES = ("teacher", "encoder", "vae", "unified")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg train``."""
    parser.add_argument("stage", choices=_STAGES, help="what to train")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings, YAML (or train.json)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in DIR, if there is one")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting, e.g. --set optimizer.lr=1e-4",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress lines")


def run(args: argparse.Namespace) -> int:
    """Trains; the exit status is 0, or 128 plus the signal that stopped the run."""
    from .config import TrainConfig

    # judged before torch is loaded, so that a misspelt setting answers at once
    config = TrainConfig.load(args.config, [*args.set, f"stage={args.stage}"])
    from .loop import Trainer
    from .stages import build_stage

    outcome = Trainer(build_stage(config), config, args.out, None if args.quiet else sys.stderr).run(resume=args.resume)
    if outcome.stopped is not None:
        return 128 + getattr(signal, outcome.stopped, signal.SIGTERM)
    if outcome.checkpoint is not None and os.environ.get("RANK", "0") == "0":
        print(outcome.checkpoint)
    return 0


def main(argv: list[str] | None = None) -> int:
    """``python -m training.cli``, for ``torchrun``; the same as ``uniugg train``."""
    from uniugg_core.errors import UniuggError

    parser = argparse.ArgumentParser(
        prog="training.cli", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    configure(parser)
    try:
        return run(parser.parse_args(argv))
    except UniuggError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
