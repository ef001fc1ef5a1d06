"""Canonical cameras: the same picture whatever the lens, and points and rays that come back right."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_model import SMALL, features

from uniugg_core.cameras import motion
from uniugg_core.config import ModelConfig
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.models.decoder import SpatialDecoder
from uniugg_core.models.uniugg import UniUGG
from uniugg_core.pointmaps import canonical_map, inverse_transform, on_rays, project, transform_points, unproject

FOV, SIDE = 60.0, SMALL.image_size
CANONICAL = SMALL.replace(decoder__canonical_fov=FOV)


def lens(f: float, stretch: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> torch.Tensor:
    middle = (SIDE - 1) / 2
    rows = [[f, 0, middle + shift[0]], [0, f * stretch, middle + shift[1]], [0, 0, 1]]
    return torch.tensor(rows, dtype=torch.float64)[None]


K_0 = lens(0.5 * SIDE / np.tan(np.radians(FOV) / 2))


@given(
    st.floats(10, 200), st.floats(0.8, 1.25), st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
    st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.2, 9)),
)  # fmt: skip
def test_the_canonical_camera_sees_the_very_same_picture(f, stretch, shift, point):
    matrix, x = lens(f, stretch, shift)[0], torch.tensor(point, dtype=torch.float64)
    seen = matrix @ x
    canonical = K_0[0] @ (canonical_map(matrix[None], (SIDE, SIDE), FOV)[0] @ x)
    torch.testing.assert_close(canonical[:2] / canonical[2], seen[:2] / seen[2])


def test_sizes_across_the_picture_are_kept_and_depths_changed():
    stretched = canonical_map(lens(2 * float(K_0[0, 0, 0])), (SIDE, SIDE), FOV)[0]
    torch.testing.assert_close(stretched, torch.diag(torch.tensor([1, 1, 0.5], dtype=torch.float64)))


def test_the_canonical_camera_itself_is_mapped_to_itself():
    torch.testing.assert_close(canonical_map(K_0, (SIDE, SIDE), FOV)[0], torch.eye(3, dtype=torch.float64))


def test_points_come_back_to_the_camera_they_were_taken_with():
    config = CANONICAL
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = SpatialDecoder(config.decoder, config.encoder.width, config.encoder.patch).eval()
    one, two, grid = features(2), features(2, seed=5), (config.grid, config.grid)
    matrix = torch.cat([lens(70.0), lens(25.0, 1.1, (2.0, -1.0))]).float()
    with torch.inference_mode():
        plain, right = decoder(one, two, grid), decoder(one, two, grid, matrix=matrix)
        unused = SpatialDecoder(SMALL.decoder, config.encoder.width, config.encoder.patch).eval()
        unused.load_state_dict(decoder.state_dict())
        assert torch.equal(unused(one, two, grid, matrix=matrix)[0].points, plain[0].points)
    to_canonical = canonical_map(matrix, (SIDE, SIDE), FOV)
    for before, after in zip(plain, right):
        again = torch.einsum("bij,bhwj->bhwi", to_canonical, after.points)
        torch.testing.assert_close(again, before.points, rtol=1e-4, atol=1e-5)
        assert torch.equal(before.confidence, after.confidence)


def test_rays_lead_to_the_canonical_points():
    model = UniUGG.on_meta(CANONICAL)
    patch, grid = CANONICAL.encoder.patch, (CANONICAL.grid, CANONICAL.grid)
    pose = torch.from_numpy(motion(yaw=0.4, right=0.3, forward=-0.2))[None]
    own, target = lens(45.0, 1.05, (1.0, 0.5)), lens(60.0)
    rays = model.raymap(pose, target, grid, own)[0]
    row, column, depth = 1, 2, 2.7
    pixel = torch.tensor([(column + 0.5) * patch - 0.5, (row + 0.5) * patch - 0.5, 1.0], dtype=torch.float64)
    in_target = torch.linalg.inv(target[0]) @ pixel * depth
    in_reference = pose[0, :3, :3].T @ (in_target - pose[0, :3, 3])
    canonical = canonical_map(own, (SIDE, SIDE), FOV)[0] @ in_reference
    direction, moment = rays[row, column, :3], rays[row, column, 3:]
    torch.testing.assert_close(direction.norm(), torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(torch.linalg.cross(canonical, direction), moment)
    torch.testing.assert_close(model.raymap(pose, own, grid), model.raymap(pose, own, grid, own))


def test_nonsense_is_refused():
    for fov in (-5.0, 0.5, 180.0):
        with pytest.raises(UniuggError) as refusal:
            ModelConfig(decoder=dataclasses.replace(ModelConfig().decoder, canonical_fov=fov))
        assert refusal.value.code is ErrorCode.CHECKPOINT_INVALID


def test_points_on_rays_are_seen_at_their_pixels_and_as_far_away_as_before():
    pose = torch.from_numpy(motion(yaw=0.4, right=0.3, forward=-0.2))[None].float()
    matrix, depth = lens(45.0, 1.1, (1.0, -2.0)).float(), 1 + torch.rand(1, SIDE, SIDE)
    true = transform_points(inverse_transform(pose), unproject(depth, matrix))
    torch.testing.assert_close(on_rays(true, pose, matrix), true, rtol=1e-4, atol=1e-4)
    moved = on_rays(true + 0.2 * torch.randn(true.shape, generator=torch.Generator().manual_seed(0)), pose, matrix)
    pixels, _ = project(transform_points(pose, moved), matrix)
    v, u = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    torch.testing.assert_close(pixels[0], torch.stack([u, v], -1).float(), rtol=0, atol=1e-2)
    far = true + 0.2 * torch.randn(true.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        transform_points(pose, moved).norm(dim=-1), transform_points(pose, far).norm(dim=-1), rtol=1e-4, atol=1e-4
    )
