"""What tokens of the spatial decoder know of the things they show: how far away these are, and their boxes.

Points are learnt pixel by pixel, and where a thing is thin or in front of something else half of its pixels lie on
either side of an edge. Here every token says of the one thing it shows most of what there is to say of that as a whole,
as detectors of boxes in space do (FCOS3D, arXiv 2104.10956).

Shape letters: P pictures, N tokens, H W pixels, X numbers of instances (256).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.views import BOX, PairBatch
from ..data.world.classes import CLASSES, STRUCTURE

__all__ = ["NEAREST", "SAID", "VISIBLE", "TokenThings", "thing_loss", "token_things"]

SAID = 2 + BOX + 1  # logarithms of near side and middle's distance; the box's middle by that distance; logarithms of
# its sides, of how far it reaches, and of the tokens that it fills
_PART = 0.15  # share of a token that a thing has at least
VISIBLE = 0.002  # share of a picture from which on a thing is learnt from it
NEAREST = 0.02  # share of a thing's pixels that its near side leaves out as noise, as questions do
_EVERY = 2  # of how many pixels a row, and rows, one is looked at
_SIZES = 0.3  # weight of the sides of boxes, and of how many tokens things fill, beside where they are
_NO_THING = tuple(number for number, name in enumerate(CLASSES) if name in STRUCTURE)


@dataclass(frozen=True)
class TokenThings:
    """Of the thing that each token shows most of.

    Attributes:
        counts: (P, N), how much the token counts, 0 where it shows none; the more, the smaller the thing is.
        near, middle: (P, N) metres from the camera to its nearest visible point, and to the middle of what is visible.
        box: (P, N, BOX), as :class:`PairBatch` has it.
        area: (P, N), how many tokens what is visible of it would fill.
    """

    counts: Tensor
    near: Tensor
    middle: Tensor
    box: Tensor
    area: Tensor


def token_things(truth: PairBatch, patch: int) -> TokenThings:
    """See :class:`TokenThings`.

    Args:
        truth: pairs with instance maps, class maps and boxes; P is their number times two.
        patch: pixels along a token's side.
    """
    pick = (..., slice(None, None, _EVERY), slice(None, None, _EVERY))
    ids_PHW, classes_PHW = truth.instances.flatten(0, 1)[pick].long(), truth.classes.flatten(0, 1)[pick].long()
    points_PY3 = truth.points().flatten(0, 1)[:, ::_EVERY, ::_EVERY].float().flatten(1, 2)
    away_PY = points_PY3.norm(dim=-1)
    lost_PHW = torch.isin(classes_PHW, classes_PHW.new_tensor(_NO_THING)) | ~truth.valid.flatten(0, 1)[pick]
    ids_PHW = ids_PHW.masked_fill(lost_PHW, 0)
    ids_PY, numbers = ids_PHW.flatten(1), truth.boxes.shape[2]

    one_PY = torch.ones_like(away_PY)
    pixels_PX = one_PY.new_zeros(len(one_PY), numbers).scatter_add_(1, ids_PY, one_PY)
    sums_PX3 = points_PY3.new_zeros(len(one_PY), numbers, 3)
    sums_PX3.scatter_add_(1, ids_PY[..., None].expand_as(points_PY3), points_PY3)
    middle_PX = (sums_PX3 / pixels_PX.clamp(min=1)[..., None]).norm(dim=-1)
    # pixels by thing, and each thing's from near to far
    far = away_PY.double().max() + 1
    sorted_PY = (ids_PY * far + away_PY).sort(dim=1).values
    first_PX = pixels_PX.cumsum(1) - pixels_PX
    chosen_PX = (first_PX + (NEAREST * pixels_PX).floor()).long().clamp(max=sorted_PY.shape[1] - 1)
    near_PX = (sorted_PY.gather(1, chosen_PX) - far * torch.arange(numbers, device=far.device)).float()

    side = patch // _EVERY
    patches_PNZ = ids_PHW.unfold(1, side, side).unfold(2, side, side).flatten(3).flatten(1, 2)
    shares_PNX = one_PY.new_zeros(*patches_PNZ.shape[:2], numbers)
    shares_PNX.scatter_add_(2, patches_PNZ, one_PY.new_ones(()).expand(patches_PNZ.shape))
    shares_PNX[..., 0] = 0
    share_PN, id_PN = (shares_PNX / side**2).max(dim=-1)

    boxes_PXB = truth.boxes.flatten(0, 1)
    known_PX = (pixels_PX >= VISIBLE * ids_PY.shape[1]) & (boxes_PXB[..., 3:6] > 0).all(-1)
    # a thing counts by the square root of its area, as classes do
    area_PN = (pixels_PX.gather(1, id_PN) / side**2).clamp(min=side**-2)
    counts_PN = share_PN * area_PN.rsqrt()
    counts_PN = torch.where((share_PN >= _PART) & known_PX.gather(1, id_PN), counts_PN, 0.0)
    box_PNB = boxes_PXB.gather(1, id_PN[..., None].expand(-1, -1, boxes_PXB.shape[-1]))
    return TokenThings(counts_PN, near_PX.gather(1, id_PN), middle_PX.gather(1, id_PN), box_PNB, area_PN)


def thing_loss(said_PNS: Tensor, things: TokenThings) -> dict[str, Tensor]:
    """L1 of logarithms of near sides, middles' distances, boxes and areas, misses of boxes' middles by the distance.

    Args:
        said_PNS: (P, N, SAID).
        things: the truth.

    Returns:
        ``things``, the weighted sum, and ``things_near``, ``things_center``; 0 where no token shows a thing.
    """
    counts_PN = things.counts
    total = counts_PN.sum().clamp(min=1e-6)

    def mean(misses_PN: Tensor) -> Tensor:
        return (torch.where(counts_PN > 0, misses_PN, 0.0) * counts_PN).sum() / total

    near_PN, middle_PN, center_PN3, lengths_PNL, area_PN = said_PNS.float().split([1, 1, 3, BOX - 3, 1], dim=-1)
    away_PN1 = things.middle.clamp(min=1e-2)[..., None]
    near = mean((near_PN[..., 0] - things.near.clamp(min=1e-2).log()).abs())
    middle = mean((middle_PN - away_PN1.log()).abs()[..., 0])
    miss_PN = (center_PN3 - things.box[..., :3] / away_PN1).square().sum(-1)
    center = mean((miss_PN + 1e-6).sqrt())
    lengths = mean((lengths_PNL - things.box[..., 3:].clamp(min=1e-2).log()).abs().mean(-1))
    area = mean((area_PN[..., 0] - things.area.log()).abs())
    return {"things": near + middle + center + _SIZES * (lengths + area), "things_near": near, "things_center": center}
