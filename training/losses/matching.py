"""Pixel matching by InfoNCE over true correspondences (MASt3R, ECCV 2024, eq. 7-9; weights of the released UniUGG trainer).

Shape letters: B batch, H W pixels, K correspondences, C descriptor channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["matching_loss", "reciprocal_matches"]


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


def matching_loss(
    descriptors1_KC: Tensor,
    descriptors2_KC: Tensor,
    confidence_K: Tensor,
    positive_K: Tensor,
    *,
    temperature: float = 0.05,
    alpha: float = 10.0,
) -> Tensor:
    """InfoNCE in both directions over all K rows, on the positive ones, weighted by the descriptors' confidence.

    Args:
        descriptors1_KC, descriptors2_KC: unit-length descriptors; row k of both belongs together where positive.
        confidence_K: mean of the two pixels' descriptor confidences.
        positive_K: which rows are true correspondences; the rest only serve as negatives.
        temperature: of the softmax.
        alpha: weight of the confidence's reward.

    Returns:
        () loss; zero with gradient where no row is positive.
    """
    if not bool(positive_K.any()):
        return descriptors1_KC.sum() * 0.0
    scores_KK = descriptors1_KC @ descriptors2_KC.T / temperature
    truth = torch.arange(len(scores_KK), device=scores_KK.device)
    loss_K = F.cross_entropy(scores_KK, truth, reduction="none") + F.cross_entropy(scores_KK.T, truth, reduction="none")
    weighted_K = confidence_K * loss_K - alpha * confidence_K.log()
    return weighted_K[positive_K].mean()
