"""Scene: merge, filter, transform and thinning, as properties and known answers."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from clouds import ARRAYS, CAMERA, made, refused, same, view
from hypothesis import given, settings
from hypothesis import strategies as st

from uniugg_core.cameras import inverse_rigid, motion
from uniugg_core.errors import ErrorCode
from uniugg_core.scene import IMAGINED, OBSERVED, Scene, View, up_direction, upright_from_frame

scenes = st.builds(made, st.integers(0, 60), st.integers(0, 1000))
poses = st.builds(lambda yaw, right, down: motion(yaw=yaw, right=right, down=down), *[st.floats(-3, 3)] * 3)


class TestConstruction:
    def test_types_are_brought_in_line(self):
        scene = made(5)
        assert [getattr(scene, name).dtype for name in ARRAYS] == [
            np.float32,
            np.uint8,
            np.float32,
            np.uint8,
            np.float32,
        ]
        assert len(scene) == 5 and len(Scene.empty("map")) == 0

    @pytest.mark.parametrize(
        "change",
        [
            {"points": np.zeros((4, 3))},
            {"points": np.zeros((5, 2))},
            {"colors": np.zeros((5, 4), np.uint8)},
            {"confidence": np.zeros((5, 1))},
            {"confidence": np.array(["a"] * 5)},
            {"source": np.full(5, 2)},
            {"frame": None},
        ],
    )
    def test_what_does_not_fit(self, change):
        refused(ErrorCode.REQUEST_INVALID, dataclasses.replace, made(5), **change)

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"points": np.zeros((6, 7, 3))}, ErrorCode.REQUEST_INVALID),
            ({"confidence": np.zeros((6, 8, 1))}, ErrorCode.REQUEST_INVALID),
            ({"camera": CAMERA.scaled(16, 12)}, ErrorCode.REQUEST_INVALID),
            ({"source": 2}, ErrorCode.REQUEST_INVALID),
            ({"descriptors": np.zeros((6, 8))}, ErrorCode.REQUEST_INVALID),
            ({"scene_from_camera": np.zeros((4, 4))}, ErrorCode.POSE_INVALID),
        ],
    )
    def test_views_that_do_not_fit(self, change, code):
        refused(code, dataclasses.replace, view(), **change)


class TestMerge:
    @settings(deadline=None, max_examples=50)
    @given(scenes, scenes, scenes)
    def test_merging_is_associative_and_undone_by_selecting(self, a, b, c):
        assert same(a.merge(b).merge(c), Scene.merge(a, b, c))
        both = a.merge(b)
        assert same(both.select(np.arange(len(a))), a) and same(both.select(np.arange(len(a), len(both))), b)

    @settings(deadline=None, max_examples=30)
    @given(scenes)
    def test_empty_scenes_add_nothing(self, a):
        assert same(a.merge(Scene.empty()), a) and same(Scene.empty().merge(a), a)

    def test_what_goes_with_the_points(self):
        a = made(2, stamp=5, seed=7, timings={"encode": 2.0}, views=(view(),))
        b = dataclasses.replace(made(3), stamp=9, seed=7, timings={"encode": 1.5, "decode": 1.0})
        merged = a.merge(b)
        assert (merged.stamp, merged.seed, len(merged.views)) == (9, 7, 1)
        assert merged.timings == {"encode": 3.5, "decode": 1.0}
        assert a.merge(dataclasses.replace(b, seed=8)).seed is None

    def test_frames_must_agree(self):
        refused(ErrorCode.REQUEST_INVALID, Scene.merge, made(2), made(2, frame="map"))


class TestFilter:
    @settings(deadline=None, max_examples=50)
    @given(scenes, st.floats(1, 5))
    def test_confidence_splits_a_scene_in_two(self, scene, limit):
        kept = scene.filter(min_confidence=limit)
        assert (kept.confidence >= limit).all()
        assert len(kept) + (scene.confidence < limit).sum() == len(scene)

    @settings(deadline=None, max_examples=50)
    @given(scenes)
    def test_sources_split_and_merge_back(self, scene):
        observed, imagined = scene.filter(source="observed"), scene.filter(source=IMAGINED)
        assert (observed.source == OBSERVED).all() and (imagined.source == IMAGINED).all()
        order = np.argsort(scene.source, kind="stable")
        assert same(observed.merge(imagined), scene.select(order))

    def test_quantile_ranks_each_source_alone(self):
        low, high = np.linspace(1, 2, 100), np.linspace(10, 20, 100)
        scene = Scene.from_arrays(
            np.zeros((200, 3)), confidence=np.concatenate([low, high]), source=np.repeat([0, 1], 100)
        )
        kept = scene.filter(quantile=0.25)
        assert np.bincount(kept.source).tolist() == [75, 75]

    def test_points_that_are_no_points(self):
        points = np.array([[0, 0, 1], [np.nan, 0, 1], [0, np.inf, 1], [0, 0, 2]])
        scene = Scene.from_arrays(points, confidence=[1, 1, 1, np.nan])
        assert len(scene.filter()) == 1 and len(scene.filter(finite=False)) == 4

    def test_box_includes_its_faces(self):
        scene = Scene.from_arrays([[0, 0, 0], [1, 1, 1], [0.5, 0.5, 1.01], [-0.01, 0, 0]])
        assert len(scene.filter(box=[[0, 0, 0], [1, 1, 1]])) == 2

    @pytest.mark.parametrize(
        "options",
        [{"quantile": 1.5}, {"quantile": math.nan}, {"source": 3}, {"source": "seen"}, {"box": [[1, 1, 1], [0, 0, 0]]}],
    )
    def test_nonsense(self, options):
        refused(ErrorCode.REQUEST_INVALID, made(5).filter, **options)


class TestTransform:
    @settings(deadline=None, max_examples=50)
    @given(scenes, poses)
    def test_there_and_back(self, scene, pose):
        scene = dataclasses.replace(scene, views=(view(pose=pose),))
        back = scene.transform(pose, "map").transform(inverse_rigid(pose), "camera")
        assert np.allclose(back.points, scene.points, atol=1e-5)
        assert np.allclose(back.views[0].points, scene.views[0].points, atol=1e-5)
        assert np.allclose(back.views[0].scene_from_camera, pose, atol=1e-9)

    def test_the_views_camera_sees_its_points_at_the_same_pixels(self):
        observed = Scene.from_depth(np.full((6, 8), 2.0), np.zeros((6, 8, 3), np.uint8), CAMERA)
        whole = View(
            np.zeros((6, 8, 3), np.uint8), observed.points.reshape(6, 8, 3), np.ones((6, 8)), CAMERA, np.eye(4), 0
        )
        moved = dataclasses.replace(observed, views=(whole,)).transform(motion(yaw=1.0, right=100.0), "map").views[0]
        from_scene = inverse_rigid(moved.scene_from_camera)
        pixels = CAMERA.project(moved.points.astype(float) @ from_scene[:3, :3].T + from_scene[:3, 3])
        assert np.allclose(pixels[3, 5], [5, 3], atol=1e-3)

    def test_not_rigid(self):
        refused(ErrorCode.POSE_INVALID, made(2).transform, np.diag([2.0, 1, 1, 1]), "map")


class TestVoxels:
    @settings(deadline=None, max_examples=60)
    @given(scenes, st.floats(0.05, 3.0))
    def test_one_point_a_cube_and_source(self, scene, size):
        thin = scene.voxel_downsample(size)
        keys = np.concatenate([np.floor(scene.points.astype(np.float64) / size), scene.source[:, None]], axis=1)
        cubes, which, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
        assert len(thin) == len(cubes)
        assert np.array_equal(thin.source, cubes[:, 3])
        for axis in range(3):
            sums = np.bincount(which.ravel(), scene.points[:, axis], len(cubes))
            assert np.allclose(thin.points[:, axis], sums / counts, atol=1e-5)

    def test_known_answer(self):
        scene = Scene.from_arrays(
            [[0.1, 0.1, 0.1], [0.3, 0.1, 0.1], [0.3, 0.1, 0.1], [1.5, 0, 0]],
            [[0, 0, 0], [200, 100, 50], [9, 9, 9], [1, 2, 3]],
            confidence=[1, 3, 2, 4],
            source=[0, 0, 1, 0],
            spread=[0.0, 0.2, 0.5, 0.1],
        )
        thin = scene.voxel_downsample(1.0)
        assert np.allclose(thin.points, [[0.2, 0.1, 0.1], [0.3, 0.1, 0.1], [1.5, 0, 0]])
        assert thin.colors.tolist() == [[100, 50, 25], [9, 9, 9], [1, 2, 3]]
        assert thin.confidence.tolist() == [3, 2, 4] and thin.source.tolist() == [0, 1, 0]
        assert np.allclose(thin.spread, [0.1, 0.5, 0.1])

    def test_thinning_twice_changes_nothing(self):
        thin = made(500).voxel_downsample(0.5)
        assert same(thin.voxel_downsample(0.5), thin)

    @pytest.mark.parametrize("size", [0.0, -1.0, math.nan, math.inf])
    def test_bad_sizes(self, size):
        refused(ErrorCode.REQUEST_INVALID, made(5).voxel_downsample, size)

    def test_cubes_that_cannot_be_numbered(self):
        refused(ErrorCode.REQUEST_INVALID, Scene.from_arrays([[0, 0, 0], [1e6, 1e6, 1e6]]).voxel_downsample, 1e-4)


class TestFromViews:
    def test_drops_by_the_views_own_quantile(self):
        weak = dataclasses.replace(view(IMAGINED, 1), confidence=np.linspace(1, 1.1, 48).reshape(6, 8))
        scene = Scene.from_views([view(), weak], drop_quantile=0.25, seed=3, timings={"x": 1.0})
        assert np.bincount(scene.source).tolist() == [36, 36]
        assert len(scene.views) == 2 and scene.seed == 3 and scene.timings == {"x": 1.0}

    def test_spread_over_samples(self):
        """Two samples two metres apart lie one metre from their mean; the single observed view has no spread."""
        first = view(IMAGINED, 1)
        second = dataclasses.replace(first, points=first.points + np.float32([0, 0, 2]), sample=1)
        scene = Scene.from_views([view(), first, second])
        assert (scene.spread[scene.source == OBSERVED] == 0).all()
        assert np.allclose(scene.spread[scene.source == IMAGINED], 1.0, atol=1e-5)

    def test_points_that_are_not_finite_are_left_out(self):
        holed = dataclasses.replace(view(), points=np.where(np.eye(6, 8)[..., None] > 0, np.nan, np.ones(3)))
        assert len(Scene.from_views([holed])) == 48 - 6

    def test_depth(self):
        depth = np.zeros((6, 8))
        depth[2, 3], depth[4, 4], depth[0, 0] = 2.0, 3.0, np.nan
        image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
        scene = Scene.from_depth(depth, image, CAMERA, motion(forward=-1.0))
        assert len(scene) == 2 and scene.colors.tolist() == [image[2, 3].tolist(), image[4, 4].tolist()]
        assert np.allclose(scene.points[:, 2], [3.0, 4.0])
        refused(ErrorCode.REQUEST_INVALID, Scene.from_depth, depth[:5], image, CAMERA)


def test_up():
    assert up_direction("camera_color_optical_frame").tolist() == [0, -1, 0]
    assert up_direction("/robot1/map").tolist() == [0, 0, 1]
    for frame, forward in (("camera", [0, 0, 1]), ("map", [1, 0, 0])):
        turn = upright_from_frame(frame)[:3, :3]
        assert np.allclose(turn @ up_direction(frame), [0, 1, 0])  # up is up
        assert np.allclose(turn @ forward, [0, 0, -1])  # and ahead is into the screen
        assert np.isclose(np.linalg.det(turn), 1.0)
