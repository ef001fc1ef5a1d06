"""Plücker ray maps: the identities that make them Plücker coordinates, and known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lenses import PINHOLE

from uniugg_core.cameras import Camera, inverse_rigid, motion, parse_motion, plucker_raymap

CAMERA = Camera.from_fov(224, 224, math.radians(48))
K = torch.tensor(CAMERA.matrix)[None]


def raymap(target_from_reference, **options):
    return plucker_raymap(torch.tensor(target_from_reference)[None], K, 14, 14, 16, **options)[0]


poses = st.builds(
    lambda angles, shift: motion(
        yaw=angles[0], pitch=angles[1], roll=angles[2], right=shift[0], down=shift[1], forward=shift[2]
    ),
    st.tuples(*[st.floats(-3.0, 3.0)] * 3),
    st.tuples(*[st.floats(-5.0, 5.0)] * 3),
)


@settings(deadline=None, max_examples=50)
@given(poses)
def test_directions_are_unit_and_moments_perpendicular(pose):
    rays = raymap(pose)
    directions, moments = rays[..., :3], rays[..., 3:]
    assert torch.allclose(directions.norm(dim=-1), torch.ones(14, 14, dtype=torch.float64))
    assert (directions * moments).sum(dim=-1).abs().max() < 1e-9
    # The moment's length is the distance of the ray from the reference camera's centre.
    centre = inverse_rigid(pose)[:3, 3]
    distance = np.linalg.norm(centre - (directions.numpy() @ centre)[..., None] * directions.numpy(), axis=-1)
    assert np.allclose(moments.norm(dim=-1).numpy(), distance, atol=1e-9)


@settings(deadline=None, max_examples=50)
@given(poses, st.floats(0.3, 5.0))
def test_a_point_on_the_ray_fulfils_it(pose, depth):
    """p x direction = moment for every point p of the ray, here the point seen at a patch centre."""
    rays = raymap(pose).numpy()
    pixel = np.array([(3 + 0.5) * 16 - 0.5, (9 + 0.5) * 16 - 0.5])  # column 3, row 9
    in_target = CAMERA.rays(pixel) * depth
    in_reference = inverse_rigid(pose)[:3, :3] @ in_target + inverse_rigid(pose)[:3, 3]
    assert np.allclose(np.cross(in_reference, rays[9, 3, :3]), rays[9, 3, 3:], atol=1e-9)


def test_identity_has_no_moment_and_looks_ahead():
    rays = raymap(np.eye(4))
    assert (rays[..., 3:] == 0).all()
    middle = rays[6:8, 6:8, :3].mean(dim=(0, 1))  # the principal point lies between the four middle patches
    assert torch.allclose(middle / middle.norm(), torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), atol=1e-12)


def test_patch_centre_is_half_a_pixel_before_the_middle():
    first = raymap(np.eye(4))[0, 0, :3]
    assert np.allclose(first / first[2], CAMERA.rays(np.array([7.5, 7.5])))


def test_moving_along_a_ray_keeps_its_moment():
    start = motion(yaw=0.4, pitch=-0.2, right=0.3, down=-0.1, forward=0.7)
    ray = raymap(start)[2, 11].numpy()
    for step in (0.5, 2.0, -1.0):
        reference_from_target = inverse_rigid(start)
        reference_from_target[:3, 3] += step * ray[:3]
        moved = raymap(inverse_rigid(reference_from_target))
        assert np.allclose(moved[2, 11], ray)
        assert not np.allclose(moved[2, 10], raymap(start)[2, 10])  # only that one ray stays


def test_yaw_right_turns_the_rays_right():
    rays = raymap(parse_motion("yaw right 30"))
    middle = rays[6:8, 6:8, :3].mean(dim=(0, 1)).numpy()
    assert np.allclose(middle / np.linalg.norm(middle), [0.5, 0.0, math.sqrt(0.75)])


def test_translation_scale_touches_moments_only():
    pose = parse_motion("right 0.5, yaw left 10")
    plain, scaled = raymap(pose), raymap(pose, translation_scale=2.5)
    assert torch.equal(plain[..., :3], scaled[..., :3])
    assert torch.allclose(2.5 * plain[..., 3:], scaled[..., 3:])


@pytest.mark.parametrize(("height", "width", "patch"), [(480, 640, 16), (48, 32, 8)])
def test_batches_types_and_odd_shapes(height, width, patch):
    matrix = torch.tensor(PINHOLE.scaled(width, height).matrix, dtype=torch.float32)[None]
    two = torch.tensor(np.stack([np.eye(4), parse_motion("back 1")]), dtype=torch.float32)
    rays = plucker_raymap(two, matrix.expand(2, 3, 3), height // patch, width // patch, patch)
    assert rays.shape == (2, height // patch, width // patch, 6) and rays.dtype == torch.float32
    alone = plucker_raymap(two[1:], matrix, height // patch, width // patch, patch)
    assert torch.allclose(rays[1:], alone)
