"""What the language model is shown of what questions name: places by their coordinates, names by what they find.

Shape letters: B pictures, R talks, P pictures of a talk, N tokens, M places or names, Q quarters of a patch, D feature
width, W width of the language model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..pointmaps import compressed, inverse_transform, mark_points, patch_points, quarters, splat, transform_points
from ..prompts import CameraSlot, MarkSlot, NameSlot, Piece, Prompt
from .boxes import SOLID, Boxed, is_thing, turned
from .grounding import Found, Mention, Scenery, Sightings, sightings_of, with_slots
from .situation import Elsewhere, Placed, elsewhere, other_picture, poses_between, where_surest

if TYPE_CHECKING:
    from .language import Language
    from .uniugg import Seen, UniUGG

__all__ = [
    "Parts",
    "Shown",
    "Situated",
    "Spots",
    "Things",
    "Whereabouts",
    "Whose",
    "cameras_of",
    "leading_places",
    "show",
    "situate",
    "tell_cameras",
]

_COARSE = 16  # cells along a side of the commanded view in which it is looked what hides what
_COVERED = 0.3  # share of a cell from which on it is

Whose = tuple[int, int, Piece]  # talk, prompt, slot in the first picture
Parts = list[list[dict[Piece, Tensor]]]


class Whereabouts(NamedTuple):
    """A place as one picture has it, as a row of :class:`Placed`: (), (3,), (3,), (), (3,), (SOLID,)."""

    share: Tensor
    points: Tensor
    own: Tensor
    near: Tensor
    center: Tensor
    solid: Tensor

    @classmethod
    def point(cls, share: Tensor, points: Tensor, own: Tensor) -> Whereabouts:
        """A place without any size."""
        return cls(share, points, own, torch.ones_like(share), points, points.new_zeros(SOLID))


Spots = list[list[dict[Piece, Whereabouts]]]


@dataclass(frozen=True)
class Shown:
    """What the language model is shown of what questions name.

    Attributes:
        prompts: of each talk, with slots for what its names found.
        parts: for each of them what fills which slot, see :meth:`Language.assemble`.
        found: where words looked; None: they do not look.
        things: what names found, by the boxes' head; None: it has none, or nothing was found.
        situated: what was told of all places; None: there are none, or nothing is told.
        cameras: first_from_camera (P, 4, 4) of each talk's pictures; None: they are not told.
    """

    prompts: Sequence[Sequence[Prompt]]
    parts: Parts
    found: Found | None = None
    things: Things | None = None
    situated: Situated | None = None
    cameras: Sequence[Tensor] | None = None


@dataclass(frozen=True)
class Situated:
    """What was told of M places.

    Attributes:
        whose: of which talk, prompt and slot in the first picture each is.
        placed: where they are.
        itself, other: where their own cameras have them, and the others.
        apart: (M, P), metres to what their questions name first.
    """

    whose: Sequence[Whose]
    placed: Placed
    itself: Elsewhere
    other: Elsewhere
    apart: Tensor


@dataclass(frozen=True)
class Things:
    """What M names found, as whole things.

    Attributes:
        names: M of them.
        share: (M, P), how sure it is that they are there.
        boxed: in each picture.
        points, center: (M, P, 3), the middles of what is visible and of the boxes, in the frame that the question is
            about.
        solid: (M, P, SOLID), as `boxed` has it, in that frame.
    """

    names: Sequence[Mention]
    share: Tensor
    boxed: Boxed
    points: Tensor
    center: Tensor
    solid: Tensor

    def whereabouts(self) -> Whereabouts:
        """Of all of them in all pictures, (M, P, ...). Nothing is learnt by it."""
        boxed = self.boxed
        near_MP = (boxed.near / boxed.middle.norm(dim=-1).clamp_min(1e-3)).clamp(0.3, 1.0)
        told = self.share, self.points, boxed.middle, near_MP, self.center, self.solid
        return Whereabouts(*(part.detach() for part in told))


def show(
    model: UniUGG,
    seen: Seen,
    pictures: Sequence[Sequence[int]],
    prompts: Sequence[Sequence[Prompt]],
    poses: Sequence[Sequence[Tensor | None]] | None = None,
) -> Shown:
    """See :meth:`UniUGG.show`."""
    if poses is None:
        poses = [[None] * len(together) for together in prompts]
    parts: Parts = [[{} for _ in together] for together in prompts]
    spots: Spots = [[{} for _ in together] for together in prompts]
    found = things = None
    situated = model.config.language.situated
    cameras_B44 = cameras_of(model, seen, pictures) if situated else None
    if model.config.language.grounded:
        scenery = _scenery(model, seen, pictures)
        found = model.language.ground(prompts, scenery)
        prompts, names = with_slots(prompts, found, scenery.there)
        if names:
            frames = _frames([poses[name.talk][name.prompt] for name in names])
            focused = model.config.language.focused
            sighted = sightings_of(names, found, scenery, frames, focused=focused)
            if situated:
                turns = _turns_of(pictures, names, poses, cameras_B44)
                things = _things(model.language, names, sighted, found, turns)
                told = things.whereabouts()
            for number, (name, row) in enumerate(zip(names, model.language.embed_names(sighted))):
                talk, place = name.talk, name.prompt
                for k in range(len(pictures[talk])):
                    slot = NameSlot(k, name.number)
                    if slot in prompts[talk][place].pieces:
                        parts[talk][place][slot] = row[k]
                        if situated:
                            spots[talk][place][slot] = Whereabouts(*(part[number, k] for part in told))
    _show_marks(model, seen, pictures, prompts, poses, parts, spots)
    if situated:

        def pose_of(talk: int, place: int, slot: CameraSlot) -> Tensor:
            return cameras_B44[pictures[talk][slot.index]]

        def look(whose: Sequence[Whose], placed: Placed, other_MP: Tensor) -> tuple[Elsewhere, Elsewhere]:
            return _look(seen, pictures, whose, placed, other_MP, cameras_B44, poses)

        tell_cameras(model.language, prompts, pose_of, parts)
        apart = partial(_gaps, model.language)
        told_of = situate(model.language, prompts, list(map(len, pictures)), parts, spots, look, apart)
        return Shown(prompts, parts, found, things, told_of, [cameras_B44[list(own)] for own in pictures])
    return Shown(prompts, parts, found, things)


def leading_places(prompt: Prompt, stops: frozenset[int]) -> dict[Piece, tuple[Piece, Piece]]:
    """For each place that a prompt shows the first two of the same question; all as in the first picture."""
    led: dict[Piece, list[Piece]] = {}
    own: list[Piece] = []
    for piece in prompt.pieces[prompt.before :]:
        if isinstance(piece, tuple):
            own = [] if stops.intersection(piece) else own
        elif isinstance(piece, (MarkSlot, NameSlot)):
            first = replace(piece, index=0)
            if first not in own:
                own.append(first)
            led.setdefault(first, own)
    return {piece: (together[0], together[:2][-1]) for piece, together in led.items()}


def _scenery(model: UniUGG, seen: Seen, pictures: Sequence[Sequence[int]]) -> Scenery:
    """The pictures of each talk beside each other."""
    most, patch = max(map(len, pictures)), model.config.encoder.patch
    # where a talk has fewer pictures, its first one stands in
    device = seen.features.device
    index = torch.tensor([_filled(own, most) for own in pictures], device=device)
    there = torch.tensor([[n < len(own) for n in range(most)] for own in pictures], device=device)
    own = quarters(patch_points(seen.view.points, patch))
    placed = own if seen.placed is None else quarters(patch_points(seen.placed, patch))
    return Scenery(seen.features[index], seen.view.states[index], own[index], placed[index], there, seen.grid)


def _show_marks(
    model: UniUGG,
    seen: Seen,
    pictures: Sequence[Sequence[int]],
    prompts: Sequence[Sequence[Prompt]],
    poses: Sequence[Sequence[Tensor | None]],
    parts: Parts,
    spots: Spots,
) -> None:
    """Fills in what is at the places that questions name; commanded poses are read by grounded models."""
    marked = [
        (talk, place, slot)
        for talk, together in enumerate(prompts)
        for place, prompt in enumerate(together)
        for slot in prompt.marks
    ]
    if not marked:
        return
    (rows, columns), device = seen.grid, seen.features.device
    picture = torch.tensor([pictures[talk][slot.index] for talk, _, slot in marked], device=device)
    places = torch.tensor([(slot.x, slot.y) for *_, slot in marked], dtype=torch.float32, device=device)
    x, y = (places / 100 * places.new_tensor([columns, rows])).long().unbind(-1)
    features = seen.features[picture, y.clamp(max=rows - 1) * columns + x.clamp(max=columns - 1)]
    own = mark_points(seen.view.points, picture, places)
    placed = own if seen.placed is None else mark_points(seen.placed, picture, places)
    commanded = [poses[talk][place] for talk, place, _ in marked]
    if model.config.language.grounded and any(pose is not None for pose in commanded):
        placed = compressed(transform_points(_frames(commanded).to(device), quarters(placed)))
    sure = places.new_ones(())
    rows_MW = model.language.embed_marks(features, own, placed)
    for (talk, place, slot), row, *where in zip(marked, rows_MW, *(quarters(four).mean(1) for four in (placed, own))):
        parts[talk][place][slot], spots[talk][place][slot] = row, Whereabouts.point(sure, *where)


def _turns_of(
    pictures: Sequence[Sequence[int]],
    names: Sequence[Mention],
    poses: Sequence[Sequence[Tensor | None]],
    cameras_B44: Tensor,
) -> Tensor:
    """How directions in each picture's own frame are turned in that which names' questions are about (M, P, 3, 3)."""
    most = max(map(len, pictures))
    own_MP = torch.tensor([_filled(pictures[name.talk], most) for name in names], device=cameras_B44.device)
    frames_M44 = _frames([poses[name.talk][name.prompt] for name in names]).to(cameras_B44)
    return frames_M44[:, None, :3, :3] @ cameras_B44[own_MP][..., :3, :3]


def _things(language: Language, names: Sequence[Mention], sighted: Sightings, found: Found, turns: Tensor) -> Things:
    """What names found, by the boxes' head; what it corrects is turned from the pictures' own frames by `turns`."""
    meaning_MC = found.meaning[[name.talk for name in names], [name.word for name in names]]
    boxed = language.boxes(sighted, meaning_MC)
    own_MP3, where_MP3 = (quarters(four).mean(2).detach() for four in (sighted.own, sighted.placed))
    points, center = (where_MP3 + (turns @ (to - own_MP3)[..., None])[..., 0] for to in (boxed.middle, boxed.center))
    return Things(names, sighted.share.detach(), boxed, points, center, turned(boxed.solid, turns))


def _gaps(language: Language, whose: Sequence[Whose], placed: Placed) -> Tensor:
    """Metres (M, P) between places and those that their questions name first.

    A thing is where it is seen best; a marked point is a place of its own in every picture.
    """
    best_M3, best_MX = (where_surest(part, placed.share) for part in (placed.center, placed.solid))
    thing_M11 = is_thing(best_MX)[:, None, None] > 0
    center_MP3 = torch.where(thing_M11, best_M3[:, None], placed.center)
    solid_MPX = torch.where(thing_M11, best_MX[:, None], placed.solid)
    first_MP3 = best_M3[placed.first][:, None].expand_as(center_MP3)
    first_MPX = best_MX[placed.first][:, None].expand_as(solid_MPX)
    with torch.no_grad():
        return language.boxes.gap(first_MP3, first_MPX, center_MP3, solid_MPX)


@torch.no_grad()
def cameras_of(model: UniUGG, seen: Seen, pictures: Sequence[Sequence[int]]) -> Tensor:
    """Where the cameras of all pictures were, as their talks' first ones have them: first_from_camera (B, 4, 4)."""
    cameras = torch.eye(4, device=seen.features.device).repeat(len(seen.features), 1, 1)
    later = [number for own in pictures for number in own[1:]]
    if later and seen.placed is not None:
        patch = model.config.encoder.patch
        points, own = (quarters(patch_points(view[later], patch)) for view in (seen.placed, seen.view.points))
        cameras[later] = poses_between(points.flatten(1, 2), own.flatten(1, 2))
    return cameras


def tell_cameras(
    language: Language,
    prompts: Sequence[Sequence[Prompt]],
    pose_of: Callable[[int, int, CameraSlot], Tensor],
    parts: Parts,
) -> None:
    """Fills in where later pictures were taken from.

    Args:
        language: a situated model.
        prompts: of each talk.
        pose_of: first_from_camera (4, 4) of a talk's and prompt's slot.
        parts: what is shown in the prompts' slots, and is added to.
    """
    told = [
        (talk, place, slot)
        for talk, together in enumerate(prompts)
        for place, prompt in enumerate(together)
        for slot in prompt.cameras
    ]
    if told:
        poses = torch.stack([pose_of(*one) for one in told]).to(language.device)
        for (talk, place, slot), row in zip(told, language.situation.cameras(poses)):
            parts[talk][place][slot] = row + language.mark  # it is a place, too


def situate(
    language: Language,
    prompts: Sequence[Sequence[Prompt]],
    counts: Sequence[int],
    parts: Parts,
    spots: Spots,
    look: Callable[[Sequence[Whose], Placed, Tensor], tuple[Elsewhere, Elsewhere]],
    apart: Callable[[Sequence[Whose], Placed], Tensor],
) -> Situated | None:
    """Adds to what is shown of every place how it lies to others and to other cameras.

    Args:
        language: a situated model.
        prompts: of each talk.
        counts: pictures of each talk.
        parts: what is shown in the prompts' slots, and is added to.
        spots: where it is.
        look: where their own cameras and others have M places: told of which talk, prompt and slot they are, where they
            are and with which other picture (M, P) each is compared.
        apart: how many metres (M, P) there are to the places that are named first, told the same.

    Returns:
        what was told; None: no question names a place.
    """
    whose: list[Whose] = []
    leading: list[tuple[int, int]] = []
    for talk, together in enumerate(prompts):
        for place, prompt in enumerate(together):
            begin = len(whose)
            leaders = leading_places(prompt, language.stops)
            numbers = {slot: begin + n for n, slot in enumerate(leaders)}
            whose += [(talk, place, slot) for slot in leaders]
            leading += [(numbers[first], numbers[second]) for first, second in leaders.values()]
    if not whose:
        return None
    device, most = language.device, max(counts)
    nowhere = Whereabouts(*(torch.zeros(size, device=device) for size in ((), 3, 3, (), 3, SOLID)))
    slots = [[replace(slot, index=k) for k in range(most)] for *_, slot in whose]
    known = [[spots[talk][place].get(slot, nowhere) for slot in row] for (talk, place, _), row in zip(whose, slots)]
    placed = Placed(
        *(torch.stack([torch.stack([spot[k].float() for spot in row]) for row in known]) for k in range(len(nowhere))),
        *torch.tensor(leading, device=device).unbind(-1),
    )
    counts_M = torch.tensor([counts[talk] for talk, *_ in whose], device=device)
    other_MP = torch.tensor([_filled(other_picture(counts[talk]), most) for talk, *_ in whose], device=device)
    told = Situated(whose, placed, *look(whose, placed, other_MP), apart(whose, placed))
    rows_MPW = language.situation(placed, other_MP, counts_M > 1, told.itself, told.other, told.apart)
    for (talk, place, _), row, added in zip(whose, slots, rows_MPW):
        part = parts[talk][place]
        part.update({slot: part[slot] + more for slot, more in zip(row, added) if slot in part})
    return told


def _look(
    seen: Seen,
    pictures: Sequence[Sequence[int]],
    whose: Sequence[Whose],
    placed: Placed,
    other_MP: Tensor,
    cameras_B44: Tensor,
    poses: Sequence[Sequence[Tensor | None]],
) -> tuple[Elsewhere, Elsewhere]:
    """Where the places' own cameras have them, and the commanded ones, or those of the other pictures."""
    most, size = other_MP.shape[1], seen.view.points.shape[2:0:-1]
    own_MP = torch.tensor([_filled(pictures[talk], most) for talk, *_ in whose], device=other_MP.device)
    picture_MP = own_MP.gather(1, other_MP)
    commanded_M1 = torch.tensor([[poses[talk][place] is not None] for talk, place, _ in whose], device=other_MP.device)
    several_M1 = torch.tensor([[len(pictures[talk]) > 1] for talk, *_ in whose], device=other_MP.device)
    still = torch.eye(4, device=other_MP.device)
    moved_MP44 = torch.where(commanded_M1[..., None, None], still, inverse_transform(cameras_B44)[picture_MP])
    share_MP = placed.share * (commanded_M1 | several_M1)
    itself = elsewhere(
        placed.own, placed.share, still.expand(*own_MP.shape, 4, 4), seen.matrix[own_MP], other_MP.new_tensor(size)
    )
    there = elsewhere(placed.points, share_MP, moved_MP44, seen.matrix[picture_MP], other_MP.new_tensor(size))
    pixel_MP2 = (there.spot * other_MP.new_tensor(size)).floor().long()
    u, v = pixel_MP2[..., 0].clamp(0, size[0] - 1), pixel_MP2[..., 1].clamp(0, size[1] - 1)
    surface_MP = seen.view.points[picture_MP, v, u].float().norm(dim=-1).clamp_min(1e-2)
    surface_MP = torch.where(commanded_M1, there.distance, surface_MP)
    asked = dict.fromkeys((talk, place) for talk, place, _ in whose if poses[talk][place] is not None)
    for (talk, place), (distance, covered) in zip(asked, _then(seen, pictures, list(asked), poses)):
        mine = torch.tensor([number for number, one in enumerate(whose) if one[:2] == (talk, place)])
        rows, columns = distance.shape
        cell = there.spot[mine].clamp(0, 1 - 1e-6) * there.spot.new_tensor([columns, rows])
        v, u = cell[..., 1].long(), cell[..., 0].long()
        surface_MP[mine] = torch.where(covered[v, u] > _COVERED, distance[v, u], surface_MP[mine])
    looked_MP = there.ahead & ((there.spot >= 0) & (there.spot <= 1)).all(-1)
    return itself, replace(there, surface=torch.where(looked_MP, surface_MP, there.distance))


def _then(
    seen: Seen,
    pictures: Sequence[Sequence[int]],
    asked: Sequence[tuple[int, int]],
    poses: Sequence[Sequence[Tensor | None]],
) -> list[tuple[Tensor, Tensor]]:
    """What is known of commanded views: for each the distances (h, w) in a coarse picture, and what is covered."""
    if not asked:
        return []
    picture = [pictures[talk][0] for talk, _ in asked]
    moves = torch.stack([poses[talk][place].float() for talk, place in asked]).to(seen.features.device)
    points = transform_points(moves, seen.view.points[picture].float())
    drawn = splat(points, points.new_zeros(len(asked), 1, _COARSE, _COARSE), seen.matrix[picture])
    return [(one[1].exp(), one[2]) for one in drawn]


def _filled(numbers: Sequence[int], count: int) -> list[int]:
    """So many of them, with the first one where there are fewer."""
    return [*numbers, *[numbers[0]] * (count - len(numbers))]


def _frames(poses: Sequence[Tensor | None]) -> Tensor:
    """Poses (..., 4, 4) from the first picture's frame to the one that a question is about; None: the same."""
    still = torch.eye(4)
    return torch.stack([still if pose is None else pose.to(still) for pose in poses])
