"""The sample type: geometry that agrees with itself, and batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.data.covisibility import lift, seen_by
from training.data.rooms import RoomsConfig, RoomsDataset
from training.data.views import PairBatch, View
from uniugg_core.errors import UniuggError


@pytest.fixture(scope="module")
def pairs():
    dataset = RoomsDataset(RoomsConfig(size=48, views=6, pairs=4), "test", seed=3)
    return [dataset.pair(i) for i in range(6)]


@pytest.fixture(scope="module")
def batch(pairs):
    return PairBatch.collate(pairs)


class TestView:
    def test_rooms_pass_the_check(self, pairs):
        for pair in pairs:
            assert pair.reference.check() is pair.reference

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("image", np.zeros((48, 48), np.uint8)),
            ("image", np.zeros((48, 48, 3), np.float32)),
            ("depth", np.full((48, 48), np.nan, np.float32)),
            ("depth", np.ones((40, 48), np.float32)),
            ("intrinsics", np.zeros((3, 3))),
            ("world_from_camera", 2 * np.eye(4)),
            ("classes", np.zeros((4, 4), np.uint8)),
        ],
    )
    def test_bad_views_are_refused(self, pairs, field, value):
        with pytest.raises(UniuggError):
            View(**{**pairs[0].reference.__dict__, field: value}).check()

    def test_square_keeps_points_in_place(self, pairs):
        """The middle of a wide view, made smaller: surfaces stay where they were in the world."""
        view = pairs[0].reference
        wide = View(
            image=np.concatenate([np.zeros((48, 20, 3), np.uint8), view.image, np.zeros((48, 20, 3), np.uint8)], 1),
            depth=np.pad(view.depth, ((0, 0), (20, 20))),
            intrinsics=view.intrinsics + np.array([[0, 0, 20.0], [0, 0, 0], [0, 0, 0]]),
            world_from_camera=view.world_from_camera,
        )
        small = wide.square(24)
        assert small.image.shape == (24, 24, 3) and small.depth.shape == (24, 24)
        full = lift(view.depth, view.intrinsics, view.world_from_camera)
        points = lift(small.depth, small.intrinsics, small.world_from_camera)
        gap = np.linalg.norm(points - full[::2, ::2], axis=-1)
        assert np.median(gap) < 0.05  # half a pixel's footprint
        assert wide.square(48).intrinsics == pytest.approx(view.intrinsics)


class TestPair:
    def test_relative_pose(self, pairs):
        for pair in pairs:
            point = np.array([0.1, 0.2, 2.0, 1.0])
            world = pair.reference.world_from_camera @ point
            local = np.linalg.inv(pair.target.world_from_camera) @ world
            np.testing.assert_allclose(pair.target_from_reference @ point, local, atol=1e-9)

    def test_swapped_twice_is_itself(self, pairs):
        pair = pairs[0]
        assert pair.swapped().reference is pair.target
        assert pair.swapped().swapped().covisibility == pair.covisibility
        np.testing.assert_allclose(
            pair.swapped().target_from_reference @ pair.target_from_reference, np.eye(4), atol=1e-12
        )


class TestBatch:
    def test_shapes(self, batch):
        assert batch.image.shape == (6, 2, 3, 48, 48) and batch.image.dtype == torch.uint8
        assert batch.depth.shape == batch.instances.shape == batch.classes.shape == (6, 2, 48, 48)
        assert batch.intrinsics.shape == (6, 2, 3, 3) and batch.reference_from_view.shape == (6, 2, 4, 4)
        assert batch.covisibility.shape == (6, 2) and len(batch) == 6
        assert batch.image01().max() <= 1.0
        torch.testing.assert_close(batch.reference_from_view[:, 0], torch.eye(4).expand(6, 4, 4))

    def test_points_in_reference_are_the_world_seen_from_it(self, batch, pairs):
        got = batch.points_in_reference().numpy()
        for b, pair in enumerate(pairs):
            for v, view in enumerate(pair.views):
                world = lift(view.depth, view.intrinsics, view.world_from_camera)
                pose = pair.reference.world_from_camera
                np.testing.assert_allclose(got[b, v], (world - pose[:3, 3]) @ pose[:3, :3], atol=2e-4)

    def test_seen_agrees_with_the_measured_covisibility(self, batch, pairs):
        seen = batch.seen()
        for b, pair in enumerate(pairs):
            for v, (view, other) in enumerate(((pair.reference, pair.target), (pair.target, pair.reference))):
                world = lift(view.depth, view.intrinsics, view.world_from_camera)
                expected = seen_by(world, other.depth, other.intrinsics, other.world_from_camera)
                assert (seen[b, v].numpy() == expected).mean() > 0.995
                assert seen[b, v].float().mean().item() == pytest.approx(pair.covisibility[v], abs=0.1)

    def test_seen_surfaces_have_the_same_instances(self, batch):
        """Of the reference's pixels that the target sees, nearly all fall onto the same object there."""
        from uniugg_core.pointmaps import project, transform_points

        points = transform_points(batch.target_from_reference, batch.points()[:, 0])
        pixel, _ = project(points, batch.intrinsics[:, 1])
        u, v = pixel.round().long().clamp(0, 47).unbind(-1)
        there = batch.instances[:, 1].flatten(1).gather(1, (v * 48 + u).flatten(1)).view_as(u)
        same = (there == batch.instances[:, 0])[batch.seen()[:, 0]].float().mean()
        assert same > 0.93

    def test_swapped(self, batch, pairs):
        other = PairBatch.collate([pair.swapped() for pair in pairs]).to_dict()
        for name, tensor in batch.swapped().to_dict().items():
            torch.testing.assert_close(tensor, other[name], atol=1e-5, rtol=1e-5)

    def test_symmetrised(self, batch):
        both = batch.symmetrised()
        assert len(both) == 12
        torch.testing.assert_close(both.image[6:, 0], batch.image[:, 1])
        torch.testing.assert_close(both.target_from_reference[6:], batch.reference_from_view[:, 1])

    def test_dictionary_and_back(self, batch):
        again = PairBatch.from_dict({**batch.to_dict(), "kind": "pair"})
        assert again.to_dict().keys() == batch.to_dict().keys()
        bare = PairBatch.from_dict({k: v for k, v in batch.to_dict().items() if k != "classes"})
        assert bare.classes is None and "classes" not in bare.to_dict()

    def test_refusals(self, pairs):
        with pytest.raises(UniuggError, match="no pairs"):
            PairBatch.collate([])
        with pytest.raises(UniuggError, match="sizes"):
            PairBatch.collate([pairs[0], pairs[1].square(24)])
