"""One run of several: trained where it was left, and left alone once it is done."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TextIO

from uniugg_core.errors import ErrorCode, UniuggError

from .checkpoint import Checkpoints, load_start, read_start
from .config import TrainConfig

__all__ = ["changes_for", "last_weights", "train_run"]


def train_run(config: TrainConfig, out: Path, log: TextIO | None) -> str | None:
    """Trains what is missing of a run.

    Args:
        config: the run.
        out: its folder; may hold a part of it, or all.
        log: where the progress lines go.

    Returns:
        the name of the signal that stopped it, else None.

    Raises:
        UniuggError: REQUEST_INVALID if the folder holds a run with other settings; whatever training raises.
    """
    from .loop import Trainer
    from .stages import build_stage

    written = out / "train.json"
    # compared as settings: a file may be of a version that had fewer of them
    if written.is_file() and _settings(written.read_text()) != _settings(json.dumps(config.to_dict())):
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, f"{out} was trained with other settings: choose another folder or delete it"
        )
    last = Checkpoints(out).last()
    if last is None or Checkpoints.read_progress(last).step < config.run.steps:
        outcome = Trainer(build_stage(config), config, out, log).run(resume=True)
        if outcome.stopped is not None:
            return outcome.stopped
    if config.stage == "unified" and not (out / "model" / "config.json").is_file():
        # killed between the last checkpoint and the export
        stage = build_stage(config)
        load_start(stage.model, read_start(Checkpoints(out).last() or out), str(out))
        stage.export(out / "model")
    return None


def _settings(written: str) -> TrainConfig:
    return TrainConfig.from_dict(json.loads(written))


def last_weights(out: Path) -> Path:
    """What follows a run starts from its end: only there is everything measured that the next stage needs."""
    return Checkpoints(out).last() or out


def changes_for(changes: Iterable[str], here: Collection[str], known: Collection[str]) -> list[str]:
    """Of changes "NAME=VALUE" for all runs and "SCOPE:NAME=VALUE" for some, those for a run, without their scope.

    Args:
        changes: as given.
        here: scopes that the run belongs to.
        known: all scopes there are.

    Raises:
        UniuggError: REQUEST_INVALID for a scope that is not `known`.
    """
    mine = []
    for change in changes:
        scope, colon, rest = change.partition(":")
        if not colon or "=" in scope:
            mine.append(change)
        elif scope in here:
            mine.append(rest)
        elif scope not in known:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"--set {change!r}: no run or stage {scope!r}")
    return mine
