"""Motions in words: the signs a person expects, and texts that must be refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uniugg_core.cameras import inverse_rigid, motion, orbit, parse_motion, rotation_angle
from uniugg_core.errors import ErrorCode, UniuggError

AHEAD = np.array([0.0, 0.0, 2.0, 1.0])  # a thing two metres in front of the reference camera


@pytest.mark.parametrize(
    ("text", "axis", "sign"),
    [
        ("yaw right 20", 0, -1),  # the camera turns right, so the thing moves to the left
        ("yaw left 20", 0, 1),
        ("turn right 20", 0, -1),
        ("look up 10", 1, 1),  # the camera looks up, so the thing moves down (y grows)
        ("pitch down 10", 1, -1),
        ("right 0.5", 0, -1),
        ("shift left", 0, 1),
        ("up 0.3", 1, 1),
        ("move down 30 cm", 1, -1),
        ("forward 0.5", 2, -1),  # it comes closer
        ("back 0.5", 2, 1),
    ],
)
def test_where_the_thing_ahead_goes(text, axis, sign):
    moved = parse_motion(text) @ AHEAD
    assert np.sign((moved - AHEAD)[axis]) == sign
    others = [other for other in (0, 1) if other != axis]
    assert np.allclose(moved[others], 0.0, atol=1e-12)


def test_roll_clockwise_turns_the_picture_counterclockwise():
    right_of_centre = np.array([1.0, 0.0, 2.0, 1.0])
    assert np.allclose(parse_motion("roll clockwise 90") @ right_of_centre, [0.0, -1.0, 2.0, 1.0])
    assert np.allclose(parse_motion("roll left 90") @ right_of_centre, [0.0, 1.0, 2.0, 1.0])


def test_known_answer_of_a_turn():
    reference_from_target = inverse_rigid(parse_motion("yaw right 30"))
    forward = reference_from_target[:3, 2]
    assert np.allclose(forward, [math.sin(math.radians(30)), 0.0, math.cos(math.radians(30))])


def test_parts_follow_each_other_from_where_the_camera_is():
    reference_from_target = inverse_rigid(parse_motion("yaw right 90, forward 2 and up 50cm"))
    assert np.allclose(reference_from_target[:3, 3], [2.0, -0.5, 0.0], atol=1e-12)
    shifted_first = inverse_rigid(parse_motion("forward 2; yaw right 90"))
    assert np.allclose(shifted_first[:3, 3], [0.0, 0.0, 2.0], atol=1e-12)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("yaw right 40", "yaw 40"),
        ("yaw left 40", "YAW -40 deg"),
        ("yaw right 20", "yaw right"),
        ("yaw right 40", "yaw right40°"),
        ("forward 0.3", "forward"),
        ("left 0.2", "left 20 cm"),
        ("left 0.2", "shift left 200mm"),
        ("", "stay"),
        ("right .5", "  right 0.5m , "),
        (f"yaw {math.degrees(1.0)}", "yaw 1 rad"),
    ],
)
def test_spellings(text, same):
    assert np.allclose(parse_motion(text), parse_motion(same))


def test_orbit_keeps_its_point_in_the_middle_at_its_distance():
    moved = parse_motion("orbit right 35 around 2") @ AHEAD
    assert np.allclose(moved, AHEAD)
    camera = inverse_rigid(orbit(math.radians(35), 2.0))
    assert camera[0, 3] > 0 and camera[1, 3] == 0


@settings(deadline=None, max_examples=50)
@given(*[st.floats(-1.0, 1.0)] * 6)
def test_motion_places_the_camera_where_it_says(yaw, pitch, roll, right, down, forward):
    pose = inverse_rigid(motion(yaw=yaw, pitch=pitch, roll=roll, right=right, down=down, forward=forward))
    assert np.allclose(pose[:3, 3], [right, down, forward])
    assert rotation_angle(pose) <= abs(yaw) + abs(pitch) + abs(roll) + 1e-9
    # Yaw and pitch alone say where the camera looks.
    looks = [math.sin(yaw) * math.cos(pitch), -math.sin(pitch), math.cos(yaw) * math.cos(pitch)]
    assert np.allclose(pose[:3, 2], looks)


@pytest.mark.parametrize(
    "text",
    [
        "jump",
        "yaw up 10",
        "forward 2 deg",
        "yaw right 10 m",
        "forward 0.5 0.5",
        "pitch around 2",
        "yaw right nan",
        "1 2 3",
        "forward --1",
        "yaw right 10 around 2",
        "x" * 501,
        "orbit 3",
        "__import__('os')",
    ],
)
def test_what_is_not_understood_is_refused(text):
    with pytest.raises(UniuggError) as caught:
        parse_motion(text)
    assert caught.value.code is ErrorCode.POSE_INVALID


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=60))
def test_any_text_gives_a_pose_or_the_coded_error(text):
    try:
        assert parse_motion(text).shape == (4, 4)
    except UniuggError as error:
        assert error.code is ErrorCode.POSE_INVALID


def test_numbers_that_are_none():
    with pytest.raises(UniuggError):
        motion(yaw=math.nan)
