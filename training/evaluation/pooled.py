"""Figures over many scenes, from what was measured in each.

Medians and means run over the pixels of all scenes together; F-scores add up the counts. Intervals come from drawing
the scenes anew (bootstrap), since the pixels of one scene are anything but independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .geometry import F_DISTANCES, PARTS, MethodRecord, SceneTruth, f_score
from .things import SeenThing

__all__ = [
    "ANGLES",
    "BASELINES",
    "FREE",
    "NETWORK",
    "OURS",
    "SURFACES",
    "TOLD",
    "SceneRecord",
    "by_motion",
    "part_figures",
    "pose_figures",
    "reference_figures",
]

OURS = "imagined"  # as the pipeline shows it
NETWORK = "network"  # the same without what was observed
TOLD = "pictures"  # where the second of two real pictures was taken, as questions about both are told it
SURFACES = "surfaces"  # the room's, as the reference shows them, gone on: the part of ours that needs no imagination
FREE = ("moved", "filled")  # baselines from the model's own cloud, those that the ratio refers to
ANGLES = (0.0, 15.0, 30.0, 45.0, 60.0, 90.0, 180.0)  # degrees
BASELINES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, math.inf)  # metres
_DRAWS = 400
_BINS = np.concatenate([[0.0], np.geomspace(1e-4, 1e2, 2000), [np.inf]])  # of relative errors, 0.7 % apart


@dataclass(frozen=True)
class SceneRecord:
    """What was measured in one scene."""

    index: int
    angle: float
    baseline: float
    seen: np.ndarray  # (n,) bool, of the picked pixels
    methods: dict[str, MethodRecord]
    reference: np.ndarray  # relative errors of the predicted reference cloud, at an even grid of its pixels
    spread: np.ndarray | None = None  # (n,) relative spread of the samples
    sharp: np.ndarray | None = None  # (n,) what the confidence head says of the first sample, 1 / confidence
    poses: dict[str, tuple[float, float] | None] = field(default_factory=dict)  # method -> degrees, metres, by PnP;
    # and of TOLD
    things: list[SeenThing] = field(default_factory=list)  # of the reference picture, where instance maps are known

    @classmethod
    def of(cls, truth: SceneTruth, methods: dict[str, MethodRecord], reference: np.ndarray, **more: Any) -> SceneRecord:
        """The record of a scene with this truth."""
        return cls(truth.index, truth.angle, truth.baseline, truth.seen[truth.pick], methods, reference, **more)

    def part(self, name: str) -> np.ndarray:
        """(n,) bool: which picked pixels belong to the part."""
        return {"seen": self.seen, "unseen": ~self.seen, "all": np.ones_like(self.seen)}[name]

    def error(self, method: str, part: str) -> np.ndarray:
        """Relative errors of the part's pixels."""
        return self.methods[method].error[self.part(part)]


def part_figures(records: Sequence[SceneRecord], part: str) -> dict[str, Any]:
    """All figures of one part ("seen", "unseen" or "all").

    Returns:
        ``error_ratio``: our median relative point error over that of the best free baseline, ``error_ratio_interval``
        its 95 % interval, ``best_baseline`` its name, ``ratio_to`` the same ratio to each free baseline, ``share``
        of the pixels, ``methods``: the figures of each.
    """
    names = list(records[0].methods) if records else []
    methods = {name: _method(records, name, part) for name in names}
    free = {name: methods[name]["error"] for name in FREE if methods.get(name, {}).get("error") is not None}
    best = min(free, key=lambda name: free[name]) if free else None
    ours = methods.get(OURS, {}).get("error")
    ratio = ours / free[best] if best is not None and ours is not None and free[best] > 0 else None
    total = sum(len(record.seen) for record in records)
    return {
        "error_ratio": ratio,
        "error_ratio_interval": None if ratio is None else _ratio_interval(records, part),
        "best_baseline": best,
        "ratio_to": {name: ours / error for name, error in free.items() if ours is not None and error > 0},
        "share": sum(int(record.part(part).sum()) for record in records) / total if total else None,
        "methods": methods,
    }


def by_motion(
    records: Sequence[SceneRecord], size: Callable[[SceneRecord], float], edges: Sequence[float]
) -> list[dict[str, Any]]:
    """Median errors of every method for scenes whose motion is in each of the ranges; empty ranges are left out."""
    rows = []
    for low, high in zip(edges, edges[1:]):
        chosen = [record for record in records if low <= size(record) < high or (high == edges[-1] == size(record))]
        if chosen:
            errors = {
                part: {name: _median(record.error(name, part) for record in chosen) for name in chosen[0].methods}
                for part in PARTS
            }
            row = {"from": low, "to": high if math.isfinite(high) else None, "scenes": len(chosen), **errors}
            rows.append({**row, "pose": pose_figures(chosen)})
    return rows


def pose_figures(records: Sequence[SceneRecord]) -> dict[str, Any]:
    """By method the medians of the pose found by PnP against the commanded one, and how often one was found.

    ``pictures`` is none: it is how far off questions are told that the second real picture was taken.
    """
    figures = {}
    for name in records[0].poses if records else ():
        found = [pose for record in records if (pose := record.poses.get(name)) is not None]
        figures[name] = {
            "rotation_deg": float(np.median([turn for turn, _ in found])) if found else None,
            "translation_m": float(np.median([shift for _, shift in found])) if found else None,
            "found": len(found) / len(records),
        }
    return figures


def reference_figures(records: Sequence[SceneRecord]) -> dict[str, Any]:
    """How good the cloud is that the free baselines are made from: median relative point error of the reference."""
    return {"error": _median(record.reference for record in records)}


def _method(records: Sequence[SceneRecord], name: str, part: str) -> dict[str, float | None]:
    having = [record for record in records if name in record.methods]
    depth = _joined(record.methods[name].depth[record.part(part)] for record in having)
    within = _joined(record.methods[name].within[record.part(part)] for record in having)
    known = _joined(record.methods[name].known[record.part(part)] for record in having)
    figures: dict[str, float | None] = {
        "error": _median(record.error(name, part) for record in having),
        "abs_rel": _mean(depth),
        "delta_1.25": _mean(within),
        "coverage": _mean(known),
    }
    if part == "all":
        chamfers = [record.methods[name].chamfer for record in having]
        figures["chamfer_m"] = _mean(np.array([value for value in chamfers if math.isfinite(value)]))
    counted = [record.methods[name].hits[part] for record in having if record.methods[name].hits]
    for number, distance in enumerate(F_DISTANCES):
        score = f_score(np.sum(counted, axis=0)[number]) if counted else math.nan
        figures[f"f_{round(100 * distance)}cm"] = None if math.isnan(score) else score
    return figures


def _ratio_interval(records: Sequence[SceneRecord], part: str) -> tuple[float, float] | None:
    """95 % interval of the ratio; in each draw the baseline that is best there."""
    counts = {
        name: np.stack([np.histogram(record.error(name, part), _BINS)[0] for record in records])
        for name in (OURS, *FREE)
    }
    generator = np.random.default_rng(0)
    weights = generator.multinomial(len(records), np.full(len(records), 1 / len(records)), size=_DRAWS)
    medians = {name: _histogram_medians(weights @ table) for name, table in counts.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = medians[OURS] / np.min([medians[name] for name in FREE], axis=0)
    ratios = ratios[np.isfinite(ratios)]
    if not len(ratios):
        return None
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(low), float(high)


def _histogram_medians(tables: np.ndarray) -> np.ndarray:
    """(draws, bins) of :data:`_BINS` to the median of each draw, to a bin's width; NaN without entries."""
    total = tables.cumsum(1)
    middle = (total >= total[:, -1:] / 2).argmax(1)
    upper = np.where(np.isfinite(_BINS[middle + 1]), _BINS[middle + 1], _BINS[-2])
    return np.where(total[:, -1] > 0, np.sqrt(np.maximum(_BINS[middle], 1e-5) * upper), np.nan)


def _joined(arrays: Iterable[np.ndarray]) -> np.ndarray:
    found = list(arrays)
    return np.concatenate(found) if found else np.zeros(0)


def _median(arrays: Iterable[np.ndarray]) -> float | None:
    values = _joined(arrays)
    return float(np.median(values)) if len(values) else None


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean(dtype=np.float64)) if len(values) else None
