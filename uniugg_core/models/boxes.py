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

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..pointmaps import quarters
from ..precision import full_precision
from .grounding import RANGES, Sightings

__all__ = ["MANY", "SOLID", "Boxed", "Boxes", "is_thing", "many_of", "sides_of", "solid_of", "turned"]

_WIDTHS, _PAIR_WIDTH = (112, 64), 64
_CODE = 12  # numbers that say of a thing what only the distance to another one needs
_GEOMETRY = 12 + 1 + 3 + 4 + len(RANGES) + 2 + 1
_SAID = 1 + 1 + 3 + 3 + _CODE  # numbers that are said of a thing, beside how many it is
MANY = 8  # numbers of things that are told apart, the last one of that many or more
_FORM = 3 + MANY + _CODE  # numbers of a solid that do not depend on where somebody stands
_REACH = 3  # ... and that do: how far it reaches to all sides on the floor
SOLID = _FORM + _REACH + 1  # numbers of Boxed.solid
_WAYS = 4  # directions on the floor, each 45 degrees to the left of the one before, of which the first one is right
_BETWEEN = 5  # numbers of what lies between two things, see Boxes._between
_LARGEST = 1.0  # natural logarithm of what a length is corrected by at most
_ORDINARY = -1.2  # natural logarithm of how many metres a thing reaches of which nothing is known
_FARTHEST = 1.5  # ... and of how many at most
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
        reach: (M, P, 4), how far the ellipse in its footprint reaches, to the camera's right, between that and ahead,
            ahead, and between that and the left; None: the head does not say it.
    """

    near: Tensor
    middle: Tensor
    center: Tensor
    solid: Tensor
    reach: Tensor | None = None


class Boxes(nn.Module):
    """See the module; untrained, it leaves what was found as it is.

    Args:
        feature_width: D.
        state_width: E.
        meaning_width: C.
        reaching: whether it says how far boxes reach to all sides, and tells gaps by that.
    """

    def __init__(self, feature_width: int, state_width: int, meaning_width: int, reaching: bool = False) -> None:
        super().__init__()
        self.reaching = reaching
        widths = feature_width, state_width, meaning_width
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        wide, deep = _WIDTHS
        self.thing = nn.Sequential(
            nn.Linear(sum(widths) + _GEOMETRY, wide), nn.GELU(), nn.Linear(wide, deep), nn.GELU()
        )
        self.said, self.counted = nn.Linear(deep, _SAID + _WAYS * reaching), nn.Linear(deep, MANY)
        told = 6 + 2 * (_FORM + 1) + (_BETWEEN + 2) * reaching
        self.pair = nn.Sequential(nn.Linear(told, _PAIR_WIDTH), nn.GELU(), nn.Linear(_PAIR_WIDTH, 1))
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
        ways = _WAYS * self.reaching
        near, scale, shift, sides, code, reach = self.said(thing).float().split([1, 1, 3, 3, _CODE, ways], dim=-1)
        many = self.counted(thing).float().softmax(dim=-1)
        middle = middle_MP3 * scale.clamp(-_LARGEST, _LARGEST).exp()
        near_MP1 = sightings.near.detach().float()[..., None] * away_MP1 * near.clamp(-_LARGEST, _LARGEST).exp()
        boxed = Boxed(near_MP1[..., 0], middle, middle + away_MP1 * shift, solid_of(sides, many, code))
        if not self.reaching:
            return boxed
        reach = (reach + _ORDINARY).clamp(max=_FARTHEST).exp()
        return replace(boxed, solid=solid_of(sides, many, code, _waves_of(reach)), reach=reach)

    @full_precision
    def gap(self, center: Tensor, solid: Tensor, other_center: Tensor, other_solid: Tensor) -> Tensor:
        """Metres (...) between two things at their closest: how far apart their middles are where one is no thing.

        Args:
            center, other_center: (..., 3) in one frame, upright as a camera is, in which solids are :func:`turned`.
            solid, other_solid: (..., SOLID), of :func:`solid_of`; zeros for a point.
        """
        rel = other_center.float() - center.float()
        away = rel.norm(dim=-1, keepdim=True).clamp_min(_LEAST)
        plan = rel[..., ::2].norm(dim=-1, keepdim=True)
        one, other = solid.float(), other_solid.float()
        # the same whichever is named first
        forms = [torch.cat([solid[..., :_FORM], solid[..., -1:]], dim=-1) for solid in (one, other)]
        pair = torch.stack([torch.cat(forms, dim=-1), torch.cat(forms[::-1], dim=-1)])
        nearness = 1 / away.clamp_min(_CLOSE)
        told = torch.cat([away, away.log(), plan, rel[..., 1:2].abs(), plan / away, nearness], dim=-1)
        told = torch.cat([told.expand(2, *told.shape), pair], dim=-1)
        if self.reaching:
            told = torch.cat([told, self._between(rel, away, one, other)], dim=-1)
        said = self.pair(told.to(self.pair[0].weight.dtype)).float().mean(0)
        things = (is_thing(one) * is_thing(other))[..., None]
        return (away * (things * said.clamp(*_RATIOS)).exp())[..., 0]

    @staticmethod
    def _between(rel: Tensor, away: Tensor, one: Tensor, other: Tensor) -> Tensor:
        """How far two things reach towards each other, and what that leaves between them: (2, ..., 2 + _BETWEEN)."""
        plan, double = rel[..., ::2].norm(dim=-1, keepdim=True), 2 * torch.atan2(rel[..., 2:], rel[..., :1])
        waves = (solid[..., _FORM:-1].split(1, dim=-1) for solid in (one, other))
        squares = (mean + cosine * double.cos() + sine * double.sin() for mean, cosine, sine in waves)
        reach = [square.clamp_min(_LEAST**2).sqrt() for square in squares]
        across = (plan - sum(reach)).clamp_min(0)
        high = (rel[..., 1:2].abs() - 0.5 * (sides_of(one) + sides_of(other))[..., 2:]).clamp_min(0)
        gap = (across.square() + high.square() + 1e-6).sqrt()
        rest = [across, high, gap, (gap.clamp_min(_CLOSE) / away).log(), 1 / gap.clamp_min(_CLOSE)]
        return torch.stack([torch.cat([*order, *rest], dim=-1) for order in (reach, reach[::-1])])


def solid_of(sides: Tensor, many: Tensor, code: Tensor | None = None, waves: Tensor | None = None) -> Tensor:
    """What is told of whole things beside where they are, (..., SOLID); all of it is 0 where there is none.

    Args:
        sides: (..., 3), logarithms of their boxes' sides in metres, width, depth and height.
        many: (..., MANY), how likely it is that the name found one, two, ...
        code: (..., _CODE), for :meth:`Boxes.gap` alone; None: zeros.
        waves: (..., _REACH), the square of how far it reaches on average, and what the cosine and the sine of twice the
            angle from right to left add to that; None: zeros.
    """
    code, waves = (
        sides.new_zeros(*sides.shape[:-1], count) if part is None else part
        for part, count in ((code, _CODE), (waves, _REACH))
    )
    return torch.cat([sides, many, code, waves, torch.ones_like(sides[..., :1])], dim=-1)


def turned(solid: Tensor, turns: Tensor) -> Tensor:
    """What is told of whole things (..., SOLID) in frames in which their own ones are turned by `turns` (..., 3, 3)."""
    double = 2 * torch.atan2(turns[..., 2, 0], turns[..., 0, 0]).to(solid)
    form, mean, cosine, sine, thing = solid.split([_FORM, 1, 1, 1, 1], dim=-1)
    c, s = double.cos()[..., None], double.sin()[..., None]
    return torch.cat([form, mean, c * cosine - s * sine, s * cosine + c * sine, thing], dim=-1)


def _waves_of(reach: Tensor) -> Tensor:
    """How far ellipses reach in four directions (..., 4) as a wave over all of them (..., _REACH)."""
    right, half, ahead, left = reach.square().unbind(-1)
    return torch.stack([0.25 * (right + half + ahead + left), 0.5 * (right - ahead), 0.5 * (half - left)], dim=-1)


def sides_of(solid: Tensor) -> Tensor:
    """The sides (..., 3) in metres of :func:`solid_of`."""
    return solid[..., :3].exp()


def many_of(solid: Tensor) -> Tensor:
    """How likely each number of things is (..., MANY), of :func:`solid_of`."""
    return solid[..., 3 : 3 + MANY]


def is_thing(solid: Tensor) -> Tensor:
    """1 where :func:`solid_of` tells of a thing, 0 elsewhere: (...)."""
    return solid[..., -1]
