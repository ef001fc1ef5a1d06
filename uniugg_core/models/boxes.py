"""The whole of a thing that a question names, of which pictures show one side, and that smeared over its borders.

What a name finds in a picture is a mean over tokens. From that, from what the name means and from where the tokens are,
a small head says how far away the near side of the thing is, where its visible part and the whole of it have their
middles, and how large it is, as detectors of boxes in space do (FCOS3D, arXiv 2104.10956); a second one how far two of
them are apart at their closest. It learns from boxes alone: what is said of places teaches it nothing.

Shape letters: M names, P pictures of a talk, D feature width, C width of a name's meaning.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..pointmaps import quarters
from ..precision import full_precision
from .grounding import Sightings

__all__ = ["SOLID", "Boxed", "Boxes"]

_WIDTH, _PAIR_WIDTH = 96, 64
_CODE = 8  # numbers that say of a thing what only the distance to another one needs
_GEOMETRY = 12 + 1 + 3 + 4 + 1 + 1
SOLID = 3 + _CODE + 1  # numbers of Boxed.solid
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
        solid: (M, P, SOLID): logarithms of the box's sides, a code for :meth:`Boxes.gap`, and 1.
    """

    near: Tensor
    middle: Tensor
    center: Tensor
    solid: Tensor


class Boxes(nn.Module):
    """See the module; untrained, it leaves what was found as it is.

    Args:
        feature_width: D.
        meaning_width: C.
    """

    def __init__(self, feature_width: int, meaning_width: int) -> None:
        super().__init__()
        self.feature_norm, self.meaning_norm = nn.LayerNorm(feature_width), nn.LayerNorm(meaning_width)
        width = feature_width + meaning_width + _GEOMETRY
        self.read = nn.Sequential(nn.Linear(width, _WIDTH), nn.GELU(), nn.Linear(_WIDTH, 5 + SOLID - 1))
        self.between = nn.Sequential(nn.Linear(6 + 2 * SOLID, _PAIR_WIDTH), nn.GELU(), nn.Linear(_PAIR_WIDTH, 1))
        for last in (self.read[2], self.between[2]):
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
        told += [sightings.outline, sightings.near.log()[..., None], sightings.share[..., None]]
        dtype = self.read[0].weight.dtype
        geometry = torch.cat([part.detach().to(dtype) for part in told], dim=-1)
        features = self.feature_norm(sightings.features.detach().to(dtype))
        means_MPC = self.meaning_norm(meaning.detach().to(dtype))[:, None].expand(-1, features.shape[1], -1)
        said = self.read(torch.cat([features, means_MPC, geometry], dim=-1)).float()
        near, scale, shift, rest = said.split([1, 1, 3, SOLID - 1], dim=-1)
        middle = middle_MP3 * scale.clamp(-_LARGEST, _LARGEST).exp()
        near_MP1 = sightings.near.detach().float()[..., None] * away_MP1 * near.clamp(-_LARGEST, _LARGEST).exp()
        solid = torch.cat([rest, torch.ones_like(near)], dim=-1)
        return Boxed(near_MP1[..., 0], middle, middle + away_MP1 * shift, solid)

    @full_precision
    def gap(self, center: Tensor, solid: Tensor, other_center: Tensor, other_solid: Tensor) -> Tensor:
        """Metres (...) between two things at their closest: how far apart their middles are where one is no thing.

        Args:
            center, other_center: (..., 3) in one frame, upright as a camera is.
            solid, other_solid: (..., SOLID), of :class:`Boxed`; zeros for a point.
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
        said = self.between(told.to(self.between[0].weight.dtype)).float().mean(0)
        things = (one * other)[..., -1:]
        return (away * (things * said.clamp(*_RATIOS)).exp())[..., 0]
