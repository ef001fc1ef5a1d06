"""How far off the boxes and numbers are that a model says of what names found: what its boxes' head learns from.

Shape letters: M things, V views.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import torch
from torch import Tensor

from uniugg_core.models.boxes import MANY, Boxes, many_of
from uniugg_core.models.showing import Things
from uniugg_core.models.situation import where_surest

from .data.graph import SceneObject
from .data.questions.sight import CLEAR, TRACE
from .data.views import BOX, PairBatch
from .losses.things import NEAREST, VISIBLE
from .mentions import Name

__all__ = ["box_loss"]

_THIN = 0.02  # metres that a thing reaches at least
_TOUCHING = 0.1  # metres; things that are nearer to each other count as that near
_SIZES = 0.3  # weight of the sides of boxes, and of how far they reach, beside where they are
_COUNTS = 0.3  # ... and of how many things names found


def box_loss(boxes: Boxes, things: Things, names: Sequence[Name], truth: PairBatch) -> Tensor:
    """L1 of logarithms of near sides, of boxes' sides and reaches and of gaps between them, misses of middles by the
    distance, and cross-entropy of how many things names found.

    Args:
        boxes: the head that said them.
        things: what it said.
        names: names in questions, with what they name.
        truth: what the questions are about, with instance maps and boxes.

    Returns:
        the sum of the means; 0 where nothing was found.
    """
    rows = {(mention.talk, mention.word): row for row, mention in enumerate(things.names)}
    known = [(rows[name.talk, name.last], name) for name in names if (name.talk, name.last) in rows]
    found = [(row, name) for row, name in known if name.thing]
    seen, counts = list(_seen(found, truth)), _counts(things, known, truth)
    if not seen:
        return counts
    row_M, place_M = torch.tensor([one[:2] for one in seen], device=things.share.device).unbind(-1)
    near_M, middle_M3, box_MB = (torch.stack(part) for part in zip(*(one[2:] for one in seen)))
    center_M3, sides_M3, reach_M4 = box_MB.split([3, 3, BOX - 6], dim=-1)
    boxed, away_M1 = things.boxed, middle_M3.norm(dim=-1, keepdim=True)
    near = (boxed.near[row_M, place_M] / near_M).log().abs().mean()
    middle = ((boxed.middle[row_M, place_M] - middle_M3) / away_M1).norm(dim=-1).mean()
    center = ((boxed.center[row_M, place_M] - center_M3) / away_M1).norm(dim=-1).mean()
    sides = (boxed.solid[row_M, place_M, :3] - sides_M3.log()).abs().mean()
    loss = near + middle + center + _SIZES * sides + counts
    if boxed.reach is not None:
        reached_M4 = boxed.reach[row_M, place_M]
        loss = loss + _SIZES * (reached_M4 / reach_M4.clamp(min=_THIN)).log().abs().mean()
    gaps = _gaps(boxes, things, found)
    return loss if gaps is None else loss + gaps


def _seen(found: Sequence[tuple[int, Name]], truth: PairBatch) -> Iterator[tuple[int, int, Tensor, Tensor, Tensor]]:
    """Every thing in every picture that shows it: its row, the picture's number, near side, middle and box."""
    points_BV = truth.points().float()
    least = VISIBLE * truth.instances[0, 0].numel()
    for row, name in found:
        for place, view in enumerate(name.views):
            visible_n3 = points_BV[name.row, view][truth.instances[name.row, view] == name.thing.id]
            if len(visible_n3) < least:
                continue
            near = visible_n3.norm(dim=-1).quantile(NEAREST)
            yield row, place, near, visible_n3.mean(0), truth.boxes[name.row, view, name.thing.id]


def _counts(things: Things, known: Sequence[tuple[int, Name]], truth: PairBatch) -> Tensor:
    """How surprising numbers of things in sight are; pictures that show too little of one to be sure are left out."""
    shares: dict[tuple[int, int], list[float]] = {}
    counted = []
    for row, name in known:
        for place, view in enumerate(name.views):
            if (name.row, view) not in shares:
                pixels = truth.instances[name.row, view].flatten().long()
                shares[name.row, view] = (pixels.bincount(minlength=256) / len(pixels)).tolist()
            own = [shares[name.row, view][item] for item in name.ids]
            number = sum(share >= CLEAR for share in own)
            if number and not any(TRACE <= share < CLEAR for share in own):
                counted.append((row, place, min(number, MANY) - 1))
    if not counted:
        return things.boxed.solid.sum() * 0
    row_K, place_K, number_K = torch.tensor(counted, device=things.share.device).unbind(-1)
    return -_COUNTS * many_of(things.boxed.solid)[row_K, place_K, number_K].clamp_min(1e-6).log().mean()


def _gaps(boxes: Boxes, things: Things, found: Sequence[tuple[int, Name]]) -> Tensor | None:
    """L1 of logarithms of how far things are apart that one question names."""
    asked: dict[tuple[int, int], dict[int, SceneObject]] = {}
    for row, name in found:
        asked.setdefault((name.talk, name.prompt), {})[row] = name.thing
    pairs = [
        (*pair, max(_TOUCHING, own[pair[0]].distance(own[pair[1]])))
        for own in asked.values()
        for pair in combinations(own, 2)
    ]
    if not pairs:
        return None
    one_K, other_K = torch.tensor([pair[:2] for pair in pairs], device=things.share.device).unbind(-1)
    true_K = torch.tensor([pair[2] for pair in pairs], device=things.share.device)
    # where boxes are is learnt from where they are, not from how far apart
    center_M3, solid_MX = (where_surest(part, things.share) for part in (things.center.detach(), things.solid))
    told = boxes.gap(center_M3[one_K], solid_MX[one_K], center_M3[other_K], solid_MX[other_K])
    return (told / true_K).log().abs().mean()
