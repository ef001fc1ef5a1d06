"""Co-visibility measured from depth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.data.covisibility import covisibility, lift, seen_by
from training.data.world.paths import pose_from_look

K = np.array([[40.0, 0, 31.5], [0, 40.0, 31.5], [0, 0, 1]])


def wall(distance):
    """Depth of a wall at world x = 4 seen from x = 4 - distance."""
    return np.full((64, 64), distance, np.float32)


def test_a_view_sees_itself():
    depth = np.random.default_rng(0).uniform(1, 3, (1, 64, 64)).astype(np.float32)
    pose = pose_from_look(0, 0, 1, 0.4, -0.2)[None]
    assert covisibility(depth, K[None], pose, np.array([[0, 0]]), stride=1)[0] == pytest.approx(1.0)


def test_back_to_back_views_see_nothing_of_each_other():
    poses = np.stack([pose_from_look(0, 0, 1, yaw, 0.0) for yaw in (0.0, math.pi)])
    pairs = np.array([[0, 1], [1, 0]])
    assert not covisibility(np.stack([wall(2)] * 2), np.stack([K] * 2), poses, pairs).any()


def test_a_sideways_step_along_a_wall_uncovers_the_known_share():
    """Moved by half the width of the picture on the wall: half of it remains."""
    distance = 2.0
    shift = 32 / 40 * distance
    poses = np.stack([pose_from_look(4 - distance, y, 1, 0.0, 0.0) for y in (0.0, -shift)])
    shares = covisibility(
        np.stack([wall(distance)] * 2), np.stack([K] * 2), poses, np.array([[0, 1], [1, 0]]), stride=1
    )
    np.testing.assert_allclose(shares, 0.5, atol=0.01)


def test_stepping_back_sees_all_of_the_nearer_view():
    poses = np.stack([pose_from_look(4 - d, 0.0, 1, 0.0, 0.0) for d in (1.0, 2.0)])
    shares = covisibility(np.stack([wall(1), wall(2)]), np.stack([K] * 2), poses, np.array([[0, 1], [1, 0]]), stride=1)
    assert shares[0] == pytest.approx(1.0)
    assert shares[1] == pytest.approx(0.25, abs=0.02)


def test_hidden_and_unknown_points_do_not_count():
    pose = pose_from_look(0, 0, 1, 0.0, 0.0)
    behind = np.array([[3.0, 0.0, 1.0], [1.0, 0.0, 1.0], [np.nan, 0.0, 1.0], [-1.0, 0.0, 1.0]])
    np.testing.assert_array_equal(seen_by(behind, wall(1.0), K, pose), [False, True, False, False])
    assert not seen_by(behind, np.zeros((64, 64), np.float32), K, pose).any()


def test_lift_puts_pixels_into_the_world():
    pose = pose_from_look(1.0, 2.0, 0.5, 0.7, 0.1, 0.2)
    depth = np.zeros((64, 64), np.float32)
    depth[10, 50] = 2.0
    points = lift(depth, K, pose)
    assert np.isfinite(points).all(-1).sum() == 1
    local = np.array([(50 - 31.5) / 40 * 2, (10 - 31.5) / 40 * 2, 2.0])
    np.testing.assert_allclose(points[10, 50], pose[:3, :3] @ local + pose[:3, 3], atol=1e-5)
    assert lift(depth, K, pose, stride=4).shape == (16, 16, 3)
