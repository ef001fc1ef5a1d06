"""The report of an evaluation as text for people, and as JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .pooled import NETWORK, OURS, SURFACES, TOLD

__all__ = ["aligned", "rooms_table", "write_json"]

_FIGURES = (
    ("error", "error"),
    ("abs_rel", "AbsRel"),
    ("delta_1.25", "d<1.25"),
    ("f_5cm", "F 5cm"),
    ("f_10cm", "F 10cm"),
)
_TITLES = {
    OURS: "imagined",
    NETWORK: "imagined, network alone",
    SURFACES: "own surfaces, gone on",
    "moved": "own cloud moved",
    "filled": "own cloud, filled",
    "moved_true": "true depth moved",
    "filled_true": "true depth, filled",
    "oracle": "true features",
    "oracle_vae": "true features, VAE",
    "regression": "direct regression",
}

_COMMON = 5  # things of a class from which on it has a row


def write_json(report: dict[str, Any], path: str | Path) -> None:
    """Writes strict JSON: what is not finite becomes null."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_plain(report), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text: the first to the left, the others to the right; the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width) for n, (cell, width) in enumerate(zip(row, widths))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def rooms_table(report: dict[str, Any]) -> str:
    """What ``uniugg eval rooms`` prints."""
    model = report["model"]
    trained = "" if model["trained"] else ", untrained"
    scenes = "rooms of the test split" if report["what"] == "rooms" else f"held-out pairs of {report['what']}"
    blocks = [f"model {model['name']}{trained}; {report['scenes']} {scenes}, seed {report['seed']}"]
    for part in ("unseen", "seen"):
        figures = report[part]
        head = [f"{part} by the reference ({_percent(figures['share'])} of the pixels)", *(t for _, t in _FIGURES)]
        rows = [head]
        for name in sorted(figures["methods"], key=lambda n: list(_TITLES).index(n) if n in _TITLES else 99):
            values = figures["methods"][name]
            rows.append([f"  {_TITLES.get(name, name)}", *(_number(values[key]) for key, _ in _FIGURES)])
        ratio = f"  error / best free baseline ({figures['best_baseline']}): {_number(figures['error_ratio'])}"
        interval = figures["error_ratio_interval"]
        if interval is not None:
            ratio += f"  (95 %: {_number(interval[0])} to {_number(interval[1])})"
        blocks.append(f"{aligned(rows)}\n{ratio}")
    blocks.append(_motions(report))
    blocks.append(_clouds(report))
    if report["things"] is not None:
        blocks.append(_things(report["things"]))
    if report["vqa"] is not None:
        blocks.append(_answers(report["vqa"]))
    if report["uncertainty"] is not None:
        blocks.append(_uncertainty(report["uncertainty"]))
    return "\n\n".join(blocks)


def _motions(report: dict[str, Any]) -> str:
    rows = [["error by motion", "scenes", *(f"{part} {name}" for part in ("unseen", "seen") for name in _SHOWN)]]
    for key, unit in (("by_angle", "deg"), ("by_baseline", "m")):
        for row in report[key]:
            errors = [_number(row[part][name]) for part in ("unseen", "seen") for name in _SHOWN]
            rows.append([_range(row, unit), str(row["scenes"]), *errors])
    return aligned(rows)


def _clouds(report: dict[str, Any]) -> str:
    rows = [["whole view", "Chamfer m", "pose by PnP: deg", "m", "found"]]
    for name, figures in report["all"]["methods"].items():
        pose = report["pose"].get(name)
        cells = ["", "", ""]
        if pose is not None:
            cells = [_number(pose["rotation_deg"]), _number(pose["translation_m"]), _percent(pose["found"])]
        rows.append([f"  {_TITLES.get(name, name)}", _number(figures["chamfer_m"]), *cells])
    told = report["pose"].get(TOLD)
    if told is not None:
        cells = _number(told["rotation_deg"]), _number(told["translation_m"])
        rows.append(["  two real pictures, as told", "", *cells, ""])
    return aligned(rows)


def _things(figures: dict[str, Any]) -> str:
    rows = [["distance of what is seen", "things", "error", "too far by"]]
    for row in figures["by_distance"]:
        rows.append([_range(row, "m"), *_miss(row)])
    kinds = [(name, row) for name, row in figures["by_class"].items() if row["things"] >= _COMMON]
    for name, row in sorted(kinds, key=lambda kind: -kind[1]["error"]):
        rows.append([f"  {name}", *_miss(row)])
    return aligned([*rows, ["all of them", *_miss(figures)]])


def _miss(figures: dict[str, Any]) -> list[str]:
    return [str(figures["things"]), _percent(figures["error"]), _percent(figures["bias"])]


_SHOWN = (OURS, "filled", "oracle")


def _answers(figures: dict[str, Any]) -> str:
    rows = [["answers", "right", "blind", "chance", "questions"]]
    for name, family in figures["families"].items():
        rows.append([f"  {name}", *_rates(family), str(family["questions"])])
    rows += [[f"all {name}", *_rates(kind), str(kind["questions"])] for name, kind in figures["kinds"].items()]
    rows.append(["all questions", *_rates(figures), str(figures["questions"])])
    return aligned(rows)


def _uncertainty(figures: dict[str, Any]) -> str:
    names = [name for name in ("spread", "confidence") if name in figures]
    rows = [[f"risk of the surest ({figures['samples']} samples)", *names]]
    for number, share in enumerate(figures[names[0]]["coverage"]):
        rows.append([f"  {share:.0%}", *(_number(figures[name]["risk"][number]) for name in names)])
    for key in ("aurc", "aurc_perfect", "aurc_random"):
        rows.append([key, *(_number(figures[name][key]) for name in names)])
    spread = figures["median_spread"]
    return f"{aligned(rows)}\nmedian spread: seen {_number(spread['seen'])}, unseen {_number(spread['unseen'])}"


def _range(row: dict[str, Any], unit: str) -> str:
    end = f"to {row['to']:g}" if row["to"] is not None else "up"
    return f"  {row['from']:g} {end} {unit}"


def _rates(figures: dict[str, Any]) -> list[str]:
    return [_percent(figures[name]) for name in ("accuracy", "blind_accuracy", "chance")]


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
