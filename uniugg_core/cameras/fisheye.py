"""The equidistant lens (Kannala and Brandt's, OpenCV's ``fisheye``), vectorised in NumPy.

A ray at angle theta from the axis lands at radius ``theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8)``
of the plane z = 1 (J. Kannala, S. Brandt, A generic camera model, TPAMI 2006, as parameterised in OpenCV's manual).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["distort", "undistort"]

MAX_ANGLE = math.radians(89.0)  # rays farther out have no point on the plane z = 1
_ROUNDS = 20  # Newton's method halves its digits' gap each round; 20 is far beyond float64


def distort(plane: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """Bent plane coordinates (N, 2) of ideal plane coordinates x/z, y/z (N, 2)."""
    radius = np.hypot(plane[:, 0], plane[:, 1])
    theta = np.arctan(radius)
    bent = theta * _polynomial(theta, coefficients)
    return plane * np.where(radius > 1e-12, bent / np.maximum(radius, 1e-12), 1.0)[:, None]


def undistort(plane: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """Ideal plane coordinates (N, 2) of bent ones, the inverse of :func:`distort`; angles end at 89 degrees."""
    bent = np.hypot(plane[:, 0], plane[:, 1])
    k1, k2, k3, k4 = coefficients
    theta = np.minimum(bent, MAX_ANGLE)
    for _ in range(_ROUNDS):
        square = theta * theta
        slope = 1 + square * (3 * k1 + square * (5 * k2 + square * (7 * k3 + square * 9 * k4)))
        # Past the turning point of a bad polynomial the slope is not positive; the bound keeps the search in range.
        step = (theta * _polynomial(theta, coefficients) - bent) / np.maximum(slope, 1e-3)
        theta = np.clip(theta - step, 0.0, MAX_ANGLE)
    return plane * np.where(bent > 1e-12, np.tan(theta) / np.maximum(bent, 1e-12), 1.0)[:, None]


def _polynomial(theta: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    k1, k2, k3, k4 = coefficients
    square = theta * theta
    return 1 + square * (k1 + square * (k2 + square * (k3 + square * k4)))
