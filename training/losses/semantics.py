"""What tokens mean: distillation from a frozen teacher (UniUGG stage 1, semantic branch), and classes by class maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["balanced_class_loss", "cells_in_order", "class_shares", "distillation_loss", "random_tokens"]


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


def class_shares(classes_BHW: Tensor, patch: int, count: int) -> Tensor:
    """Share of every class in every token's pixels: class numbers (B, H, W) to (B, N, L), rows adding up to 1."""
    patches_BhwPP = classes_BHW.long().unfold(1, patch, patch).unfold(2, patch, patch)
    pixels_BNX = patches_BhwPP.flatten(3).flatten(1, 2)
    one = torch.ones((), device=pixels_BNX.device).expand(pixels_BNX.shape)
    return one.new_zeros(*pixels_BNX.shape[:2], count).scatter_add_(2, pixels_BNX, one) / patch**2


def cells_in_order(said_BNX: Tensor, grid: tuple[int, int], cells: int) -> Tensor:
    """What tokens say of each of their c x c cells, (B, N, c c L), as that of a finer grid: (B, c c N, L).

    Args:
        said_BNX: of a token's cells one after the other.
        grid: (h, w) of the N tokens.
        cells: c.
    """
    said_BhwccL = said_BNX.unflatten(2, (cells, cells, -1)).unflatten(1, grid)
    return said_BhwccL.transpose(2, 3).flatten(1, 4)


def balanced_class_loss(logits: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Soft cross-entropy () in which a class counts with the square root of its area, and the accuracy () so weighed.

    Walls and floors cover most of a room, and would otherwise be most of what is learnt.

    Args:
        logits: (..., L).
        shares: (..., L) from :func:`class_shares`.
    """
    logits, shares = logits.float().flatten(0, -2), shares.flatten(0, -2)
    weights_NL = shares * shares.mean(0).clamp_min(1e-4).rsqrt()
    total = weights_NL.sum()
    right_N = logits.argmax(-1) == shares.argmax(-1)
    return -(weights_NL * F.log_softmax(logits, dim=-1)).sum() / total, (weights_NL.sum(-1) * right_N).sum() / total
