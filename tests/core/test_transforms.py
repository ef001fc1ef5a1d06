"""Rigid transforms and quaternions: known answers, round trips, and what must be refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uniugg_core.cameras import (
    axis_rotation,
    baseline,
    check_reach,
    check_rigid,
    inverse_rigid,
    matrix_from_quaternion,
    quaternion_from_matrix,
    rigid,
    rotation_angle,
)
from uniugg_core.errors import ErrorCode, UniuggError

angles = st.floats(-math.pi, math.pi)
metres = st.floats(-100.0, 100.0)


@st.composite
def transforms(draw):
    turn = axis_rotation(0, draw(angles)) @ axis_rotation(1, draw(angles)) @ axis_rotation(2, draw(angles))
    return rigid(turn, [draw(metres), draw(metres), draw(metres)])


@settings(deadline=None, max_examples=60)
@given(transforms(), transforms())
def test_inverse_and_products_stay_rigid(a, b):
    assert np.allclose(inverse_rigid(a) @ a, np.eye(4), atol=1e-9)
    assert np.allclose(inverse_rigid(a @ b), inverse_rigid(b) @ inverse_rigid(a), atol=1e-9)
    check_rigid(a @ b)
    assert np.allclose(inverse_rigid(np.stack([a, b]))[1], inverse_rigid(b))


@settings(deadline=None, max_examples=100)
@given(transforms())
def test_quaternion_round_trip(a):
    quaternion = quaternion_from_matrix(a)
    assert math.isclose(np.linalg.norm(quaternion), 1.0, abs_tol=1e-12)
    assert quaternion[3] >= 0
    assert np.allclose(matrix_from_quaternion(quaternion), a[:3, :3], atol=1e-9)


@pytest.mark.parametrize(
    ("quaternion", "moved"),
    [
        ((0, 0, math.sqrt(0.5), math.sqrt(0.5)), (0, 1, 0)),  # 90 degrees about z: x goes to y
        ((0, math.sqrt(0.5), 0, math.sqrt(0.5)), (0, 0, -1)),  # about y: x goes to -z
        ((math.sqrt(0.5), 0, 0, math.sqrt(0.5)), (1, 0, 0)),  # about x: x stays
        ((0, 0, 1, 0), (-1, 0, 0)),  # half a turn, w = 0
    ],
)
def test_known_quaternions(quaternion, moved):
    assert np.allclose(matrix_from_quaternion(quaternion) @ (1, 0, 0), moved)
    assert np.allclose(np.abs(quaternion_from_matrix(matrix_from_quaternion(quaternion))), np.abs(quaternion))


def test_a_quaternion_typed_with_two_decimals_is_taken_and_made_exact():
    turn = matrix_from_quaternion((0, 0.71, 0, 0.71))
    assert np.allclose(turn, axis_rotation(1, math.pi / 2), atol=1e-12)


@pytest.mark.parametrize(
    "quaternion",
    [(0, 0, 0, 0), (0, 0, 0, 2), (0, 0, 0, 0.9), (math.nan, 0, 0, 1), (0, math.inf, 0, 0), (1e200, 0, 0, 0), (0, 0, 1)],
)
def test_bad_quaternions_are_refused(quaternion):
    with pytest.raises(UniuggError) as caught:
        matrix_from_quaternion(quaternion)
    assert caught.value.code is ErrorCode.POSE_INVALID


def _broken(row, column, value):
    matrix = np.eye(4)
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize(
    "matrix",
    [
        np.eye(3),
        _broken(0, 3, math.nan),
        _broken(1, 1, math.inf),
        _broken(3, 3, 0.5),
        _broken(3, 0, 1.0),
        _broken(0, 0, 2.0),
        _broken(0, 0, -1.0),  # a mirror
        _broken(0, 1, 1e300),
        np.zeros((4, 4)),
        "not a matrix",
        None,
    ],
)
def test_what_is_not_rigid_is_refused(matrix):
    with pytest.raises(UniuggError) as caught:
        check_rigid(matrix)
    assert caught.value.code is ErrorCode.POSE_INVALID


@settings(deadline=None, max_examples=60)
@given(st.floats(0.0, math.pi), st.integers(0, 2), metres, metres, metres)
def test_angle_and_baseline(angle, axis, x, y, z):
    transform = rigid(axis_rotation(axis, angle), (x, y, z))
    assert math.isclose(rotation_angle(transform), angle, abs_tol=1e-7)
    assert math.isclose(baseline(transform), math.sqrt(x * x + y * y + z * z), rel_tol=1e-12, abs_tol=1e-12)
    assert math.isclose(rotation_angle(inverse_rigid(transform)), angle, abs_tol=1e-7)
    assert math.isclose(baseline(inverse_rigid(transform)), baseline(transform), rel_tol=1e-9, abs_tol=1e-12)


def test_tiny_angles_are_not_lost():
    assert math.isclose(rotation_angle(axis_rotation(0, 1e-9)), 1e-9, rel_tol=1e-6)


def test_reach():
    transform = rigid(axis_rotation(1, math.radians(50)), (3, 0, 4))
    check_reach(transform, 5.0, math.radians(50))
    for limits in ((4.9, 3.0), (10.0, math.radians(49)), (math.nan, 3.0)):
        with pytest.raises(UniuggError) as caught:
            check_reach(transform, *limits)
        assert caught.value.code is ErrorCode.POSE_OUT_OF_RANGE
    with pytest.raises(UniuggError, match="1e"):
        check_reach(rigid(np.eye(3), (1e9, 0, 0)), 100.0, 3.0)
