"""What boxes of named things are learnt from: known answers."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch

from training.boxing import box_loss
from training.config import TrainConfig
from training.data.questions import QuestionMaker
from training.data.questions.sight import CLEAR, Sight
from training.data.rooms import RoomsConfig, RoomsDataset
from training.data.views import PairBatch
from training.loop import step_generator
from training.mentions import named
from training.stages import build_stage
from uniugg_core.models.boxes import MANY, Boxed, Boxes, many_of, sides_of, solid_of
from uniugg_core.models.grounding import Mention
from uniugg_core.models.showing import Things
from uniugg_core.prompts import question_prompt
from uniugg_core.tokenizer import SpatialTokenizer

TOKENIZER = SpatialTokenizer.shipped()
ROOMS = RoomsDataset(RoomsConfig(size=64, views=4, pairs=2), "test", seed=6)


@pytest.fixture(scope="module")
def asked():
    """Pairs with questions about things, their names, and what names would find if they found all of it."""
    pairs = [ROOMS.pair(index) for index in range(6)]
    maker = QuestionMaker({"object_distance": 1.0, "camera_distance": 1.0, "relative_direction": 1.0})
    questions = [maker.ask_together(pair, 3, Random(pair.index)) for pair in pairs]
    talks = [(row, together[0].views) for row, together in enumerate(questions)]
    prompts = [
        [question_prompt(TOKENIZER, q.text, images=len(q.views), with_marks=True) for q in together]
        for together in questions
    ]
    starts, length = [], 0
    for together in prompts:
        starts.append([])
        for prompt in together:
            starts[-1].append({})
            for piece in prompt.words:
                starts[-1][-1][piece] = length
                length += len(piece)
    names = named(TOKENIZER, talks, questions, prompts, starts, True)
    return pairs, questions, names


def true_things(pairs, names) -> Things:
    """As a model says them that knows."""
    count = len(names)
    near, share = torch.ones(count, 2), torch.zeros(count, 2)
    middle, center, placed = (torch.ones(count, 2, 3) for _ in range(3))
    sides, many = torch.zeros(count, 2, 3), torch.zeros(count, 2, MANY)
    many[..., 0] = 1
    for row, name in enumerate(names):
        pair = pairs[name.row]
        sides[row] = torch.tensor(name.thing.size).log()
        for place, view in enumerate(name.views):
            shot = pair.views[view]
            v, u = np.nonzero(shot.instances == name.thing.id)
            center[row, place] = torch.from_numpy(
                (np.asarray(name.thing.center) - shot.world_from_camera[:3, 3]) @ shot.world_from_camera[:3, :3]
            )
            if not len(v):
                continue
            rays = np.linalg.inv(shot.intrinsics) @ np.stack([u, v, np.ones(len(u))])
            points = rays.T * shot.depth[v, u, None]
            share[row, place] = len(v) / shot.depth.size
            near[row, place] = float(np.quantile(np.linalg.norm(points, axis=-1), 0.02))
            middle[row, place] = torch.from_numpy(points.mean(0))
        first = pair.views[name.views[0]]
        world = np.asarray(name.thing.center) - first.world_from_camera[:3, 3]
        placed[row] = torch.from_numpy(world @ first.world_from_camera[:3, :3])
    mentions = [Mention(name.talk, name.prompt, number, name.last) for number, name in enumerate(names)]
    solid = solid_of(sides, many)
    return Things(mentions, share, Boxed(near, middle, center, solid), placed, placed, solid)


class KnowsGaps(Boxes):
    """Says that two things are as far apart as the differences of their middles have been told to mean."""

    def __init__(self, wrong: float = 1.0) -> None:
        super().__init__(4, 4, 4)
        self.known: dict[float, float] = {}
        self.wrong = wrong

    def gap(self, center, solid, other_center, other_solid):
        lengths = (other_center - center).norm(dim=-1)
        return self.wrong * torch.tensor([self.known[round(float(length), 3)] for length in lengths])


def told(names, things, wrong=1.0) -> KnowsGaps:
    boxes = KnowsGaps(wrong)
    for one, a in enumerate(names):
        for other, b in enumerate(names):
            if (a.talk, a.prompt) == (b.talk, b.prompt) and one != other:
                length = float((things.center[one, 0] - things.center[other, 0]).norm())
                boxes.known[round(length, 3)] = max(0.1, a.thing.distance(b.thing))
    return boxes


def test_names_come_with_their_boxes(asked):
    pairs, questions, names = asked
    truth = PairBatch.collate(pairs)
    assert len(names) > 10 and {len(name.views) for name in names} == {1, 2}
    for name in names:
        question = questions[name.talk][name.prompt]
        assert name.ids == (name.thing.id,) and name.thing.id in question.objects
        for pose, box in zip((view.world_from_camera for view in pairs[name.row].views), truth.boxes[name.row]):
            there = pose[:3, :3] @ box[name.thing.id, :3].double().numpy() + pose[:3, 3]
            assert there.tolist() == pytest.approx(name.thing.center, abs=1e-5)


def test_who_knows_loses_nothing(asked):
    pairs, _, names = asked
    things, truth = true_things(pairs, names), PairBatch.collate(pairs)
    assert float(box_loss(told(names, things), things, names, truth)) == pytest.approx(0, abs=2e-3)


@pytest.mark.parametrize(
    ("change", "loss"),
    [
        (lambda boxed: replace(boxed, near=2 * boxed.near), math.log(2)),
        (lambda boxed: replace(boxed, near=boxed.near / 2), math.log(2)),
        (lambda boxed: replace(boxed, middle=1.1 * boxed.middle), 0.1),
        (lambda boxed: replace(boxed, solid=solid_of(sides_of(boxed.solid).log() + 1, many_of(boxed.solid))), 0.3),
        (lambda boxed: replace(boxed, solid=solid_of(sides_of(boxed.solid).log(), many_of(boxed.solid) / 8)), 0.624),
    ],
)
def test_what_is_wrong_costs_as_much_as_it_is_wrong(asked, change, loss):
    pairs, _, names = asked
    things, truth = true_things(pairs, names), PairBatch.collate(pairs)
    wrong = replace(things, boxed=change(things.boxed))
    assert float(box_loss(told(names, things), wrong, names, truth)) == pytest.approx(loss, abs=5e-3)


def test_how_far_boxes_reach_costs_where_it_is_said(asked):
    pairs, _, names = asked
    things, truth = true_things(pairs, names), PairBatch.collate(pairs)
    reach = torch.ones(len(names), 2, 4)
    for row, name in enumerate(names):
        for place, view in enumerate(name.views):
            reach[row, place] = truth.boxes[name.row, view, name.thing.id, 6:]
    for wrong, loss in ((1.0, 0.0), (2.0, 0.3 * math.log(2))):
        said = replace(things, boxed=replace(things.boxed, reach=wrong * reach))
        assert float(box_loss(told(names, things), said, names, truth)) == pytest.approx(loss, abs=2e-3)


def test_gaps_that_are_wrong_cost_their_logarithm(asked):
    pairs, _, names = asked
    things, truth = true_things(pairs, names), PairBatch.collate(pairs)
    assert float(box_loss(told(names, things, 1.5), things, names, truth)) == pytest.approx(math.log(1.5), abs=2e-3)


def test_what_was_not_found_teaches_nothing(asked):
    pairs, _, names = asked
    things, truth = true_things(pairs, names), PairBatch.collate(pairs)
    elsewhere = replace(things, names=[replace(mention, word=-1) for mention in things.names])
    assert float(box_loss(KnowsGaps(), elsewhere, names, truth)) == 0
    several = [replace(name, thing=None) for name in names]
    assert float(box_loss(KnowsGaps(), things, several, truth)) == 0


@pytest.fixture(scope="module")
def called():
    """Pairs, what is asked of everything in each of their pictures, and the names."""
    pairs, questions = zip(*(ROOMS.names(index) for index in range(6)))
    talks = [(row, question.views) for row, together in enumerate(questions) for question in together]
    asked = [[question] for together in questions for question in together]
    prompts = [[question_prompt(TOKENIZER, q.text, images=1, with_marks=True) for q in own] for own in asked]
    starts = [[dict.fromkeys(prompt.words, 0) for prompt in own] for own in prompts]
    return pairs, asked, named(TOKENIZER, talks, asked, prompts, starts, True)


def test_a_roll_call_names_everything_alone_and_with_its_like(called):
    pairs, asked, names = called
    assert [question.views for (question,) in asked] == [(0,), (1,)] * len(pairs)
    for talk, (question,) in enumerate(asked):
        sight = Sight(pairs[talk // 2], question.views)
        own = [name for name in names if name.talk == talk]
        assert sorted(name.ids[0] for name in own if name.thing) == sorted(
            [item.id for item in sight.named] + [items[0].id for items in sight.counted().values() if len(items) == 1]
        )
        assert {len(name.ids) for name in own if not name.thing} <= {0, 2, 3, 4, 5, 6, 7, 8, 9}
        assert len(question.text.split(", ")) == max(1, len(own))


def test_how_many_there_are_is_learnt_where_that_can_be_seen(called):
    pairs, _, names = called
    group = next(name for name in names if len(name.ids) > 1)
    view = group.views[0]
    shares = Sight(pairs[group.row], (view,)).share(view)[list(group.ids)]
    assert (shares >= CLEAR).all()  # or they would not have been asked for
    things, truth = true_things(pairs, [name for name in names if name.thing]), PairBatch.collate(pairs)
    many = torch.full((1, 1, MANY), 0.02)
    many[..., len(group.ids) - 1] = 0.5
    boxed = replace(things.boxed, solid=solid_of(torch.zeros(1, 1, 3), many))
    said = replace(things, names=[Mention(group.talk, group.prompt, 0, group.last)], boxed=boxed)
    assert float(box_loss(KnowsGaps(), said, [group], truth)) == pytest.approx(0.3 * math.log(2))
    one = group.ids[0]
    truth.instances[group.row, view][truth.instances[group.row, view] == one] = 0
    truth.instances[group.row, view, 0, 0] = one  # a trace of it: there may be one more or not
    assert float(box_loss(KnowsGaps(), said, [group], truth)) == 0


def test_the_shipped_model_learns_boxes_of_what_it_finds():
    """Beside the answers, which they are no part of, and only where instances are known."""
    config = TrainConfig.from_dict(
        {
            "stage": "unified",
            "model": {"preset": "tiny", "start": "uniugg_core/assets/uniugg-tiny"},
            "data": {"workers": 0, "options": {"views": 4, "pairs": 2, "questions": 4}},
            "run": {"device": "cpu", "tensorboard": False},
            "unified": {"generation_share": 0.0, "boxing_weight": 1.0},
        }
    )
    stage = build_stage(config)
    batch = {**stage.source("train").batch("question", range(3)), "kind": "question"}
    boxes = stage.model.language.boxes
    for parameter in boxes.parameters():  # from nothing
        torch.nn.init.normal_(parameter, std=0.02)
    optimizer = torch.optim.Adam(boxes.parameters(), lr=1e-2)
    curve = []
    for step in range(12):
        losses = stage(batch, step_generator(0, step))
        torch.testing.assert_close(losses["loss"], losses["answers"] + losses["boxing"])
        curve.append(losses["boxing"].item())
        optimizer.zero_grad()
        losses["boxing"].backward()
        optimizer.step()
    assert curve[-1] < 0.8 * curve[0]
    del batch["instances"]  # recordings have none
    assert "boxing" not in stage(batch, step_generator(0, 0))
