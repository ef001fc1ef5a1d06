"""Rigid transforms and unit quaternions, in NumPy float64.

A transform is named ``target_from_source``: it takes coordinates in the source frame to coordinates in the target
frame, ``p_target = target_from_source @ [p_source, 1]``. Metres and radians; quaternions are (x, y, z, w) as in ROS.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ErrorCode, UniuggError

__all__ = [
    "axis_rotation",
    "baseline",
    "check_reach",
    "check_rigid",
    "inverse_rigid",
    "matrix_from_quaternion",
    "quaternion_from_matrix",
    "rigid",
    "rotation_angle",
]

QUATERNION_TOLERANCE = 1e-2  # on the squared norm: takes quaternions typed with two decimals, not sloppy ones
ROTATION_TOLERANCE = 1e-3  # on every entry of R^T R - I: takes float32 matrices after many products


def rigid(rotation: ArrayLike, translation: ArrayLike) -> np.ndarray:
    """The (4, 4) transform of a rotation matrix (3, 3) or quaternion (4,) and a translation (3,) in metres.

    Raises:
        UniuggError: POSE_INVALID, see :func:`check_rigid` and :func:`matrix_from_quaternion`.
    """
    turn = _numbers(rotation, "rotation")
    shift = _numbers(translation, "translation")
    if turn.shape == (4,):
        turn = matrix_from_quaternion(turn)
    if turn.shape != (3, 3) or shift.shape != (3,):
        raise UniuggError(
            ErrorCode.POSE_INVALID,
            f"rotation has shape {turn.shape} and translation {shift.shape}, expected (3, 3) or (4,), and (3,)",
        )
    transform = np.eye(4)
    transform[:3, :3] = turn
    transform[:3, 3] = shift
    return check_rigid(transform)


def check_rigid(transform: ArrayLike, name: str = "transform") -> np.ndarray:
    """The (4, 4) transform as float64, once it is known to be finite and rigid.

    Raises:
        UniuggError: POSE_INVALID, saying what is wrong with `name`.
    """
    matrix = _numbers(transform, name)
    if matrix.shape != (4, 4):
        raise UniuggError(ErrorCode.POSE_INVALID, f"{name} has shape {matrix.shape}, expected (4, 4)")
    if not np.array_equal(matrix[3], (0.0, 0.0, 0.0, 1.0)):
        raise UniuggError(ErrorCode.POSE_INVALID, f"{name} has the last row {matrix[3].tolist()}, expected 0 0 0 1")
    turn = matrix[:3, :3]
    # Bounded before it is squared, so that absurd entries are refused without an overflow warning.
    if np.abs(turn).max() > 2 or np.abs(turn.T @ turn - np.eye(3)).max() > ROTATION_TOLERANCE:
        raise UniuggError(ErrorCode.POSE_INVALID, f"{name} does not hold a rotation: {turn.round(4).tolist()}")
    if np.linalg.det(turn) < 0:
        raise UniuggError(ErrorCode.POSE_INVALID, f"{name} mirrors space (determinant -1)")
    return matrix


def inverse_rigid(transform: ArrayLike) -> np.ndarray:
    """``source_from_target`` of a ``target_from_source``, for one (4, 4) or a stack (..., 4, 4)."""
    matrix = np.asarray(transform, dtype=np.float64)
    turn = np.swapaxes(matrix[..., :3, :3], -1, -2)
    inverse = np.zeros_like(matrix)
    inverse[..., :3, :3] = turn
    inverse[..., :3, 3:] = -turn @ matrix[..., :3, 3:]
    inverse[..., 3, 3] = 1.0
    return inverse


def matrix_from_quaternion(quaternion: ArrayLike, tolerance: float = QUATERNION_TOLERANCE) -> np.ndarray:
    """The rotation matrix (3, 3) of a quaternion (x, y, z, w), which is brought to unit length first.

    Args:
        tolerance: how far the squared norm may be from 1.

    Raises:
        UniuggError: POSE_INVALID for NaN, infinity, or a norm beyond `tolerance`.
    """
    xyzw = _numbers(quaternion, "quaternion")
    if xyzw.shape != (4,):
        raise UniuggError(ErrorCode.POSE_INVALID, f"quaternion has shape {xyzw.shape}, expected (4,)")
    norm = math.hypot(*xyzw)  # no overflow, however large the entries
    if abs(min(norm, 1e6) ** 2 - 1.0) > tolerance:
        raise UniuggError(ErrorCode.POSE_INVALID, f"quaternion {xyzw.tolist()} has norm {norm:.6g}, expected 1")
    x, y, z, w = xyzw / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_matrix(rotation: ArrayLike) -> np.ndarray:
    """The unit quaternion (x, y, z, w), w >= 0, of a rotation matrix (3, 3) or of a transform's (4, 4).

    Raises:
        UniuggError: POSE_INVALID if it is no rotation.
    """
    matrix = np.asarray(rotation, dtype=np.float64)
    r = check_rigid(matrix)[:3, :3] if matrix.shape == (4, 4) else rigid(matrix, np.zeros(3))[:3, :3]
    # The largest of the four squared components is divided by, so the result is exact to rounding for every rotation.
    squares = np.array(
        [
            1 + r[0, 0] - r[1, 1] - r[2, 2],
            1 - r[0, 0] + r[1, 1] - r[2, 2],
            1 - r[0, 0] - r[1, 1] + r[2, 2],
            1 + np.trace(r),
        ]
    )
    products = np.array(
        [
            [0, r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[2, 1] - r[1, 2]],
            [0, 0, r[1, 2] + r[2, 1], r[0, 2] - r[2, 0]],
            [0, 0, 0, r[1, 0] - r[0, 1]],
            [0, 0, 0, 0],
        ]
    )
    products += products.T + np.diag(squares)
    quaternion = products[int(squares.argmax())]
    quaternion = quaternion / np.linalg.norm(quaternion)
    return -quaternion if quaternion[3] < 0 else quaternion


def axis_rotation(axis: int, angle: float) -> np.ndarray:
    """The right-handed rotation (3, 3) by `angle` radians about coordinate axis 0 (x), 1 (y) or 2 (z)."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[a, a] = turn[b, b] = math.cos(angle)
    turn[b, a] = math.sin(angle)
    turn[a, b] = -math.sin(angle)
    return turn


def rotation_angle(transform: ArrayLike) -> float:
    """Angle in radians, 0 to pi, by which a transform (4, 4) or rotation (3, 3) turns."""
    r = np.asarray(transform, dtype=np.float64)[:3, :3]
    sine = 0.5 * math.hypot(r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1])
    return math.atan2(sine, 0.5 * (float(np.trace(r)) - 1.0))  # exact for tiny angles, where arccos is not


def baseline(transform: ArrayLike) -> float:
    """Distance in metres between the origins of the two frames of a transform (4, 4)."""
    return math.hypot(*np.asarray(transform, dtype=np.float64)[:3, 3])


def check_reach(transform: ArrayLike, max_distance: float, max_angle: float, name: str = "target pose") -> None:
    """Refuses a transform that moves farther (metres) or turns more (radians) than allowed.

    Raises:
        UniuggError: POSE_OUT_OF_RANGE, with the value and the limit.
    """
    distance, angle = baseline(transform), rotation_angle(transform)
    if not distance <= max_distance:
        raise UniuggError(
            ErrorCode.POSE_OUT_OF_RANGE, f"{name} is {distance:.6g} m away, the limit is {max_distance:.6g} m"
        )
    if not angle <= max_angle + 1e-9:
        raise UniuggError(
            ErrorCode.POSE_OUT_OF_RANGE,
            f"{name} is turned by {math.degrees(angle):.1f} degrees, the limit is {math.degrees(max_angle):.1f}",
        )


def _numbers(value: ArrayLike, name: str) -> np.ndarray:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UniuggError(ErrorCode.POSE_INVALID, f"{name} is {value!r}, expected numbers") from None
    if not np.isfinite(array).all():
        raise UniuggError(ErrorCode.POSE_INVALID, f"{name} holds NaN or infinity: {array.tolist()}")
    return array
