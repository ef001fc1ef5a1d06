"""Percentiles of the demo's stage times."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .outcome import Outcome

__all__ = ["StageRow", "percentile", "stage_rows"]

ROUND_TRIP = "round trip"
AROUND = "of that, ROS and waiting"  # what is left when the node's own total is taken off


@dataclass(frozen=True)
class StageRow:
    """One line of the latency table: milliseconds over `count` requests of one job."""

    job: str
    stage: str
    count: int
    p50: float
    p99: float
    most: float


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that at least `share` of all values do not exceed.

    Raises:
        ValueError: if there are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def stage_rows(outcomes: Iterable[Outcome]) -> list[StageRow]:
    """The table: by job, the stages in the order in which the node names them, then the round trip."""
    samples: dict[tuple[str, str], list[float]] = {}
    for outcome in outcomes:
        if not outcome.good or outcome.refused_on_purpose:
            continue
        for stage, milliseconds in outcome.stages.items():
            samples.setdefault((outcome.job, stage), []).append(milliseconds)
        samples.setdefault((outcome.job, ROUND_TRIP), []).append(outcome.milliseconds)
        if "total" in outcome.stages:
            samples.setdefault((outcome.job, AROUND), []).append(outcome.milliseconds - outcome.stages["total"])
    last = {"total": 1, ROUND_TRIP: 2, AROUND: 3}
    ordered = sorted(samples, key=lambda key: (key[0] != "imagine", last.get(key[1], 0)))
    return [
        StageRow(job, stage, len(times), percentile(times, 0.5), percentile(times, 0.99), max(times))
        for job, stage in ordered
        for times in [samples[job, stage]]
    ]
