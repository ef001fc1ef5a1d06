"""Boxes of what names find, and how far they are apart."""

from __future__ import annotations

import pytest
import torch

from uniugg_core.models.boxes import MANY, SOLID, Boxes, is_thing, many_of, sides_of, solid_of, turned
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


def trained(seed: int = 0, reaching: bool = False) -> Boxes:
    torch.manual_seed(seed)
    boxes = Boxes(D, E, C, reaching)
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


class TestReach:
    """How far boxes reach to all sides, by which gaps are told."""

    def test_they_reach_somewhere(self):
        for boxes in (Boxes(D, E, C, True), trained(reaching=True)):
            boxed = boxes(sightings(), MEANING)
            assert boxed.reach.shape == (3, 2, 4) and (boxed.reach > 0).all() and boxed.solid.shape == (3, 2, SOLID)
            torch.testing.assert_close(boxed.solid[..., -4], boxed.reach.square().mean(-1))
        assert Boxes(D, E, C)(sightings(), MEANING).reach is None

    def test_a_gap_is_between_the_sides_that_face_each_other(self):
        """Two boxes of 2 x 0.4 metres: end to end, side by side, and on the diagonal."""
        lying, ends = torch.tensor([1.0, 0.52**0.5, 0.2, 0.52**0.5]), torch.tensor([0.2, 0.52**0.5, 1.0, 0.52**0.5])
        sides, many = torch.tensor([2.0, 0.4, 0.5]).log(), torch.zeros(MANY)
        across = [
            Boxes._between(rel, rel.norm(dim=-1, keepdim=True), *(self.solid(sides, many, reach) for _ in range(2)))
            for rel, reach in (
                (torch.tensor([3.0, 0.0, 0.0]), lying),
                (torch.tensor([3.0, 0.0, 0.0]), ends),
                (torch.tensor([0.0, 0.0, -3.0]), lying),
                (torch.tensor([3.0, 2.0, 0.0]), ends),
            )
        ]
        found = [(one[0, 2].item(), one[0, 3].item(), one[0, 4].item()) for one in across]
        expected = [(1.0, 0.0, 1.0), (2.6, 0.0, 2.6), (2.6, 0.0, 2.6), (2.6, 1.5, (2.6**2 + 1.5**2) ** 0.5)]
        for one, other in zip(found, expected):
            assert one == pytest.approx(other, abs=1e-3)

    @staticmethod
    def solid(sides, many, reach):
        square = reach.square()
        waves = [square.mean(), (square[0] - square[2]) / 2, (square[1] - square[3]) / 2]
        return solid_of(sides, many, waves=torch.stack(waves))

    def test_turning_everything_changes_no_gap(self):
        boxes, draw = trained(4, True), torch.Generator().manual_seed(5)
        centers = torch.randn(2, 20, 3, generator=draw)
        solids = torch.cat([torch.rand(2, 20, SOLID - 1, generator=draw), torch.ones(2, 20, 1)], dim=-1)
        angle = torch.tensor(0.7)
        turn = torch.eye(3)
        turn[0, 0], turn[0, 2], turn[2, 0], turn[2, 2] = angle.cos(), -angle.sin(), angle.sin(), angle.cos()
        turns = turn.expand(20, 3, 3)
        here = boxes.gap(centers[0], solids[0], centers[1], solids[1])
        there = boxes.gap(centers[0] @ turn.T, turned(solids[0], turns), centers[1] @ turn.T, turned(solids[1], turns))
        torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-5)
        unturned = boxes.gap(centers[0] @ turn.T, solids[0], centers[1] @ turn.T, solids[1])
        assert not torch.allclose(here, unturned, rtol=1e-3)
        back = boxes.gap(centers[1], solids[1], centers[0], solids[0])
        torch.testing.assert_close(here, back)

    def test_it_learns_from_gaps(self):
        boxes = trained(reaching=True)
        with torch.no_grad():
            boxes.said.weight.mul_(0.02)
            boxes.pair[-1].weight.mul_(0.02)
        boxed = boxes(sightings(), MEANING)
        boxes.gap(boxed.center[0], boxed.solid[0], boxed.center[1], boxed.solid[1]).sum().backward()
        assert boxes.said.weight.grad[-4:].abs().sum() > 0
