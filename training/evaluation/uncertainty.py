"""Does the model know where it is wrong? Spread of several samples against the error.

A pixel's spread is the root mean square distance of its k sampled points from their mean, over the mean's distance from
the target camera. Pixels are kept from the smallest spread on; the risk at coverage c is the mean relative point error
(no more than 1 each) of the share c that is kept. A useful spread gives a curve that falls from right to left; AURC is
the area under it: between that of a perfect order and that of none, which is the mean error.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["COVERAGES", "relative_spread", "risk_coverage"]

COVERAGES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_WORST = 1.0


def relative_spread(samples: np.ndarray) -> np.ndarray:
    """Spread (...) of sampled points (k, ..., 3) in the target camera's frame, relative to their distance."""
    mean = samples.mean(axis=0)
    spread = np.sqrt(((samples - mean) ** 2).sum(-1).mean(0))
    return (spread / np.maximum(np.linalg.norm(mean, axis=-1), 1e-6)).astype(np.float32)


def risk_coverage(doubt: np.ndarray, error: np.ndarray) -> dict[str, Any]:
    """The risk-coverage curve of pixels (n,) by rising doubt.

    Returns:
        ``coverage`` and ``risk`` (lists), ``aurc``, ``aurc_perfect`` (in the order of the errors themselves),
        ``aurc_random`` (no order: the mean error), ``gain`` (1 is perfect, 0 random, below 0 misleading), and
        ``falls``: whether the surest half is better than all. None without pixels.
    """
    if not len(error):
        return {
            "coverage": list(COVERAGES),
            "risk": [None] * len(COVERAGES),
            **dict.fromkeys(("aurc", "aurc_perfect", "aurc_random", "gain", "falls")),
        }
    error = np.minimum(error.astype(np.float64), _WORST)
    curve = _curve(error[np.argsort(doubt, kind="stable")])
    perfect, random = float(_curve(np.sort(error)).mean()), float(error.mean())
    aurc = float(curve.mean())
    risks = [float(curve[max(1, round(share * len(curve))) - 1]) for share in COVERAGES]
    return {
        "coverage": list(COVERAGES),
        "risk": risks,
        "aurc": aurc,
        "aurc_perfect": perfect,
        "aurc_random": random,
        "gain": (random - aurc) / (random - perfect) if random > perfect else None,
        "falls": bool(risks[COVERAGES.index(0.5)] < risks[-1]),
    }


def _curve(errors: np.ndarray) -> np.ndarray:
    return np.cumsum(errors) / np.arange(1, len(errors) + 1)
