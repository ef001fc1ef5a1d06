"""Exercises in words: what they ask for can be found in what they tell. Answers are looked up here by other means."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from random import Random

import pytest

from training.data.questions.drills import Drills, drill
from training.data.questions.sight import plural
from training.data.world.classes import CLASSES
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.tokenizer import SpatialTokenizer

EXERCISES = [drill(Random(seed)) for seed in range(1500)]
BY_FAMILY = defaultdict(list)
for exercise in EXERCISES:
    BY_FAMILY[exercise.family].append(exercise)
BEHIND = re.compile(r" \[[^]]*\]")  # what is told behind a name
LENGTH = re.compile(r"(the [a-zA-Z ]+?|\(\d+, \d+\)) \[?(\d+\.\d+) m")


def told(exercise):
    return dict((name, float(value)) for name, value in LENGTH.findall(exercise.text))


def options(exercise):
    return [BEHIND.sub("", option) for option in exercise.options]


def chosen(exercise):
    return options(exercise)[exercise.correct]


def test_they_are_of_all_kinds_and_nothing_repeats():
    assert set(BY_FAMILY) == {
        *("again", "camera_distance", "point_depth", "depth_order", "point_order", "relative_distance"),
        *("image_side", "count", "on_top", "view_change"),
    }
    assert all(len(found) >= 25 for found in BY_FAMILY.values())
    assert len({exercise.text for exercise in EXERCISES}) > 1450
    assert all(exercise.views == () for exercise in EXERCISES)


def test_things_are_told_behind_their_names_or_in_front_of_the_question():
    for family in ("depth_order", "point_order", "relative_distance", "image_side"):
        behind = [bool(BEHIND.search(exercise.text)) for exercise in BY_FAMILY[family]]
        assert 0.6 < sum(behind) / len(behind) < 0.9


def test_what_is_to_be_said_again_stands_there():
    assert all(exercise.answer in exercise.text for exercise in BY_FAMILY["again"])


@pytest.mark.parametrize("family", ["camera_distance", "point_depth"])
def test_a_distance_is_the_one_told_of_that_name(family):
    for exercise in BY_FAMILY[family]:
        asked = BEHIND.sub("", exercise.text.rpartition(". ")[2])
        named = [name for name in told(exercise) if name in asked]
        longest = max(named, key=len)
        assert told(exercise)[longest] == exercise.value


@pytest.mark.parametrize("family", ["depth_order", "point_order", "relative_distance"])
def test_the_nearest_and_the_farthest_are_those_by_what_was_told(family):
    for exercise in BY_FAMILY[family]:
        lengths = told(exercise)
        assert set(options(exercise)) <= set(lengths)
        far = any(word in exercise.text for word in ("farthest", "most distant", "largest distance"))
        best = (max if far else min)(options(exercise), key=lengths.__getitem__)
        assert chosen(exercise) == best
        for name in options(exercise):
            spoken = name if not exercise.lettered else "ABCD"[options(exercise).index(name)]
            assert re.search(rf"(^|, ){re.escape(spoken)} {lengths[name]}0? m", exercise.reason)


def test_left_is_where_the_smaller_number_is():
    for exercise in BY_FAMILY["image_side"]:
        first, second = (int(part.rpartition(" ")[2]) for part in exercise.reason.split(", "))
        assert exercise.answer == ("left" if first < second else "right")
        assert all(part in exercise.text.replace("[", "").replace("]", "") for part in exercise.reason.split(", "))


def test_counts():
    plurals = {plural(name): name for name in CLASSES}
    for exercise in BY_FAMILY["count"]:
        things = Counter(exercise.text.partition(". ")[0].split(", "))
        asked = max((many for many in plurals if f" {many} " in exercise.text.rpartition(". ")[2]), key=len)
        spoken = {"tv": "TV", "books": "set of books"}.get(plurals[asked], plurals[asked])
        assert things[f"the {spoken}"] == exercise.value


def test_what_is_on_top_was_said_to_be():
    for exercise in BY_FAMILY["on_top"]:
        facts = exercise.text.partition(". ")[0].split(", ")
        below = next(fact.partition(" on ")[2] for fact in facts if fact.startswith(f"{chosen(exercise)} on "))
        assert re.search(rf"\b{below}(\?|$| |\.)", exercise.text.partition(". ")[2])


def test_the_motion_told_is_the_option():
    for exercise in BY_FAMILY["view_change"]:
        told, alike = re.match(r"The camera did this: (.*?)\. (?:Apart from (.*?): )?[A-Zwh]", exercise.text).groups()
        assert set(told.split(", ")) == {*chosen(exercise).split(", "), *(alike.split(", ") if alike else ())}


def test_no_letter_is_a_safe_guess():
    for family in ("depth_order", "relative_distance", "on_top", "view_change"):
        letters = Counter(exercise.answer for exercise in BY_FAMILY[family] if exercise.lettered)
        assert letters.most_common(1)[0][1] < 0.45 * letters.total()


def test_a_source_gives_the_same_again_and_others_for_other_splits_and_seeds():
    batch = Drills("train", 3).batch("drill", [5, 9])
    assert [len(together) for together in batch["questions"]] == [8, 8] and batch["index"].tolist() == [5, 9]
    assert Drills("train", 3).batch("drill", [9])["questions"][0] == batch["questions"][1]
    assert Drills("validation", 3).batch("drill", [9])["questions"][0] != batch["questions"][1]
    assert Drills("train", 4).batch("drill", [9])["questions"][0] != batch["questions"][1]
    with pytest.raises(UniuggError) as caught:
        Drills().batch("pair", [0])
    assert caught.value.code is ErrorCode.REQUEST_INVALID


def test_all_of_it_can_be_said():
    tokenizer = SpatialTokenizer.shipped()
    for exercise in EXERCISES[:200]:
        assert tokenizer.decode(tokenizer.encode(exercise.spoken)) == exercise.spoken
