"""Boxes of what names find, and how far they are apart."""

from __future__ import annotations

import pytest
import torch

from uniugg_core.models.boxes import MANY, SOLID, Boxes, is_thing, many_of, sides_of, solid_of
from uniugg_core.models.grounding import RANGES, Sightings
from uniugg_core.pointmaps import compressed, quarters

D, E, C = 12, 10, 6


def sightings(count: int = 3, pictures: int = 2, seed: int = 0) -> Sightings:
    draw = torch.Generator().manual_seed(seed)
    points = torch.rand(count, pictures, 4, 3, generator=draw) + torch.tensor([0.0, 0.0, 2.0])
    share = torch.rand(count, pictures, generator=draw)
    features = torch.randn(count, pictures, D, generator=draw)
    states = torch.randn(count, pictures, E, generator=draw)
    extent, outline, ranges, crowd = (
        0.1 + torch.rand(count, pictures, n, generator=draw) for n in (3, 4, len(RANGES), 2)
    )
    own = compressed(points)
    return Sightings(share, features, states, own, own, extent, outline, ranges, crowd)


def trained(seed: int = 0) -> Boxes:
    torch.manual_seed(seed)
    boxes = Boxes(D, E, C)
    for parameter in boxes.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return boxes


MEANING = torch.randn(3, C, generator=torch.Generator().manual_seed(1))


def test_untrained_it_leaves_what_was_found():
    found = sightings()
    boxed = Boxes(D, E, C)(found, MEANING)
    middle = quarters(found.own).mean(2)
    torch.testing.assert_close(boxed.middle, middle)
    torch.testing.assert_close(boxed.center, middle)
    torch.testing.assert_close(boxed.near, found.near * middle.norm(dim=-1))
    assert torch.equal(sides_of(boxed.solid), torch.ones(3, 2, 3)) and (is_thing(boxed.solid) == 1).all()
    torch.testing.assert_close(many_of(boxed.solid), torch.full((3, 2, MANY), 1 / MANY))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lengths_are_lengths_whatever_is_said(dtype):
    boxed = trained().to(dtype)(sightings(), MEANING.to(dtype))
    assert boxed.near.shape == (3, 2) and boxed.solid.shape == (3, 2, SOLID)
    for part in (boxed.near, boxed.middle, boxed.center, boxed.solid):
        assert part.dtype == torch.float32 and part.isfinite().all()
    assert (boxed.near > 0).all() and (sides_of(boxed.solid) > 0).all()
    torch.testing.assert_close(many_of(boxed.solid).sum(-1), torch.ones(3, 2))


def test_it_learns_from_boxes_alone():
    """What it reads is no business of its own."""
    found, meaning = sightings(), MEANING.clone().requires_grad_()
    found.features.requires_grad_()
    found.share.requires_grad_()
    boxes = trained()
    boxed = boxes(found, meaning)
    (boxed.near.sum() + boxed.center.sum() + many_of(boxed.solid)[..., 0].sum()).backward()
    assert meaning.grad is None and found.features.grad is None and found.share.grad is None
    for part in (boxes.norms, boxes.thing, boxes.said, boxes.counted):
        assert all(parameter.grad is not None for parameter in part.parameters())


def test_whole_things_are_told_of_by_their_parts():
    sides, many = torch.rand(4, 3), torch.rand(4, MANY).softmax(-1)
    solid = solid_of(sides.log(), many)
    assert solid.shape == (4, SOLID) and (is_thing(solid) == 1).all() and not is_thing(torch.zeros(SOLID))
    torch.testing.assert_close(sides_of(solid), sides)
    torch.testing.assert_close(many_of(solid), many)


class TestGap:
    def test_points_are_as_far_apart_as_they_are(self):
        """Also of a thing that only one of them is."""
        boxes, thing, point = trained(), torch.ones(SOLID), torch.zeros(SOLID)
        a, b = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 5.0, 7.0])
        assert boxes.gap(a, point, b, point).item() == pytest.approx(5.0)
        assert boxes.gap(a, thing, b, point).item() == pytest.approx(5.0)
        assert boxes.gap(a, thing, b, thing).item() != pytest.approx(5.0, abs=0.01)

    def test_whichever_is_named_first(self):
        boxes, draw = trained(2), torch.Generator().manual_seed(3)
        centers = torch.randn(2, 20, 3, generator=draw)
        solids = torch.cat([torch.randn(2, 20, SOLID - 1, generator=draw), torch.ones(2, 20, 1)], dim=-1)
        there = boxes.gap(centers[0], solids[0], centers[1], solids[1])
        back = boxes.gap(centers[1], solids[1], centers[0], solids[0])
        torch.testing.assert_close(there, back)
        assert (there > 0).all()

    def test_untrained_it_is_how_far_the_middles_are_apart(self):
        centers, solids = torch.randn(2, 5, 3), torch.ones(2, 5, SOLID)
        gap = Boxes(D, E, C).gap(centers[0], solids[0], centers[1], solids[1])
        torch.testing.assert_close(gap, (centers[1] - centers[0]).norm(dim=-1).clamp_min(0.05))
