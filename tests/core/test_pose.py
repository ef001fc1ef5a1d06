"""Where a camera stands, found again from the points it sees."""

from __future__ import annotations

import numpy as np
import pytest

from uniugg_core.cameras import Camera, baseline, inverse_rigid, parse_motion, rotation_angle
from uniugg_core.pose import camera_pose

CAMERA = Camera.from_fov(64, 48, 1.1)


def pointmap(scene_from_camera: np.ndarray, seed: int = 0) -> np.ndarray:
    """A bumpy wall, seen by the camera, in the scene's frame."""
    depth = np.random.default_rng(seed).uniform(1.5, 3.0, (48, 64))
    points = CAMERA.rays() * depth[..., None]
    return points @ scene_from_camera[:3, :3].T + scene_from_camera[:3, 3]


@pytest.mark.parametrize("motion", ["yaw right 0", "yaw right 40, forward 0.5", "pitch up 20, left 1", "roll left 90"])
def test_known_pose(motion):
    pose = inverse_rigid(parse_motion(motion))
    found = camera_pose(pointmap(pose), np.ones((48, 64)), CAMERA)
    error = inverse_rigid(found) @ pose
    assert rotation_angle(error) < 1e-4 and baseline(error) < 1e-4


def test_wrong_points_are_outvoted():
    pose = inverse_rigid(parse_motion("yaw left 25, forward 1"))
    points = pointmap(pose)
    wrong = np.random.default_rng(1).random((48, 64)) < 0.3
    points[wrong] += np.random.default_rng(2).normal(0, 2, (int(wrong.sum()), 3))
    error = inverse_rigid(camera_pose(points, np.ones((48, 64)), CAMERA)) @ pose
    assert rotation_angle(error) < 0.02 and baseline(error) < 0.05


def test_unsure_points_have_no_say():
    pose = inverse_rigid(parse_motion("yaw left 25"))
    points, confidence = pointmap(pose), np.ones((48, 64))
    points[:20], confidence[:20] = 0.0, 0.1
    error = inverse_rigid(camera_pose(points, confidence, CAMERA)) @ pose
    assert rotation_angle(error) < 1e-3


def test_same_input_same_pose():
    points = np.random.default_rng(3).normal(0, 1, (48, 64, 3))
    confidence = np.ones((48, 64))
    first, again = (camera_pose(points, confidence, CAMERA) for _ in range(2))
    assert (first is None and again is None) or np.array_equal(first, again)


@pytest.mark.parametrize("points", [np.zeros((48, 64, 3)), np.full((48, 64, 3), np.nan)])
def test_no_pose_fits(points):
    found = camera_pose(points, np.ones((48, 64)), CAMERA)
    assert found is None or np.isfinite(found).all()
