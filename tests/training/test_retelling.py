"""What words are taught of what a model perceives: the truth where it perceives that, else what follows from it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from random import Random

import pytest
import torch

from training.data.questions.exhibits import exhibit
from training.data.questions.viewpoints import viewpoint
from training.exercising import exercise
from training.retelling import RETOLD, retell
from uniugg_core.config import preset
from uniugg_core.models import showing
from uniugg_core.models.showing import Shown
from uniugg_core.models.uniugg import UniUGG
from uniugg_core.tokenizer import SpatialTokenizer

TOKENIZER = SpatialTokenizer.shipped()
EACH = 24  # exercises of a family
BY_FAMILY = defaultdict(list)
for seed in range(2000):
    for made in (exhibit(Random(seed)), viewpoint(Random(seed))):
        BY_FAMILY[made.family].append(made)


@pytest.fixture(scope="module")
def model():
    return UniUGG.initialised(preset("tiny"), 0, TOKENIZER)


def perceived(model, questions, monkeypatch, change=lambda told: told):
    """The questions in the order in which they are asked, each with what is said of it by who perceives its truth."""
    kept = []
    situate = showing.situate

    def listening(language, prompts, *more):
        kept.append((prompts, situate(language, prompts, *more)))
        return kept[-1][1]

    monkeypatch.setattr("training.exercising.situate", listening)
    exercise(model, TOKENIZER, questions, torch.Generator().manual_seed(0))
    ((prompts, told),) = kept
    counts = sorted({len(question.views) for question in questions})
    rows = [[question for question in questions if len(question.views) == count] for count in counts]
    for talk, row in enumerate(rows):
        for place, question in enumerate(row):
            cameras = [torch.tensor(question.shown.cameras)] * len(rows)
            shown = Shown(prompts, [], situated=change(told), cameras=cameras)
            yield question, retell(shown, talk, place, question)


@pytest.mark.parametrize("family", sorted(RETOLD))
def test_who_perceives_the_truth_is_taught_the_truth(model, monkeypatch, family):
    said = list(perceived(model, BY_FAMILY[family][:EACH], monkeypatch))
    assert len(said) == EACH
    kinds = Counter(question.asks for question, _ in said)
    assert "" not in kinds or len(kinds) == 1, "a family of several kinds says which one it asks for"
    # a length at the edge of rounding may be said one way or the other
    assert sum(text == question.spoken for question, text in said) >= 0.9 * EACH, [
        (question.text, question.spoken, text) for question, text in said if text != question.spoken
    ]
    assert all(text.rpartition(": ")[2] == question.answer for question, text in said if question.kind == "choice")


def test_who_perceives_everything_twice_as_far_is_taught_that(model, monkeypatch):
    def farther(told):
        return replace(told, itself=replace(told.itself, distance=2 * told.itself.distance))

    for question, text in perceived(model, BY_FAMILY["camera_distance"][:EACH], monkeypatch, farther):
        assert float(text.removesuffix(" m")) == pytest.approx(2 * question.value, abs=0.11)


def test_nothing_is_told_of_what_has_no_other_answer(model, monkeypatch):
    for _, text in perceived(model, BY_FAMILY["view_change"][:4] + BY_FAMILY["on_top"][:4], monkeypatch):
        assert text is None


@pytest.mark.parametrize("family", ["object_distance", "point_distance"])
def test_nothing_is_told_where_a_name_found_nothing_or_two_places_are_one(model, monkeypatch, family):
    """The point at (40, 50) in frame 1 and that at (40, 50) in frame 2 are told of in the same slots."""

    def first_ones(told):
        first = {whose[:2]: whose for whose in reversed(told.whose)}
        return replace(told, whose=list(first.values()))

    for _, text in perceived(model, BY_FAMILY[family][:4], monkeypatch, first_ones):
        assert text is None
