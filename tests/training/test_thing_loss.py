"""What tokens say of the things they show, against truth worked out pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.data.graph import SceneGraph, SceneObject
from training.data.rooms import RoomsConfig, RoomsDataset
from training.data.views import PairBatch, View, ViewPair
from training.data.world.classes import CLASS_ID
from training.losses.things import SAID, thing_loss, token_things

SIZE, PATCH = 32, 16
LEVEL = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # a camera that looks along the world's y
REACH = (0.5, 0.625**0.5, 1.0, 0.625**0.5)  # of a box of 1 x 2 metres


@pytest.fixture(scope="module")
def rooms() -> PairBatch:
    dataset = RoomsDataset(RoomsConfig(size=64), "train", seed=3)
    return PairBatch.collate([dataset.pair(number) for number in (0, 9)])


def wall_with_a_box() -> PairBatch:
    """A wall 4 m away, before its upper left token a box of which the nearer half is at 2 m, the other at 3 m."""
    depth = np.full((SIZE, SIZE), 4.0, np.float32)
    depth[:16, :8], depth[:16, 8:16] = 2.0, 3.0
    ids, classes = np.ones((SIZE, SIZE), np.uint8), np.full((SIZE, SIZE), CLASS_ID["wall"], np.uint8)
    ids[:16, :16], classes[:16, :16] = 7, CLASS_ID["box"]
    matrix = np.array([[1e4, 0, 15.5], [0, 1e4, 15.5], [0, 0, 1]])  # so narrow that distance is depth
    view = View(np.zeros((SIZE, SIZE, 3), np.uint8), depth, matrix, LEVEL, ids, classes)
    moved = LEVEL.copy()
    moved[:3, 3] = (0.0, -1.0, 0.0)
    box = SceneObject(7, "box", "red", (0.1, 3.0, 0.2), (1.0, 2.0, 0.5), 0.0)
    wall = SceneObject(1, "wall", "", (0, 4.0, 0), (5, 0.1, 3), 0.0, structural=True)
    other = View(view.image, depth, matrix, moved, np.ones_like(ids), np.full_like(classes, CLASS_ID["wall"]))
    return PairBatch.collate([ViewPair(view, other, (1.0, 1.0), "test", 0, SceneGraph((wall, box)))])


def test_boxes_are_in_each_cameras_frame() -> None:
    boxes = wall_with_a_box().boxes
    np.testing.assert_allclose(boxes[0, 0, 7], (0.1, -0.2, 3.0, 1.0, 2.0, 0.5, *REACH), rtol=1e-6)
    np.testing.assert_allclose(boxes[0, 1, 7], (0.1, -0.2, 4.0, 1.0, 2.0, 0.5, *REACH), rtol=1e-6)
    assert not boxes[0, :, 8].any()


def test_how_far_a_box_reaches_is_how_far_its_ellipse_does(rooms: PairBatch) -> None:
    pair = RoomsDataset(RoomsConfig(size=64), "train", seed=3).pair(0)
    for number, view in enumerate(pair.views):
        right = view.world_from_camera[:2, 0] / np.linalg.norm(view.world_from_camera[:2, 0])
        ahead = np.array([-right[1], right[0]])
        assert ahead @ view.world_from_camera[:2, 2] > 0
        for item in pair.graph.objects:
            corners = item.corners()[:, :2] - np.asarray(item.center)[:2]
            moments = corners.T @ corners / 8  # of the corners; those of the ellipse's border are half of that
            ways = (right, (right + ahead) / 2**0.5, ahead, (ahead - right) / 2**0.5)
            expected = [np.sqrt(way @ moments @ way) for way in ways]
            np.testing.assert_allclose(rooms.boxes[0, number, item.id, 6:], expected, rtol=1e-4, atol=1e-5)


def test_swapped_pairs_swap_their_boxes(rooms: PairBatch) -> None:
    swapped = rooms.swapped()
    assert torch.equal(swapped.boxes, rooms.boxes.flip(1))
    assert torch.equal(rooms.rows(slice(1, 2)).boxes, rooms.boxes[1:])
    assert torch.equal(PairBatch.from_dict(rooms.to_dict()).boxes, rooms.boxes)


def test_a_token_knows_the_thing_it_shows() -> None:
    things = token_things(wall_with_a_box(), PATCH)
    assert things.counts.shape == (2, 4)
    assert things.counts[0, 0] > 0
    assert not things.counts[0, 1:].any()  # the wall is no thing
    assert not things.counts[1].any()
    assert things.near[0, 0] == pytest.approx(2.0, abs=1e-3)
    assert things.middle[0, 0] == pytest.approx(2.5, abs=1e-3)
    np.testing.assert_allclose(things.box[0, 0], (0.1, -0.2, 3.0, 1.0, 2.0, 0.5, *REACH), rtol=1e-6)
    assert things.area[0, 0] == pytest.approx(1.0)


def test_near_sides_in_rooms_are_what_questions_ask_for(rooms: PairBatch) -> None:
    things = token_things(rooms, PATCH)
    away = rooms.points().norm(dim=-1).flatten(0, 1)
    ids = rooms.instances.flatten(0, 1)
    checked = 0
    for picture, token in things.counts.nonzero().tolist():
        row, column = divmod(token, 64 // PATCH)
        part = ids[picture, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH]
        near = [float(away[picture][ids[picture] == item].quantile(0.02)) for item in part.unique().tolist()]
        # every other pixel of every other row is looked at
        assert min(abs(np.log(float(things.near[picture, token]) / one)) for one in near) < 0.1
        checked += 1
    assert checked > 10


def test_the_truth_costs_nothing_and_errors_what_they_are(rooms: PairBatch) -> None:
    things = token_things(rooms, PATCH)
    center = things.box[..., :3] / things.middle.clamp(min=1e-2)[..., None]
    told = [things.near.clamp(min=1e-2).log()[..., None], things.middle.clamp(min=1e-2).log()[..., None], center]
    said = torch.cat([*told, things.box[..., 3:].clamp(min=1e-2).log(), things.area.log()[..., None]], dim=-1)
    assert said.shape[-1] == SAID
    assert float(thing_loss(said, things)["things"]) < 2e-3
    said[..., 0] += 0.3
    assert float(thing_loss(said, things)["things_near"]) == pytest.approx(0.3, abs=1e-4)
    said[..., 3] += 0.4
    assert float(thing_loss(said, things)["things_center"]) == pytest.approx(0.4, abs=1e-3)


def test_what_shows_no_thing_has_no_gradient() -> None:
    things = token_things(wall_with_a_box(), PATCH)
    said = torch.zeros(2, 4, SAID, requires_grad=True)
    thing_loss(said, things)["things"].backward()
    assert said.grad[0, 0].abs().sum() > 0
    assert not said.grad[0, 1:].any()
    assert not said.grad[1].any()
