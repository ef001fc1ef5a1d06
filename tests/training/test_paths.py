"""Camera paths: a robot could drive them."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest

from training.data.world.paths import CLEARANCE, clear_distance, draw_path, draw_rig, pose_from_look
from training.data.world.room import make_room


class TestPose:
    def test_looks_where_it_should(self):
        pose = pose_from_look(1.0, 2.0, 3.0, math.pi / 2, 0.0)
        np.testing.assert_allclose(pose[:3, 2], (0, 1, 0), atol=1e-12)  # forward is world y
        np.testing.assert_allclose(pose[:3, 1], (0, 0, -1), atol=1e-12)  # down
        np.testing.assert_allclose(pose[:3, 0], (1, 0, 0), atol=1e-12)  # right
        np.testing.assert_allclose(pose[:3, 3], (1, 2, 3))

    def test_pitch_up_and_roll_clockwise(self):
        assert pose_from_look(0, 0, 0, 0.3, 0.2)[2, 2] == pytest.approx(math.sin(0.2))
        assert pose_from_look(0, 0, 0, 0.3, 0.0, 0.1)[2, 0] < 0  # the right side goes down

    def test_is_rigid(self):
        turn = pose_from_look(0, 0, 0, 1.0, -0.5, 0.3)[:3, :3]
        np.testing.assert_allclose(turn.T @ turn, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1.0)


class TestRig:
    def test_field_of_view_and_height_stay_in_range(self):
        for seed in range(200):
            rig = draw_rig(Random(seed), 100, fov=(45.0, 80.0), heights=(0.4, 1.6))
            assert 0.4 <= rig.height <= 1.6
            fov = 2 * math.degrees(math.atan(50 / rig.intrinsics[0, 0]))
            assert 45 - 1e-6 <= fov <= 80 + 1e-6
            assert abs(rig.intrinsics[0, 2] - 49.5) <= 2.0


class TestPaths:
    def test_collision_free_and_at_camera_height(self):
        for seed in range(30):
            room = make_room(seed)
            rng = Random(seed)
            poses = draw_path(room, draw_rig(rng, 64), 12, rng)
            assert poses.shape == (12, 4, 4)
            for x, y, z in poses[:, :3, 3]:
                assert 0.4 <= z <= 1.6
                for rect in room.blocked:
                    inside = (
                        rect.x0 - CLEARANCE < x < rect.x1 + CLEARANCE and rect.y0 - CLEARANCE < y < rect.y1 + CLEARANCE
                    )
                    assert not inside
                assert CLEARANCE < x < room.plan.width - CLEARANCE
                assert CLEARANCE < y < room.plan.depth - CLEARANCE

    def test_deterministic(self):
        room = make_room(2)
        paths = [draw_path(room, draw_rig(Random(5), 64), 8, Random(6)) for _ in range(2)]
        np.testing.assert_array_equal(*paths)

    def test_motion_scales_the_steps(self):
        def steps(motion):
            total = []
            for seed in range(12):
                room, rng = make_room(seed, smallest=5.0), Random(seed)
                poses = draw_path(room, draw_rig(rng, 64), 9, rng, motion=motion)
                total += np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).tolist()
            return np.median(total)

        assert steps(0.25) < 0.6 * steps(1.0)

    def test_clear_distance_meets_the_wall(self):
        room = make_room(2)
        room = type(room)(**{**room.__dict__, "blocked": ()})
        x, y = 1.0, 0.5 * room.plan.depth
        assert clear_distance(room, x, y, math.pi, limit=3.0) == pytest.approx(1.0, abs=0.13)
