"""Which words of a question name which things, and where those are: what words learn to look for.

Shape letters: V views, H W pixels, N tokens of a picture, M names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from uniugg_core.models.grounding import Found, Mention, Sightings, with_slots
from uniugg_core.pointmaps import compressed
from uniugg_core.prompts import Piece, Prompt, segments
from uniugg_core.tokenizer import SpatialTokenizer

from .data.questions.types import Question

__all__ = ["exhibited", "mentioned", "where_things_are"]

_SIDE = 0.06  # of a shown patch, as a share of its distance; about a pixel's to a token's
_CORNERS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))  # middles of its quarters

SMALL = 1e-3  # share of a picture below which a thing is not to be found in it


def mentioned(
    tokenizer: SpatialTokenizer, question: Question, prompt: Prompt, starts: Mapping[Piece, int], with_marks: bool
) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """For each name in a question the numbers of its first and last word, and the things it names.

    Args:
        tokenizer: of the prompt.
        question: its ``mentions`` are looked up.
        prompt: made of it, the only question in it.
        starts: number of the first word of each piece.
        with_marks: as the prompt was made.
    """
    parts = segments(question.text, with_marks)
    pieces = [piece for piece in prompt.pieces[prompt.before :] if isinstance(piece, tuple)]
    for start, end, ids in question.mentions:
        for (begin, stop), piece in zip(parts, pieces):
            if begin <= start and end <= stop:
                # a space belongs to the word behind it
                first = len(tokenizer.encode(question.text[begin:start].rstrip()))
                last = len(tokenizer.encode(question.text[begin:end])) - 1
                yield starts[piece] + first, starts[piece] + last, ids


def where_things_are(named_VHW: Tensor, patch: int) -> Tensor:
    """Shares (V, N + 1) of a thing's pixels in every token of every view; the last one is 1 where it is in none."""
    shares_VN = F.avg_pool2d(named_VHW.float()[:, None], patch).flatten(1)
    total_V1 = shares_VN.sum(1, keepdim=True)
    nowhere_V1 = (total_V1 < SMALL * shares_VN.shape[1]).float()
    return torch.cat([(1 - nowhere_V1) * shares_VN / total_V1.clamp_min(1e-9), nowhere_V1], dim=1)


def exhibited(
    tokenizer: SpatialTokenizer,
    questions: Sequence[Question],
    prompts: Sequence[Prompt],
    with_marks: bool,
    generator: torch.Generator,
) -> tuple[list[list[Prompt]], list[Mention], Sightings]:
    """Exercises as if their words had looked at one picture and found exactly what is `shown`.

    Args:
        tokenizer: of the prompts.
        questions: exercises.
        prompts: made of them.
        with_marks: as the prompts were made.
        generator: draws how far things spread.

    Returns:
        as :func:`~uniugg_core.models.grounding.with_slots` of one talk, and what was found; without features.
    """
    starts: list[dict[Piece, int]] = []
    spots: dict[tuple[int, int], tuple[float, ...]] = {}
    length = 0
    for number, (question, prompt) in enumerate(zip(questions, prompts)):
        starts.append({})
        for piece in prompt.words:
            starts[-1][piece] = length
            length += len(piece)
        if question.shown:
            for _, last, (which,) in mentioned(tokenizer, question, prompt, starts[-1], with_marks):
                spots[number, last] = question.shown[which]
    nothing = torch.ones(1, length, 1, dtype=torch.bool)
    nothing[:, [word for _, word in spots]] = False
    likely = torch.stack([~nothing, nothing], dim=-1).float().log()
    slotted, names = with_slots([prompts], Found(likely, [starts]), torch.ones(1, 1, dtype=torch.bool))
    spots_M5 = torch.tensor([spots[name.prompt, name.word] for name in names]).reshape(-1, 5)
    middle_M3, picture_M12 = spots_M5[:, :3], spots_M5[:, None, 3:]
    side_M1 = _SIDE * middle_M3[:, 2:] * torch.rand(len(names), 1, generator=generator)
    around_M4 = [middle_M3 + F.pad(side_M1 * middle_M3.new_tensor(corner), (0, 1)) for corner in _CORNERS]
    place_M1P = compressed(torch.stack(around_M4, dim=1))[:, None]
    extent_M13 = 0.03 + 0.2 * torch.rand(len(names), 1, 3, generator=generator)
    outline_M14 = torch.cat([picture_M12, 0.02 + 0.1 * torch.rand(len(names), 1, 2, generator=generator)], dim=-1)
    share_M1, none = torch.ones(len(names), 1), torch.empty(0)
    return slotted, names, Sightings(share_M1, none, place_M1P, place_M1P, extent_M13, outline_M14)
