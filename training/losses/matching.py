"""Pixel matching by InfoNCE over true correspondences (MASt3R, ECCV 2024, eq. 7-9; weights of UniUGG's trainer).

Shape letters: B batch, H W pixels, K correspondences (rows), C descriptor channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from uniugg_core.precision import full_precision

__all__ = ["draw_correspondences", "matching_loss", "reciprocal_matches"]


@full_precision
def reciprocal_matches(
    points1_HW3: Tensor,
    valid1_HW: Tensor,
    points2_HW3: Tensor,
    valid2_HW: Tensor,
    matrix1: Tensor,
    matrix2: Tensor,
    camera2_from_camera1: Tensor,
    *,
    tolerance: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Pixels of two views that show the same place: each projects to within `tolerance` pixels of the other.

    Args:
        points1_HW3, points2_HW3: true points of view 1 and of view 2, both in camera 1, metres.
        valid1_HW, valid2_HW: where they are known.
        matrix1, matrix2: (3, 3) intrinsics.
        camera2_from_camera1: (4, 4) rigid transform.
        tolerance: pixels between where a pixel starts and where it returns to.

    Returns:
        flat pixel indices (K,) into view 1 and (K,) into view 2.
    """
    height, width = valid1_HW.shape

    def to_pixels(points: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
        depth = points[..., 2]
        pixel = points @ matrix.T
        return (pixel[..., :2] / depth.clamp(min=1e-6)[..., None]), depth > 1e-6

    rotation, shift = camera2_from_camera1[:3, :3], camera2_from_camera1[:3, 3]
    uv_in_2, front = to_pixels(points1_HW3.reshape(-1, 3) @ rotation.T + shift, matrix2)
    column, row = uv_in_2.round().long().unbind(-1)
    height2, width2 = valid2_HW.shape
    inside = (column >= 0) & (column < width2) & (row >= 0) & (row < height2) & front & valid1_HW.reshape(-1)
    index1 = inside.nonzero().squeeze(1)
    index2 = row[index1] * width2 + column[index1]
    seen = valid2_HW.reshape(-1)[index2]
    index1, index2 = index1[seen], index2[seen]
    back, front = to_pixels(points2_HW3.reshape(-1, 3)[index2], matrix1)
    start = torch.stack([index1 % width, index1 // width], dim=-1)
    near = ((back - start).norm(dim=-1) <= tolerance) & front
    return index1[near], index2[near]


def draw_correspondences(
    matches: tuple[Tensor, Tensor],
    pixels: tuple[int, int],
    count: int,
    *,
    negative_share: float = 0.5,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """`count` pairs of pixels: true matches, at most ``1 - negative_share`` of them, filled up with random pairs.

    Args:
        matches: flat indices (M,) and (M,), from :func:`reciprocal_matches`.
        pixels: how many pixels each view has.
        count: K.
        negative_share: smallest share of random pairs.
        generator: CPU generator.

    Returns:
        flat indices (K,) and (K,), and which pairs are true (K,) bool.
    """
    index1, index2 = matches
    device = index1.device
    positives = min(len(index1), count - round(negative_share * count))
    chosen = torch.randperm(len(index1), generator=generator)[:positives].to(device)
    fill = [torch.randint(size, (count - positives,), generator=generator).to(device) for size in pixels]
    positive = torch.arange(count, device=device) < positives
    return torch.cat([index1[chosen], fill[0]]), torch.cat([index2[chosen], fill[1]]), positive


@full_precision
def matching_loss(
    descriptors1_BKC: Tensor,
    descriptors2_BKC: Tensor,
    confidence_BK: Tensor,
    positive_BK: Tensor,
    *,
    temperature: float = 0.05,
    alpha: float = 10.0,
) -> Tensor:
    """InfoNCE in both directions over the K rows of a pair, on the true ones, weighted by the descriptors' confidence.

    Args:
        descriptors1_BKC, descriptors2_BKC: unit-length descriptors; row k of both belongs together where positive.
        confidence_BK: mean of the two pixels' descriptor confidences.
        positive_BK: which rows are true correspondences; the rest only serve as negatives.
        temperature: of the softmax.
        alpha: weight of the confidence's reward.

    Returns:
        () loss, the mean over all true rows of the batch; zero with gradient where there are none.
    """
    scores_BKK = descriptors1_BKC @ descriptors2_BKC.transpose(1, 2) / temperature
    right_BK = scores_BKK.diagonal(dim1=1, dim2=2)
    loss_BK = scores_BKK.logsumexp(2) + scores_BKK.logsumexp(1) - 2 * right_BK
    weighted_BK = confidence_BK * loss_BK - alpha * confidence_BK.log()
    return (weighted_BK * positive_BK).sum() / positive_BK.sum().clamp(min=1)
