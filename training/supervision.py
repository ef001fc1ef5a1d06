"""What the spatial decoder is told about a pair, and how wrong it is.

Shape letters: B batch, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uniugg_core.models.decoder import SpatialDecoder, ViewOutput
from uniugg_core.pointmaps import transform_points

from .config import EncoderStageConfig, VAEStageConfig
from .data.views import PairBatch
from .losses.appearance import appearance_loss
from .losses.geometry import normal_loss, pointmap_loss, thing_weight

__all__ = [
    "SpatialWeights",
    "alone_loss",
    "decoded_alone",
    "point_errors",
    "second_view",
    "second_view_loss",
    "spatial_loss",
    "swapped_where",
]


def swapped_where(swap_B: Tensor, pairs: PairBatch) -> PairBatch:
    """`pairs` with reference and target exchanged where `swap_B` says so."""
    mine, other = pairs.to_dict(), pairs.swapped().to_dict()
    return PairBatch(
        **{
            name: torch.where(swap_B.view(-1, *[1] * (tensor.dim() - 1)), other[name], tensor)
            for name, tensor in mine.items()
        }
    )


@dataclass(frozen=True)
class SpatialWeights:
    """Weights of :func:`spatial_loss`, see the settings of stages 1 and 2."""

    alpha: float
    rgb: float
    rgb_l1: float
    rgb_ssim: float
    rgb_lpips: float
    log_points: bool
    log_unit: float = 1.0
    normals: float = 0.0
    balance: float = 0.0
    plain: float = 0.0

    @classmethod
    def of(cls, own: EncoderStageConfig | VAEStageConfig) -> SpatialWeights:
        """As a stage is set."""
        return cls(
            alpha=own.alpha,
            rgb=own.rgb_weight,
            rgb_l1=own.rgb_l1,
            rgb_ssim=own.rgb_ssim,
            rgb_lpips=own.rgb_lpips,
            log_points=own.log_points,
            log_unit=own.log_unit,
            normals=own.normal_weight,
            balance=own.balance,
            plain=own.plain_weight,
        )


def spatial_loss(
    outputs: tuple[ViewOutput, ViewOutput],
    truth: PairBatch,
    colors_B23HW: Tensor,
    weights: SpatialWeights,
    lpips: nn.Module | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """L_conf + L_rgb of the spatial decoder's outputs, and how far their surfaces are turned.

    Args:
        outputs: of the reference and of the second view.
        truth: pairs in the same order.
        colors_B23HW: true colours in [0, 1].
        weights: of the terms.
        lpips: for the perceptual term; None leaves it out.

    Returns:
        the sum, and its parts for the curve: ``points`` (L_conf), ``regression`` (without confidence), ``normals``,
        ``rgb``.
    """
    points, true = torch.stack([view.points for view in outputs], dim=1), truth.points_in_reference()
    confidence = torch.stack([view.confidence for view in outputs], dim=1)
    counts = thing_weight(truth.instances, weights.balance) if weights.balance and truth.instances is not None else None
    both = pointmap_loss(
        points,
        confidence,
        true,
        truth.valid,
        alpha=weights.alpha,
        logarithmic=weights.log_points,
        log_unit=weights.log_unit,
        weight_BVHW=counts,
    )
    loss, parts = both.loss + weights.plain * both.regression, {"points": both.loss, "regression": both.regression}
    if weights.normals:
        parts["normals"] = normal_loss(points, true, truth.depth)
        loss = loss + weights.normals * parts["normals"]
    if weights.rgb and all(view.colors is not None for view in outputs):
        rgb = sum(
            appearance_loss(
                view.colors,
                colors_B23HW[:, number].movedim(1, -1),
                l1=weights.rgb_l1,
                structure=weights.rgb_ssim,
                perceptual=weights.rgb_lpips,
                lpips=lpips,
            )
            for number, view in enumerate(outputs)
        )
        loss, parts["rgb"] = loss + weights.rgb * rgb, rgb
    return loss, parts


def decoded_alone(
    spatial: SpatialDecoder, features_B2ND: Tensor, grid: tuple[int, int], truth: PairBatch
) -> tuple[ViewOutput, ViewOutput]:
    """Both pictures of every pair, each decoded beside itself alone, in its own camera's frame."""
    flat = features_B2ND.transpose(0, 1).flatten(0, 1)
    view = spatial.first(flat, flat, grid, truth.intrinsics.transpose(0, 1).flatten(0, 1))
    halves = zip(view.points.chunk(2), view.confidence.chunk(2), view.states.chunk(2))
    colors = (None, None) if view.colors is None else view.colors.chunk(2)
    return tuple(
        ViewOutput(points, sure, shown, states=states) for (points, sure, states), shown in zip(halves, colors)
    )


def alone_loss(
    spatial: SpatialDecoder,
    features_B2ND: Tensor,
    grid: tuple[int, int],
    truth: PairBatch,
    colors_B23HW: Tensor,
    weights: SpatialWeights,
    lpips: nn.Module | None = None,
) -> tuple[Tensor, dict[str, Tensor], tuple[ViewOutput, ViewOutput]]:
    """:func:`spatial_loss` of :func:`decoded_alone`, and what that is; the names of its parts end with ``_alone``."""
    apart = truth.apart()
    views = decoded_alone(spatial, features_B2ND, grid, apart)
    loss, parts = spatial_loss(views, apart, colors_B23HW, weights, lpips)
    return loss, {f"{name}_alone": value for name, value in parts.items()}, views


def second_view(
    spatial: SpatialDecoder, reference: Tensor, target: Tensor, grid: tuple[int, int], truth: PairBatch
) -> ViewOutput:
    """The target view, by its features (B, N, D), as it is decoded where its pose is known."""
    return spatial.posed(
        reference,
        target,
        grid,
        target_from_reference=truth.target_from_reference,
        matrix=truth.intrinsics[:, 0],
        target_matrix=truth.intrinsics[:, 1],
    )


def second_view_loss(
    view: ViewOutput,
    truth: PairBatch,
    counted_B: Tensor,
    generator: torch.Generator,
    *,
    seen_share: float = 1.0,
    logarithmic: bool = False,
) -> Tensor:
    """Stage 1's pointmap loss of the target view alone, seen from its own camera.

    Args:
        view: as it is imagined.
        truth: the pairs.
        counted_B: which rows count.
        generator: draws pixels.
        seen_share: share of the pixels that count among those whose surface the reference sees too.
        logarithmic: as in :func:`pointmap_loss`.
    """
    points = transform_points(truth.target_from_reference, view.points)
    valid = truth.valid[:, 1:] & counted_B[:, None, None, None]
    if seen_share < 1:
        drawn = torch.rand(valid.shape, generator=generator, device=generator.device).to(valid.device) < seen_share
        valid = valid & (drawn | ~truth.seen()[:, 1:])
    true = truth.points()[:, 1:]
    return pointmap_loss(points[:, None], view.confidence[:, None], true, valid, logarithmic=logarithmic).loss


@torch.no_grad()
def point_errors(outputs: tuple[ViewOutput, ViewOutput], truth: PairBatch) -> dict[str, Tensor]:
    """Median relative point errors: distance to the true point over the pixel's true distance from its own camera.

    Returns:
        ``error_reference``, ``error_second`` and their mean ``error``; NaN where nothing is valid.
    """
    figures, valid, true = {}, truth.valid, truth.points_in_reference()
    distance = truth.points().norm(dim=-1)
    for number, (name, view) in enumerate(zip(("error_reference", "error_second"), outputs)):
        error = (view.points - true[:, number]).norm(dim=-1) / distance[:, number]
        error = error[valid[:, number]]
        figures[name] = error.median() if error.numel() else error.new_tensor(float("nan"))
    return {**figures, "error": (figures["error_reference"] + figures["error_second"]) / 2}
