"""The page of a scene: poses in words, what the new pose shares with the input, the plan, and the page as a whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniugg_core.cameras import Camera, inverse_rigid, motion, parse_motion
from uniugg_core.plan import IMAGINED_COLOR, OBSERVED_COLOR, draw_plan
from uniugg_core.scene import IMAGINED, Scene
from uniugg_core.sheet import SheetText, _shared, _target_outline, describe_motion, scene_sheet

CAMERA = Camera.from_fov(120, 90, math.radians(60))
METRES = st.integers(-200, 200).map(lambda value: value / 100)


@given(
    yaw=st.integers(-180, 180),
    pitch=st.integers(-85, 85),
    roll=st.integers(-179, 179),
    right=METRES,
    down=METRES,
    forward=METRES,
)
def test_a_described_pose_is_read_back_as_the_same_pose(yaw, pitch, roll, right, down, forward):
    pose = motion(
        yaw=math.radians(yaw),
        pitch=math.radians(pitch),
        roll=math.radians(roll),
        right=right,
        down=down,
        forward=forward,
    )
    np.testing.assert_allclose(parse_motion(describe_motion(pose)), pose, atol=1e-6)


@pytest.mark.parametrize(
    ("pose", "words"),
    [
        (np.eye(4), "stay"),
        (motion(yaw=math.radians(30)), "yaw right 30°"),
        (motion(forward=0.5, pitch=math.radians(-5)), "forward 0.50 m, pitch down 5°"),
    ],
)
def test_words(pose, words):
    assert describe_motion(pose) == words


@pytest.mark.parametrize(
    ("pose", "low", "high"),
    [
        (np.eye(4), 1.0, 1.0),
        (motion(yaw=math.radians(90)), 0.0, 0.0),
        (motion(yaw=math.pi), 0.0, 0.0),
        (motion(right=2 * math.tan(math.radians(30))), 0.5, 0.75),  # half a view to the right; the input is wider
    ],
)
def test_share_of_the_new_view_that_the_input_shows(pose, low, high):
    assert low <= _shared(CAMERA, pose) <= high


def test_the_outline_of_the_same_pose_is_the_crop_and_one_behind_has_none():
    outline = _target_outline(CAMERA.matrix, 90, np.eye(4))
    np.testing.assert_allclose(outline.min(axis=0), [14.5, -0.5], atol=1e-9)
    np.testing.assert_allclose(outline.max(axis=0), [104.5, 89.5], atol=1e-9)
    assert _target_outline(CAMERA.matrix, 90, motion(yaw=math.pi)) is None
    assert np.isfinite(_target_outline(CAMERA.matrix, 90, motion(yaw=math.radians(75)))).all()


def test_the_plan_shows_points_and_cameras_where_they_are():
    target = inverse_rigid(motion(right=1.0))  # the new camera stands one metre to the left
    points = np.array([[-1.0, 0, 3.0]] * 50 + [[1.0, 0, 3.0]] * 50)
    scene = Scene.from_arrays(points, source=[0] * 50 + [IMAGINED] * 50)
    plan = np.asarray(draw_plan(scene, target, 300)).astype(int)

    def centre(color):
        rows, columns = np.nonzero(np.abs(plan - color).sum(axis=-1) < 12)
        return columns.mean(), rows.mean()

    grey_half = np.abs(plan[:100] - OBSERVED_COLOR).sum(axis=-1) < 12  # far away: points only, no cameras
    magenta_half = np.abs(plan[:100] - IMAGINED_COLOR).sum(axis=-1) < 12
    assert grey_half.any() and magenta_half.any()
    assert np.nonzero(grey_half)[1].mean() < np.nonzero(magenta_half)[1].mean()
    near = plan[150:]
    greys = np.nonzero(np.abs(near - OBSERVED_COLOR).sum(axis=-1) < 12)[1].mean()
    magentas = np.nonzero(np.abs(near - IMAGINED_COLOR).sum(axis=-1) < 12)[1].mean()
    assert magentas < greys
    assert centre(IMAGINED_COLOR)[1] > 0


@pytest.mark.parametrize("count", [0, 1, 2000])
@pytest.mark.parametrize("camera", [None, CAMERA])
def test_a_page_for_any_scene(count, camera):
    rng = np.random.default_rng(1)
    points = rng.normal(size=(count, 3)) + (0, 0, 3)
    points[: count // 10] = np.nan
    scene = Scene.from_arrays(points, rng.integers(0, 256, (count, 3)), source=rng.integers(0, 2, count))
    image = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    words = SheetText("a title", ("0.1 s",))
    page = scene_sheet(image, camera, motion(yaw=0.3), scene, words)
    assert page.shape[1] == 1200 and page.dtype == np.uint8
    warned = scene_sheet(image, camera, motion(yaw=0.3), scene, SheetText("a title", ("0.1 s",), "beware"))
    assert warned.shape[0] > page.shape[0]


def test_the_real_picture_stands_in_the_third_panel():
    image = np.zeros((90, 120, 3), np.uint8)
    real = np.full((64, 64, 3), (10, 200, 30), np.uint8)
    predicted = np.full((64, 64, 3), (200, 10, 30), np.uint8)
    page = scene_sheet(image, CAMERA, np.eye(4), Scene.empty(), SheetText("t"), predicted=predicted, real=real)
    assert tuple(page[300, 600]) == (200, 10, 30)
    assert tuple(page[300, 1000]) == (10, 200, 30)
