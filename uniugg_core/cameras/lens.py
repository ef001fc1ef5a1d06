"""Lens distortion on the plane z = 1: OpenCV's polynomial models and its fisheye, both ways, on arrays.

Plane coordinates are (x/z, y/z). `distort` bends them as the lens does, `undistort` straightens them; the second has
no closed form and is solved by Newton's method, to far below a thousandth of a pixel, where OpenCV's own default stops
after five rounds with whole pixels of error on wide lenses. The formulas are those of OpenCV's manual (calib3d).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["distort", "distort_fisheye", "fold_radius", "undistort", "undistort_fisheye"]

MAX_ANGLE = math.radians(89.0)  # rays farther off the axis have no point on the plane z = 1
_ROUNDS = 20
_LONGEST = 0.5  # no Newton step is longer, so that a poor start does not throw a point across the plane
_CLOSE = 1e-7  # plane units; about a ten-thousandth of a pixel


def distort(plane: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """Bent plane coordinates (N, 2) of straight ones, for 4, 5, 8, 12 or 14 coefficients in OpenCV's order."""
    bent, _ = _bend(plane, _padded(coefficients))
    return _homography(_tilt(coefficients), bent)


def undistort(plane: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """The inverse of :func:`distort`; NaN where the polynomial never reaches, or only after folding back."""
    padded = _padded(coefficients)
    wanted = _homography(np.linalg.inv(_tilt(coefficients)), plane)
    straight = wanted.copy()
    with np.errstate(all="ignore"):
        for _ in range(_ROUNDS):
            bent, (xx, xy, yx, yy) = _bend(straight, padded)
            missing = wanted - bent
            if not np.abs(missing).max(initial=0.0) > 1e-13:
                break
            determinant = xx * yy - xy * yx
            dx = (missing[:, 0] * yy - missing[:, 1] * xy) / determinant
            dy = (missing[:, 1] * xx - missing[:, 0] * yx) / determinant
            shorten = _LONGEST / np.maximum(np.hypot(dx, dy), _LONGEST)
            straight = straight + np.stack([dx * shorten, dy * shorten], axis=1)
        bent, (xx, xy, yx, yy) = _bend(straight, padded)
        reached = np.abs(bent - wanted).max(axis=1, initial=0.0) < _CLOSE
        unfolded = np.hypot(straight[:, 0], straight[:, 1]) < fold_radius(coefficients)
    straight[~(reached & unfolded)] = np.nan
    return straight


def fold_radius(coefficients: Sequence[float]) -> float:
    """Radius on the plane at which the radial polynomial stops growing and the picture folds over; inf if it does not.

    Looked for up to radius 4 (76 degrees off the axis).
    """
    radius = np.linspace(0.0, 4.0, 4001)
    line = np.stack([radius, np.zeros_like(radius)], axis=1)
    radial = np.array(_padded(coefficients))
    radial[[2, 3, 8, 9, 10, 11]] = 0.0
    with np.errstate(all="ignore"):
        slope = _bend(line, tuple(radial))[1][0]
    folded = ~(slope > 0.0)
    return float(radius[folded.argmax()]) if folded.any() else math.inf


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
    """The inverse of :func:`distort_fisheye`; NaN beyond 89 degrees off the axis, or where no angle reaches."""
    bent = np.hypot(plane[:, 0], plane[:, 1])
    k1, k2, k3, k4 = coefficients
    theta = np.minimum(bent, MAX_ANGLE)
    for _ in range(_ROUNDS):
        square = theta * theta
        slope = 1 + square * (3 * k1 + square * (5 * k2 + square * (7 * k3 + square * 9 * k4)))
        # Past the turning point of a bad polynomial the slope is not positive; the bounds keep the search in range.
        step = (theta * _polynomial(theta, coefficients) - bent) / np.maximum(slope, 1e-3)
        theta = np.clip(theta - step, 0.0, MAX_ANGLE)
    stretch = np.where(bent > 1e-12, np.tan(theta) / np.maximum(bent, 1e-12), 1.0)
    reached = np.abs(theta * _polynomial(theta, coefficients) - bent) < _CLOSE
    return plane * np.where(reached, stretch, np.nan)[:, None]


def _polynomial(theta: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    k1, k2, k3, k4 = coefficients
    square = theta * theta
    return 1 + square * (k1 + square * (k2 + square * (k3 + square * k4)))


def _padded(coefficients: Sequence[float]) -> tuple[float, ...]:
    return (*coefficients[:12], *[0.0] * (12 - len(coefficients)))


def _bend(plane: np.ndarray, coefficients: Sequence[float]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Radial, tangential and thin-prism distortion, and its derivatives (dx'/dx, dx'/dy, dy'/dx, dy'/dy)."""
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = coefficients
    x, y = plane[:, 0], plane[:, 1]
    q = x * x + y * y  # the squared radius
    above, below = 1 + q * (k1 + q * (k2 + q * k3)), 1 + q * (k4 + q * (k5 + q * k6))
    radial = above / below
    slope = ((k1 + q * (2 * k2 + q * 3 * k3)) - radial * (k4 + q * (2 * k5 + q * 3 * k6))) / below  # d radial / d q
    bent_x = x * radial + 2 * p1 * x * y + p2 * (q + 2 * x * x) + q * (s1 + q * s2)
    bent_y = y * radial + p1 * (q + 2 * y * y) + 2 * p2 * x * y + q * (s3 + q * s4)
    prism_x, prism_y = 2 * (s1 + 2 * q * s2), 2 * (s3 + 2 * q * s4)
    cross = 2 * x * y * slope + 2 * (p1 * x + p2 * y)
    derivatives = (
        radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x + prism_x * x,
        cross + prism_x * y,
        cross + prism_y * x,
        radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x + prism_y * y,
    )
    return np.stack([bent_x, bent_y], axis=1), derivatives


def _tilt(coefficients: Sequence[float]) -> np.ndarray:
    """The homography of a tilted sensor, coefficients 13 and 14; the identity without them."""
    if len(coefficients) < 14 or not any(coefficients[12:14]):
        return np.eye(3)
    (sin_x, sin_y), (cos_x, cos_y) = np.sin(coefficients[12:14]), np.cos(coefficients[12:14])
    about_x = np.array([[1, 0, 0], [0, cos_x, sin_x], [0, -sin_x, cos_x]])
    about_y = np.array([[cos_y, 0, -sin_y], [0, 1, 0], [sin_y, 0, cos_y]])
    turn = about_y @ about_x
    return np.array([[turn[2, 2], 0, -turn[0, 2]], [0, turn[2, 2], -turn[1, 2]], [0, 0, 1]]) @ turn


def _homography(matrix: np.ndarray, plane: np.ndarray) -> np.ndarray:
    if np.array_equal(matrix, np.eye(3)):
        return plane
    moved = plane @ matrix[:, :2].T + matrix[:, 2]
    return moved[:, :2] / moved[:, 2:]
