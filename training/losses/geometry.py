"""Confidence-weighted pointmap regression (DUSt3R, CVPR 2024, eq. 2-4; UniUGG stage 1).

Shape letters: B batch, V views, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from uniugg_core.layout import square_normals
from uniugg_core.pointmaps import encode_points

__all__ = ["PointmapLoss", "confidence_weighted", "normal_loss", "pointmap_loss", "scene_scale", "thing_weight"]

_SQUARES = (8, 16)  # pixels of 128
_SMALL = 2e-3  # share of a picture; smaller things count as if they were that large
_STEP = 0.05  # share of the inverse depth by which it may bend from pixel to pixel on one surface


@dataclass
class PointmapLoss:
    """What :func:`pointmap_loss` returns."""

    loss: Tensor  # () confidence-weighted, summed over the views
    regression: Tensor  # () mean normalised distance without the confidence, summed over the views, for curves


def scene_scale(points_BVHW3: Tensor, valid_BVHW: Tensor, *, floor: float = 1e-6) -> Tensor:
    """Mean distance to the first camera over the valid points of all views together.

    Args:
        points_BVHW3: points in the frame of the first view's camera, metres.
        valid_BVHW: which of them count.
        floor: lower bound, so that an empty pair divides by something.

    Returns:
        (B,) scale z.
    """
    distance_BVHW = points_BVHW3.norm(dim=-1) * valid_BVHW
    count_B = valid_BVHW.flatten(1).sum(1).clamp(min=1)
    return (distance_BVHW.flatten(1).sum(1) / count_B).clamp(min=floor)


def confidence_weighted(error: Tensor, confidence: Tensor, *, alpha: float = 0.2) -> Tensor:
    """``c * l - alpha * log c`` elementwise; for c > 1 its minimum lies at c = alpha / l (DUSt3R eq. 4)."""
    return confidence * error - alpha * confidence.log()


def thing_weight(instances_BVHW: Tensor, balance: float) -> Tensor:
    """How much pixels count in :func:`pointmap_loss` so that what is small is learnt too: (B, V, H, W).

    A chair has one pixel in fifty, and a network that takes it for a part of the wall behind it loses little by that.
    Each pixel counts by its thing's share of the picture to the power of ``-balance``: 0 counts all pixels alike, 1 all
    things.

    Args:
        instances_BVHW: uint8 numbers of things, walls and floor among them.
        balance: see above.
    """
    ids = instances_BVHW.flatten(2).long()
    pixels = torch.zeros(*ids.shape[:2], 256, device=ids.device)
    pixels = pixels.scatter_add_(2, ids, torch.ones_like(ids, dtype=pixels.dtype))
    share = pixels.gather(2, ids).view(instances_BVHW.shape) / ids.shape[-1]
    return share.clamp(min=_SMALL).pow(-balance)


def pointmap_loss(
    predicted_BVHW3: Tensor,
    confidence_BVHW: Tensor,
    target_BVHW3: Tensor,
    valid_BVHW: Tensor,
    *,
    metric: bool | Tensor = True,
    alpha: float = 0.2,
    logarithmic: bool = False,
    log_unit: float = 1.0,
    weight_BVHW: Tensor | None = None,
) -> PointmapLoss:
    """Distance between pointmaps in units of the scene's scale, weighted by the predicted confidence.

    In units of the true scale an error in a small scene counts more than the same factor in a large one, so a network
    that is unsure of the scale does best to guess low (by about the variance of the scale's logarithm). Distances
    between logarithmic points (:func:`~uniugg_core.pointmaps.encode_points`; MapAnything, arXiv 2509.13414) have no
    such preference.

    Metric pairs divide prediction and truth by the truth's scale; others each by its own, so that only the shape
    counts. The loss is the mean over a view's valid pixels, summed over views. A view without any counts nothing.

    Args:
        predicted_BVHW3: predicted points of all views in the first camera's frame, metres.
        confidence_BVHW: predicted confidence, above 1.
        target_BVHW3: true points in the same frame.
        valid_BVHW: where the truth is known.
        metric: whether absolute size counts; one flag, or (B,).
        alpha: weight of the confidence's reward.
        logarithmic: compares logarithmic points, each prediction that is not metric scaled to the truth first.
        log_unit: metres; logarithmic points much farther away than that count by their relative errors, nearer ones
            by their absolute ones.
        weight_BVHW: how much pixels count, see :func:`thing_weight`; None: all alike.
    """
    valid_BVHW = valid_BVHW & torch.isfinite(target_BVHW3).all(-1)
    target_BVHW3 = torch.where(valid_BVHW[..., None], target_BVHW3, torch.zeros_like(target_BVHW3))
    true_scale_B = scene_scale(target_BVHW3, valid_BVHW)
    own_scale_B = scene_scale(predicted_BVHW3, valid_BVHW)
    metric_B = torch.as_tensor(metric, device=predicted_BVHW3.device).expand(len(true_scale_B))
    scale_B = torch.where(metric_B, true_scale_B, own_scale_B)

    def divide(points: Tensor, by_B: Tensor) -> Tensor:
        return points / by_B[:, None, None, None, None]

    if logarithmic:
        metric_BVHW3 = divide(predicted_BVHW3, scale_B / true_scale_B)
        difference = encode_points(metric_BVHW3 / log_unit) - encode_points(target_BVHW3 / log_unit)
    else:
        difference = divide(predicted_BVHW3, scale_B) - divide(target_BVHW3, true_scale_B)
    # the norm's gradient at zero is NaN; a masked pixel must not bring it in
    error_BVHW = torch.where(
        valid_BVHW, (difference.square().sum(-1) + 1e-12).sqrt(), torch.zeros_like(confidence_BVHW)
    )
    counts_BVHW = valid_BVHW.to(error_BVHW) if weight_BVHW is None else valid_BVHW * weight_BVHW
    weighted_BVHW = confidence_weighted(error_BVHW, confidence_BVHW, alpha=alpha) * counts_BVHW
    count_V = counts_BVHW.sum(dim=(0, 2, 3)).clamp(min=1e-6)
    return PointmapLoss(
        loss=(weighted_BVHW.sum(dim=(0, 2, 3)) / count_V).sum(),
        regression=((error_BVHW * counts_BVHW).sum(dim=(0, 2, 3)) / count_V).sum(),
    )


def normal_loss(predicted_BVHW3: Tensor, target_BVHW3: Tensor, depth_BVHW: Tensor) -> Tensor:
    """How far surfaces are turned: the mean distance of unit normals, about the angle between them in radians.

    Of squares of 8 and of 16 pixels (of 128) that show one surface. Points that are a little off each may lie on a wall
    that is turned by ten degrees, and a metre beside the picture it is then far off.

    Args:
        predicted_BVHW3: predicted points of all views, in any frame.
        target_BVHW3: true points in the same frame.
        depth_BVHW: true depths along each view's own axis, 0 where they are not known.

    Returns:
        () the mean over the squares of all views, 0 where there are none.
    """
    predicted, target, depth = (part.flatten(0, 1) for part in (predicted_BVHW3, target_BVHW3, depth_BVHW))
    known = depth > 0
    target = torch.where(known[..., None], target, torch.zeros_like(target))
    torn = (~known | _steps(depth))[:, None].to(predicted)
    total, count = predicted.new_zeros(()), predicted.new_zeros(())
    for square in _SQUARES:
        side = max(2, square * predicted.shape[1] // 128)
        (mine, _), (true, _) = (square_normals(points, side) for points in (predicted, target))
        whole = F.max_pool2d(F.max_pool2d(torn, side), 2, 1)[:, 0] == 0
        total = total + ((mine - true).square().sum(-1) + 1e-6).sqrt()[whole].sum()
        count = count + whole.sum()
    return total / count.clamp(min=1)


def _steps(depth: Tensor) -> Tensor:
    """Where depths (B, H, W) step: along a plane their inverses change evenly from pixel to pixel."""
    inverse = 1 / depth.clamp(min=1e-3)
    padded = F.pad(inverse[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across = padded[:, 1:-1, 2:] + padded[:, 1:-1, :-2] - 2 * inverse
    along = padded[:, 2:, 1:-1] + padded[:, :-2, 1:-1] - 2 * inverse
    step = torch.maximum(across.abs(), along.abs())
    step[:, [0, -1]] = step[:, :, [0, -1]] = 0  # nothing is known beyond the border
    return step > _STEP * inverse
