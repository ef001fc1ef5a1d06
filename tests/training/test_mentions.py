"""Which words of a question name which things, and where those are."""

from __future__ import annotations

from random import Random

import pytest
import torch

from training.data.questions import QuestionMaker
from training.data.questions.sight import plural, spoken_name
from training.data.rooms import RoomsConfig, RoomsDataset
from training.mentions import mentioned, where_things_are
from uniugg_core.prompts import question_prompt
from uniugg_core.tokenizer import SpatialTokenizer

TOKENIZER = SpatialTokenizer.shipped()
ROOMS = RoomsDataset(RoomsConfig(size=64, views=4, pairs=2), "test", seed=5)


@pytest.fixture(scope="module")
def asked():
    pairs = [ROOMS.pair(index) for index in range(24)]
    return [(pair, q) for pair in pairs for q in QuestionMaker().ask(pair, 10, Random(pair.index))]


def test_names_are_of_what_the_question_is_about(asked):
    seen = 0
    for pair, question in asked:
        ids = {number for *_, named in question.mentions for number in named}
        if question.family in ("camera_distance", "object_distance", "relative_direction", "object_size"):
            assert ids == set(question.objects), question
            seen += 1
        if question.family == "count":
            assert ids == set(question.objects)
        by_id = {item.id: item for item in pair.graph.objects}
        for start, end, named in question.mentions:
            assert named
            for item in map(by_id.get, named):
                names = plural(item.name), spoken_name(item.name), spoken_name(item.name, item.colour)
                assert question.text[start:end].lower() in [name.lower() for name in names]
    assert seen > 20


def test_words_of_a_name_are_found_in_its_prompt(asked):
    checked = 0
    for _, question in asked:
        prompt = question_prompt(TOKENIZER, question.text, images=len(question.views), with_marks=True)
        starts, length, words = {}, 0, []
        for piece in prompt.words:
            starts[piece] = length
            words += [*piece, *[0] * 3]
            length += len(piece) + 3
        found = list(mentioned(TOKENIZER, question, prompt, starts, True))
        assert len(found) == len(question.mentions)
        assert [number for *_, number in found] == list(range(len(found)))
        for (first, last, _), (start, end, _) in zip(found, question.mentions):
            assert TOKENIZER.decode(words[first : last + 1]).strip() == question.text[start:end]
            checked += 1
    assert checked > 50


def test_where_things_are():
    named = torch.zeros(2, 8, 8, dtype=torch.bool)
    named[0, :4, 2:6] = True  # half in each of the upper tokens
    shares = where_things_are(named, 4)
    assert shares.tolist() == [[0.5, 0.5, 0, 0, 0], [0, 0, 0, 0, 1]]
