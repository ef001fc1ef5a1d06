"""Our transform buffer: known answers, then properties."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniugg_core.cameras import axis_rotation, quaternion_from_matrix, rigid
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_ros import frames
from uniugg_ros.frames import SECOND, TransformBuffer

UNTURNED = (0.0, 0.0, 0.0, 1.0)


def quaternion(axis, degrees):
    return tuple(quaternion_from_matrix(axis_rotation(axis, math.radians(degrees))))


def refusal(function, *arguments):
    with pytest.raises(UniuggError) as caught:
        function(*arguments)
    return caught.value.code


def test_one_transform_and_its_inverse():
    buffer = TransformBuffer()
    buffer.insert("map", "camera", 0, (1, 2, 3), quaternion(2, 90), static=True)
    # the camera's x axis is the map's y axis
    point = buffer.lookup("map", "camera", 0) @ [1, 0, 0, 1]
    np.testing.assert_allclose(point[:3], [1, 3, 3], atol=1e-12)
    np.testing.assert_allclose(buffer.lookup("camera", "map", 0) @ point, [1, 0, 0, 1], atol=1e-12)


def test_a_frame_to_itself():
    buffer = TransformBuffer()
    buffer.insert("map", "camera", 0, (1, 2, 3), UNTURNED, static=True)
    np.testing.assert_array_equal(buffer.lookup("camera", "camera", 5), np.eye(4))


def test_the_way_goes_over_the_common_ancestor():
    buffer = TransformBuffer()
    buffer.insert("map", "base", 0, (10, 0, 0), UNTURNED, static=True)
    buffer.insert("base", "left", 0, (0, 1, 0), UNTURNED, static=True)
    buffer.insert("base", "right", 0, (0, -1, 0), quaternion(2, 180), static=True)
    np.testing.assert_allclose(buffer.lookup("left", "right", 0)[:3, 3], [0, -2, 0], atol=1e-12)
    np.testing.assert_allclose(buffer.lookup("right", "left", 0)[:3, 3], [0, -2, 0], atol=1e-12)
    np.testing.assert_allclose(buffer.lookup("map", "left", 0)[:3, 3], [10, 1, 0], atol=1e-12)


def test_halfway_in_time_is_halfway_in_place_and_turn():
    buffer = TransformBuffer()
    buffer.insert("map", "base", 10 * SECOND, (0, 0, 0), quaternion(1, 0))
    buffer.insert("map", "base", 11 * SECOND, (2, 4, 0), quaternion(1, 90))
    found = buffer.lookup("map", "base", 10 * SECOND + SECOND // 2)
    np.testing.assert_allclose(found, rigid(axis_rotation(1, math.radians(45)), (1, 2, 0)), atol=1e-12)
    np.testing.assert_allclose(buffer.lookup("map", "base", 11 * SECOND)[:3, 3], [2, 4, 0])


def test_the_short_way_round():
    buffer = TransformBuffer()
    turn = np.array(quaternion(2, 170))
    buffer.insert("map", "base", 0 + 1, (0, 0, 0), tuple(quaternion(2, 0)))
    buffer.insert("map", "base", 2 * 1000 + 1, (0, 0, 0), tuple(-turn))  # the same turn, written the other way
    half = buffer.lookup("map", "base", 1001)
    np.testing.assert_allclose(half[:3, :3], axis_rotation(2, math.radians(85)), atol=1e-9)


def test_no_extrapolation_but_a_tolerance():
    buffer = TransformBuffer()
    for stamp in (10, 11):
        buffer.insert("map", "base", stamp * SECOND, (stamp, 0, 0), UNTURNED)
    late, early = 11 * SECOND + SECOND // 10, 10 * SECOND - SECOND // 10
    assert refusal(buffer.lookup, "map", "base", late) is ErrorCode.TRANSFORM_UNAVAILABLE
    assert refusal(buffer.lookup, "map", "base", early) is ErrorCode.TRANSFORM_UNAVAILABLE
    assert refusal(buffer.lookup, "map", "base", late, SECOND // 20) is ErrorCode.TRANSFORM_UNAVAILABLE
    assert buffer.lookup("map", "base", late, SECOND // 5)[0, 3] == 11
    assert buffer.lookup("map", "base", early, SECOND // 5)[0, 3] == 10


def test_time_zero_is_the_newest_that_all_have():
    buffer = TransformBuffer()
    for stamp in (10, 11, 12):
        buffer.insert("map", "odom", stamp * SECOND, (stamp, 0, 0), UNTURNED)
    for stamp in (10, 11):
        buffer.insert("odom", "base", stamp * SECOND, (0, stamp, 0), UNTURNED)
    np.testing.assert_allclose(buffer.lookup("map", "base", 0)[:3, 3], [11, 11, 0])


def test_frames_that_share_no_time():
    buffer = TransformBuffer()
    buffer.insert("map", "odom", 10 * SECOND, (0, 0, 0), UNTURNED)
    buffer.insert("odom", "base", 11 * SECOND, (0, 0, 0), UNTURNED)
    assert refusal(buffer.lookup, "map", "base", 0) is ErrorCode.TRANSFORM_UNAVAILABLE


def test_unknown_and_unconnected_frames():
    buffer = TransformBuffer()
    buffer.insert("map", "base", 0, (0, 0, 0), UNTURNED, static=True)
    buffer.insert("world", "arm", 0, (0, 0, 0), UNTURNED, static=True)
    assert refusal(buffer.lookup, "map", "nowhere", 0) is ErrorCode.FRAME_UNKNOWN
    assert refusal(buffer.lookup, "nowhere", "map", 0) is ErrorCode.FRAME_UNKNOWN
    assert refusal(buffer.lookup, "", "map", 0) is ErrorCode.FRAME_UNKNOWN
    assert refusal(buffer.lookup, "map", "arm", 0) is ErrorCode.TRANSFORM_UNAVAILABLE


@pytest.mark.parametrize(
    ("parent", "child", "translation", "turn"),
    [
        ("", "base", (0, 0, 0), UNTURNED),
        ("map", "", (0, 0, 0), UNTURNED),
        ("map", "map", (0, 0, 0), UNTURNED),
        ("map", "/map", (0, 0, 0), UNTURNED),
        ("map", "base", (math.nan, 0, 0), UNTURNED),
        ("map", "base", (0, math.inf, 0), UNTURNED),
        ("map", "base", (0, 0, 0), (0, 0, 0, 0)),
        ("map", "base", (0, 0, 0), (0, 0, 0, math.nan)),
        ("map", "base", (0, 0, 0), (0, 0, 1, 1)),
    ],
)
def test_nonsense_is_counted_and_ignored(parent, child, translation, turn):
    buffer = TransformBuffer()
    assert not buffer.insert(parent, child, 0, translation, turn)
    assert buffer.ignored == 1
    assert buffer.frames() == []


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(frames, "MAX_FRAMES", 10)
    monkeypatch.setattr(frames, "MAX_SAMPLES", 50)
    buffer = TransformBuffer(cache=2.0)
    for step in range(200):
        buffer.insert("map", "base", step * SECOND // 10, (step, 0, 0), UNTURNED)
    assert refusal(buffer.lookup, "map", "base", 15 * SECOND) is ErrorCode.TRANSFORM_UNAVAILABLE
    assert len(buffer._tracks["base"].stamps) <= 21
    for step in range(200):
        buffer.insert("map", "base", 20 * SECOND + step, (step, 0, 0), UNTURNED)
    assert len(buffer._tracks["base"].stamps) <= 50
    for number in range(30):
        buffer.insert("map", f"frame{number}", 0, (0, 0, 0), UNTURNED, static=True)
    assert len(buffer.frames()) <= 11


def test_time_set_back_forgets_what_moves_and_keeps_what_is_fixed():
    buffer = TransformBuffer()
    buffer.insert("base", "camera", 0, (0, 0, 1), UNTURNED, static=True)
    for stamp in (100, 101):
        buffer.insert("map", "base", stamp * SECOND, (stamp, 0, 0), UNTURNED)
    buffer.insert("map", "base", 50 * SECOND, (50, 0, 0), UNTURNED)  # the bag begins again
    buffer.insert("map", "base", 51 * SECOND, (51, 0, 0), UNTURNED)
    assert buffer.jumps == 1
    np.testing.assert_allclose(buffer.lookup("map", "camera", 50 * SECOND + SECOND // 2)[:3, 3], [50.5, 0, 1])
    assert refusal(buffer.lookup, "map", "camera", 100 * SECOND) is ErrorCode.TRANSFORM_UNAVAILABLE


def test_a_sample_that_is_only_a_little_late_is_sorted_in():
    buffer = TransformBuffer()
    for stamp in (10.0, 11.0, 10.5):
        buffer.insert("map", "base", int(stamp * SECOND), (stamp, 0, 0), UNTURNED)
    assert buffer.jumps == 0
    assert buffer.lookup("map", "base", int(10.25 * SECOND))[0, 3] == pytest.approx(10.25)


def test_a_new_parent_replaces_the_old():
    buffer = TransformBuffer()
    buffer.insert("map", "base", SECOND, (1, 0, 0), UNTURNED)
    buffer.insert("odom", "base", SECOND, (2, 0, 0), UNTURNED)
    assert buffer.lookup("odom", "base", SECOND)[0, 3] == 2
    assert refusal(buffer.lookup, "map", "base", SECOND) is ErrorCode.FRAME_UNKNOWN


def test_a_loop_in_the_tree_ends():
    buffer = TransformBuffer()
    buffer.insert("a", "b", 0, (0, 0, 0), UNTURNED, static=True)
    buffer.insert("b", "a", 0, (0, 0, 0), UNTURNED, static=True)
    buffer.insert("x", "y", 0, (0, 0, 0), UNTURNED, static=True)
    assert refusal(buffer.lookup, "a", "y", 0) is ErrorCode.TRANSFORM_UNAVAILABLE
    buffer.lookup("a", "b", 0)


def test_clear_keeps_what_is_fixed():
    buffer = TransformBuffer()
    buffer.insert("base", "camera", 0, (0, 0, 1), UNTURNED, static=True)
    buffer.insert("map", "base", SECOND, (0, 0, 0), UNTURNED)
    buffer.clear()
    assert buffer.frames() == ["base", "camera"]


def test_a_look_up_is_quick():
    buffer = TransformBuffer(cache=60)
    for step in range(3000):
        buffer.insert("map", "odom", step * SECOND // 100, (step, 0, 0), UNTURNED)
        buffer.insert("odom", "base", step * SECOND // 100, (0, step, 0), UNTURNED)
    buffer.insert("base", "camera", 0, (0, 0, 1), UNTURNED, static=True)
    began = time.thread_time()
    for _ in range(100):
        buffer.lookup("map", "camera", 12_345_678_901)
    assert (time.thread_time() - began) / 100 < 2e-3


angles = st.floats(-180, 180)
places = st.tuples(*[st.floats(-100, 100)] * 3)


@st.composite
def transforms(draw):
    turn = axis_rotation(0, draw(angles)) @ axis_rotation(1, draw(angles)) @ axis_rotation(2, draw(angles))
    return draw(places), tuple(quaternion_from_matrix(turn))


@given(st.lists(transforms(), min_size=1, max_size=6))
def test_a_chain_is_the_product_of_its_links(links):
    buffer, product = TransformBuffer(), np.eye(4)
    for number, (place, turn) in enumerate(links):
        buffer.insert(f"f{number}", f"f{number + 1}", 0, place, turn, static=number % 2 == 0)
        product = product @ rigid(turn, place)
    found = buffer.lookup("f0", f"f{len(links)}", 0)
    np.testing.assert_allclose(found, product, atol=1e-6)
    np.testing.assert_allclose(buffer.lookup(f"f{len(links)}", "f0", 0) @ found, np.eye(4), atol=1e-6)


@given(transforms(), transforms(), st.floats(0, 1))
def test_between_two_samples_the_way_is_even(first, second, share):
    buffer = TransformBuffer()
    buffer.insert("map", "base", SECOND, *first)
    buffer.insert("map", "base", 2 * SECOND, *second)
    found = buffer.lookup("map", "base", SECOND + int(share * SECOND))
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-9)
    expected = np.array(first[0]) + share * (np.array(second[0]) - np.array(first[0]))
    np.testing.assert_allclose(found[:3, 3], expected, atol=1e-5)


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=30, unique=True))
def test_the_order_of_arrival_within_the_jump_does_not_matter(stamps):
    stamps = [stamp % frames.JUMP + 1 for stamp in stamps]
    one, other = TransformBuffer(), TransformBuffer()
    for stamp in stamps:
        one.insert("map", "base", stamp, (stamp / SECOND, 0, 0), UNTURNED)
    for stamp in sorted(stamps):
        other.insert("map", "base", stamp, (stamp / SECOND, 0, 0), UNTURNED)
    for stamp in stamps:
        np.testing.assert_array_equal(one.lookup("map", "base", stamp), other.lookup("map", "base", stamp))
