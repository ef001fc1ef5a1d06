"""Exercises about other cameras: their answers follow from where things and cameras are, and so does what is shown."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch

from training.data.questions.drills import Drills
from training.data.questions.types import Question
from training.data.questions.viewpoints import viewpoint
from training.exercising import exercise
from uniugg_core.cameras import motion
from uniugg_core.config import preset
from uniugg_core.models import showing
from uniugg_core.models.uniugg import UniUGG
from uniugg_core.prompts import CameraSlot, MarkSlot, pictures_of
from uniugg_core.tokenizer import SpatialTokenizer

TOKENIZER = SpatialTokenizer.shipped()
EXERCISES = [viewpoint(Random(seed)) for seed in range(3000)]
BY_FAMILY = defaultdict(list)
for made in EXERCISES:
    BY_FAMILY[made.family].append(made)


OF_THINGS = frozenset(
    "camera_distance object_distance depth_order relative_distance image_side relative_direction on_top".split()
)


def moved(transform, spot):
    transform = np.asarray(transform)
    return transform[:3, :3] @ spot + transform[:3, 3]


def in_first(question, name, view=0):
    """Where a thing is in the first camera's frame, by the picture that the question means."""
    return moved(question.shown.cameras[view], question.shown.spots[question.shown.names.index(name)][view])


def spot_in(question, point, half):
    return 0.5 + 0.5 * point[0] / (point[2] * half), 0.5 + 0.5 * point[1] / (point[2] * half)


def near(question, value):
    assert question.value == pytest.approx(value, abs=0.051 if value >= 0.995 else 0.0051)


def marks(question):
    return [f"({x}, {y})" for x, y in re.findall(r"\((\d+), (\d+)\)", question.text)]


def test_they_are_of_all_kinds_and_no_answer_is_a_safe_guess():
    assert set(BY_FAMILY) == {
        *("commanded_view", "commanded_side", "commanded_distance", "commanded_point", "camera_motion", "view_change"),
        *("match", "visible", "nearer_camera", "point_distance", "appearance"),
        *OF_THINGS,
    }
    assert all(len(found) > 30 for found in BY_FAMILY.values())
    for family in ("commanded_view", "view_change", "match", "visible", "nearer_camera", "appearance"):
        answers = Counter((len(e.options), e.correct) for e in BY_FAMILY[family])
        for (options, _), count in answers.items():
            assert count < 1.7 / options * sum(n for (size, _), n in answers.items() if size == options)


def test_the_same_number_gives_the_same_exercise():
    assert [viewpoint(Random(seed)) for seed in range(40)] == EXERCISES[:40]


def test_commanded_views():
    for question in BY_FAMILY["commanded_view"]:
        half, seen = question.shown.half, []
        for name in question.options:
            which = question.shown.names.index(name)
            x, y, z = moved(question.target_from_reference, question.shown.spots[which][0])
            inside = z > 0.1 and all(0 < place < 1 for place in spot_in(question, (x, y, z), half))
            surface = question.shown.surfaces[which][0]
            seen.append(inside and surface is None)
        hidden = any(word in question.text for word in ("out of sight", "no longer", "not be seen"))
        assert seen == [(k == question.correct) != hidden for k in range(len(seen))]
        assert [part.split()[1] == "in" for part in question.reason.split(", ")] == seen


def test_commanded_sides_and_distances():
    for question in (*BY_FAMILY["commanded_side"], *BY_FAMILY["commanded_distance"]):
        ((start, end, (which,)),) = question.mentions
        assert question.text[start:end] == question.shown.names[which]
        then = moved(question.target_from_reference, question.shown.spots[which][0])
        if question.family == "commanded_distance":
            near(question, np.linalg.norm(then))
        else:
            x = spot_in(question, then, question.shown.half)[0]
            assert question.reason == f"at {round(100 * x)}"
            assert question.answer == ("left" if x < 1 / 3 else "middle" if x < 2 / 3 else "right")
    for question in BY_FAMILY["commanded_point"]:
        near(question, np.linalg.norm(moved(question.target_from_reference, question.shown.spots[0][0])))


def test_said_motions_are_those_of_the_pose():
    turned = [q for q in BY_FAMILY["commanded_point"] if re.search(r"turn (left|right) \d+ degrees[\":]", q.text)]
    assert len(turned) > 10
    for question in turned:
        side, degrees = re.search(r"turn (left|right) (\d+)", question.text).groups()
        pose = np.asarray(question.target_from_reference)
        assert pose[:3, :3] == pytest.approx(
            motion(yaw=math.radians(int(degrees)) * (1 if side == "right" else -1))[:3, :3], abs=1e-6
        )


def test_how_the_camera_moved():
    for question in BY_FAMILY["camera_motion"]:
        camera = np.asarray(question.shown.cameras[1])
        right, _, ahead = camera[:3, 3]
        if question.unit == "m":
            near(question, np.linalg.norm(camera[:3, 3]))
        elif question.unit == "deg":
            assert question.value == pytest.approx(math.degrees(math.acos(camera[2, 2])), abs=0.51)
        elif "forward" in question.options:
            largest = {"right": right, "left": -right, "forward": ahead, "backward": -ahead}
            assert question.answer == max(largest, key=largest.get)
        else:
            turned = "turn" in question.text
            assert question.answer == ("right" if (camera[0, 2] if turned else right) > 0 else "left")


def test_points_of_two_pictures():
    for question in BY_FAMILY["match"]:
        source = int(re.search(r"\) in frame (\d)", question.text)[1]) - 1
        mark, *options = marks(question)
        places = [in_first(question, option, 1 - source) for option in options]
        gaps = [math.dist(place, in_first(question, mark, source)) for place in places]
        assert question.correct == gaps.index(min(gaps))
    for question in BY_FAMILY["nearer_camera"]:
        source = int(re.search(r"in frame (\d)", question.text)[1]) - 1
        place = in_first(question, marks(question)[0], source)
        away = [np.linalg.norm(place - np.asarray(camera)[:3, 3]) for camera in question.shown.cameras]
        assert question.correct == away.index(min(away))
    for question in BY_FAMILY["point_distance"]:
        first, second = marks(question)
        frames = re.findall(r"frame (\d)", question.text)
        views = [int(frame) - 1 for frame in frames] * (2 if len(frames) == 1 else 1) or [0, 0]
        near(question, math.dist(in_first(question, first, views[0]), in_first(question, second, views[1])))


def test_what_a_picture_shows():
    for question in BY_FAMILY["visible"]:
        source = 0 if re.search(r"\) in frame 1|\) of frame 1", question.text) else 1
        place = in_first(question, marks(question)[0], source)
        camera = np.linalg.inv(np.asarray(question.shown.cameras[1 - source]))
        there = moved(camera, place)
        inside = there[2] > 0.1 and all(0 < x < 1 for x in spot_in(question, there, question.shown.half))
        hidden = question.shown.surfaces[0][source] < 0.9 * np.linalg.norm(there)
        assert question.answer == ("yes" if inside and not hidden else "no")
    for question in BY_FAMILY["appearance"]:
        (seen,) = question.shown.spots
        expected = "both" if all(seen) else "frame 1" if seen[0] else "frame 2"
        assert question.answer == expected


def number_of(question: Question, slot: MarkSlot) -> int:
    """Which of a question's things a marked point is."""
    return question.shown.names.index(f"({slot.x}, {slot.y})")


def test_what_the_model_is_told_is_what_the_exercise_says(monkeypatch):
    """Cameras, and where they have things, as the model is told them; the rest is what pictures would give."""
    model = UniUGG.initialised(preset("tiny"), 0, TOKENIZER)
    questions = [q for family in ("visible", "commanded_side", "match") for q in BY_FAMILY[family][:12]]
    told = []
    situate = showing.situate

    def listening(language, prompts, counts, parts, spots, look, apart):
        def also(whose, placed, other):
            told.append((prompts, whose, look(whose, placed, other)))
            return told[-1][2]

        situate(language, prompts, counts, parts, spots, also, apart)

    monkeypatch.setattr("training.exercising.situate", listening)
    lessons = exercise(model, TOKENIZER, questions, torch.Generator().manual_seed(0))
    assert len(lessons.asked) == len(questions)
    ((prompts, whose, (itself, there)),) = told
    counts = sorted({len(question.views) for question in questions})
    rows = [[q for q in questions if len(q.views) == count] for count in counts]
    for number, (talk, place, slot) in enumerate(whose):
        question = rows[talk][place]
        if question.family == "match":  # a mark is where it says, in every picture that it is shown of
            shown = {mark.index for mark in prompts[talk][place].marks if replace(mark, index=0) == slot}
            assert len(shown) == (1 if number_of(question, slot) == 0 else 2)
            for spot in itself.spot[number][sorted(shown)]:
                assert (100 * spot).tolist() == pytest.approx([slot.x, slot.y], abs=1.1)
        if question.family == "commanded_side":
            expected = int(question.reason.removeprefix("at "))
            assert 100 * float(there.spot[number, 0, 0]) == pytest.approx(expected, abs=1.5)
        if question.family == "visible":
            source = 0 if re.search(r"\) in frame 1|\) of frame 1", question.text) else 1
            inside = bool(((there.spot[number, source] > 0) & (there.spot[number, source] < 1)).all())
            clear = float(there.surface[number, source] / there.distance[number, source]) > 0.9
            assert question.answer == ("yes" if inside and clear and there.ahead[number, source] else "no")
            assert isinstance(slot, MarkSlot)
    for row, prompt_row in zip(rows, prompts):
        for question, prompt in zip(row, prompt_row):
            assert (CameraSlot(1) in prompt.pieces) == (len(pictures_of(question.text, len(question.views))) == 2)


def test_every_exercise_has_its_own_camera():
    """Also where all of them ask the same."""
    alike = defaultdict(list)
    for exercised in BY_FAMILY["camera_motion"]:
        alike[exercised.text].append(exercised)
    asked = next(together[:2] for together in alike.values() if len(together) > 1)
    model = UniUGG(preset("tiny")).eval()
    model.language.bind(TOKENIZER)
    torch.nn.init.normal_(model.language.situation.write["turned"].weight)
    lessons = exercise(model, TOKENIZER, asked, torch.Generator().manual_seed(0))
    one, other = (lesson[: (labels == -100).sum()] for lesson, labels in zip(lessons.asked, lessons.labels))
    assert one.shape == other.shape
    assert (one != other).any(-1).sum() == 1, "but for where the camera looked they are the same"


def test_only_models_that_are_told_of_cameras_get_them():
    plain, situated = (
        Drills("train", 0, shown=True, situated=flag).batch("drill", range(8))["questions"] for flag in (False, True)
    )
    assert not any(len(question.views) == 2 for together in plain for question in together)
    share = [len(question.views) == 2 for together in situated for question in together]
    assert 0.15 < sum(share) / len(share) < 0.5


def seen_in(question, name):
    """In which pictures a thing is, and where in the frame of the first one's camera."""
    views = [view for view, spot in enumerate(question.shown.spots[question.shown.names.index(name)]) if spot]
    places = [in_first(question, name, view) for view in views]
    assert all(np.allclose(place, places[0], atol=1e-6) for place in places), "both pictures show it at one place"
    return views, places[0]


def test_what_one_of_two_pictures_shows():
    def shown(exercised, name, view):
        assert view in seen_in(exercised, name)[0]
        return exercised.shown.spots[exercised.shown.names.index(name)][view]

    for exercised in BY_FAMILY["image_side"]:
        (view,) = pictures_of(exercised.text, 2)
        spots = [shown(exercised, part.rpartition(" ")[0], view) for part in exercised.reason.split(", ")]
        slopes = [x / z for x, _, z in spots]
        assert exercised.answer == ("left" if slopes[0] < slopes[1] else "right")
    for exercised in BY_FAMILY["camera_distance"]:
        (view,) = pictures_of(exercised.text, 2)
        near(exercised, math.hypot(*shown(exercised, exercised.text[slice(*exercised.mentions[0][:2])], view)))
    for exercised in BY_FAMILY["depth_order"]:
        (view,) = pictures_of(exercised.text, 2)
        away = [math.hypot(*shown(exercised, name, view)) for name in exercised.options]
        far = any(word in exercised.text for word in ("farthest", "distant", "largest"))
        assert away[exercised.correct] == (max(away) if far else min(away))
        said = [float(length) for length in re.findall(r"([0-9.]+) m", exercised.reason)]
        assert said == pytest.approx(away, abs=0.051)


def gap(question, *names):
    """Between balls."""
    radii = [question.shown.radii[question.shown.names.index(name)] for name in names]
    return math.dist(*(seen_in(question, name)[1] for name in names)) - sum(radii)


def test_how_things_of_two_pictures_lie_to_each_other():
    for exercised in BY_FAMILY["object_distance"]:
        near(exercised, gap(exercised, *(exercised.text[a:b] for a, b, _ in exercised.mentions)))
    for exercised in BY_FAMILY["relative_distance"]:
        anchor = exercised.text[slice(*exercised.mentions[0][:2])]
        gaps = [gap(exercised, anchor, name) for name in exercised.options]
        assert gaps[exercised.correct] == min(gaps)
    only_one, views = 0, 0
    for exercised in BY_FAMILY["relative_direction"]:
        three = [seen_in(exercised, exercised.text[a:b]) for a, b, _ in exercised.mentions]
        assert len(three) == 3
        only_one += sum(len(seen) == 1 for seen, _ in three)
        views += 3
        (ax, _, az), (bx, _, bz), (cx, _, cz) = (place for _, place in three)
        side = (bz - az) * (cx - ax) - (bx - ax) * (cz - az)  # above 0: to the right of who goes from a to b
        if exercised.answer in ("left", "right"):
            assert exercised.answer == ("right" if side > 0 else "left")
    assert 0.2 < only_one / views < 0.95, "some are in one picture, some in both"


def test_the_gap_between_things_is_told(monkeypatch):
    """From the first one that the question names, as the answer has it."""
    model = UniUGG.initialised(preset("tiny"), 0, TOKENIZER)
    questions = BY_FAMILY["object_distance"][:24]
    told = []
    situate = showing.situate

    def listening(language, prompts, counts, parts, spots, look, apart):
        def also(whose, placed):
            told.append((whose, placed, apart(whose, placed)))
            return told[-1][2]

        situate(language, prompts, counts, parts, spots, look, also)

    monkeypatch.setattr("training.exercising.situate", listening)
    exercise(model, TOKENIZER, questions, torch.Generator().manual_seed(0))
    ((whose, placed, gaps),) = told
    assert len(whose) == 2 * len(questions)
    for number, (_, place, _) in enumerate(whose):
        if placed.first[number] != number:
            for picture in placed.share[number].nonzero()[:, 0]:
                near(questions[place], float(gaps[number, picture]))
