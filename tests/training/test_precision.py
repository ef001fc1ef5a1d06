"""Geometry under autocast is what it is without."""

from __future__ import annotations

import pytest
import torch

from training.augment import color_jitter
from training.losses.appearance import ssim
from training.losses.matching import matching_loss, reciprocal_matches
from uniugg_core.cameras.rays import plucker_raymap
from uniugg_core.pointmaps import inverse_transform, project, transform_points, unproject
from uniugg_core.precision import full_precision


def draw(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


K = torch.tensor([[110.3, 0, 63.5], [0, 111.7, 60.1], [0, 0, 1]])
POSE = torch.eye(4).index_put((torch.tensor([0, 1, 2]), torch.tensor([3, 3, 3])), torch.tensor([0.31, -0.17, 1.03]))
DEPTH = 2 + draw(2, 16, 16)
POINTS = unproject(DEPTH, K)
UNIT = torch.nn.functional.normalize(draw(2, 9, 8), dim=-1)


@pytest.mark.parametrize(
    "call",
    [
        lambda: unproject(DEPTH, K),
        lambda: project(POINTS, K)[0],
        lambda: transform_points(POSE, POINTS),
        lambda: inverse_transform(POSE),
        lambda: plucker_raymap(POSE[None], K[None], 4, 4, 16),
        lambda: ssim(draw(1, 3, 16, 16), draw(1, 3, 16, 16).flip(-1)),
        lambda: torch.stack(reciprocal_matches(POINTS[0], DEPTH[0] > 0, POINTS[0], DEPTH[0] > 0, K, K, torch.eye(4))),
        lambda: matching_loss(UNIT, UNIT.flip(1), draw(2, 9) + 1, torch.ones(2, 9, dtype=torch.bool)),
        lambda: color_jitter(draw(2, 3, 8, 8), (0.3, 0.3, 0.3, 0.1), torch.Generator().manual_seed(1)),
    ],
)
def test_half_precision_around_it_changes_nothing(call):
    alone = call()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(call(), alone)


def test_networks_beside_it_stay_in_half_precision():
    with torch.autocast("cpu", torch.bfloat16):
        full_precision(lambda x: x)(K)
        assert (K @ K).dtype == torch.bfloat16
