"""Pointmaps: the parameterisation and its inverse, planes, and tensors against the camera type."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lenses import PINHOLE

from uniugg_core.cameras import inverse_rigid, motion
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.pointmaps import (
    PATCH_WAVES,
    confidence,
    decode_points,
    encode_points,
    inverse_transform,
    mark_points,
    patch_points,
    patch_waves,
    project,
    splat,
    transform_points,
    unproject,
)

K = torch.tensor(PINHOLE.matrix)
POSE = motion(yaw=0.5, pitch=0.2, roll=-0.1, right=1.0, down=0.3, forward=-2.0)


class TestParameterisation:
    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.floats(-4.0, 4.0), min_size=3, max_size=3))
    def test_round_trip(self, raw):
        raw = torch.tensor(raw, dtype=torch.float64)
        assert torch.allclose(encode_points(decode_points(raw)), raw, atol=1e-7)

    def test_known_answers(self):
        decoded = decode_points(torch.tensor([[0.0, 0.0, 1.0], [0.0, -math.log(3.0), 0.0], [0.0, 0.0, 0.0]]))
        assert torch.allclose(decoded, torch.tensor([[0.0, 0.0, math.e - 1], [0.0, -2.0, 0.0], [0.0, 0.0, 0.0]]))

    def test_gradients_are_finite_everywhere(self):
        for function in (decode_points, encode_points):
            raw = torch.tensor([[0.0, 0.0, 0.0], [1e-12, 0.0, 0.0], [0.3, -0.2, 2.0]], requires_grad=True)
            function(raw).sum().backward()
            assert torch.isfinite(raw.grad).all()
            assert torch.allclose(raw.grad[:2], torch.ones(2, 3), atol=1e-5)  # near the origin it is the identity

    def test_half_precision_is_computed_in_full(self):
        raw = torch.tensor([0.0, 0.0, 5.0], dtype=torch.bfloat16)
        assert decode_points(raw).dtype == torch.float32
        assert math.isclose(decode_points(raw)[2], math.expm1(5.0), rel_tol=1e-6)
        assert confidence(torch.zeros(2, dtype=torch.bfloat16)).tolist() == [2.0, 2.0]

    def test_confidence_is_above_one(self):
        assert (confidence(torch.tensor([-10.0, 0.0, 3.0])) > 1).all()


class TestGeometry:
    def test_a_plane_unprojected_is_planar(self):
        """The depth of a tilted plane n.p = d, computed by hand, comes back as points of that plane."""
        normal, distance = np.array([0.2, -0.5, 0.8]) / np.linalg.norm([0.2, -0.5, 0.8]), 2.0
        depth = distance / (PINHOLE.rays() @ normal)
        points = unproject(torch.tensor(depth)[None], K[None])[0].numpy()
        assert np.allclose(points @ normal, distance, atol=1e-9)

    def test_agrees_with_the_camera(self):
        depth = torch.rand(2, 480, 640, dtype=torch.float64) + 0.5
        points = unproject(depth, K)
        assert np.allclose(points[1].numpy(), PINHOLE.rays() * depth[1].numpy()[..., None])
        pixels, back = project(points, K.expand(2, 3, 3))
        assert torch.allclose(back, depth)
        v, u = torch.meshgrid(torch.arange(480.0), torch.arange(640.0), indexing="ij")
        assert torch.allclose(pixels, torch.stack([u, v], dim=-1).double().expand(2, -1, -1, -1), atol=1e-8)

    def test_points_behind_are_finite_and_marked(self):
        pixels, depth = project(torch.tensor([[[1.0, 1.0, -2.0], [1.0, 1.0, 0.0]]]), torch.eye(3)[None])
        assert torch.isfinite(pixels).all() and (depth <= 0).all()

    @pytest.mark.parametrize("shape", [(3,), (5, 3), (1, 7, 3), (2, 4, 5, 3)])
    def test_transform_shapes(self, shape):
        points = torch.rand(shape, dtype=torch.float64)
        moved = transform_points(torch.tensor(POSE), points)
        assert moved.shape == points.shape
        assert np.allclose(moved.numpy(), points.numpy() @ POSE[:3, :3].T + POSE[:3, 3])

    def test_each_batch_entry_has_its_own_transform(self):
        transforms = torch.stack([torch.tensor(POSE), torch.eye(4, dtype=torch.float64)])
        points = torch.rand(2, 6, 4, 3, dtype=torch.float64)
        moved = transform_points(transforms, points)
        assert torch.equal(moved[1], points[1])
        assert torch.allclose(moved[0], transform_points(transforms[0], points[0]))
        with pytest.raises(UniuggError) as caught:
            transform_points(transforms, torch.rand(2, 3, dtype=torch.float64))
        assert caught.value.code is ErrorCode.REQUEST_INVALID

    def test_inverse(self):
        assert np.allclose(inverse_transform(torch.tensor(POSE)).numpy(), inverse_rigid(POSE))
        stack = torch.tensor(POSE).expand(2, 3, 4, 4)
        assert torch.allclose(inverse_transform(inverse_transform(stack)), stack)


class TestSplat:
    CAMERA = torch.tensor([[[32.0, 0.0, 7.5], [0.0, 32.0, 7.5], [0.0, 0.0, 1.0]]])

    def wall(self, depth: float) -> torch.Tensor:
        return unproject(torch.full((1, 16, 16), depth), self.CAMERA)

    def test_a_camera_that_stayed_sees_what_was_there(self):
        values = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        points = self.wall(2.0)
        seen = splat(points, values, self.CAMERA)
        assert torch.allclose(seen[:, :3], values, atol=1e-6) and torch.allclose(seen[:, 4], torch.ones(1, 4, 4))
        distances = points.norm(dim=-1).log().unflatten(2, (4, 4)).unflatten(1, (4, 4)).mean(dim=(2, 4))
        assert torch.allclose(seen[:, 3], distances, atol=1e-6)

    def test_a_camera_that_stepped_aside_sees_it_shifted(self):
        """A wall two metres away moves by 32 px * 0.25 m / 2 m = one cell of four pixels."""
        values = torch.arange(16.0).reshape(1, 1, 4, 4)
        seen = splat(self.wall(2.0) - torch.tensor([0.25, 0.0, 0.0]), values, self.CAMERA)
        assert torch.allclose(seen[0, 0, :, :3], values[0, 0, :, 1:])
        assert not seen[0, 2, :, 3].any()
        assert torch.equal(seen[0, :2, :, 3], seen[0, :2, :, 2])  # where nothing is seen, the wall goes on

    def test_the_nearest_surface_hides_others(self):
        depth = torch.full((1, 16, 16), 3.0)
        depth[:, :, 8:] = 1.0  # the right half is nearer
        values = (torch.arange(4.0) // 2).expand(1, 1, 4, 4).contiguous()  # 0 on the left, 1 on the right
        points = unproject(depth, self.CAMERA)
        points[..., 0] += torch.where(points[..., 2] == 1.0, -0.25, 0.0)  # and slides in front of the left one
        seen = splat(points, values, self.CAMERA)
        assert torch.allclose(seen[0, 0, :, :2], torch.ones(4, 2))
        assert (seen[0, 1, :, :2] < 0.6).all()

    def test_nothing_behind_or_beside_the_camera(self):
        values = torch.ones(2, 1, 4, 4)
        points = torch.cat([-self.wall(2.0), self.wall(2.0) + 50.0 * torch.tensor([1.0, 0.0, 0.0])])
        assert not splat(points, values, self.CAMERA.expand(2, 3, 3)).any()
        broken = torch.full((2, 16, 16, 3), torch.nan)
        assert not splat(broken, values, self.CAMERA.expand(2, 3, 3)).any()


def test_patch_points_are_the_mean_points_of_the_quarters_in_raster_order():
    points = torch.rand(2, 8, 12, 3, generator=torch.Generator().manual_seed(0))
    patches = patch_points(points, 4)
    assert patches.shape == (2, 6, 12)
    quarters = decode_points(patches[1, 5].reshape(3, 4).T)  # second row, third column
    for number, (row, column) in enumerate(((4, 8), (4, 10), (6, 8), (6, 10))):
        expected = points[1, row : row + 2, column : column + 2].mean(dim=(0, 1))
        assert torch.allclose(quarters[number], expected, atol=1e-6)


def test_patch_waves_tell_lengths_apart_that_differ_by_a_decimetre():
    points = torch.tensor([[0.3, -0.4, 2.3], [0.3, -0.4, 2.4], [16.3, -0.4, 2.3]])[:, None, None].expand(3, 2, 2, 3)
    near, further, away = waves = patch_waves(patch_points(points, 2))[:, 0]
    assert waves.shape == (3, PATCH_WAVES)
    phases = waves.unflatten(-1, (4, 4, 2, 5))  # quarter, length, sine and cosine, wavelength
    expected = (
        2
        * math.pi
        * torch.tensor([0.3, -0.4, 2.3, math.hypot(0.3, 0.4, 2.3)])[:, None]
        / torch.tensor([1.0, 2, 4, 8, 16])
    )
    torch.testing.assert_close(phases[0, 2], torch.stack([expected.sin(), expected.cos()], 1), atol=1e-5, rtol=0)
    assert (phases[0, 0, 2] - phases[1, 0, 2]).norm() > 0.6
    torch.testing.assert_close(phases[0, 0, 0], phases[2, 0, 0], atol=1e-4, rtol=0)  # 16 m is once around


def test_mark_points_are_the_points_of_the_pixels_around_a_place():
    points = torch.rand(2, 8, 12, 3, generator=torch.Generator().manual_seed(0))
    places = torch.tensor([[50, 50], [0, 0], [100, 100]])
    marks = mark_points(points, torch.tensor([1, 0, 1]), places)
    assert marks.shape == (3, 12)
    for mark, picture, row, column in zip(marks, (1, 0, 1), (4, 0, 6), (6, 0, 10)):
        block = points[picture, row : row + 2, column : column + 2].flatten(0, 1)
        assert torch.allclose(decode_points(mark.reshape(3, 4).T), block, atol=1e-6)


def test_a_mark_is_a_patch_of_two_by_two_pixels():
    points = torch.rand(1, 2, 2, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mark_points(points, torch.tensor([0]), torch.tensor([[30, 40]])), patch_points(points, 2)[0])
