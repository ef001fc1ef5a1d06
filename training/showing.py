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

from uniugg_core.models.uniugg import Seen, UniUGG

__all__ = ["Talk", "look"]

Talk = tuple[int, tuple[int, ...]]


@torch.no_grad()
def look(
    model: UniUGG, features_B2ND: Tensor, grid: tuple[int, int], matrices_B233: Tensor, talks: Sequence[Talk]
) -> tuple[Seen, list[list[int]]]:
    """The pictures of all talks, by the frozen vision parts.

    Returns:
        what is seen, and for each talk which of its pictures are its own.
    """
    numbers: list[list[int]] = []
    flat: list[int] = []
    for row, views in talks:
        numbers.append(list(range(len(flat), len(flat) + len(views))))
        flat += [2 * row + view for view in views]
    matrices = matrices_B233.to(features_B2ND.device).flatten(0, 1)[flat]
    seen = model.see(features_B2ND.flatten(0, 1)[flat], grid, matrices)
    later = [(number, own[0]) for own in numbers for number in own[1:]]
    if later and model.config.language.placed:
        mine, first = (list(part) for part in zip(*later))
        other = model.beside(_picked(seen, first), _picked(seen, mine), matrices[first])
        placed = seen.view.points.clone()
        placed[mine] = other.placed
        seen = replace(seen, placed=placed)
    return seen, numbers


def _picked(seen: Seen, pictures: list[int]) -> Seen:
    """Some of the pictures, as :meth:`UniUGG.beside` reads them."""
    return Seen(seen.features[pictures], seen.grid)
