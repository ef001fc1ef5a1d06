"""The checks of a camera's numbers; each refusal is a UniuggError with CAMERA_INFO_INVALID that names the value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ErrorCode, UniuggError

__all__ = ["coefficient_row", "finite_numbers", "pinhole_matrix", "side_length", "sized_row", "whole"]

MAX_SIDE = 1 << 16  # pixels; no camera is larger, and products of sides stay far from any integer limit
MIN_FOCAL, MAX_ENTRY = 1e-2, 1e7  # pixels; beyond them rays lose their digits


def whole(value: object, name: str) -> int:
    """A Python int of a whole number from 0 to MAX_SIDE."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or not 0 <= value <= MAX_SIDE:
        raise UniuggError(
            ErrorCode.CAMERA_INFO_INVALID, f"camera {name} is {value!r}, expected a whole number, 0 to {MAX_SIDE}"
        )
    return int(value)


def side_length(value: object, name: str) -> int:
    """A whole number of pixels, at least 1."""
    side = whole(value, name)
    if side == 0:
        raise UniuggError(ErrorCode.CAMERA_INFO_INVALID, f"camera {name} is 0")
    return side


def sized_row(values: ArrayLike, count: int, name: str) -> np.ndarray:
    """(count,) finite numbers."""
    array = finite_numbers(values, name)
    if array.size != count:
        raise UniuggError(ErrorCode.CAMERA_INFO_INVALID, f"{name} has {array.size} numbers, expected {count}")
    return array.reshape(count)


def finite_numbers(values: ArrayLike, name: str) -> np.ndarray:
    """A float64 copy of finite numbers of any shape."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UniuggError(ErrorCode.CAMERA_INFO_INVALID, f"{name} is {values!r}, expected numbers") from None
    if not np.isfinite(array).all():
        raise UniuggError(ErrorCode.CAMERA_INFO_INVALID, f"{name} holds NaN or infinity: {array.tolist()}")
    return array


def pinhole_matrix(values: ArrayLike) -> np.ndarray:
    """A read-only float64 copy of a pinhole matrix (3, 3)."""
    matrix = finite_numbers(values, "K")
    if matrix.shape != (3, 3):
        raise UniuggError(ErrorCode.CAMERA_INFO_INVALID, f"K has shape {matrix.shape}, expected (3, 3)")
    if not np.array_equal(matrix[2], (0.0, 0.0, 1.0)) or matrix[1, 0] != 0.0:
        raise UniuggError(
            ErrorCode.CAMERA_INFO_INVALID, f"K is {matrix.tolist()}, expected an upper triangle, last row 0 0 1"
        )
    if np.abs(matrix).max() > MAX_ENTRY:
        raise UniuggError(ErrorCode.CAMERA_INFO_INVALID, f"K is {matrix.tolist()}, entries end at {MAX_ENTRY:g}")
    if not (matrix[0, 0] >= MIN_FOCAL and matrix[1, 1] >= MIN_FOCAL):
        raise UniuggError(
            ErrorCode.CAMERA_INFO_INVALID,
            f"focal lengths are {matrix[0, 0]:g} and {matrix[1, 1]:g}, which no calibrated camera has",
        )
    matrix.flags.writeable = False
    return matrix


def coefficient_row(values: Sequence[float]) -> tuple[float, ...]:
    """Distortion coefficients as plain floats."""
    array = finite_numbers(values, "distortion")
    if array.ndim != 1:
        raise UniuggError(
            ErrorCode.CAMERA_INFO_INVALID, f"distortion has shape {array.shape}, expected a row of numbers"
        )
    return tuple(array.tolist())
