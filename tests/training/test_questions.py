"""Questions: well-formed, varied, and true. Truth is computed here by other means than in the code."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter, defaultdict
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from training.data.questions import FAMILIES, QuestionMaker, points
from training.data.questions.motions import Motion, motion_between
from training.data.questions.wording import PHRASES, phrase, where
from training.data.rooms import RoomsConfig, RoomsDataset
from training.data.views import ViewPair
from training.data.world.classes import CLASSES
from training.data.world.raycast import RoomBatch, raycast
from uniugg_core.cameras import motion, parse_motion
from uniugg_core.pointmaps import transform_points, unproject

DATASET = RoomsDataset(RoomsConfig(size=96, views=8, pairs=4, interleave=40), "test", seed=77)
PAIRS = [DATASET.pair(i) for i in range(150)]
ASKED = [(pair, QuestionMaker().ask(pair, 14, Random(f"asked/{pair.index}"))) for pair in PAIRS]


def of(family):
    found = [(pair, q) for pair, questions in ASKED for q in questions if q.family == family]
    assert len(found) >= 5, f"too few questions of {family}"
    return found


def world_points(view):
    """(H, W, 3) by the core's own unprojection."""
    k, pose = torch.from_numpy(view.intrinsics), torch.from_numpy(view.world_from_camera)
    local = unproject(torch.from_numpy(view.depth).double()[None], k[None])
    return transform_points(pose[None], local)[0].numpy()


def marked(pair, point):
    view, x, y = point
    height, width = pair.views[view].depth.shape
    u, v = round(x / 100 * width - 0.5), round(y / 100 * height - 0.5)
    return world_points(pair.views[view])[v, u], (u, v)


def box_distance(a, b):
    """Closest points of two boxes as a bounded least-squares problem."""

    def frame(item):
        c, s = math.cos(item.yaw), math.sin(item.yaw)
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])

    bound = 0.5 * np.array([*a.size, *b.size])
    matrix = np.hstack([frame(a), -frame(b)])
    found = lsq_linear(matrix, np.subtract(b.center, a.center), (-bound, bound), tol=1e-12)
    return math.sqrt(2 * found.cost)


def nearest(pair, object_id, view):
    """Distance of the nearest seen point of a thing, with its allowance for stray pixels."""
    shot = pair.views[view]
    gaps = np.linalg.norm(world_points(shot) - shot.world_from_camera[:3, 3], axis=-1)
    return float(np.quantile(gaps[shot.instances == object_id], 0.02))


def spoken(pair, name, views):
    """The one object that "the red chair" can mean among what is seen."""
    words = name.removeprefix("the ").replace("TV", "tv").replace("set of books", "books")
    seen = set(itertools.chain(*(np.unique(pair.views[view].instances).tolist() for view in views)))
    shares = {i: max((pair.views[v].instances == i).mean() for v in views) for i in seen if i in pair.graph}
    fitting = [
        item
        for i, share in shares.items()
        if share >= 0.0002
        and (item := pair.graph[i]).name in (words, words.removeprefix(item.colour + " "))
        and (words == item.name or words == f"{item.colour} {item.name}")
    ]
    assert len(fitting) == 1, (name, fitting)
    return fitting[0]


def close(question, value):
    """Right up to the rounding of the answer."""
    step = {"m": 0.1 if value >= 1 else 0.01, "cm": 1.0, "deg": 1.0, "m2": 1.0, "": 0.0}[question.unit]
    assert question.value == pytest.approx(value, abs=0.51 * step + 1e-6), question


@pytest.fixture(scope="module")
def bag_pairs():
    bare = [replace(view, instances=None, classes=None) for pair, _ in ASKED[:30] for view in pair.views]
    return [
        ViewPair(a, b, pair.covisibility, "bag", k)
        for k, (pair, a, b) in enumerate(zip((p for p, _ in ASKED), bare[::2], bare[1::2]))
    ]


class TestForm:
    def test_every_family_is_asked(self):
        seen = Counter(q.family for _, questions in ASKED for q in questions)
        assert set(seen) == set(FAMILIES)

    def test_well_formed(self):
        for pair, questions in ASKED:
            assert len({q.text for q in questions}) == len(questions)
            for q in questions:
                assert "{" not in q.text and len(q.text) < 500
                assert q.views in ((0,), (1,), (0, 1))
                if q.kind == "numeric":
                    number = re.fullmatch(r"(\d+(?:\.\d+)?)(?: (m|cm|deg|m2))?", q.answer)
                    assert number and float(number[1]) == q.value and (number[2] or "") == q.unit
                else:
                    assert len(set(q.options)) == len(q.options) >= 2
                    if q.lettered:
                        assert "ABCDEFGH".index(q.answer) == q.correct
                        assert f" {q.answer}. {q.options[q.correct]}" in q.text
                    else:
                        assert q.options[q.correct] == q.answer
                assert all(number in pair.graph for number in q.objects)
                assert all(view in q.views or q.family == "match" for view, _, _ in q.points)
                if q.family.startswith("commanded"):
                    assert np.array(q.target_from_reference).shape == (4, 4) and q.views == (0,)
                else:
                    assert q.target_from_reference is None

    def test_frames_are_spoken_of_only_where_there_are_two(self):
        for _, questions in ASKED:
            for q in questions:
                if len(q.views) == 1:
                    assert "frame" not in q.text

    def test_same_number_same_questions(self):
        for i in (0, 31):
            assert QuestionMaker().ask(PAIRS[i], 14, Random(f"asked/{i}")) == ASKED[i][1]

    def test_questions_asked_together_are_about_the_same_views_in_the_same_mixture(self):
        maker, rng = QuestionMaker(), Random(3)
        together = [maker.ask_together(pair, 5, rng) for pair in PAIRS]
        assert all(len({q.views for q in questions}) == 1 for questions in together)
        shares = []
        for asked in (together, [maker.ask(pair, 5, rng) for pair in PAIRS]):
            families = Counter(q.family for questions in asked for q in questions)
            shares.append({name: families[name] / families.total() for name in FAMILIES})
        assert all(abs(shares[0][name] - shares[1][name]) < 0.04 for name in FAMILIES)

    def test_wording_varies(self):
        for key, phrasings in PHRASES.items():
            assert len(set(phrasings)) == len(phrasings) >= 2, key
        stems = defaultdict(set)
        for _, questions in ASKED:
            for q in questions:
                stems[q.family].add(" ".join(q.text.split()[:3]))
        assert all(len(found) >= 2 for found in stems.values()), stems

    def test_of_two_pictures_it_is_said_which_one_is_meant(self):
        for _, questions in ASKED:
            for q in questions:
                if len(q.views) == 2 and q.family in ("image_side", "depth_order", "point_order", "inventory"):
                    assert "frame" in q.text

    def test_guessing_blindly_is_hard(self):
        """No choice family has an answer that is right much more often than the others."""
        for family in FAMILIES:
            asked = [q for _, questions in ASKED for q in questions if q.family == family and q.kind == "choice"]
            for options in {len(q.options) for q in asked}:
                some = [q.correct for q in asked if len(q.options) == options]
                if len(some) >= 60:
                    assert Counter(some).most_common(1)[0][1] / len(some) < 1 / options + 0.22, (family, options)

    def test_weights_choose_families(self):
        maker = QuestionMaker({"count": 1.0})
        asked = maker.ask(ASKED[0][0], 5, Random(0))
        assert {q.family for q in asked} <= {"count", "camera_motion"}  # the latter where nothing can be counted
        with pytest.raises(KeyError):
            QuestionMaker({"colour": 1.0})

    def test_where(self):
        assert where(Random(0), (1, 0), 0) == "in frame 2"
        assert any(word in where(Random(1), (0,)) for word in ("image", "picture", "view"))
        assert phrase(Random(0), "depth_order", a="A", b="B", where="in frame 1")


class TestRecorded:
    """Pairs without a scene graph, as bags give them."""

    def test_depth_and_poses_are_enough(self, bag_pairs):
        maker = QuestionMaker()
        families = set()
        for pair in bag_pairs:
            asked = maker.ask(pair, 8, Random(pair.index))
            assert len(asked) == 8
            families |= {q.family for q in asked}
        assert families == set(points.MAKERS)

    def test_holes_in_depth_are_left_alone(self, bag_pairs):
        rng = np.random.default_rng(0)
        for pair in bag_pairs[:10]:
            holes = rng.random(pair.reference.depth.shape) < 0.3
            holed = replace(pair.reference, depth=np.where(holes, 0, pair.reference.depth).astype(np.float32))
            for q in QuestionMaker().ask(replace(pair, reference=holed), 10, Random(1)):
                for view, x, y in q.points if q.family in ("point_depth", "point_distance", "point_order") else ():
                    _, (u, v) = marked(pair, (view, x, y))
                    assert view == 1 or holed.depth[v, u] > 0

    def test_a_pair_without_any_depth_still_has_a_question(self, bag_pairs):
        pair = bag_pairs[0]
        blind = [replace(view, depth=np.zeros_like(view.depth)) for view in pair.views]
        asked = QuestionMaker().ask(replace(pair, reference=blind[0], target=blind[1]), 3, Random(0))
        assert asked and {q.family for q in asked} <= {"camera_motion", "view_change"}


class TestSceneTruth:
    def test_count(self):
        for pair, q in of("count"):
            ids = Counter()
            for view in q.views:
                for number, pixels in zip(*np.unique(pair.views[view].instances, return_counts=True)):
                    ids[int(number)] = max(ids[int(number)], int(pixels))
            name = pair.graph[q.objects[0]].name
            assert q.value == sum(pair.graph[i].name == name for i, n in ids.items() if n >= 2)
            assert {pair.graph[i].name for i in q.objects} == {name}

    def test_object_distance(self):
        for pair, q in of("object_distance"):
            a, b = (pair.graph[i] for i in q.objects)
            close(q, box_distance(a, b))

    def test_camera_distance(self):
        for pair, q in of("camera_distance"):
            view = q.views[0] if len(q.views) == 1 else 0 if "frame 1" in q.text.lower() else 1
            close(q, nearest(pair, q.objects[0], view))
            camera = pair.views[view].world_from_camera[:3, 3]
            item = pair.graph[q.objects[0]]
            farthest = np.linalg.norm(item.corners() - camera, axis=1).max()
            assert item.distance_to_point(tuple(camera)) - 0.06 <= q.value <= farthest + 0.06

    def test_relative_distance(self):
        for pair, q in of("relative_distance"):
            anchor, *others = (pair.graph[i] for i in q.objects)
            gaps = [box_distance(anchor, other) for other in others]
            assert q.correct == int(np.argmin(gaps))
            assert sorted(gaps)[1] - min(gaps) > 0.25
            assert [spoken(pair, option, q.views).id for option in q.options] == [other.id for other in others]

    def test_object_size(self):
        for pair, q in of("object_size"):
            item = pair.graph[q.objects[0]]
            tall = any(word in q.text for word in ("tall", "How high", "height of", "highest"))
            close(q, 100 * (item.size[2] if tall else max(item.size)))

    def test_room_size(self):
        for pair, q in of("room_size"):
            floor = next(item for item in pair.graph.objects if item.name == "floor")
            assert q.value <= (floor.size[0] - 0.2) * (floor.size[1] - 0.2) + 0.5
            close(q, pair.graph.area)

    def test_relative_direction(self):
        for pair, q in of("relative_direction"):
            a, b, c = (np.array(pair.graph[i].center[:2]) for i in q.objects)
            ahead = (b - a) / np.linalg.norm(b - a)
            left = np.array([-ahead[1], ahead[0]])
            forward, aside = (c - a) @ ahead, (c - a) @ left
            side = "left" if aside > 0 else "right"
            if len(q.options) == 4:
                assert q.answer == ("front-" if forward > 0 else "back-") + side
            elif len(q.options) == 3:
                behind = forward < 0 and abs(aside) < -forward
                assert q.answer == ("back" if behind else side)
            else:
                assert q.answer == side

            ((right, front),) = (map(float, place) for place in re.findall(r"\((-?\d+\.\d), (-?\d+\.\d)\)", q.reason))
            assert (right, front) == pytest.approx((-aside, forward), abs=0.051)

    def test_inventory(self):
        maker, found = QuestionMaker({"inventory": 1.0}), 0
        for pair in PAIRS[:40]:
            for q in maker.ask(pair, 1, Random(pair.index)):
                if q.family != "inventory":
                    continue
                view = q.views[0] if len(q.views) == 1 else 0 if "frame 1" in q.text else 1
                entries = [entry.rsplit(" ", 2) for entry in q.answer.split(", ")]
                assert [spoken(pair, name, q.views).id for name, _, _ in entries] == list(q.objects)
                for (_, length, unit), number in zip(entries, q.objects):
                    assert unit == "m" and abs(float(length) - nearest(pair, number, view)) < 0.06
                middles = [np.nonzero(pair.views[view].instances == number)[1].mean() for number in q.objects]
                assert middles == sorted(middles)
                found += 1
        assert found >= 20

    def test_image_side(self):
        for pair, q in of("image_side"):
            view = q.views[0] if len(q.views) == 1 else 0 if "frame 1" in q.text else 1
            middles = [np.nonzero(pair.views[view].instances == i)[1].mean() for i in q.objects]
            assert q.answer == ("left" if middles[0] < middles[1] else "right")

    def test_depth_order(self):
        for pair, q in of("depth_order"):
            view = q.views[0] if len(q.views) == 1 else 0 if "frame 1" in q.text.lower() else 1
            gaps = [nearest(pair, i, view) for i in q.objects]
            far = "farthest" in q.text or "most distant" in q.text or "largest" in q.text
            assert q.correct == int(np.argmax(gaps) if far else np.argmin(gaps))
            assert [spoken(pair, option, q.views).id for option in q.options] == list(q.objects)

    def test_on_top(self):
        for pair, q in of("on_top"):
            base = pair.graph[q.objects[0]]
            for k, option in enumerate(q.options):
                item = spoken(pair, option, q.views)
                bottom = item.center[2] - item.size[2] / 2
                rests = base.distance(item) < 0.02 and bottom > base.center[2] - base.size[2] / 2 + 0.01
                if k == q.correct:
                    assert rests and item.id == q.objects[1]
                else:
                    assert item.on != base.id

    def test_appearance(self):
        for pair, q in of("appearance"):
            seen = tuple((view.instances == q.objects[0]).any() for view in pair.views)
            assert q.answer == {(True, False): "frame 1", (False, True): "frame 2", (True, True): "both"}[seen]

    def test_names_mean_one_thing(self):
        for pair, questions in ASKED[:60]:
            for q in questions:
                if q.family == "object_distance":
                    assert all(spoken(pair, f"the {name}", q.views) for name in self.names_in(q.text))

    @staticmethod
    def names_in(text):
        known = "|".join(sorted(("TV", "set of books", *CLASSES[4:]), key=len, reverse=True))
        colours = "white|grey|black|red|orange|yellow|green|blue|purple|pink|brown|beige"
        return re.findall(rf"the ((?:(?:{colours}) )?(?:{known}))\b", text)


class TestReasons:
    def lengths(self, question):
        parts = question.reason.split(", ")
        if question.reason.startswith("("):  # places have a comma of their own
            parts = re.findall(r"\(\d+, \d+\) [\d.]+ m", question.reason)
        return [(name, float(value)) for name, value, _ in (part.rsplit(" ", 2) for part in parts)]

    @pytest.mark.parametrize("family", ["depth_order", "point_order", "relative_distance", "nearer_camera"])
    def test_lengths_decide(self, family):
        for _, question in of(family):
            named = self.lengths(question)
            letters = "ABCD"[: len(question.options)]
            assert [name for name, _ in named] == list(letters if question.lettered else question.options)
            values = [value for _, value in named]
            far = "farthest" in question.text or "distant" in question.text or "largest" in question.text
            assert values[question.correct] == (max if far else min)(values)
            assert question.spoken == f"{question.reason}: {question.answer}"

    def test_sides_in_the_picture(self):
        for _, question in of("image_side"):
            first, second = (int(part.rsplit(" ", 1)[1]) for part in question.reason.split(", "))
            assert question.answer == ("left" if first < second else "right")
        for _, question in of("commanded_side"):
            x = int(question.reason.removeprefix("at "))
            assert question.answer == ("left" if x < 33 else "middle" if x < 67 else "right")

    def test_a_change_of_view_is_said_and_then_looked_for_among_the_options(self):
        for pair, question in of("view_change"):
            number = r"(-?\d\.\d)"
            told = rf"the camera \({number}, {number}\), the view \({number}, {number}\), (.+)"
            *places, rest = re.fullmatch(told, question.reason).groups()
            camera = np.linalg.inv(pair.target_from_reference)
            np.testing.assert_allclose(
                [float(value) for value in places], [*camera[[0, 2], 3], *camera[[0, 2], 2]], atol=0.0501
            )
            seen, *tried = rest.split(", ")
            assert [way.split(" ", 1)[0] for way in tried] == list("ABCD"[: question.correct + 1])
            ways = [way.split(" ", 1)[1] for way in tried]
            assert len(set(ways)) == len(ways) and ways[-1] == seen
            for way, option in zip(ways, question.options):
                words = option.replace(",", "").split()
                assert set(way.split()) <= set(words), "an option says what tells it from the others"

    def test_numbers_have_none(self):
        assert not any(q.reason for _, questions in ASKED for q in questions if q.kind == "numeric")


class TestCommandedTruth:
    def test_view(self):
        for pair, q in of("commanded_view"):
            pixels = [(pair.target.instances == spoken(pair, option, (0,)).id).mean() for option in q.options]
            kept = [share > 0.005 for share in pixels]
            hidden = any(word in q.text for word in ("out of sight", "no longer", "not be seen"))
            assert kept == [(k == q.correct) != hidden for k in range(len(kept))]
            assert [part.split()[1] == "in" for part in q.reason.split(", ")] == kept
            np.testing.assert_allclose(np.array(q.target_from_reference), pair.target_from_reference)

    def test_side(self):
        for pair, q in of("commanded_side"):
            columns = np.nonzero(pair.target.instances == q.objects[0])[1]
            third = (columns.mean() + 0.5) / 96 * 3
            assert q.answer == ("left", "middle", "right")[int(third)]

    def test_distance(self):
        for pair, q in of("commanded_distance"):
            close(q, nearest(pair, q.objects[0], 1))

    def test_point(self):
        for pair, q in of("commanded_point"):
            point, _ = marked(pair, q.points[0])
            local = np.linalg.inv(pair.reference.world_from_camera) @ np.append(point, 1)
            moved = np.array(q.target_from_reference) @ local
            close(q, float(np.linalg.norm(moved[:3])))

    def test_commands_in_words_match_their_pose(self):
        said = 0
        for _, questions in ASKED:
            for q in questions:
                command = re.search(r'(?:motion "|like this: |does this: )(.*?)(?:"|: (?=[wh]))', q.text)
                if q.family.startswith("commanded") and command and command[1] != "stay":
                    pose, meant = parse_motion(command[1]), np.array(q.target_from_reference)
                    said += 1
                    if q.family == "commanded_point":
                        np.testing.assert_allclose(pose, meant, atol=1e-6)
                    else:
                        turned = pose[:3, :3].T @ meant[:3, :3]
                        assert math.degrees(math.acos(min(1, (np.trace(turned) - 1) / 2))) < 7
                        shift = (np.linalg.inv(pose) - np.linalg.inv(meant))[:3, 3]
                        assert np.linalg.norm(shift) < 0.1
        assert said > 30


class TestPointTruth:
    def test_depth(self):
        for pair, q in of("point_depth"):
            view, _, _ = q.points[0]
            point, _ = marked(pair, q.points[0])
            pose = pair.views[view].world_from_camera
            close(q, float((point - pose[:3, 3]) @ pose[:3, 2]))

    def test_region(self):
        for pair, q in of("region_depth"):
            (view, x0, y0), (_, x1, y1) = q.points
            part = pair.views[view].depth[y0 * 96 // 100 : y1 * 96 // 100, x0 * 96 // 100 : x1 * 96 // 100]
            close(q, float(np.median(part)))

    def test_order(self):
        for pair, q in of("point_order"):
            depths = []
            for point in q.points:
                pose = pair.views[point[0]].world_from_camera
                depths.append((marked(pair, point)[0] - pose[:3, 3]) @ pose[:3, 2])
            assert q.correct == int(np.argmin(depths))
            assert [f"({x}, {y})" for _, x, y in q.points] == list(q.options)

    def test_distance(self):
        for pair, q in of("point_distance"):
            a, b = (marked(pair, point)[0] for point in q.points)
            close(q, float(np.linalg.norm(a - b)))

    def test_nearer_camera(self):
        for pair, q in of("nearer_camera"):
            point, _ = marked(pair, q.points[0])
            gaps = [np.linalg.norm(point - view.world_from_camera[:3, 3]) for view in pair.views]
            assert q.answer == ("frame 1" if gaps[0] < gaps[1] else "frame 2")

    def test_visible_by_casting_a_ray(self):
        """One ray from the other camera to the point, through the primitives of the room itself."""
        answers = Counter()
        for pair, q in of("visible"):
            answers[q.answer] += 1
            if q.answer == "yes":
                assert self.unobstructed(pair, q.points[0]) < 0.1, q
            else:
                assert self.unobstructed(pair, q.points[0]) > 0.05, q
        assert min(answers.values()) > 0.2 * sum(answers.values())

    @staticmethod
    def unobstructed(pair, mark):
        """Metres by which something stands before the marked point, seen from the other camera; 9 if it is outside."""
        point, _ = marked(pair, mark)
        other = pair.views[1 - mark[0]]
        local = np.linalg.inv(other.world_from_camera) @ np.append(point, 1)
        pixel = other.intrinsics @ local[:3] / local[2]
        if local[2] < 0.1 or not (0 <= pixel[:2]).all() or not (pixel[:2] <= 95).all():
            return 9.0
        one = other.intrinsics.copy()
        one[:2, 2] -= pixel[:2]  # a picture of one pixel, at the point
        room = DATASET.drive(DATASET.place(pair.index)[0]).room
        k, pose = torch.from_numpy(one)[None, None], torch.from_numpy(other.world_from_camera)[None, None]
        _, depth, _ = raycast(RoomBatch.pack([room]), k, pose, 1, 1, colour=False)
        return local[2] - float(depth)

    def test_match(self):
        for pair, q in of("match"):
            point, _ = marked(pair, q.points[0])
            other = pair.views[1 - q.points[0][0]]
            local = np.linalg.inv(other.world_from_camera) @ np.append(point, 1)
            pixel = (other.intrinsics @ local[:3] / local[2])[:2]
            options = [tuple(int(n) for n in re.findall(r"\d+", option)) for option in q.options]
            gaps = [np.linalg.norm(np.array(option) - 100 * (pixel + 0.5) / 96) for option in options]
            assert q.correct == int(np.argmin(gaps)) and min(gaps) < 1 and sorted(gaps)[1] > 15
            assert self.unobstructed(pair, q.points[0]) < 0.1


class TestMotionTruth:
    def test_camera_motion(self):
        kinds = Counter()
        for pair, q in of("camera_motion"):
            kinds[q.unit or str(len(q.options))] += 1
            a, b = (view.world_from_camera for view in pair.views)
            local = a[:3, :3].T @ (b[:3, 3] - a[:3, 3])
            if q.unit == "m":
                close(q, float(np.linalg.norm(local)))
            elif q.unit == "deg":
                close(q, math.degrees(math.acos(np.clip(a[:3, 2] @ b[:3, 2], -1, 1))))
            elif len(q.options) == 4:
                axis = int(np.argmax(np.abs(local[[2, 0]])))
                assert q.answer == (("backward", "forward"), ("left", "right"))[axis][int(local[[2, 0]][axis] > 0)]
            elif "turn" in q.text:
                assert q.answer == ("right" if a[:3, 0] @ b[:3, 2] > 0 else "left")
            else:
                assert q.answer == ("right" if local[0] > 0 else "left")
        assert len(kinds) >= 4

    def test_view_change(self):
        """The right command leads closest to the true pose, by a clear margin."""
        for pair, q in of("view_change"):
            errors = []
            alike = re.match("Apart from (.*?): ", q.text)
            for option in q.options:
                said = [*option.split(", "), *(alike[1].split(", ") if alike else ())]
                said.sort(key=lambda part: part.startswith(("turn", "look")))  # shifts come before turns
                gap = np.linalg.inv(parse_motion(", ".join(said))) @ pair.target_from_reference
                errors.append(math.acos(np.clip((np.trace(gap[:3, :3]) - 1) / 2, -1, 1)) + np.linalg.norm(gap[:3, 3]))
            assert q.correct == int(np.argmin(errors))
            assert sorted(errors)[1] > 1.3 * min(errors)


class TestMotions:
    angles = st.floats(-80, 80)
    shifts = st.floats(-2, 2)

    @settings(max_examples=60, deadline=None)
    @given(st.floats(-170, 170), angles, angles, shifts, shifts, shifts)
    def test_pose_and_back(self, yaw, pitch, roll, right, down, forward):
        degrees = {"yaw": yaw, "pitch": pitch, "roll": roll}
        pose = motion(**{n: math.radians(v) for n, v in degrees.items()}, right=right, down=down, forward=forward)
        move = motion_between(pose)
        for name, value in {**degrees, "right": right, "down": down, "forward": forward}.items():
            assert getattr(move, name) == pytest.approx(value, abs=1e-6)
        np.testing.assert_allclose(move.matrix(), pose, atol=1e-9)

    @settings(max_examples=60, deadline=None)
    @given(st.floats(-170, 170), angles, shifts, shifts, shifts)
    def test_words_and_back(self, yaw, pitch, right, down, forward):
        said = Motion(yaw, pitch, 0.0, right, down, forward).rounded()
        if said.words() != "stay":
            np.testing.assert_allclose(parse_motion(said.words()), said.matrix(), atol=1e-9)
