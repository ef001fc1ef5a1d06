"""Mean relative accuracy (MRA): how near a number is, in ten steps.

A prediction p of a truth y is compared with ten thresholds t in {.50, .55, ..., .95}: MRA is the share of them for
which the relative error is at most 1 - t.

The thresholds are those of the official script of VSI-Bench (vision-x-nyu/thinking-in-space @ e6a72f3,
``lmms_eval/tasks/vsibench/utils.py``, Apache-2.0): evenly spaced floats, whose number comes from (0.95 - 0.5) / 0.05
+ 2 = 10.999..., cut to 10. They are floats and not tenths, so an error that equals a limit on paper may fall on either
side of it: 11 for 10 meets the limit of 0.1, but 12 for 10 misses that of 0.2 (which is 0.19999999999999996) by one
bit. A published figure has these bits in it; they are kept.
"""

from __future__ import annotations

import numpy as np

__all__ = ["LIMITS", "THRESHOLDS", "mean_relative_accuracy", "relative_error"]

_START, _END, _STEP = 0.5, 0.95, 0.05
THRESHOLDS = np.linspace(_START, _END, int((_END - _START) / _STEP + 2))
"""The ten confidence thresholds, (10,) float64."""
LIMITS = 1 - THRESHOLDS
"""The ten largest relative errors that count, (10,) float64, falling."""


def relative_error(prediction: float, truth: float) -> float:
    """``|p - y| / |y|``; for y = 0, where that is undefined, ``|p|``, as SPAR-Bench does."""
    return abs(prediction - truth) / abs(truth) if truth != 0 else abs(prediction - truth)


def mean_relative_accuracy(prediction: float | None, truth: float) -> float:
    """The share of the ten thresholds that `prediction` passes, in [0, 1]; None, NaN and infinity pass none."""
    if prediction is None:
        return 0.0
    return float((relative_error(float(prediction), float(truth)) <= LIMITS).mean())
