"""Lens distortion on the plane z = 1: OpenCV's polynomial models and its fisheye, both ways, on arrays.

Plane coordinates are (x/z, y/z). `distort` bends them as the lens does, `undistort` straightens them; the second has
no closed form and is solved by Newton's method, to far below a thousandth of a pixel, where OpenCV's own default stops
after five rounds with whole pixels of error on wide lenses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

__all__ = ["distort", "distort_fisheye", "undistort", "undistort_fisheye"]

MAX_ANGLE = math.radians(89.0)  # rays farther off the axis have no point on the plane z = 1
_ROUNDS = 20
_STEP = 1e-6  # of the numerical derivative
_LONGEST = 0.5  # no Newton step is longer, so that a poor start does not throw a point across the plane
_CLOSE = 1e-7  # plane units; about a ten-thousandth of a pixel


def distort(plane: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """Bent plane coordinates (N, 2) of straight ones, for 4, 5, 8, 12 or 14 coefficients in OpenCV's order."""
    if not len(plane):
        return plane
    rays = np.concatenate([plane, np.ones((len(plane), 1))], axis=1)
    bent = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), np.eye(3), np.array(coefficients))[0]
    return bent.reshape(-1, 2)


def undistort(plane: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """The inverse of :func:`distort`; NaN where the polynomial never reaches."""
    straight = plane.copy()
    for _ in range(_ROUNDS):
        bent = distort(straight, coefficients)
        missing = plane - bent
        if not np.abs(missing).max(initial=0.0) > 1e-12:
            break
        along_x = (distort(straight + (_STEP, 0.0), coefficients) - bent) / _STEP
        along_y = (distort(straight + (0.0, _STEP), coefficients) - bent) / _STEP
        with np.errstate(all="ignore"):
            determinant = along_x[:, 0] * along_y[:, 1] - along_x[:, 1] * along_y[:, 0]
            dx = (missing[:, 0] * along_y[:, 1] - missing[:, 1] * along_y[:, 0]) / determinant
            dy = (missing[:, 1] * along_x[:, 0] - missing[:, 0] * along_x[:, 1]) / determinant
            shorten = _LONGEST / np.maximum(np.hypot(dx, dy), _LONGEST)
        straight = straight + np.stack([dx * shorten, dy * shorten], axis=1)
    lost = ~(np.abs(distort(straight, coefficients) - plane).max(axis=1, initial=0.0) < _CLOSE)
    straight[lost] = np.nan
    return straight


def distort_fisheye(plane: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """Bent plane coordinates (N, 2) of straight ones through the equidistant lens.

    A ray at angle theta off the axis lands at radius ``theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8)``
    (J. Kannala and S. Brandt, A generic camera model, TPAMI 2006, as parameterised in OpenCV's manual).
    """
    radius = np.hypot(plane[:, 0], plane[:, 1])
    theta = np.arctan(radius)
    bent = theta * _polynomial(theta, coefficients)
    return plane * np.where(radius > 1e-12, bent / np.maximum(radius, 1e-12), 1.0)[:, None]


def undistort_fisheye(plane: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """The inverse of :func:`distort_fisheye`; angles end at 89 degrees."""
    bent = np.hypot(plane[:, 0], plane[:, 1])
    k1, k2, k3, k4 = coefficients
    theta = np.minimum(bent, MAX_ANGLE)
    for _ in range(_ROUNDS):
        square = theta * theta
        slope = 1 + square * (3 * k1 + square * (5 * k2 + square * (7 * k3 + square * 9 * k4)))
        # Past the turning point of a bad polynomial the slope is not positive; the bounds keep the search in range.
        step = (theta * _polynomial(theta, coefficients) - bent) / np.maximum(slope, 1e-3)
        theta = np.clip(theta - step, 0.0, MAX_ANGLE)
    return plane * np.where(bent > 1e-12, np.tan(theta) / np.maximum(bent, 1e-12), 1.0)[:, None]


def _polynomial(theta: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    k1, k2, k3, k4 = coefficients
    square = theta * theta
    return 1 + square * (k1 + square * (k2 + square * (k3 + square * k4)))
