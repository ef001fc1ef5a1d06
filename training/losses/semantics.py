"""Distillation from a frozen teacher's tokens and summary (UniUGG stage 1, semantic branch)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["distillation_loss", "random_tokens"]


def distillation_loss(student: Tensor, teacher: Tensor, *, cosine_weight: float = 0.9) -> Tensor:
    """``a (1 - mean cos) + (1 - a) smooth-L1`` between features (..., D) and (..., D); the teacher gets no gradient.

    Args:
        student: features to train.
        teacher: features to match, same shape.
        cosine_weight: a; the released trainer uses 0.9.
    """
    teacher = teacher.detach()
    cosine = F.cosine_similarity(student, teacher, dim=-1).mean()
    return cosine_weight * (1 - cosine) + (1 - cosine_weight) * F.smooth_l1_loss(student, teacher)


def random_tokens(
    features_BND: Tensor, other_BND: Tensor, *, share: float = 1 / 3, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The same random positions of two token sets: ``floor(share * N)`` of them, drawn anew for every image.

    Returns:
        two tensors (B, floor(share * N), D).
    """
    batch, count, width = features_BND.shape
    kept = max(1, int(share * count))
    order_BN = torch.rand(batch, count, generator=generator).argsort(dim=1)[:, :kept].to(features_BND.device)
    index = order_BN[..., None].expand(-1, -1, width)
    return features_BND.gather(1, index), other_BND.gather(1, index.to(other_BND.device))
