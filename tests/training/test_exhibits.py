"""Exercises whose things are shown: what they ask for follows from where the things are."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from random import Random

import pytest

from training.data.questions.drills import Drills
from training.data.questions.exhibits import THINGS, exhibit
from training.data.questions.sight import plural
from training.exercising import with_exhibits
from uniugg_core.prompts import NameSlot, question_prompt
from uniugg_core.tokenizer import SpatialTokenizer

TOKENIZER = SpatialTokenizer.shipped()
EXERCISES = [exhibit(Random(seed)) for seed in range(2400)]
BY_FAMILY = defaultdict(list)
for exercise in EXERCISES:
    BY_FAMILY[exercise.family].append(exercise)


def spots(exercise) -> dict[str, tuple[float, float, float]]:
    """Where what each name means is."""
    return {exercise.text[start:end]: exercise.shown.spots[which][0] for start, end, (which,) in exercise.mentions}


def close(exercise, value):
    assert exercise.value == pytest.approx(value, abs=0.051 if value >= 0.995 else 0.0051)


def test_they_are_of_all_kinds_and_no_answer_is_a_safe_guess():
    assert set(BY_FAMILY) == {
        *("camera_distance", "object_distance", "depth_order", "relative_distance", "image_side", "relative_direction"),
        *("on_top", "count", "object_size"),
    }
    assert all(len(found) > 50 for found in BY_FAMILY.values())
    for family in ("depth_order", "relative_distance", "image_side", "on_top"):  # at the back there is less to see
        answers = Counter((len(e.options), e.correct) for e in BY_FAMILY[family])
        for (options, _), count in answers.items():
            assert count < 1.6 / options * sum(n for (size, _), n in answers.items() if size == options)


def test_every_name_is_shown_where_it_stands():
    for exercise in EXERCISES:
        assert exercise.views == (0,) and exercise.mentions
        names = [exercise.text[start:end] for start, end, _ in exercise.mentions]
        assert all(name.startswith("the ") for name in names) or exercise.family == "count"
        options = exercise.options if exercise.family in ("depth_order", "relative_distance", "on_top") else ()
        assert set(options) <= set(names)
        half = exercise.shown.half
        assert all(z > 0 and max(abs(x), abs(y)) <= half * z for ((x, y, z),) in exercise.shown.spots)


def test_how_many_there_are_is_told():
    for exercise in BY_FAMILY["count"]:
        ((start, end, _),) = exercise.mentions
        assert exercise.text[start:end] in map(plural, THINGS) and exercise.shown.counts == (exercise.value,)
    assert {exercise.value for exercise in BY_FAMILY["count"]} == set(range(1, 7))


def test_how_large_things_are_is_told():
    for exercise in BY_FAMILY["object_size"]:
        (sides,) = exercise.shown.sides
        tall = "tall" in exercise.text or "high" in exercise.text or "height of" in exercise.text
        assert exercise.value == pytest.approx(100 * (sides[2] if tall else max(sides)), abs=0.51)


def radius(exercise, name):
    return exercise.shown.radii[exercise.shown.names.index(name)]


def test_distances():
    for exercise in BY_FAMILY["camera_distance"]:
        close(exercise, math.hypot(*next(iter(spots(exercise).values()))))
    for exercise in BY_FAMILY["object_distance"]:
        close(exercise, math.dist(*spots(exercise).values()) - sum(radius(exercise, name) for name in spots(exercise)))


@pytest.mark.parametrize("family", ["depth_order", "relative_distance"])
def test_the_nearest_and_the_farthest(family):
    for exercise in BY_FAMILY[family]:
        where = spots(exercise)
        lengths = [math.hypot(*where[name]) for name in exercise.options]
        if family == "relative_distance":
            anchor = next(name for name in where if name not in exercise.options)
            both = [radius(exercise, anchor) + radius(exercise, name) for name in exercise.options]
            lengths = [math.dist(where[anchor], where[name]) - own for name, own in zip(exercise.options, both)]
        far = any(word in exercise.text for word in ("farthest", "distant", "largest"))
        assert exercise.correct == lengths.index(max(lengths) if far else min(lengths))
        assert all(f"{length:.1f} m" in exercise.reason for length in lengths if length >= 1)


def test_sides():
    for exercise in BY_FAMILY["image_side"]:
        where = spots(exercise)
        first, second = (part.rpartition(" ") for part in exercise.reason.split(", "))
        slopes = [where[name][0] / where[name][2] for name, _, _ in (first, second)]
        assert exercise.answer == ("left" if slopes[0] < slopes[1] else "right")
        assert (int(first[2]) < int(second[2])) == (slopes[0] < slopes[1])
        across = [50 + 50 * slope / exercise.shown.half for slope in slopes]
        assert all(abs(int(x) - true) <= 0.51 for (_, _, x), true in zip((first, second), across))


def test_directions():
    for exercise in BY_FAMILY["relative_direction"]:
        (ax, _, ay), (bx, _, by), (cx, _, cy) = spots(exercise).values()
        # x to the right, z ahead: counter-clockwise from above is left
        cross = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        ahead = (bx - ax) * (cx - ax) + (by - ay) * (cy - ay)
        side, front = "left" if cross > 0 else "right", "front" if ahead > 0 else "back"
        assert exercise.answer in (side, "back", f"{front}-{side}")
        right, forward = map(float, re.search(r"\((.+), (.+)\)", exercise.reason).groups())
        away = math.hypot(bx - ax, by - ay)
        assert (right, forward) == pytest.approx((-cross / away, ahead / away), abs=0.051)
        if exercise.answer == "back":
            assert forward < 0


def test_what_is_on_something():
    for exercise in BY_FAMILY["on_top"]:
        where = spots(exercise)
        below = next(where[name] for name in where if name not in exercise.options)
        gaps = [math.dist(below, where[name]) for name in exercise.options]
        assert exercise.correct == gaps.index(min(gaps)) and where[exercise.options[exercise.correct]][1] < below[1]


def test_things_are_shown_behind_their_names():
    questions = EXERCISES[:40]
    prompts = [question_prompt(TOKENIZER, question.text, with_marks=True) for question in questions]
    (slotted,), things = with_exhibits(TOKENIZER, [questions], [prompts], True)
    assert len(things) == sum(len(question.mentions) for question in questions)
    for number, (question, prompt) in enumerate(zip(questions, slotted)):
        said, shown = "", []
        for piece in prompt.pieces:
            if isinstance(piece, NameSlot):
                shown.append((len(said), piece))
            elif isinstance(piece, tuple):
                said += TOKENIZER.decode(piece)
        begin = said.index(question.text)
        assert [at - begin for at, _ in shown] == [end for _, end, _ in question.mentions]
        own = [thing for thing in things if thing.place == number]
        assert [thing.slots for thing in own] == [(slot,) for _, slot in shown]
        assert [thing.which for thing in own] == [which for *_, (which,) in question.mentions]


def test_models_whose_words_do_not_look_are_shown_nothing():
    plain, shown = (Drills("train", 0, shown=flag).batch("drill", range(8))["questions"] for flag in (False, True))
    assert not any(question.shown for together in plain for question in together)
    share = [bool(question.shown) for together in shown for question in together]
    assert 0.6 < sum(share) / len(share) < 0.9
