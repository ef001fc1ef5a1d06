"""Colour supervision of the RGB head: ``1.0 L1 + 0.5 (1 - SSIM) + 0.2 LPIPS`` (UniUGG stage 1).

Shape letters: B batch, H W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from uniugg_core.precision import full_precision

__all__ = ["appearance_loss", "ssim"]


def _blur_matrix(size: int, window: int, sigma: float, like: Tensor) -> Tensor:
    """A Gaussian blur along one side as a matrix (size - window + 1, size).

    A matrix product runs at full speed forward and backward, which a convolution of single channels does not.
    """
    place = torch.arange(size, dtype=like.dtype, device=like.device)
    first = place[: size - window + 1]
    offset = place[None] - first[:, None]
    weight = torch.exp(-(offset - (window - 1) / 2).square() / (2 * sigma**2))
    weight = weight * ((offset >= 0) & (offset < window))
    return weight / weight.sum(dim=1, keepdim=True)


@full_precision
def ssim(a_B3HW: Tensor, b_B3HW: Tensor, *, window: int = 11, sigma: float = 1.5) -> Tensor:
    """Mean structural similarity (Wang et al. 2004) of pictures in [0, 1]; windows that leave the picture are left out.

    Returns:
        () in [-1, 1], 1 for equal pictures.
    """
    down, across = (_blur_matrix(size, window, sigma, a_B3HW) for size in a_B3HW.shape[2:])

    def blur(x: Tensor) -> Tensor:
        return down @ x @ across.T

    mean_a, square_a, product = blur(torch.stack([a_B3HW, a_B3HW.square(), a_B3HW * b_B3HW]))
    mean_b, square_b = blur(torch.stack([b_B3HW, b_B3HW.square()]))  # apart: the target needs no gradient
    # small differences of squares, of which half precision would leave nothing
    var_a, var_b, covariance = square_a - mean_a.square(), square_b - mean_b.square(), product - mean_a * mean_b
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
