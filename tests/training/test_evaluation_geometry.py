"""Figures of imagined points and free baselines against known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.data.views import PairBatch, View, ViewPair
from training.evaluation.baselines import filled_depth, lifted, moved_depth
from training.evaluation.geometry import (
    SceneTruth,
    chamfer_distance,
    depth_errors,
    f_score,
    hits,
    measure,
    motion_size,
    recovered_pose,
    relative_errors,
    scene_truths,
)
from training.evaluation.pooled import BASELINES, SceneRecord, by_motion, part_figures
from training.evaluation.uncertainty import COVERAGES, relative_spread, risk_coverage
from uniugg_core.cameras import inverse_rigid, motion

SIZE, FOCAL = 32, 32.0
K = np.array([[FOCAL, 0, (SIZE - 1) / 2], [0, FOCAL, (SIZE - 1) / 2], [0, 0, 1]])


def plane_view(z: float, world_from_camera: np.ndarray) -> View:
    """A picture of the plane z = `z` (world) by a camera that looks along z."""
    depth = np.full((SIZE, SIZE), z - world_from_camera[2, 3], np.float32)
    return View(np.zeros((SIZE, SIZE, 3), np.uint8), depth, K, world_from_camera)


def plane_pair(z: float = 2.0, **shift: float) -> ViewPair:
    target_from_reference = motion(**shift)
    return ViewPair(
        plane_view(z, np.eye(4)), plane_view(z, inverse_rigid(target_from_reference)), (1.0, 1.0), "plane", 0
    )


def truth_of(pair: ViewPair) -> SceneTruth:
    return scene_truths(PairBatch.collate([pair]))[0]


class TestErrors:
    def test_the_truth_is_without_error(self) -> None:
        truth = truth_of(plane_pair(right=0.5))
        record = measure(truth.points, np.ones_like(truth.valid), truth)
        assert (record.error == 0).all() and (record.depth == 0).all() and record.within.all()
        assert all(f_score(counts) == 1.0 for part in ("seen", "unseen", "all") for counts in record.hits[part])

    @given(st.floats(0.5, 2.0))
    def test_a_cloud_of_another_scale_is_off_by_it(self, scale: float) -> None:
        true = np.random.default_rng(0).uniform(0.5, 3, (40, 3))
        known = np.ones(40, bool)
        np.testing.assert_allclose(relative_errors(scale * true, true, known), abs(scale - 1), rtol=1e-4, atol=1e-6)
        absolute, within = depth_errors(scale * true[:, 2], true[:, 2], known)
        np.testing.assert_allclose(absolute, abs(scale - 1), rtol=1e-4, atol=1e-6)
        if abs(max(scale, 1 / scale) - 1.25) > 1e-6:
            assert within.all() == (max(scale, 1 / scale) < 1.25)

    def test_the_distance_is_from_the_target_camera(self) -> None:
        true = np.array([[3.0, 0.0, 4.0]])
        assert relative_errors(true + [0, 1.0, 0], true, np.array([True]))[0] == pytest.approx(0.2)

    def test_no_point_counts_as_one_at_the_camera(self) -> None:
        true = np.array([[0.3, 0.4, 2.0]])
        nothing = np.array([False])
        assert relative_errors(true, true, nothing)[0] == 1.0
        assert relative_errors(np.zeros((1, 3)), true, np.array([True]))[0] == pytest.approx(1.0)
        absolute, within = depth_errors(true[:, 2], true[:, 2], nothing)
        assert absolute[0] == 1.0 and not within[0]

    def test_behind_the_camera_is_never_within_delta(self) -> None:
        assert not depth_errors(np.array([-2.0]), np.array([2.0]), np.array([True]))[1][0]

    def test_points_that_are_not_finite_are_missing(self) -> None:
        truth = truth_of(plane_pair())
        points = truth.points.copy()
        points[0, 0] = np.nan
        record = measure(points, np.ones_like(truth.valid), truth)
        assert record.error[0] == 1.0 and not record.known[0] and np.isfinite(record.error).all()

    def test_f_score_by_hand(self) -> None:
        true = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]])
        predicted = np.array([[0.04, 0, 0], [1.07, 0, 0], [9, 0, 0]])
        counts = hits(predicted, true, predicted, true)
        assert counts.tolist() == [[1, 3, 1, 4], [2, 3, 2, 4]]
        assert f_score(counts[0]) == pytest.approx(2 * (1 / 3) * (1 / 4) / (1 / 3 + 1 / 4))

    def test_f_score_of_nothing(self) -> None:
        true = np.zeros((5, 3))
        assert f_score(hits(np.zeros((0, 3)), true, np.zeros((0, 3)), true)[0]) == 0.0
        assert math.isnan(f_score(np.array([0, 3, 0, 0])))

    def test_chamfer_by_hand(self) -> None:
        true = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
        predicted = np.array([[0.1, 0, 0], [1.0, 0.3, 0]])
        assert chamfer_distance(predicted, true) == pytest.approx((0.2 + (0.1 + 0.3 + np.hypot(1, 0.3)) / 3) / 2)
        assert math.isnan(chamfer_distance(np.zeros((0, 3)), true))

    def test_the_pose_that_explains_the_points_is_found(self) -> None:
        truth = truth_of(plane_pair())
        bumpy = truth.points + 0.3 * np.random.default_rng(0).random(truth.points.shape[:2])[..., None] * truth.points
        matrix = np.array(plane_pair().target.intrinsics, float)
        assert recovered_pose(bumpy, matrix) == pytest.approx((0.0, 0.0), abs=1e-3)
        wrong = motion(yaw=math.radians(10), right=0.2)
        turned = bumpy @ wrong[:3, :3].T + wrong[:3, 3]
        degrees, metres = recovered_pose(turned, matrix)
        assert degrees == pytest.approx(10, abs=0.05)
        assert metres == pytest.approx(np.linalg.norm(np.linalg.inv(wrong)[:3, 3]), abs=0.01)
        assert recovered_pose(np.full_like(bumpy, np.nan), matrix) is None

    @pytest.mark.parametrize("angle", [0.0, 0.01, 40.0, 90.0, 179.0])
    def test_size_of_a_motion(self, angle: float) -> None:
        pose = torch.from_numpy(motion(yaw=math.radians(angle), right=0.3, forward=0.4))
        assert motion_size(pose) == pytest.approx((angle, 0.5), abs=1e-6)


class TestParts:
    def test_seen_is_what_the_reference_frames(self) -> None:
        # 0.5 m to the right at 2 m and f = 32: the plane moves 8 pixels left, so the last 8 columns are new
        truth = truth_of(plane_pair(right=0.5))
        assert truth.seen[:, :-8].all() and not truth.seen[:, -8:].any()
        assert truth.baseline == pytest.approx(0.5) and truth.angle == pytest.approx(0, abs=1e-4)

    def test_hidden_surfaces_are_not_seen(self) -> None:
        pair = plane_pair(right=0.01)
        depth = pair.reference.depth.copy()
        depth[:, :10] = 1.0  # something stands in front there
        nearer = View(pair.reference.image, depth, K, np.eye(4))
        truth = truth_of(ViewPair(nearer, pair.target, (1.0, 1.0), "plane", 0))
        assert not truth.seen[:, :9].any() and truth.seen[:, 11:-1].all()

    def test_unknown_depth_is_in_no_part(self) -> None:
        pair = plane_pair(right=0.5)
        depth = pair.target.depth.copy()
        depth[:4] = 0
        truth = truth_of(
            ViewPair(
                pair.reference, View(pair.target.image, depth, K, pair.target.world_from_camera), (1, 1), "plane", 0
            )
        )
        assert not truth.seen[:4].any() and not truth.pick[:4].any()
        record = SceneRecord.of(truth, {"imagined": measure(truth.points, truth.valid, truth)}, np.zeros(1))
        assert record.part("seen").sum() + record.part("unseen").sum() == truth.valid.sum() == 28 * SIZE


class TestBaselines:
    def test_a_plane_straight_ahead_is_exact(self) -> None:
        pair = plane_pair(forward=0.5)
        points, _ = lifted(pair.reference.depth, K)
        depth = moved_depth(points, K, pair.target_from_reference)
        np.testing.assert_allclose(depth, 1.5, rtol=1e-6)  # also where one pixel became several
        there, known = lifted(depth, K)
        assert known.all()
        np.testing.assert_allclose(there, truth_of(pair).points, atol=1e-5)

    def test_staying_changes_nothing(self) -> None:
        depth = np.random.default_rng(1).uniform(1, 4, (SIZE, SIZE)).astype(np.float32)
        np.testing.assert_allclose(moved_depth(lifted(depth, K)[0], K, np.eye(4)), depth, rtol=1e-6)

    def test_what_comes_into_view_is_a_hole(self) -> None:
        pair = plane_pair(right=0.5)
        depth = moved_depth(lifted(pair.reference.depth, K)[0], K, pair.target_from_reference)
        assert (depth[:, -8:] == 0).all()
        np.testing.assert_allclose(depth[:, :-8], 2.0, rtol=1e-6)
        np.testing.assert_allclose(filled_depth(depth), 2.0, rtol=1e-6)

    def test_the_nearest_point_wins(self) -> None:
        points = np.full((SIZE, SIZE, 3), np.nan)
        points[0, :2] = [[0, 0, 3.0], [0, 0, 1.0]]
        depth = moved_depth(points, K, np.eye(4))
        assert depth.max() == pytest.approx(1.0)

    def test_holes_take_the_nearest_depth(self) -> None:
        depth = np.array([[1.0, 0, 0, 0, 0, 5.0]], np.float32)
        assert filled_depth(depth).tolist() == [[1, 1, 1, 5, 5, 5]]

    def test_nothing_to_fill_from(self) -> None:
        assert (filled_depth(np.zeros((3, 3), np.float32)) == 0).all()


def record_with(errors: dict[str, list[float]], *, baseline: float = 0.5, index: int = 0) -> SceneRecord:
    """A scene whose pixels (seen and unseen by turns) have these errors."""
    from training.evaluation.geometry import MethodRecord

    count = len(next(iter(errors.values())))
    flags = np.ones(count, bool)
    methods = {
        name: MethodRecord(np.array(values, np.float32), np.array(values, np.float32), flags, flags, {})
        for name, values in errors.items()
    }
    return SceneRecord(index, 10.0, baseline, np.arange(count) % 2 == 0, methods, np.array([0.25]))


class TestPooled:
    RECORDS = [
        record_with({"imagined": [0.1, 0.2, 0.1, 0.2], "moved": [0.2, 1.0, 0.2, 1.0], "filled": [0.3, 0.5, 0.3, 0.5]}),
        record_with(
            {"imagined": [0.1, 0.4, 0.1, 0.4], "moved": [0.2, 1.0, 0.2, 1.0], "filled": [0.3, 0.4, 0.3, 0.4]},
            baseline=1.2,
        ),
    ]

    def test_the_ratio_is_to_the_best_free_baseline(self) -> None:
        seen, unseen = (part_figures(self.RECORDS, part) for part in ("seen", "unseen"))
        assert (seen["best_baseline"], unseen["best_baseline"]) == ("moved", "filled")
        assert seen["error_ratio"] == pytest.approx(0.5)
        assert unseen["error_ratio"] == pytest.approx(0.3 / 0.45, rel=1e-5)
        assert seen["ratio_to"] == pytest.approx({"moved": 0.5, "filled": 1 / 3}, rel=1e-5)
        assert seen["share"] == unseen["share"] == 0.5

    def test_the_interval_holds_the_ratio(self) -> None:
        low, high = part_figures(self.RECORDS, "unseen")["error_ratio_interval"]
        assert 0.39 < low < 0.3 / 0.45 < high < 1.02
        low, high = part_figures(self.RECORDS, "seen")["error_ratio_interval"]
        assert low == pytest.approx(0.5, rel=0.02) and high == pytest.approx(0.5, rel=0.02)

    def test_by_motion(self) -> None:
        rows = by_motion(self.RECORDS, lambda record: record.baseline, BASELINES)
        assert [(row["from"], row["to"], row["scenes"]) for row in rows] == [(0.5, 1.0, 1), (1.0, 1.5, 1)]
        assert rows[1]["unseen"]["imagined"] == pytest.approx(0.4)

    def test_no_scene_no_figure(self) -> None:
        assert part_figures([], "seen")["error_ratio"] is None


class TestUncertainty:
    def test_spread_by_hand(self) -> None:
        samples = np.array([[[0, 0, 2.0]], [[0, 0, 4.0]]])
        assert relative_spread(samples)[0] == pytest.approx(1 / 3)

    def test_a_perfect_order_falls(self) -> None:
        errors = np.linspace(0, 1, 100)[::-1].copy()
        figures = risk_coverage(errors, errors)
        assert figures["gain"] == pytest.approx(1) and figures["falls"]
        assert figures["risk"] == sorted(figures["risk"]) and figures["coverage"] == list(COVERAGES)
        assert figures["risk"][-1] == pytest.approx(0.5) == figures["aurc_random"]

    def test_a_misleading_order_does_not(self) -> None:
        errors = np.linspace(0, 1, 100)
        figures = risk_coverage(-errors, errors)
        assert figures["gain"] < 0 and not figures["falls"]

    def test_errors_are_capped(self) -> None:
        assert risk_coverage(np.zeros(2), np.array([0.0, 1e9]))["risk"][-1] == 0.5

    def test_without_pixels(self) -> None:
        assert risk_coverage(np.zeros(0), np.zeros(0))["aurc"] is None
