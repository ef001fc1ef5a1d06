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
    confidence,
    decode_points,
    encode_points,
    inverse_transform,
    project,
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
