"""What was observed stays where it was seen: known walls, seen from the side."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from uniugg_core.cameras import Camera, inverse_rigid, motion
from uniugg_core.models.decoder import ViewOutput
from uniugg_core.observed import keep_observed
from uniugg_core.pointmaps import project, transform_points, unproject

SIZE = 32
CAMERA = Camera.from_fov(SIZE, SIZE, 1.2)
MATRIX = torch.from_numpy(np.array(CAMERA.matrix)).float()[None]
IMAGE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def view(points: torch.Tensor, confidence: float) -> ViewOutput:
    return ViewOutput(points, torch.full((1, SIZE, SIZE), confidence), torch.zeros(1, SIZE, SIZE, 3))


def wall(depth: float) -> torch.Tensor:
    return unproject(torch.full((1, SIZE, SIZE), depth), MATRIX)


def imagined_from(pose: np.ndarray, depth: float) -> ViewOutput:
    """A flat imagination, `depth` metres in front of the camera at `pose`, in the reference's frame."""
    return view(transform_points(torch.from_numpy(inverse_rigid(pose)).float()[None], wall(depth)), 2.0)


def test_a_camera_that_stayed_sees_the_picture_itself():
    observed = view(wall(3.0), 5.0)
    kept = keep_observed(imagined_from(np.eye(4), 1.0), observed, IMAGE, np.eye(4), CAMERA)
    torch.testing.assert_close(kept.points, observed.points, rtol=1e-4, atol=1e-4)
    assert (kept.confidence == 5.0).all()
    assert np.array_equal((kept.colors[0] * 255).round().numpy(), IMAGE)


def test_a_stray_point_joins_its_neighbours_and_an_edge_stays_where_it_is():
    depths = torch.full((1, SIZE, SIZE), 3.0)
    depths[..., SIZE // 2 :] = 2.0
    true = unproject(depths, MATRIX)
    depths = depths.clone()
    depths[0, 9, 7] = 1.2
    kept = keep_observed(imagined_from(np.eye(4), 1.0), view(unproject(depths, MATRIX), 5.0), IMAGE, np.eye(4), CAMERA)
    torch.testing.assert_close(kept.points, true, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("imagined", "least", "most"), [(2.9, 2.98, 2.99), (3.3, 3.02, 3.05), (1.0, 2.999, 3.001)])
def test_where_imagination_agrees_it_has_a_say(imagined, least, most):
    """A seventh of it for a surface at about the same distance, none for another surface."""
    kept = keep_observed(imagined_from(np.eye(4), imagined), view(wall(3.0), 5.0), IMAGE, np.eye(4), CAMERA)
    assert ((kept.points[..., 2] > least) & (kept.points[..., 2] < most)).all()


@pytest.mark.parametrize("turn", [0.3, -0.3])
def test_what_was_not_seen_goes_on_from_what_was_and_every_point_stays_on_its_ray(turn):
    """The room is a wall 3 m away, and was imagined two thirds as far."""
    pose = motion(yaw=turn)
    scene_from_target = torch.from_numpy(inverse_rigid(pose)).float()[None]
    rays = transform_points(scene_from_target, wall(1.0))
    true = rays * (3.0 / rays[..., 2:]).clamp(0, 100)
    imagined = view(true * 2 / 3, 2.0)
    before = imagined.points.clone()
    kept = keep_observed(imagined, view(wall(3.0), 5.0), IMAGE, pose, CAMERA)
    seen = (kept.confidence == 5.0)[0]
    assert 0.4 < seen.float().mean() < 0.95
    assert seen[:, : SIZE // 4].all() if turn > 0 else seen[:, -SIZE // 4 :].all()  # it turned away from that side
    center = torch.from_numpy(inverse_rigid(pose)[:3, 3]).float()
    factor = ((kept.points - center).norm(dim=-1) / (true - center).norm(dim=-1))[0]
    beside = ~seen & (F.max_pool2d(seen[None, None].float(), 3, 1, 1)[0, 0] > 0)
    torch.testing.assert_close(factor[beside], torch.ones(int(beside.sum())), rtol=0.08, atol=0)
    assert (factor[~seen] > 0.66).all() and (factor[~seen] < 1.03).all()  # farther away imagination counts
    pixel, _ = project(transform_points(torch.from_numpy(pose).float()[None], kept.points), MATRIX)
    v, u = torch.meshgrid(torch.arange(float(SIZE)), torch.arange(float(SIZE)), indexing="ij")
    torch.testing.assert_close(pixel, torch.stack([u, v], -1)[None], atol=1e-2, rtol=0)
    # the wall of the reference, 3 m in front of it, to the size of a pixel
    torch.testing.assert_close(kept.points[0, seen][:, 2], torch.full((int(seen.sum()),), 3.0), atol=0.15, rtol=0)
    assert torch.equal(imagined.points, before) and not imagined.colors.any()  # what was given is left alone


def test_beside_the_seam_imagination_is_fitted_and_farther_away_less_so():
    """A wall is imagined half as far again as it is; where the picture ended it goes on without a step."""
    pose = motion(yaw=0.3)
    imagined = view(transform_points(torch.from_numpy(inverse_rigid(pose)).float()[None], wall(4.5)), 2.0)
    kept = keep_observed(imagined, view(wall(3.0), 5.0), IMAGE, pose, CAMERA)
    seen = (kept.confidence == 5.0)[0]
    true = transform_points(torch.from_numpy(pose).float()[None], kept.points)[0, SIZE // 2]
    depth = true[:, 2]
    row = seen[SIZE // 2]
    edge = int(row.nonzero().max())
    assert edge + 8 < SIZE and not row[edge + 1 :].any()
    assert abs(float(depth[edge + 1] - depth[edge])) < 0.25  # no step
    beyond = depth[edge + 1 :]
    assert (beyond.diff() > -0.1).all() and 3.3 < float(beyond[-1]) < 4.5  # and on towards what was imagined


class TestSurfaces:
    """The camera looks away from a wall 3 m ahead; the room's surfaces are told as distances."""

    POSE = motion(yaw=np.pi)

    def distance(self, imagined: float, surfaces: np.ndarray | float) -> np.ndarray:
        """From the camera, of what was imagined on its rays at a distance."""
        rays = wall(1.0) / wall(1.0).norm(dim=-1, keepdim=True)
        scene_from_target = torch.from_numpy(inverse_rigid(self.POSE)).float()[None]
        view_there = view(transform_points(scene_from_target, imagined * rays), 2.0)
        told = np.broadcast_to(np.float32(surfaces), (SIZE, SIZE))
        kept = keep_observed(view_there, view(wall(3.0), 5.0), IMAGE, self.POSE, CAMERA, told)
        return kept.points[0].norm(dim=-1).numpy()

    def test_what_is_about_there_is_taken_most_of_the_way_to_them(self):
        for imagined in (2.9, 3.2):
            between = np.exp(0.2 * np.log(imagined) + 0.8 * np.log(3.0))
            np.testing.assert_allclose(self.distance(imagined, 3.0), between, rtol=2e-3)

    def test_what_stands_clearly_before_them_stays(self):
        np.testing.assert_allclose(self.distance(0.5, 4.0), 0.5, rtol=0.03)

    def test_where_there_is_none_nothing_changes(self):
        surfaces = np.full((SIZE, SIZE), 3.0)
        surfaces[:, : SIZE // 2] = np.inf
        made = self.distance(2.7, surfaces)
        np.testing.assert_allclose(made[:, : SIZE // 2], 2.7, rtol=1e-4)
        np.testing.assert_allclose(made[:, SIZE // 2 :], 2.7**0.2 * 3.0**0.8, rtol=5e-3)

    @pytest.mark.parametrize(("near", "depth"), [(1.1, 3.06), (3.0, 3.0), (0.3, 3.0)])
    def test_in_what_was_observed_they_have_a_say_where_they_agree(self, near, depth):
        surfaces = near * wall(3.0)[0].norm(dim=-1).numpy()
        kept = keep_observed(imagined_from(np.eye(4), 1.0), view(wall(3.0), 5.0), IMAGE, np.eye(4), CAMERA, surfaces)
        assert kept.points[..., 2].allclose(torch.tensor(depth), atol=0.02)


def test_a_camera_that_looks_away_keeps_nothing():
    pose = motion(yaw=np.pi)
    imagined = imagined_from(pose, 2.0)
    kept = keep_observed(imagined, view(wall(3.0), 5.0), IMAGE, pose, CAMERA)
    torch.testing.assert_close(kept.points, imagined.points)
    assert (kept.confidence == 2.0).all()


def test_a_view_without_colours():
    bare = ViewOutput(wall(1.0), torch.ones(1, SIZE, SIZE), None)
    kept = keep_observed(bare, view(wall(3.0), 5.0), IMAGE, np.eye(4), CAMERA)
    assert kept.colors is None and kept.points[..., 2].allclose(torch.tensor(3.0), atol=1e-4)


def test_colours_beside_the_seam_are_those_of_what_was_seen_and_farther_away_less_so():
    pose, grey = motion(yaw=0.3), np.full((SIZE, SIZE, 3), 128, np.uint8)
    imagined = imagined_from(pose, 2.0)
    imagined = ViewOutput(imagined.points, imagined.confidence, torch.full_like(imagined.points, 0.2))
    kept = keep_observed(imagined, view(wall(3.0), 5.0), grey, pose, CAMERA)
    seen = (kept.confidence == 5.0)[0]
    shade = kept.colors[0, SIZE // 2, :, 0]
    edge = int(seen[SIZE // 2].nonzero().max())
    torch.testing.assert_close(kept.colors[0, seen], torch.full((int(seen.sum()), 3), 128 / 255))
    assert abs(float(shade[edge + 1]) - 128 / 255) < 0.03
    assert (shade[edge + 1 :].diff() <= 1e-4).all() and 0.2 < float(shade[-1]) < 0.45
