"""All ablations from shared stages, and one table of them (UniUGG section 4.4, and joint against separate training).

Every variant is a chain of runs; what variants have in common is trained once:

    teacher ─► encoder ─► vae ─► words ─► ground ─► full, d (no diffusion), d' (no VAE), generation, answers
       │           └────► c-vae ─► c (decoder not tuned)
       └► a-encoder ─► a-vae ─► a (semantics only)
          b-encoder ─► b-vae ─► b (geometry only)

The language model of all of them is that of "ground", which has had exercises in words and then the names of things.

    OUT/runs/NAME            one training run each, resumed where it was stopped
    OUT/results/*.json       one evaluation each, see `uniugg eval rooms`; what is there is not measured again
    OUT/ablations.md, .json  the table
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TextIO

from uniugg_core.errors import ErrorCode, UniuggError

from .chain import changes_for, last_weights, train_run
from .checkpoint import write_atomically
from .config import TrainConfig

__all__ = ["COLUMNS", "STEPS", "VARIANTS", "Ablations", "Step", "Variant", "markdown", "run_ablations", "summary"]


@dataclass(frozen=True)
class Step:
    """One training run."""

    stage: str
    file: str  # settings, in the folder of the preset
    start: tuple[str, ...] = ()  # runs whose weights it starts from, or "RUN:PART"; the later ones win
    teacher: str | None = None  # the run whose encoder it distils from

    def before(self) -> tuple[str, ...]:
        """Runs that it needs."""
        starts = tuple(start.partition(":")[0] for start in self.start)
        return starts if self.teacher is None else (self.teacher, *starts)


@dataclass(frozen=True)
class Variant:
    """One row of the table: a run of stage 3, and what it can be asked."""

    step: str
    title: str
    imagines: bool = True
    answers: bool = True


_WORDS = "ground:language"  # what the language model of every variant starts from
STEPS: dict[str, Step] = {
    "teacher": Step("teacher", "teacher.yaml"),
    "encoder": Step("encoder", "encoder.yaml", ("teacher",), "teacher"),
    "vae": Step("vae", "vae.yaml", ("encoder",)),
    "words": Step("unified", "ablations/words-unified.yaml", ("vae",)),
    "ground": Step("unified", "unified-ground.yaml", ("vae", "words:language")),
    "full": Step("unified", "unified.yaml", ("vae", _WORDS)),
    "a-encoder": Step("encoder", "ablations/a-encoder.yaml", ("teacher",), "teacher"),
    "a-vae": Step("vae", "vae.yaml", ("a-encoder",)),
    "a": Step("unified", "unified.yaml", ("a-vae", _WORDS)),
    "b-encoder": Step("encoder", "ablations/b-encoder.yaml"),
    "b-vae": Step("vae", "vae.yaml", ("b-encoder",)),
    "b": Step("unified", "unified.yaml", ("b-vae", _WORDS)),
    "c-vae": Step("vae", "ablations/c-vae.yaml", ("encoder",)),
    "c": Step("unified", "unified.yaml", ("c-vae", _WORDS)),
    "d": Step("unified", "ablations/d-unified.yaml", ("vae", _WORDS)),
    "d-raw": Step("unified", "ablations/d-raw-unified.yaml", ("vae", _WORDS)),
    "generation": Step("unified", "ablations/generation-unified.yaml", ("vae", _WORDS)),
    "answers": Step("unified", "ablations/answers-unified.yaml", ("vae", _WORDS)),
}
VARIANTS: dict[str, Variant] = {
    "full": Variant("full", "full model, trained jointly"),
    "a": Variant("a", "(a) semantics only"),
    "b": Variant("b", "(b) geometry only"),
    "c": Variant("c", "(c) decoder not tuned"),
    "d": Variant("d", "(d) no diffusion"),
    "d-raw": Variant("d-raw", "(d') diffusion without VAE"),
    "generation": Variant("generation", "generation alone", answers=False),
    "answers": Variant("answers", "answers alone", imagines=False),
}
# title, where in a report, whether lower is better
COLUMNS: dict[str, tuple[str, tuple[str, ...], bool]] = {
    "unseen_error": ("unseen error", ("unseen", "methods", "imagined", "error"), True),
    "unseen_ratio": ("unseen / baseline", ("unseen", "error_ratio"), True),
    "unseen_f10": ("unseen F 10 cm", ("unseen", "methods", "imagined", "f_10cm"), False),
    "seen_error": ("seen error", ("seen", "methods", "imagined", "error"), True),
    "seen_ratio": ("seen / baseline", ("seen", "error_ratio"), True),
    "reference_error": ("reference error", ("reference", "error"), True),
    "answers": ("answers right", ("vqa", "accuracy"), False),
    "blind": ("blind", ("vqa", "blind_accuracy"), False),
}


@dataclass(frozen=True)
class Ablations:
    """What is trained and measured."""

    configs: Path  # folder of the preset's settings
    out: Path
    changes: tuple[str, ...] = ()  # "run.steps=10", for some runs only "vae:run.steps=10" (a stage) or "a-vae:..."
    use: Mapping[str, Path] = field(default_factory=dict)  # runs that exist already, by the names in STEPS
    only: tuple[str, ...] = tuple(VARIANTS)
    train_seeds: int = 1  # stage 3 is trained so often, with seeds 0, 1, ...
    seeds: tuple[int, ...] = (0, 1, 2)  # of the test rooms
    evaluation: Mapping[str, Any] = field(default_factory=dict)  # of RoomsEvaluation

    def __post_init__(self) -> None:
        for name, known in (*((n, VARIANTS) for n in self.only), *((n, STEPS) for n in self.use)):
            if name not in known:
                raise UniuggError(ErrorCode.REQUEST_INVALID, f"no run {name!r}; there are {list(known)}")
        if self.train_seeds < 1 or not self.seeds:
            raise UniuggError(ErrorCode.REQUEST_INVALID, "at least one seed is needed, of training and of the rooms")
        if not (self.configs / "ablations").is_dir():
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"{self.configs} has no folder `ablations` with settings")

    def plan(self) -> list[tuple[str, int]]:
        """(step, seed) of the runs that the chosen variants need, each after what it starts from."""
        order: list[tuple[str, int]] = []

        def need(name: str, seed: int) -> None:
            step = STEPS[name]
            if (name, seed) in order or (name in self.use and seed == 0):
                return
            for before in step.before():
                need(before, 0)
            order.append((name, seed))

        for name in VARIANTS:
            if name in self.only:
                for seed in range(self.train_seeds):
                    need(VARIANTS[name].step, seed)
        return order

    def folder(self, name: str, seed: int = 0) -> Path:
        """Where a run lies."""
        if name in self.use and seed == 0:
            return Path(self.use[name])
        return self.out / "runs" / (name if seed == 0 else f"{name}-seed{seed}")

    def settings(self, name: str, seed: int = 0) -> TrainConfig:
        """The settings of a run."""
        step = STEPS[name]
        stages = {other.stage for other in STEPS.values()}
        changes = changes_for(self.changes, (name, step.stage), {*STEPS, *stages})
        if step.start:
            changes.append(f"model.start={json.dumps([self.weights(start) for start in step.start])}")
        if step.teacher is not None:
            changes.append(f"encoder.teacher={json.dumps(self.weights(step.teacher))}")
        if seed:
            changes.append(f"seed={seed}")
        return TrainConfig.load(self.configs / step.file, [*changes, f"stage={step.stage}"])

    def weights(self, start: str) -> str:
        """What follows a run, or a part of it, starts from."""
        name, *part = start.split(":")
        return ":".join([str(last_weights(self.folder(name))), *part])


def run_ablations(
    plan: Ablations, log: TextIO | None = None, *, say: Callable[[str], None] = lambda text: None
) -> str | None:
    """Trains what is missing, measures what is missing, and writes the table after every measurement.

    Args:
        plan: what to do.
        log: where the progress lines of the runs go.
        say: told about each run and each measurement.

    Returns:
        the name of the signal that stopped it, else None.

    Raises:
        UniuggError: REQUEST_INVALID if a run in the folder was trained with other settings; whatever training raises.
    """
    for number, (name, seed) in enumerate(order := plan.plan(), start=1):
        config, out = plan.settings(name, seed), plan.folder(name, seed)
        say(f"run {number} of {len(order)}: {out.name} ({config.stage}, {config.run.steps} steps)")
        stopped = train_run(config, out, log)
        if stopped is not None:
            return stopped
    if os.environ.get("RANK", "0") != "0":
        return None
    for name in plan.only:
        for train_seed in range(plan.train_seeds):
            for seed in plan.seeds:
                _evaluate(plan, name, train_seed, seed, say)
        _write(plan)
    return None


def summary(plan: Ablations) -> dict[str, Any]:
    """Means and standard deviations of every column over the evaluations that exist, and each variant against "full".

    Returns:
        ``variants``: for each its title and ``columns``: name -> mean, std (None for one evaluation), values;
        ``against_full``: for each column mean and std of (variant - full) over the same seeds, and in how many of
        them the full model is better.
    """
    values: dict[str, dict[tuple[int, int], dict[str, float]]] = {}
    for name in plan.only:
        for train_seed in range(plan.train_seeds):
            for seed in plan.seeds:
                path = _result(plan, name, train_seed, seed)
                if path.is_file():
                    report = json.loads(path.read_text(encoding="utf-8"))
                    values.setdefault(name, {})[train_seed, seed] = _columns(report)
    variants: dict[str, Any] = {}
    for name, found in values.items():
        rows = list(found.values())
        columns = {key: _spread([row[key] for row in rows if key in row]) for key in COLUMNS}
        against = {key: _against(found, values.get("full", {}), key) for key in COLUMNS} if name != "full" else {}
        variants[name] = {"title": VARIANTS[name].title, "columns": columns, "against_full": against}
    return {
        "what": "ablations",
        "configs": str(plan.configs),
        "train_seeds": plan.train_seeds,
        "seeds": list(plan.seeds),
        "scenes": plan.evaluation.get("scenes"),
        "variants": variants,
    }


def markdown(table: Mapping[str, Any]) -> str:
    """The summary as a table: mean ± standard deviation; in brackets in how many of the pairs the full model wins."""
    head = ["variant", *(title + (" ↓" if lower else " ↑") for title, _, lower in COLUMNS.values())]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * len(COLUMNS) + "|"]
    for row in table["variants"].values():
        cells = [row["title"]]
        for key in COLUMNS:
            figure, against = row["columns"][key], row["against_full"].get(key)
            cell = "-" if figure is None else f"{figure['mean']:.3f}"
            if figure is not None and figure["std"] is not None:
                cell += f" ± {figure['std']:.3f}"
            if figure is not None and against is not None:
                cell += f" ({against['full_better']}/{against['pairs']})"
            cells.append(cell)
        lines.append("| " + " | ".join(cells) + " |")
    seeds = ", ".join(str(seed) for seed in table["seeds"])
    return (
        "\n".join(lines)
        + f"\n\nMean ± standard deviation over {table['train_seeds']} training seed(s) of stage 3 and test rooms of "
        + f"seeds {seeds}; in brackets, in how many of the same pairs the full model is better.\n"
    )


# --- measurements -----------------------------------------------------------------------------------------------------


def _result(plan: Ablations, name: str, train_seed: int, seed: int) -> Path:
    return plan.out / "results" / f"{name}-train{train_seed}-rooms{seed}.json"


def _evaluate(plan: Ablations, name: str, train_seed: int, seed: int, say: Callable[[str], None]) -> None:
    import torch

    from uniugg_core.pipeline import UniUGGPipeline

    from .evaluation.rooms import RoomsEvaluation, evaluate_rooms
    from .evaluation.tables import write_json

    path, variant = _result(plan, name, train_seed, seed), VARIANTS[name]
    wanted = {"samples": 1, **plan.evaluation, "seed": seed, "imagine": variant.imagines}
    if not variant.answers:
        wanted["questions"] = 0
    settings = RoomsEvaluation(**wanted)
    folder = plan.folder(variant.step, train_seed)
    model = folder / "model" if (folder / "model").is_dir() else folder
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        if (before["scenes"], before["model"]["folder"]) == (settings.scenes, str(model)):
            return
    device = (
        "cuda" if plan.settings(variant.step, train_seed).run.device == "auto" and torch.cuda.is_available() else "cpu"
    )
    say(f"measuring {name}, training seed {train_seed}, rooms of seed {seed}")
    report = evaluate_rooms(UniUGGPipeline.from_pretrained(model, device=device), settings).report
    part = path.with_suffix(".part")
    write_json({**report, "model": {**report["model"], "folder": str(model)}}, part)
    os.replace(part, path)


def _write(plan: Ablations) -> None:
    table = summary(plan)
    write_atomically(plan.out / "ablations.json", json.dumps(table, indent=2) + "\n")
    write_atomically(plan.out / "ablations.md", markdown(table))


def _columns(report: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for key, (_, path, _) in COLUMNS.items():
        value: Any = report
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, (int, float)) and math.isfinite(value):
            found[key] = float(value)
    return found


def _spread(values: Sequence[float]) -> dict[str, Any] | None:
    if not values:
        return None
    return {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else None, "values": list(values)}


def _against(
    own: Mapping[tuple[int, int], Mapping[str, float]], full: Mapping[tuple[int, int], Mapping[str, float]], key: str
) -> dict[str, Any] | None:
    pairs = [(own[at][key], full[at][key]) for at in own if at in full and key in own[at] and key in full[at]]
    if not pairs:
        return None
    better = sum(theirs < mine if COLUMNS[key][2] else theirs > mine for mine, theirs in pairs)
    difference = _spread([mine - theirs for mine, theirs in pairs]) or {}
    return {"mean": difference["mean"], "std": difference["std"], "pairs": len(pairs), "full_better": better}
