"""How well the reference picture's things are seen, one by one: which kinds come out too near or too far away."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.questions.sight import CLEAR
from ..data.world.classes import CLASSES

__all__ = ["DISTANCES", "SeenThing", "seen_things", "thing_figures"]

DISTANCES = (0.0, 1.0, 2.0, 3.0, 4.5, math.inf)  # metres


@dataclass(frozen=True)
class SeenThing:
    """One thing, or wall, or floor, in one picture."""

    name: str  # of its class
    distance: float  # metres, median over its pixels
    ratio: float  # of its predicted distance to the true one, median over its pixels


def seen_things(
    points: np.ndarray, true_points: np.ndarray, known: np.ndarray, instances: np.ndarray, classes: np.ndarray
) -> list[SeenThing]:
    """The things that take enough of a picture to be asked about.

    Args:
        points, true_points: (H, W, 3) metres in the camera's frame.
        known: (H, W) bool, where the truth is.
        instances, classes: (H, W) numbers of things, 0 for none, and of their classes.
    """
    distance, truth = (np.linalg.norm(cloud, axis=-1) for cloud in (points, true_points))
    found = []
    for number in np.unique(instances[known]):
        mask = known & (instances == number)
        if number == 0 or mask.mean() < CLEAR:
            continue
        name = CLASSES[int(np.bincount(classes[mask]).argmax())]
        ratio = np.median(distance[mask] / truth[mask])
        found.append(SeenThing(name, float(np.median(truth[mask])), float(ratio)))
    return found


def thing_figures(things: Sequence[SeenThing]) -> dict[str, Any] | None:
    """Figures of all things, by class and by distance (empty ranges are left out); None without any.

    ``error`` is the median of how far the ratio of predicted and true distance is from 1, ``bias`` its median less 1:
    above 0 what is seen too far away.
    """
    if not things:
        return None
    names = sorted({thing.name for thing in things})
    return {
        **_figures(things),
        "by_class": {name: _figures([thing for thing in things if thing.name == name]) for name in names},
        "by_distance": [
            {"from": low, "to": high if math.isfinite(high) else None, **_figures(part)}
            for low, high in itertools.pairwise(DISTANCES)
            if (part := [thing for thing in things if low <= thing.distance < high])
        ],
    }


def _figures(things: Sequence[SeenThing]) -> dict[str, float | int]:
    ratios = np.array([thing.ratio for thing in things])
    return {
        "things": len(things),
        "error": float(np.median(np.abs(ratios - 1))),
        "bias": float(np.median(ratios) - 1),
    }
