"""All three stages once more, from a trained model, on recorded frames; measured before and after.

OUT/encoder, vae, unified   the runs, resumed where they were stopped
OUT/unified/model           the fine-tuned model
OUT/before.json, after.json, before/, after/    figures and pictures of the held-out frames
OUT/finetune.md             both in one table
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from uniugg_core.config import ModelConfig

from .chain import changes_for, last_weights, train_run
from .config import TrainConfig
from .typed import merged, parse_change, read_nested

__all__ = ["STAGES", "Finetune", "markdown", "run_finetune"]

STAGES = ("encoder", "vae", "unified")
_ROWS = {
    "unseen: error": ("unseen", "methods", "imagined", "error"),
    "unseen: own cloud, filled": ("unseen", "methods", "filled", "error"),
    "unseen: error / best free baseline": ("unseen", "error_ratio"),
    "unseen: delta < 1.25": ("unseen", "methods", "imagined", "delta_1.25"),
    "seen: error": ("seen", "methods", "imagined", "error"),
    "seen: error / best free baseline": ("seen", "error_ratio"),
    "reference: error": ("reference", "error"),
    "answers right": ("vqa", "accuracy"),
}


@dataclass(frozen=True)
class Finetune:
    """What is trained, on what, from where."""

    configs: Path  # folder with encoder.yaml, vae.yaml and unified.yaml
    data: Path  # recorded frames, see `training.data.bags.dataset`
    model: Path  # checkpoint folder to start from
    out: Path
    held_out: float = 0.1  # last frames of each recording that are only measured on: a share, or from 1 on a number
    changes: tuple[str, ...] = ()  # "run.steps=10", for one stage "vae:run.steps=10"
    scenes: int = 64  # held-out pairs that are measured

    def settings(self, stage: str) -> TrainConfig:
        """The settings of a stage's run.

        Raises:
            UniuggError: REQUEST_INVALID for unknown settings; CHECKPOINT_* if `model` is no checkpoint folder.
        """
        sizes = ModelConfig.load(self.model / "config.json").to_dict()
        model, before = str(self.model), {"vae": "encoder", "unified": "vae"}
        # later ones win: what an earlier stage has trained replaces what the model came with
        start = [model] if stage == "encoder" else [model, str(last_weights(self.out / before[stage]))]
        given = {
            "stage": stage,
            "model": {"change": sizes, "start": start},
            "data": {"path": str(self.data), "options": {"held_out": self.held_out}},
            **({"encoder": {"teacher": model}} if stage == "encoder" else {}),
        }
        settings = merged(read_nested(self.configs / f"{stage}.yaml"), given)
        for change in changes_for(self.changes, (stage,), STAGES):
            settings = merged(settings, parse_change(change), emptying=True)
        return TrainConfig.from_dict(settings)


def run_finetune(
    plan: Finetune, log: TextIO | None = None, *, say: Callable[[str], None] = lambda text: None
) -> str | None:
    """Measures, trains what is missing, and measures again.

    Args:
        plan: what to do.
        log: where the progress lines of the runs go.
        say: told about each step.

    Returns:
        the name of the signal that stopped it, else None.
    """
    leads = os.environ.get("RANK", "0") == "0"
    if leads:
        _measure(plan, "before", plan.model, say)
    for stage in STAGES:
        config = plan.settings(stage)
        say(f"{stage}: {config.run.steps} steps")
        stopped = train_run(config, plan.out / stage, log)
        if stopped is not None:
            return stopped
    if leads:
        _measure(plan, "after", plan.out / "unified" / "model", say)
        reports = [json.loads((plan.out / f"{name}.json").read_text(encoding="utf-8")) for name in ("before", "after")]
        (plan.out / "finetune.md").write_text(markdown(reports), encoding="utf-8")
    return None


def markdown(reports: Sequence[dict[str, Any]]) -> str:
    """The figures of the reports before and after, as a table."""
    lines = ["| held-out frames | before | after |", "|---|---:|---:|"]
    for title, path in _ROWS.items():
        cells = []
        for report in reports:
            value: Any = report
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            cells.append("-" if value is None else f"{value:.3f}")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + f"\n\n{reports[-1]['scenes']} pairs; median relative point errors, lower is better.\n"


def _measure(plan: Finetune, name: str, model: Path, say: Callable[[str], None]) -> None:
    from uniugg_core.pipeline import UniUGGPipeline

    from .data.bags.dataset import BagsConfig, BagsDataset
    from .evaluation.pictures import chosen_cases, save_cases
    from .evaluation.rooms import RoomsEvaluation, cases, evaluate_rooms
    from .evaluation.tables import write_json

    path = plan.out / f"{name}.json"
    if path.is_file():
        return
    say(f"measuring {name}")
    pipeline = UniUGGPipeline.from_pretrained(model)
    source = BagsDataset(plan.data, BagsConfig(size=pipeline.config.image_size, held_out=plan.held_out), "test")
    settings = RoomsEvaluation(scenes=min(plan.scenes, len(source)), samples=1, blind=False)
    done = evaluate_rooms(pipeline, settings, source=source)
    # the same scenes both times, whichever they were before
    before = plan.out / "before.json"
    chosen = (
        json.loads(before.read_text(encoding="utf-8"))["shown"] if before.is_file() else chosen_cases(done.records, 1)
    )
    found = cases(pipeline, settings, list(chosen.values()), source=source)
    (plan.out / name).mkdir(parents=True, exist_ok=True)
    save_cases(list(zip(chosen, found)), plan.out / name)
    write_json({**done.report, "shown": chosen}, path)
