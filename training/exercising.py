"""Exercises for the language model: questions whose things are shown to it without pictures, where they exactly are.

Shape letters: M names or places, P views, D feature width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from uniugg_core.models.boxes import MANY, SOLID, solid_of
from uniugg_core.models.grounding import RANGES, Found, Sightings, with_slots
from uniugg_core.models.lessons import Lessons
from uniugg_core.models.showing import Parts, Spots, Whereabouts, Whose, situate, tell_cameras
from uniugg_core.models.situation import Elsewhere, Placed, elsewhere, where_surest
from uniugg_core.models.uniugg import UniUGG
from uniugg_core.pointmaps import compressed, inverse_transform, quarters, transform_points
from uniugg_core.prompts import CameraSlot, NameSlot, Piece, Prompt, question_prompt
from uniugg_core.tokenizer import SpatialTokenizer

from .data.questions.types import Exhibition, Matrix, Question
from .mentions import mentioned

__all__ = ["exercise", "with_exhibits"]

_FAINT = 0.3  # standard deviations of the features that things without a picture have
_SIDE = 0.06  # of a shown patch, as a share of its distance; about a pixel's to a token's
_CORNERS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25))  # middles of its quarters
_MOST = 2  # views of an exercise
_TOUCHING = 0.05  # metres between things that are told of, at least


@dataclass(frozen=True)
class _Thing:
    """A thing or marked point of an exercise, in which prompt it is shown, and in which slots."""

    talk: int
    place: int
    slots: tuple[Piece, ...]  # one a view
    shown: Exhibition
    which: int  # of the exhibition's things
    commanded: Matrix | None  # the pose that the question is about

    @property
    def solid(self) -> Tensor:
        """What is told of it as a whole thing, (SOLID,); zeros: nothing."""
        shown = self.shown
        if not (shown.sides or shown.counts):
            return torch.zeros(SOLID)
        sides = torch.tensor(shown.sides[self.which] if shown.sides else (0.5, 0.5, 0.5)).log()
        number = shown.counts[self.which] if shown.counts else 1
        return solid_of(sides, F.one_hot(torch.tensor(min(number, MANY) - 1), MANY).float())

    @property
    def radius(self) -> float:
        """Of the ball that it is, in metres; 0 for a point."""
        return self.shown.radii[self.which] if self.shown.radii else 0.0


def exercise(
    model: UniUGG, tokenizer: SpatialTokenizer, questions: Sequence[Question], generator: torch.Generator
) -> Lessons:
    """Exercises, ready to be learnt: a row for each number of views, since no picture parts them.

    Args:
        model: its language model learns.
        tokenizer: its.
        questions: the exercises.
        generator: draws what exercises leave open: how far things spread, and features of nothing.
    """
    own = model.config.language
    counts = sorted({len(question.views) for question in questions})
    rows = [[question for question in questions if len(question.views) == count] for count in counts]
    prompts = [
        [
            question_prompt(
                tokenizer,
                question.text,
                images=len(question.views),
                with_marks=own.marks,
                with_cameras=own.situated,
                answer=question.spoken,
            )
            for question in row
        ]
        for row in rows
    ]
    blank = torch.zeros(0, own.width, device=model.device, dtype=model.dtype)
    images = [[blank] * count for count in counts]
    if not own.grounded:
        return model.language.collate(prompts, images)
    slotted, things = with_exhibits(tokenizer, rows, prompts, own.marks)
    parts = _parts(model, rows, slotted, things, [max(1, count) for count in counts], generator)
    return model.language.collate(slotted, images, None, parts)


def with_exhibits(
    tokenizer: SpatialTokenizer,
    rows: Sequence[Sequence[Question]],
    prompts: Sequence[Sequence[Prompt]],
    with_marks: bool,
) -> tuple[list[list[Prompt]], list[_Thing]]:
    """Prompts as if their words had looked at pictures and found exactly what is shown, and all that is.

    Args:
        tokenizer: of the prompts.
        rows: exercises, those of a row with as many views.
        prompts: made of them.
        with_marks: as the prompts were made.
    """
    starts: list[list[dict[Piece, int]]] = []
    named: dict[tuple[int, int, int], int] = {}
    lengths = []
    for talk, (row, together) in enumerate(zip(rows, prompts)):
        starts.append([])
        length = 0
        for place, (question, prompt) in enumerate(zip(row, together)):
            begin: dict[Piece, int] = {}
            for piece in prompt.words:
                begin[piece] = length
                length += len(piece)
            starts[-1].append(begin)
            if question.shown:
                for _, last, number in mentioned(tokenizer, question, prompt, begin, with_marks):
                    (named[talk, place, last],) = question.mentions[number][2]
        lengths.append(length)
    nothing = torch.ones(len(rows), max(lengths), _MOST, dtype=torch.bool)
    for talk, _, word in named:
        nothing[talk, word] = False
    there = torch.tensor([[view < max(1, len(row[0].views)) for view in range(_MOST)] for row in rows])
    likely = torch.stack([~nothing, nothing], dim=-1).float().log()
    slotted, names = with_slots(prompts, Found(likely, torch.empty(0), starts), there)
    views = there.sum(1).tolist()
    things: list[_Thing] = []

    def add(talk: int, place: int, first: Piece, which: int) -> None:
        question = rows[talk][place]
        slots = tuple(replace(first, index=view) for view in range(views[talk]))
        things.append(_Thing(talk, place, slots, question.shown, which, question.target_from_reference))

    for name in names:
        add(name.talk, name.prompt, NameSlot(0, name.number), named[name.talk, name.prompt, name.word])
    for talk, (row, together) in enumerate(zip(rows, slotted)):
        for place, (question, prompt) in enumerate(zip(row, together)):
            for slot in dict.fromkeys(replace(mark, index=0) for mark in prompt.marks):
                name = f"({slot.x}, {slot.y})"
                if question.shown and name in question.shown.names:
                    add(talk, place, slot, question.shown.names.index(name))
    return slotted, things


def _parts(
    model: UniUGG,
    rows: Sequence[Sequence[Question]],
    prompts: Sequence[Sequence[Prompt]],
    things: Sequence[_Thing],
    counts: Sequence[int],
    generator: torch.Generator,
) -> Parts:
    """What is shown in every prompt's slots."""
    language, device = model.language, model.device
    parts: Parts = [[{} for _ in row] for row in rows]
    spots: Spots = [[{} for _ in row] for row in rows]
    if things:
        seen = _sightings(things, generator)
        noise = _FAINT * torch.randn(*seen.share.shape, model.vae.feature_mean.numel(), generator=generator)
        features_MPD = model.vae.destandardise(noise.to(device))
        named_MPW = language.embed_names(replace(seen.to(device), features=features_MPD))
        marked_MPW = language.embed_marks(features_MPD, seen.own.to(device), seen.placed.to(device))
        where_MP3, own_MP3 = (quarters(points.to(device)).mean(2) for points in (seen.placed, seen.own))
        told = seen.share.to(device), where_MP3, own_MP3
        for number, thing in enumerate(things):
            talk, place, solid = thing.talk, thing.place, thing.solid.to(device)
            for view, slot in enumerate(thing.slots):
                if slot in prompts[talk][place].pieces:
                    rows_MPW = named_MPW if isinstance(slot, NameSlot) else marked_MPW
                    parts[talk][place][slot] = rows_MPW[number, view]
                    where = Whereabouts.point(*(part[number, view] for part in told))
                    spots[talk][place][slot] = where._replace(solid=solid)
    if model.config.language.situated:

        def pose_of(talk: int, place: int, slot: CameraSlot) -> Tensor:
            return torch.tensor(rows[talk][place].shown.cameras[slot.index])

        thing_of = {(thing.talk, thing.place, thing.slots[0]): thing for thing in things}

        def look(whose: Sequence[Whose], placed: Placed, other_MP: Tensor) -> tuple[Elsewhere, Elsewhere]:
            return _look([thing_of[one] for one in whose], placed, other_MP)

        def apart(whose: Sequence[Whose], placed: Placed) -> Tensor:
            return _gaps([thing_of[one] for one in whose], placed)

        tell_cameras(language, prompts, pose_of, parts)
        situate(language, prompts, counts, parts, spots, look, apart)
    return parts


def _sightings(things: Sequence[_Thing], generator: torch.Generator) -> Sightings:
    """What was found of the things, without features."""
    count = len(things)
    share_MP, middle_MP3 = torch.zeros(count, _MOST), torch.tensor([0.0, 0.0, 1.0]).repeat(count, _MOST, 1)
    moves_MP44, half_M11 = torch.eye(4).repeat(count, _MOST, 1, 1), torch.ones(count, 1, 1)
    for number, thing in enumerate(things):
        half_M11[number] = thing.shown.half
        for view, spot in enumerate(thing.shown.spots[thing.which]):
            moves_MP44[number, view] = torch.tensor(thing.commanded or thing.shown.cameras[view])
            if spot is not None:
                share_MP[number, view], middle_MP3[number, view] = 1.0, torch.tensor(spot)
    named_M = torch.tensor([isinstance(thing.slots[0], NameSlot) for thing in things])
    spread_M11 = torch.where(named_M, torch.rand(count, generator=generator), 0.15)[:, None, None]
    side_MP1 = _SIDE * middle_MP3[..., 2:] * spread_M11
    around = [middle_MP3 + F.pad(side_MP1 * middle_MP3.new_tensor(corner), (0, 1)) for corner in _CORNERS]
    own_MPQ3 = torch.stack(around, dim=2)
    placed_MPQ3 = transform_points(moves_MP44.flatten(0, 1), own_MPQ3.flatten(0, 1)).view_as(own_MPQ3)
    picture_MP2 = 0.5 + 0.5 * middle_MP3[..., :2] / (middle_MP3[..., 2:] * half_M11)
    extent_MP3 = 0.03 + 0.2 * torch.rand(count, _MOST, 3, generator=generator)
    spread_MP2 = 0.02 + 0.1 * torch.rand(count, _MOST, 2, generator=generator)
    outline_MP4, none = torch.cat([picture_MP2, spread_MP2], dim=-1), torch.empty(0)
    places, ranges_MPK = (compressed(own_MPQ3), compressed(placed_MPQ3)), torch.ones(count, _MOST, len(RANGES))
    crowd_MP2 = torch.zeros(count, _MOST, 2)
    return Sightings(share_MP, none, none, *places, extent_MP3, outline_MP4, ranges_MPK, crowd_MP2)


def _gaps(things: Sequence[_Thing], placed: Placed) -> Tensor:
    """Metres (M, P) between the things, which are balls, and the first ones of their questions."""
    first_M, radius_M = placed.first, placed.share.new_tensor([one.radius for one in things])
    away_MP = (placed.points - where_surest(placed.points, placed.share)[first_M][:, None]).norm(dim=-1)
    return (away_MP - (radius_M + radius_M[first_M])[:, None]).clamp_min(_TOUCHING)


def _look(things: Sequence[_Thing], placed: Placed, other_MP: Tensor) -> tuple[Elsewhere, Elsewhere]:
    """Where the things' own cameras have them, and the other ones."""
    (count, most), device = other_MP.shape, other_MP.device
    cameras_MP44, matrix_M33 = torch.eye(4).repeat(count, most, 1, 1), torch.eye(3).repeat(count, 1, 1)
    known_M1 = torch.zeros(count, 1, dtype=torch.bool)
    for number, thing in enumerate(things):
        cameras, commanded = thing.shown.cameras, thing.commanded is not None
        known_M1[number] = commanded or len(cameras) > 1
        # a picture with a side of one pixel, whose middle is at 0
        matrix_M33[number, 0, 0] = matrix_M33[number, 1, 1] = 0.5 / thing.shown.half
        if not commanded and len(cameras) > 1:
            cameras_MP44[number] = torch.tensor([cameras[other] for other in other_MP[number].tolist()])
    lens = matrix_M33[:, None].expand(-1, most, -1, -1).to(device), torch.ones(2, device=device)
    still = torch.eye(4, device=device).expand(count, most, 4, 4)
    itself = elsewhere(placed.own, placed.share, still, *lens)
    moves_MP44 = inverse_transform(cameras_MP44).to(device)
    there = elsewhere(placed.points, placed.share * known_M1.to(device), moves_MP44, *lens)
    surface_MP = there.distance.clone()
    for number, thing in enumerate(things):
        surfaces = thing.shown.surfaces[thing.which] if thing.shown.surfaces else ()
        for view, metres in enumerate(surfaces):
            if metres is not None:
                surface_MP[number, view] = metres
    return itself, replace(there, surface=surface_MP)
