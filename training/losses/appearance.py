"""Colour supervision of the RGB head: ``1.0 L1 + 0.5 (1 - SSIM) + 0.2 LPIPS`` (UniUGG stage 1).

Shape letters: B batch, H W pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["appearance_loss", "ssim"]


def _gaussian_window(size: int, sigma: float, like: Tensor) -> Tensor:
    offset = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
    line = torch.exp(-offset.square() / (2 * sigma**2))
    line = line / line.sum()
    return (line[:, None] * line[None]).expand(3, 1, size, size)


def ssim(a_B3HW: Tensor, b_B3HW: Tensor, *, window: int = 11, sigma: float = 1.5) -> Tensor:
    """Mean structural similarity (Wang et al. 2004) of pictures in [0, 1]; windows that leave the picture are left out.

    Returns:
        () in [-1, 1], 1 for equal pictures.
    """
    kernel = _gaussian_window(window, sigma, a_B3HW)

    def blur(x: Tensor) -> Tensor:
        return F.conv2d(x, kernel, groups=3)

    mean_a, mean_b = blur(a_B3HW), blur(b_B3HW)
    var_a = blur(a_B3HW.square()) - mean_a.square()
    var_b = blur(b_B3HW.square()) - mean_b.square()
    covariance = blur(a_B3HW * b_B3HW) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    value = value / ((mean_a.square() + mean_b.square() + c1) * (var_a + var_b + c2))
    return value.mean()


def appearance_loss(
    predicted_BHW3: Tensor,
    target_BHW3: Tensor,
    *,
    l1: float = 1.0,
    structure: float = 0.5,
    perceptual: float = 0.2,
    lpips: nn.Module | None = None,
) -> Tensor:
    """Colour loss over all pixels of pictures in [0, 1].

    Args:
        predicted_BHW3: colours of the RGB head.
        target_BHW3: true colours (with the same jitter as the network's input).
        l1, structure, perceptual: weights of L1, of 1 - SSIM and of LPIPS.
        lpips: a LPIPS network taking (B, 3, H, W) in [-1, 1]; without one that term is left out.

    Returns:
        () loss.
    """
    predicted, target = predicted_BHW3.movedim(-1, 1).float(), target_BHW3.movedim(-1, 1).float()
    loss = l1 * (predicted - target).abs().mean()
    if structure:
        loss = loss + structure * (1 - ssim(predicted, target))
    if perceptual and lpips is not None:
        loss = loss + perceptual * lpips(predicted * 2 - 1, target * 2 - 1).mean()
    return loss
