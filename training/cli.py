"""Train a stage or its teacher, fine-tune on recordings, or train all ablations.

examples:
  uniugg train encoder --config training/configs/tiny/encoder.yaml --out runs/encoder
  uniugg train encoder --config training/configs/tiny/encoder.yaml --out runs/encoder --resume
  uniugg train vae --config training/configs/tiny/vae.yaml --out runs/vae --set model.start=runs/encoder
  torchrun --nproc-per-node 8 -m training.cli encoder --config training/configs/paper/encoder.yaml --out runs/encoder
  uniugg train finetune --data data/kitchen --out runs/kitchen
  uniugg train ablations --preset tiny --out runs/ablations
  uniugg train ablations --preset tiny --out runs/ablations --use encoder=runs/tiny-encoder --set unified:run.steps=9000

Ctrl-C and SIGTERM save a checkpoint after the current step; --resume goes on as if nothing had happened. OUT holds the
settings (train.json), the curve (metrics.jsonl, tensorboard/), the newest pictures and the checkpoints.

`finetune` takes a trained model through all three stages on recorded frames, keeps the last of them to measure on, and
writes OUT/finetune.md and pictures before and after; the model is OUT/unified/model.

`ablations` trains what all variants share once, then each variant, measures them with `uniugg eval rooms` and writes
OUT/ablations.md and .json. The same command again goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["configure", "main", "run"]

_STAGES = ("teacher", "encoder", "vae", "unified")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg train``."""
    parser.add_argument("stage", choices=(*_STAGES, "finetune", "ablations"), help="what to train")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings of a stage, YAML (or train.json)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in DIR, if there is one")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting, e.g. --set optimizer.lr=1e-4; of ablations also for one stage or run, vae:run.steps=9",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress lines")
    parser.add_argument("--preset", default="tiny", metavar="NAME", help="of finetune and ablations: whose settings")
    parser.add_argument("--configs", type=Path, metavar="DIR", help="the same: a folder like training/configs/tiny")
    group = parser.add_argument_group("finetune")
    group.add_argument("--data", type=Path, metavar="DIR", help="recorded frames, see `uniugg data from-bag`")
    group.add_argument("--model", type=Path, metavar="DIR", help="checkpoint folder (default: the one that ships)")
    group.add_argument("--held-out", type=float, default=0.1, metavar="N", help="last frames only measured on")
    group = parser.add_argument_group("ablations")
    group.add_argument("--only", default="", metavar="A,B", help="variants, e.g. full,a,d (default: all)")
    group.add_argument(
        "--use", action="append", default=[], metavar="RUN=DIR", help="take this run as it is, e.g. vae=runs/tiny-vae"
    )
    group.add_argument("--train-seeds", type=int, default=1, metavar="N", help="trainings of stage 3 (%(default)s)")
    group.add_argument("--seeds", default="0,1,2", metavar="A,B", help="of the test rooms (default: %(default)s)")
    group.add_argument("--scenes", type=int, default=128, metavar="N", help="test rooms a seed (%(default)s)")
    group.add_argument("--questions", type=int, default=8, metavar="N", help="questions a room; 0: none (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Trains; the exit status is 0, or 128 plus the signal that stopped the run."""
    from .config import TrainConfig
    from .typed import refuse

    if args.stage == "ablations":
        return _ablations(args)
    if args.stage == "finetune":
        return _finetune(args)
    if args.config is None:
        raise refuse(f"{args.stage} needs its settings: --config FILE")
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


def _finetune(args: argparse.Namespace) -> int:
    from uniugg_core.pipeline import SHIPPED_MODEL

    from .finetune import Finetune, run_finetune
    from .typed import refuse

    if args.data is None:
        raise refuse("finetune needs recorded frames: --data DIR")
    configs = args.configs or Path(__file__).parent / "configs" / args.preset
    plan = Finetune(
        configs / "finetune", args.data, args.model or SHIPPED_MODEL, args.out, args.held_out, tuple(args.set)
    )
    stopped = run_finetune(plan, None if args.quiet else sys.stderr, say=_sayer(args))
    if stopped is not None:
        return 128 + getattr(signal, stopped, signal.SIGTERM)
    if os.environ.get("RANK", "0") == "0":
        print((args.out / "finetune.md").read_text(encoding="utf-8"), end="")
    return 0


def _sayer(args: argparse.Namespace) -> Callable[[str], None]:
    return lambda text: None if args.quiet else print(text, file=sys.stderr)


def _ablations(args: argparse.Namespace) -> int:
    from .ablations import VARIANTS, Ablations, run_ablations
    from .typed import refuse

    pairs = [text.partition("=") for text in args.use]
    if not all(name and folder for name, _, folder in pairs):
        raise refuse(f"--use {args.use}: expected RUN=DIR, e.g. vae=runs/tiny-vae")
    try:
        seeds = tuple(int(seed) for seed in args.seeds.split(","))
    except ValueError:
        raise refuse(f"--seeds {args.seeds!r}: expected numbers, e.g. 0,1,2") from None
    plan = Ablations(
        configs=args.configs or Path(__file__).parent / "configs" / args.preset,
        out=args.out,
        changes=tuple(args.set),
        use={name: Path(folder) for name, _, folder in pairs},
        only=tuple(args.only.split(",")) if args.only else tuple(VARIANTS),
        train_seeds=args.train_seeds,
        seeds=seeds,
        evaluation={"scenes": args.scenes, "questions": args.questions},
    )
    log = None if args.quiet else sys.stderr
    stopped = run_ablations(plan, log, say=_sayer(args))
    if stopped is not None:
        return 128 + getattr(signal, stopped, signal.SIGTERM)
    if os.environ.get("RANK", "0") == "0":
        print((args.out / "ablations.md").read_text(encoding="utf-8"), end="")
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
