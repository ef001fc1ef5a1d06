"""How places lie to each other and to other cameras, and where those stood."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from small_model import SMALL, refused

from training.data.questions.scene import bearing
from uniugg_core.cameras import parse_motion
from uniugg_core.errors import ErrorCode
from uniugg_core.models import digits
from uniugg_core.models.boxes import MANY, SOLID, solid_of
from uniugg_core.models.showing import leading_places
from uniugg_core.models.situation import (
    Placed,
    Situation,
    elsewhere,
    from_first,
    from_first_facing_second,
    other_picture,
    poses_between,
)
from uniugg_core.models.uniugg import Seen, UniUGG
from uniugg_core.outputs import Turn
from uniugg_core.pointmaps import project, transform_points
from uniugg_core.prompts import CameraSlot, MarkSlot, NameSlot, question_prompt
from uniugg_core.tokenizer import SpatialTokenizer

TOKENIZER = SpatialTokenizer.shipped()


def rigid(seed: int, shift: float = 1.0) -> torch.Tensor:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    pose[:3, 3] = np.random.default_rng(seed).normal(size=3) * shift
    return torch.from_numpy(pose).float()


def cloud(seed: int, count: int = 60) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(1, count, 3, generator=draw) + torch.tensor([0.0, 0.0, 3.0])


class TestPoses:
    @settings(max_examples=20, deadline=None)
    @given(seed=st.integers(0, 10_000))
    def test_a_rigid_motion_is_found(self, seed):
        pose, seen = rigid(seed), cloud(seed)
        found = poses_between(transform_points(pose[None], seen), seen)
        torch.testing.assert_close(found[0], pose, atol=2e-4, rtol=1e-3)

    def test_a_few_wrong_points_hardly_matter(self):
        pose, seen = rigid(3), cloud(3)
        points = transform_points(pose[None], seen)
        points[:, :6] += 2.0
        wrong, right = (poses_between(points, seen, rounds)[0] - pose for rounds in (1, 10))
        assert right.abs().max() < 0.05 < wrong.abs().max()

    def test_mirrored_points_still_give_a_turn(self):
        seen = cloud(5)
        found = poses_between(seen * torch.tensor([-1.0, 1.0, 1.0]), seen)[0, :3, :3]
        assert torch.linalg.det(found) == pytest.approx(1.0, abs=1e-4)


def points_placed(share, points, first, second, near=1.0) -> Placed:
    """Places without any size, where a single frame has them."""
    solid = torch.zeros(*share.shape, SOLID)
    return Placed(share, points, points, near * torch.ones_like(share), points, solid, first, second)


def placed(first=(0, 0, 2), second=(1, 1, 2)) -> Placed:
    middles = torch.tensor([[[0.0, 0, 1], [1, 0, 1]], [[3.0, 4, 1], [1, 0, 3]], [[9.0, 9, 9], [8, 8, 8]]])
    return points_placed(torch.ones(3, 2), middles, torch.tensor(first), torch.tensor(second))


class TestFromFirst:
    def test_lengths_to_the_first_place_of_the_same_picture(self):
        points, weight = from_first(placed())
        assert points.norm(dim=-1)[1].tolist() == pytest.approx([5.0, 2.0], abs=1e-4)
        assert weight.tolist() == [[0, 0], [1, 1], [0, 0]]  # first ones lie nowhere from themselves

    def test_lengths_to_the_first_place_of_the_other_picture(self):
        other = torch.tensor([other_picture(2)] * 3)
        points, _ = from_first(placed(), other)
        expected = [math.dist((3, 4, 1), (1, 0, 1)), math.dist((1, 0, 3), (0, 0, 1))]
        assert points.norm(dim=-1)[1].tolist() == pytest.approx(expected, abs=1e-4)

    def test_what_is_not_there_has_no_say(self):
        some = dataclasses.replace(placed(), share=torch.tensor([[0.5, 0.0], [1.0, 1.0], [1.0, 1.0]]))
        assert from_first(some)[1][1].tolist() == [0.5, 0.0]
        assert from_first(some, torch.tensor([other_picture(2)] * 3))[1][1].tolist() == [0.0, 0.5]

    def test_the_other_picture(self):
        assert [other_picture(count) for count in (1, 2, 4)] == [[0], [1, 0], [1, 0, 0, 0]]


class TestFacing:
    def look(self, *spots, share=None):
        middles = torch.tensor(spots)[:, None]
        count = len(spots)
        sure = torch.ones(count, 1) if share is None else torch.tensor(share)[:, None]
        told, weight = from_first_facing_second(
            points_placed(sure, middles, *torch.tensor([[0, 1]] * count).unbind(-1))
        )
        return told[:, 0], weight[:, 0]

    def test_somebody_who_faces_right(self):
        """From (0, 0, 2) to (3, 1, 2): what was ahead of the camera is to the left now."""
        seen, weight = self.look((0.0, 0.0, 2.0), (3.0, 1.0, 2.0), (0.0, -1.0, 5.0))
        torch.testing.assert_close(seen[1], torch.tensor([0.0, 1.0, 3.0]), atol=1e-4, rtol=0)
        torch.testing.assert_close(seen[2], torch.tensor([-3.0, -1.0, 0.0]), atol=1e-4, rtol=0)
        assert weight.tolist() == [0, 0, 1]

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.tuples(*[st.floats(-4, 4)] * 3), min_size=3, max_size=3))
    def test_it_is_the_bearing(self, spots):
        a, b, c = spots
        if math.dist(a[::2], b[::2]) < 0.3 or math.dist(a[::2], c[::2]) < 0.3:
            return
        seen, _ = self.look(a, b, c)
        angle = bearing(*[(z, -x) for x, _, z in spots])
        told = math.atan2(-float(seen[2, 0]), float(seen[2, 2]))
        assert math.remainder(told - angle, 2 * math.pi) == pytest.approx(0, abs=0.01)

    def test_whom_nobody_faces_is_told_nothing(self):
        assert not self.look((0.0, 0.0, 2.0), (0.0, 1.0, 2.0), (0.0, -1.0, 5.0))[1].any()
        assert self.look((0.0, 0, 2), (1.0, 0, 2), (2.0, 0, 2), share=[0.5, 0.5, 0.8])[1].tolist() == pytest.approx(
            [0, 0, 0.2]
        )


class TestElsewhere:
    K = torch.tensor([[80.0, 0, 63], [0, 90, 65], [0, 0, 1]])
    SIZE = torch.tensor([128, 130])

    def at(self, point, pose=None):
        points = torch.tensor(point, dtype=torch.float32).expand(1, 1, 3)
        pose = torch.eye(4) if pose is None else pose
        return elsewhere(points, torch.ones(1, 1), pose[None, None], self.K[None, None], self.SIZE)

    def test_a_place_is_where_the_camera_has_it(self):
        pose, point = rigid(1, 0.3), torch.tensor([[0.4, -0.3, 2.0]])
        there = self.at(point[0].tolist(), pose)
        moved = transform_points(pose, point)
        pixel, depth = project(moved[None], self.K[None])
        assert bool(there.ahead) == bool(depth > 0.05)
        if there.ahead:
            torch.testing.assert_close(there.spot[0, 0], ((pixel[0, 0] + 0.5) / self.SIZE).clamp(-1, 2))
        assert float(there.distance) == pytest.approx(float(moved.norm()), rel=1e-4)

    def test_the_middle_and_the_border(self):
        assert self.at([0, 0, 5]).spot[0, 0].tolist() == pytest.approx([63.5 / 128, 65.5 / 130])
        assert self.at([100, 0, 1]).spot[0, 0, 0] == 2  # far to the side is no farther than that
        assert self.at([-1, 0, -1]).spot[0, 0].tolist() == [-1, 0.5] and not self.at([-1, 0, -1]).ahead
        assert self.at([1, 0, -1]).spot[0, 0].tolist() == [2, 0.5]


class TestFirstPlaces:
    def prompt(self, text, history=()):
        return question_prompt(TOKENIZER, text, images=2, history=history, with_marks=True)

    def test_the_first_one_leads(self):
        first = leading_places(self.prompt("From (1, 2) to (3, 4)?"), frozenset(TOKENIZER.stop_ids))
        one, other = MarkSlot(0, 1, 2), MarkSlot(0, 3, 4)
        assert first == {one: (one, other), other: (one, other)}

    def test_a_question_has_its_own(self):
        prompt = self.prompt("And (5, 6) to (7, 8)?", [Turn("How far is (1, 2)?", "2 m")])
        first = leading_places(prompt, frozenset(TOKENIZER.stop_ids))
        mine = MarkSlot(0, 5, 6), MarkSlot(0, 7, 8)
        assert first[mine[0]] == first[mine[1]] == mine
        assert first[MarkSlot(0, 1, 2)] == (MarkSlot(0, 1, 2), MarkSlot(0, 1, 2))


class TestModel:
    CHANGES = {f"language__{name}": True for name in ("points", "placed", "waves", "marks", "grounded", "situated")}

    def model(self, **changes) -> UniUGG:
        return UniUGG.initialised(SMALL.replace(**{**self.CHANGES, **changes}), 0, TOKENIZER)

    def shown(self, model: UniUGG, text: str, pictures: int = 2, pose: torch.Tensor | None = None):
        config = model.config
        side = config.image_size // config.encoder.patch
        draw = torch.Generator().manual_seed(0)
        features = torch.randn(pictures, side * side, config.encoder.width, generator=draw)
        k = torch.tensor([[60.0, 0, 31], [0, 60, 31], [0, 0, 1]]).expand(pictures, 3, 3)
        with torch.no_grad():
            alone = [model.see(features[n : n + 1], (side, side), k[n : n + 1]) for n in range(pictures)]
            alone[1:] = [model.beside(alone[0], seen, k[:1]) for seen in alone[1:]]
            prompt = question_prompt(TOKENIZER, text, images=pictures, with_marks=True, with_cameras=True)
            told = model.show(Seen.joined(alone), [range(pictures)], [[prompt]], None if pose is None else [[pose]])
        return told.prompts[0][0], told.parts[0][0]

    def test_it_needs_words_that_look(self):
        refused(ErrorCode.CHECKPOINT_INVALID, SMALL.replace, **{**self.CHANGES, "language__grounded": False})

    def test_a_place_of_one_picture_is_known_in_that_one(self):
        """From a place of one picture to one of the other it is told how far that is, and nothing else."""
        model, plain = self.model(), self.model()
        with torch.no_grad():
            for part in ("beside", "across"):
                model.language.situation.say[part][2].bias.fill_(1.0 if part == "beside" else 2.0)
        text = "How far is (10, 20) in frame 1 from (60, 70) in frame 2?"
        (prompt, parts), (_, same) = (self.shown(one, text) for one in (model, plain))
        assert prompt.marks == (MarkSlot(0, 10, 20), MarkSlot(1, 60, 70))
        assert torch.equal(parts[MarkSlot(0, 10, 20)], same[MarkSlot(0, 10, 20)])
        more = parts[MarkSlot(1, 60, 70)] - same[MarkSlot(1, 60, 70)]
        torch.testing.assert_close(more, torch.full_like(more, 2.0))

    def test_before_training_places_are_shown_as_without(self):
        model, plain = self.model(), self.model(language__situated=False)
        plain.load_state_dict(
            {k: v for k, v in model.state_dict().items() if "situation" not in k and "boxes" not in k}
        )
        text = "Is (10, 20) nearer than (60, 70)?"
        (_, parts), (_, same) = self.shown(model, text), self.shown(plain, text)
        assert {k for k in parts if not isinstance(k, CameraSlot)} == set(same)
        assert all(torch.equal(parts[slot], row) for slot, row in same.items())

    def test_every_later_picture_comes_with_its_camera(self):
        prompt, parts = self.shown(self.model(), "What?", pictures=3)
        assert prompt.cameras == (CameraSlot(1), CameraSlot(2)) and set(prompt.cameras) <= set(parts)
        assert torch.equal(parts[CameraSlot(1)], parts[CameraSlot(2)])  # where each of them was is learnt to be said
        assert not self.shown(self.model(), "What?", pictures=1)[0].cameras

    def test_where_a_later_picture_was_taken_may_be_known(self):
        """Its own points then stand there; pictures without a pose are left to the decoder."""
        model, grid, k = self.model(), (SMALL.grid, SMALL.grid), torch.eye(3)[None] * 30
        draw = torch.Generator().manual_seed(0)
        first, later = (
            model.see(torch.randn(2, SMALL.grid**2, SMALL.encoder.width, generator=draw), grid, k.expand(2, 3, 3))
            for _ in range(2)
        )
        pose = parse_motion("yaw left 30, forward 2")
        with torch.no_grad():
            told = model.beside(first, later, k.expand(2, 3, 3), [pose, None])
            whole = model.beside(first, later, k.expand(2, 3, 3), [pose, pose])
            alone = model.beside(first, later, k.expand(2, 3, 3))
        there = transform_points(torch.from_numpy(pose).float(), later.view.points[0])
        torch.testing.assert_close(told.placed[0], there)
        torch.testing.assert_close(whole.placed[0], there)
        assert torch.equal(told.placed[1], alone.placed[1]) and not torch.equal(told.placed[0], alone.placed[0])
        assert not torch.equal(there, later.view.points[0])

    @pytest.mark.parametrize(
        ("part", "pictures", "commanded", "told"),
        [
            ("beside", 1, False, {(0, False)}),
            ("beside", 2, False, {(0, False), (1, False)}),
            ("across", 1, False, set()),
            ("across", 2, False, {(0, False), (1, False)}),
            ("facing", 2, False, set()),
            ("itself", 1, False, {(0, True), (0, False)}),
            ("other", 1, False, set()),
            ("other", 1, True, {(0, True), (0, False)}),
            ("other", 2, False, {(0, True), (1, True), (0, False), (1, False)}),
        ],
    )
    def test_who_is_told_what(self, part, pictures, commanded, told):
        """Pictures in which places, and whether the first one named, are told something."""
        model, plain = self.model(), self.model()
        with torch.no_grad():
            model.language.situation.say[part][2].bias.fill_(1.0)
        pose = rigid(2, 0.2) if commanded else None
        text = "Is (10, 20) nearer than (60, 70)?"
        (_, parts), (_, same) = (self.shown(one, text, pictures, pose) for one in (model, plain))
        changed = {
            (slot.index, slot.x == 10)
            for slot in parts
            if isinstance(slot, MarkSlot) and not torch.equal(parts[slot], same[slot])
        }
        assert changed == told

    def test_names_that_find_something_are_told_too(self):
        model, plain = self.model(), self.model()
        with torch.no_grad():
            model.language.situation.say["beside"][2].bias.fill_(1.0)
            for one in (model, plain):
                one.language.grounding.nothing.bias.fill_(-30.0)
        # every word finds something, so the name begins with the question and ends where the mark stands
        (prompt, parts), (_, same) = (self.shown(one, "The chair (10, 20)?", 1) for one in (model, plain))
        first, second = [piece for piece in prompt.pieces if isinstance(piece, (MarkSlot, NameSlot))][:2]
        assert isinstance(first, NameSlot) and isinstance(second, MarkSlot)
        assert torch.equal(parts[first], same[first]) and not torch.equal(parts[second], same[second])

    def test_all_of_it_learns(self):
        model, places = Situation(16), placed((0, 0, 0), (1, 1, 1))
        lens = torch.eye(3).expand(3, 2, 3, 3), torch.ones(2)
        there = elsewhere(places.points, places.share, torch.eye(4).expand(3, 2, 4, 4), *lens)
        told = model(places, torch.tensor([[1, 0]] * 3), torch.tensor([True] * 3), there, there, torch.ones(3, 2))
        assert told.shape == (3, 2, 16) and not told.any()
        (told.sum() + model.cameras(rigid(1)[None]).sum()).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())

    @pytest.mark.parametrize("change", ["turn", "shift"])
    def test_different_cameras_are_told_differently(self, change):
        model = Situation(16)
        torch.nn.init.normal_(model.write["turned"].weight, generator=torch.Generator().manual_seed(0))
        torch.nn.init.normal_(model.say["beside"][2].weight, generator=torch.Generator().manual_seed(1))
        pose = torch.eye(4)
        if change == "turn":
            pose[:3, :3] = torch.from_numpy(Rotation.from_euler("y", 5, degrees=True).as_matrix())
        else:
            pose[0, 3] = 0.1
        with torch.no_grad():
            assert (model.cameras(torch.stack([pose, torch.eye(4)])).diff(dim=0).abs() > 1e-3).any()

    def test_what_answers_consist_of_is_told_as_it_is_written(self):
        model, places = Situation(200), placed()
        with torch.no_grad():
            for name in ("itself", "beside"):
                torch.nn.init.eye_(model.write[name].weight)
            model.write["apart"].weight[140:188] = torch.eye(48)
        lens = torch.eye(3).expand(3, 2, 3, 3), torch.ones(2)
        there = elsewhere(places.points, places.share, torch.eye(4).expand(3, 2, 4, 4), *lens)
        compared, several = torch.tensor([[1, 0]] * 3), torch.tensor([False] * 3)
        nowhere, apart = (
            dataclasses.replace(there, there=there.there * 0),
            torch.tensor([[0.7, 0.7], [3.4, 5.0], [1, 1]]),
        )
        with torch.no_grad():
            first, told = model(places, compared, several, there, nowhere, apart)[:2]
        length = digits.length(torch.tensor([1.0, math.sqrt(26)]))
        torch.testing.assert_close(first[0, : digits.LENGTH], length[0])  # the first place lies nowhere from itself
        beside = digits.coordinate(torch.tensor([3.0, 0.0])).flatten()
        spot = torch.cat([length[1], digits.percent(there.spot[1, 0, 0])])
        torch.testing.assert_close(told[0, :44] - beside, spot[:44])
        torch.testing.assert_close(told[0, 44:68], spot[44:])
        assert torch.equal(told[:, 140:188], digits.length(torch.tensor([3.4, 5.0]))) and not first[:, 140:188].any()

    def test_a_camera_is_told_of_as_it_is_written(self):
        model, pose = Situation(200), torch.eye(4)
        with torch.no_grad():
            torch.nn.init.eye_(model.write["beside"].weight)
            model.write["turned"].weight[100:166] = torch.eye(66)
            model.write["apart"].weight[50:98] = torch.eye(48)
            pose[:3, :3] = torch.from_numpy(Rotation.from_euler("y", -43, degrees=True).as_matrix())
            pose[:3, 3] = torch.tensor([1.26, 0.0, -0.4])
            stood, looked = model.cameras(pose[None])[0]
        for row, lies in ((stood, pose[[0, 2], 3]), (looked, pose[[0, 2], 2])):
            torch.testing.assert_close(row[:44], digits.coordinate(lies).flatten())
        assert torch.equal(stood[50:98], digits.length(pose[:3, 3].norm())) and not looked[50:98].any()
        turned = digits.degrees(torch.tensor([math.radians(-45), 0.0]), 5).flatten()
        turned = torch.cat([turned, digits.degrees(torch.tensor(math.radians(43)), 1)])
        assert torch.equal(looked[100:166], turned) and not stood[100:].any()

    def told(self, name: str, count: int, other, near: float = 1.0) -> torch.Tensor:
        """The first numbers that one writer is told of two places, one a picture, as (M, P, count)."""
        model, still = Situation(200), torch.eye(4).expand(1, 2, 4, 4)
        with torch.no_grad():
            torch.nn.init.eye_(model.write[name].weight)
            points = torch.tensor([[[0.0, 0.0, 2.0], [0.0, 0.0, 4.0]]])
            sure, none = torch.ones(1, 2), torch.zeros(1, dtype=torch.long)
            places = points_placed(sure, points, none, none, near)
            lens = torch.eye(3).expand(1, 2, 3, 3), torch.ones(2)
            itself = elsewhere(points, sure, still, *lens)
            compared, several, apart = torch.tensor([[1, 0]]), torch.tensor([True]), torch.ones(1, 2)
            return model(places, compared, several, itself, other(itself), apart)[..., :count]

    def test_how_far_from_either_camera_is_told_in_their_order(self):
        told = self.told("both", 2 * digits.LENGTH, lambda own: dataclasses.replace(own, distance=own.distance + 1))
        first, second = (digits.length(torch.tensor(metres)) for metres in ([2.0, 3.0], [5.0, 4.0]))
        torch.testing.assert_close(told[0, 0], first.flatten())
        torch.testing.assert_close(told[0, 1], second.flatten())

    def test_lengths_are_to_the_near_side(self):
        told = self.told("both", digits.LENGTH, lambda own: own, near=0.5)
        torch.testing.assert_close(told[0, 0], digits.length(torch.tensor(1.0)))

    def test_of_a_thing_it_is_told_how_many_and_how_large_it_is(self):
        model, many = Situation(200), torch.eye(MANY)[2].expand(2, 1, MANY)
        sides = torch.tensor([[[0.5, 1.26, 0.8]], [[0.07, 0.05, 0.04]]])
        lies = points_placed(torch.tensor([[1.0], [0.5]]), torch.ones(2, 1, 3), *torch.tensor([[0, 0]] * 2).unbind(-1))
        still, apart = torch.eye(4).expand(2, 1, 4, 4), torch.ones(2, 1)
        itself = elsewhere(lies.points, lies.share, still, torch.eye(3).expand(2, 1, 3, 3), torch.ones(2))
        with torch.no_grad():
            torch.nn.init.eye_(model.write["whole"].weight)
            shown = dataclasses.replace(lies, solid=solid_of(sides.log(), many))
            told, point = (
                model(where, torch.zeros(2, 1, dtype=torch.long), torch.zeros(2) > 0, itself, itself, apart)[:, 0]
                for where in (shown, lies)
            )
        lengths = digits.centimetres(torch.tensor([[1.26, 0.8], [0.07, 0.04]])).flatten(1)
        torch.testing.assert_close(told[0, : MANY + 66], torch.cat([torch.eye(MANY)[2], lengths[0]]))
        torch.testing.assert_close(told[1, : MANY + 66], 0.5 * torch.cat([torch.eye(MANY)[2], lengths[1]]))
        assert not point.any()  # a point has no size

    @pytest.mark.parametrize(
        ("spot", "ahead", "surface", "fate"),
        [((0.5, 0.1), True, 2.0, 0), ((0.5, 0.1), True, 1.9, 0), ((0.5, 0.1), True, 1.5, 1)]
        + [((0.5, 1.1), True, 2.0, 2), ((1.5, 0.5), True, 1.0, 2), ((0.5, 0.5), False, 2.0, 2)],
    )
    def test_whether_the_other_camera_sees_it(self, spot, ahead, surface, fate):
        def other(own):
            changes = {"spot": torch.tensor(spot).expand(1, 2, 2), "ahead": torch.tensor([[ahead] * 2])}
            return dataclasses.replace(own, surface=torch.full((1, 2), surface), **changes)

        assert self.told("fate", 3, other)[0, 0].tolist() == [k == fate for k in range(3)]
