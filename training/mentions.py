"""Which words of a question name which things, and where those are: what words learn to look for.

Shape letters: V views, H W pixels, N tokens of a picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from uniugg_core.prompts import Piece, Prompt, segments
from uniugg_core.tokenizer import SpatialTokenizer

from .data.graph import SceneObject
from .data.questions.types import Question

__all__ = ["Name", "looked_for", "mentioned", "named", "where_things_are"]

SMALL = 1e-3  # share of a picture below which a thing is not to be found in it


@dataclass(frozen=True)
class Name:
    """A name in a question.

    Attributes:
        talk, prompt: which one's.
        first, last: numbers of its first and last word.
        ids: of the things it names.
        thing: that one; None where it is several, or no box is known.
        row: number of the pair that the talk is about.
        views: the pair's views in the order of the talk's pictures.
    """

    talk: int
    prompt: int
    first: int
    last: int
    ids: tuple[int, ...]
    thing: SceneObject | None
    row: int
    views: tuple[int, ...]


def named(
    tokenizer: SpatialTokenizer,
    talks: Sequence[tuple[int, Sequence[int]]],
    questions: Sequence[Sequence[Question]],
    prompts: Sequence[Sequence[Prompt]],
    starts: Sequence[Sequence[Mapping[Piece, int]]],
    with_marks: bool,
) -> list[Name]:
    """All names in questions; as :func:`mentioned`, with the row and the views of each talk."""
    names = []
    for talk, (row, views) in enumerate(talks):
        for place, (question, prompt) in enumerate(zip(questions[talk], prompts[talk])):
            for first, last, number in mentioned(tokenizer, question, prompt, starts[talk][place], with_marks):
                ids, thing = question.mentions[number][2], question.things[number] if question.things else None
                names.append(Name(talk, place, first, last, ids, thing, row, tuple(views)))
    return names


def mentioned(
    tokenizer: SpatialTokenizer, question: Question, prompt: Prompt, starts: Mapping[Piece, int], with_marks: bool
) -> Iterator[tuple[int, int, int]]:
    """For each name in a question the numbers of its first and last word, and which of its ``mentions`` it is.

    Args:
        tokenizer: of the prompt.
        question: its ``mentions`` are looked up.
        prompt: made of it, the only question in it.
        starts: number of the first word of each piece.
        with_marks: as the prompt was made.
    """
    parts = segments(question.text, with_marks)
    pieces = [piece for piece in prompt.pieces[prompt.before :] if isinstance(piece, tuple)]
    for number, (start, end, _) in enumerate(question.mentions):
        for (begin, stop), piece in zip(parts, pieces):
            if begin <= start and end <= stop:
                # a space belongs to the word behind it
                first = len(tokenizer.encode(question.text[begin:start].rstrip()))
                last = len(tokenizer.encode(question.text[begin:end])) - 1
                yield starts[piece] + first, starts[piece] + last, number


def where_things_are(named_VHW: Tensor, patch: int) -> Tensor:
    """Shares (V, N + 1) of a thing's pixels in every token of every view; the last one is 1 where it is in none."""
    return looked_for(F.avg_pool2d(named_VHW.float()[:, None], patch).flatten(1))


def looked_for(shares_N: Tensor) -> Tensor:
    """As :func:`where_things_are`, (..., N + 1), by the shares (..., N) that a thing has of the tokens' pixels."""
    total_1 = shares_N.sum(-1, keepdim=True)
    nowhere_1 = (total_1 < SMALL * shares_N.shape[-1]).float()
    return torch.cat([(1 - nowhere_1) * shares_N / total_1.clamp_min(1e-9), nowhere_1], dim=-1)
