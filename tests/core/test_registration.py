"""Two pictures' cameras, found from landmarks that both show."""

from __future__ import annotations

import numpy as np
import pytest
from box_room import CAMERA, camera_at, view
from small_model import SMALL, pipeline

from uniugg_core.cameras import baseline, inverse_rigid, parse_motion, rotation_angle
from uniugg_core.outputs import Observation
from uniugg_core.registration import Sighted, register

MOTIONS = ["yaw right 0", "yaw right 20, forward 0.5", "yaw left 15, left 0.4", "pitch up 10, back 0.3", "roll left 20"]


def sighted(motion: str, scale: float = 1.0) -> Sighted:
    image, points = view(camera_at(parse_motion(motion)))
    return Sighted(image, points * scale, CAMERA.matrix)


@pytest.mark.parametrize("motion", MOTIONS)
def test_known_pose(motion):
    found = register(sighted("yaw right 0"), sighted(motion))
    error = inverse_rigid(found) @ camera_at(parse_motion(motion))
    assert np.degrees(rotation_angle(error)) < 0.7 and baseline(error) < 0.03


def test_metres_are_those_of_the_points():
    motion = "yaw right 20, forward 0.5"
    found = register(sighted("yaw right 0", 1.2), sighted(motion, 1.2))
    assert baseline(found) == pytest.approx(1.2 * baseline(parse_motion(motion)), rel=0.06)


def test_back_is_the_inverse():
    there, back = (sighted(motion) for motion in ("yaw right 0", MOTIONS[1]))
    error = register(there, back) @ register(back, there)
    assert np.degrees(rotation_angle(error)) < 0.7 and baseline(error) < 0.03


def test_the_same_pictures_give_the_same_pose():
    one, other = sighted("yaw right 0"), sighted(MOTIONS[1])
    assert np.array_equal(register(one, other), register(one, other))


@pytest.mark.parametrize("motion", ["yaw right 150", "yaw left 100"])
def test_pictures_of_other_places_have_none(motion):
    assert register(sighted("yaw right 0"), sighted(motion)) is None


def test_points_that_contradict_have_none():
    """Each picture's points say something else about how far the camera went."""
    one, other = sighted("yaw right 0"), sighted(MOTIONS[1])
    turned = Sighted(other.image, other.points[:, ::-1], other.matrix)
    assert register(one, turned) is None


@pytest.mark.parametrize("points", [np.zeros((128, 128, 3)), np.full((128, 128, 3), np.nan)])
def test_pictures_without_points_have_none(points):
    one = sighted("yaw right 0")
    assert register(Sighted(one.image, points, one.matrix), one) is None


@pytest.mark.parametrize("grey", [0, 255])
def test_blank_pictures_have_none(grey):
    one = sighted("yaw right 0")
    blank = Sighted(np.full_like(one.image, grey), one.points, one.matrix)
    assert register(blank, blank) is None and register(one, blank) is None


class TestInThePipeline:
    def two(self, **changes):
        images = [view(camera_at(parse_motion(motion)))[0] for motion in ("yaw right 0", MOTIONS[1])]
        return pipeline(SMALL.replace(**changes)), [Observation(image) for image in images]

    def test_models_that_do_not_ask_for_it_go_without(self, monkeypatch):
        monkeypatch.setattr("uniugg_core.sight.register", None)
        asked, two = self.two()
        assert asked.reconstruct(*two).views[1].image.shape == (32, 32, 3)

    def test_reconstruct_places_the_second_picture_by_it(self, monkeypatch):
        pose = inverse_rigid(parse_motion("yaw left 30, forward 2"))
        monkeypatch.setattr("uniugg_core.sight.register", lambda first, second: pose)
        asked, (a, b) = self.two(decoder__registered=True)
        _, there = asked.reconstruct(a, b).views
        own = asked.reconstruct(b, b).views[0]
        assert np.array_equal(there.scene_from_camera, pose)
        np.testing.assert_allclose(there.points, own.points @ pose[:3, :3].T + pose[:3, 3], rtol=1e-4, atol=1e-4)

    def test_without_landmarks_the_network_says_it(self, monkeypatch):
        monkeypatch.setattr("uniugg_core.sight.register", lambda first, second: None)
        (asked, two), (plain, _) = self.two(decoder__registered=True), self.two()
        first, second = (one.reconstruct(*two).views[1].points for one in (asked, plain))
        assert np.array_equal(first, second)
