"""The whole of a thing that a question names, of which pictures show one side, and that smeared over its borders.

What a name finds in a picture is a mean over tokens, of the encoder and of the spatial decoder. From that, from what
the name means and from where the tokens are, a small head says how far away the near side of the thing is, where its
visible part and the whole of it have their middles, and how large it is, as detectors of boxes in space do (FCOS3D,
arXiv 2104.10956), and how many things the name found; a second one how far two things are apart at their closest. It
learns from boxes alone: what is said of places teaches it nothing.

Shape letters: M names, P pictures of a talk, D feature width, E width of the spatial decoder, C width of a name's
meaning.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..pointmaps import quarters
from ..precision import full_precision
from .grounding import RANGES, Sightings

__all__ = ["MANY", "SOLID", "Boxed", "Boxes", "is_thing", "many_of", "sides_of", "solid_of"]

_WIDTHS, _PAIR_WIDTH = (112, 64), 64
_CODE = 12  # numbers that say of a thing what only the distance to another one needs
_GEOMETRY = 12 + 1 + 3 + 4 + len(RANGES) + 2 + 1
_SAID = 1 + 1 + 3 + 3 + _CODE  # numbers that are said of a thing, beside how many it is
MANY = 8  # numbers of things that are told apart, the last one of that many or more
SOLID = 3 + MANY + _CODE + 1  # numbers of Boxed.solid
_LARGEST = 1.0  # natural logarithm of what a length is corrected by at most
_LEAST = 0.05  # metres
_CLOSE = 0.2  # metres; things whose middles are nearer to each other are told of as that near
_RATIOS = -3.0, 0.5  # natural logarithms of a gap's ratio to how far apart middles are, the least and the largest


@dataclass(frozen=True)
class Boxed:
    """M things as P pictures have them; all in metres, in the frame of each picture's own camera.

    Attributes:
        near: (M, P), from the camera to the nearest visible point.
        middle: (M, P, 3), of the visible points.
        center: (M, P, 3), of the box.
        solid: (M, P, SOLID), of :func:`solid_of`.
    """

    near: Tensor
    middle: Tensor
    center: Tensor
    solid: Tensor


class Boxes(nn.Module):
    """See the module; untrained, it leaves what was found as it is.

    Args:
        feature_width: D.
        state_width: E.
        meaning_width: C.
    """

    def __init__(self, feature_width: int, state_width: int, meaning_width: int) -> None:
        super().__init__()
        widths = feature_width, state_width, meaning_width
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        wide, deep = _WIDTHS
        self.thing = nn.Sequential(
            nn.Linear(sum(widths) + _GEOMETRY, wide), nn.GELU(), nn.Linear(wide, deep), nn.GELU()
        )
        self.said, self.counted = nn.Linear(deep, _SAID), nn.Linear(deep, MANY)
        self.pair = nn.Sequential(nn.Linear(6 + 2 * SOLID, _PAIR_WIDTH), nn.GELU(), nn.Linear(_PAIR_WIDTH, 1))
        for last in (self.said, self.counted, self.pair[-1]):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    @full_precision
    def forward(self, sightings: Sightings, meaning: Tensor) -> Boxed:
        """Boxes of what M names found.

        Args:
            sightings: what they found.
            meaning: (M, C), what they mean.
        """
        found_MPQ3 = quarters(sightings.own.detach().float())
        middle_MP3 = found_MPQ3.mean(2)
        away_MP1 = middle_MP3.norm(dim=-1, keepdim=True).clamp_min(_LEAST)
        told = [(found_MPQ3 / away_MP1[..., None]).flatten(2), away_MP1.log(), sightings.extent.log()]
        told += [sightings.outline, sightings.ranges.log(), sightings.crowd, sightings.share[..., None]]
        dtype = self.thing[0].weight.dtype
        geometry = torch.cat([part.detach().to(dtype) for part in told], dim=-1)
        means_MPC = meaning[:, None].expand(-1, sightings.share.shape[1], -1)
        seen = sightings.features, sightings.states, means_MPC
        parts = [norm(part.detach().to(dtype)) for norm, part in zip(self.norms, seen)]
        thing = self.thing(torch.cat([*parts, geometry], dim=-1))
        near, scale, shift, sides, code = self.said(thing).float().split([1, 1, 3, 3, _CODE], dim=-1)
        many = self.counted(thing).float().softmax(dim=-1)
        middle = middle_MP3 * scale.clamp(-_LARGEST, _LARGEST).exp()
        near_MP1 = sightings.near.detach().float()[..., None] * away_MP1 * near.clamp(-_LARGEST, _LARGEST).exp()
        return Boxed(near_MP1[..., 0], middle, middle + away_MP1 * shift, solid_of(sides, many, code))

    @full_precision
    def gap(self, center: Tensor, solid: Tensor, other_center: Tensor, other_solid: Tensor) -> Tensor:
        """Metres (...) between two things at their closest: how far apart their middles are where one is no thing.

        Args:
            center, other_center: (..., 3) in one frame, upright as a camera is.
            solid, other_solid: (..., SOLID), of :func:`solid_of`; zeros for a point.
        """
        rel = other_center.float() - center.float()
        away = rel.norm(dim=-1, keepdim=True).clamp_min(_LEAST)
        plan = rel[..., ::2].norm(dim=-1, keepdim=True)
        one, other = solid.float(), other_solid.float()
        # the same whichever is named first
        pair = torch.stack([torch.cat([one, other], dim=-1), torch.cat([other, one], dim=-1)])
        nearness = 1 / away.clamp_min(_CLOSE)
        told = torch.cat([away, away.log(), plan, rel[..., 1:2].abs(), plan / away, nearness], dim=-1)
        told = torch.cat([told.expand(2, *told.shape), pair], dim=-1)
        said = self.pair(told.to(self.pair[0].weight.dtype)).float().mean(0)
        things = (is_thing(one) * is_thing(other))[..., None]
        return (away * (things * said.clamp(*_RATIOS)).exp())[..., 0]


def solid_of(sides: Tensor, many: Tensor, code: Tensor | None = None) -> Tensor:
    """What is told of whole things beside where they are, (..., SOLID); all of it is 0 where there is none.

    Args:
        sides: (..., 3), logarithms of their boxes' sides in metres, width, depth and height.
        many: (..., MANY), how likely it is that the name found one, two, ...
        code: (..., _CODE), for :meth:`Boxes.gap` alone; None: zeros.
    """
    code = sides.new_zeros(*sides.shape[:-1], _CODE) if code is None else code
    return torch.cat([sides, many, code, torch.ones_like(sides[..., :1])], dim=-1)


def sides_of(solid: Tensor) -> Tensor:
    """The sides (..., 3) in metres of :func:`solid_of`."""
    return solid[..., :3].exp()


def many_of(solid: Tensor) -> Tensor:
    """How likely each number of things is (..., MANY), of :func:`solid_of`."""
    return solid[..., 3 : 3 + MANY]


def is_thing(solid: Tensor) -> Tensor:
    """1 where :func:`solid_of` tells of a thing, 0 elsewhere: (...)."""
    return solid[..., -1]
