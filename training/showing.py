"""What questions about pairs are shown: their pictures beside each other.

A talk is the row of a pair and those of its views that are shown, in order. All pictures of all talks stand in one
:class:`~uniugg_core.models.uniugg.Seen`, so that the networks run once.

Shape letters: B pairs, N tokens, D feature width, W width of the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from uniugg_core.models.decoder import ViewOutput
from uniugg_core.models.uniugg import Seen, UniUGG
from uniugg_core.registration import Sighted, register

from .data.views import PairBatch

__all__ = ["Talk", "look"]

Talk = tuple[int, tuple[int, ...]]


@torch.no_grad()
def look(
    model: UniUGG,
    features_B2ND: Tensor,
    grid: tuple[int, int],
    pairs: PairBatch,
    talks: Sequence[Talk],
    *,
    pictured: bool = True,
) -> tuple[Seen, list[list[int]]]:
    """The pictures of all talks, by the frozen vision parts.

    Args:
        model: a whole one.
        features_B2ND: of the pairs' pictures.
        grid: (h, w) of the N tokens.
        pairs: the pairs themselves.
        talks: about them.
        pictured: False: nothing but the features says what the pictures show.

    Returns:
        what is seen, and for each talk which of its pictures are its own.
    """
    numbers: list[list[int]] = []
    flat: list[int] = []
    for row, views in talks:
        numbers.append(list(range(len(flat), len(flat) + len(views))))
        flat += [2 * row + view for view in views]
    matrices = pairs.intrinsics.to(features_B2ND.device).flatten(0, 1)[flat]
    seen = model.see(features_B2ND.flatten(0, 1)[flat], grid, matrices)
    later = [(number, own[0]) for own in numbers for number in own[1:]]
    if later and model.config.language.placed:
        mine, first = (list(part) for part in zip(*later))
        poses = None
        if pictured and model.config.decoder.registered:
            images = pairs.image.flatten(0, 1)[flat]
            poses = [register(_sighted(seen, images, a), _sighted(seen, images, b)) for a, b in zip(first, mine)]
        other = model.beside(_picked(seen, first), _picked(seen, mine), matrices[first], poses)
        placed = seen.view.points.clone()
        placed[mine] = other.placed
        seen = replace(seen, placed=placed)
    return seen, numbers


def _picked(seen: Seen, pictures: list[int]) -> Seen:
    """Some of the pictures, as :meth:`UniUGG.beside` reads them."""
    view = ViewOutput(seen.view.points[pictures], seen.view.confidence[pictures], None)
    return Seen(seen.features[pictures], seen.grid, view)


def _sighted(seen: Seen, images: Tensor, number: int) -> Sighted:
    """One of the pictures, as landmarks are looked for."""
    image, points = images[number].permute(1, 2, 0), seen.view.points[number].float()
    return Sighted(image.contiguous().cpu().numpy(), points.cpu().numpy(), seen.matrix[number].double().cpu().numpy())
