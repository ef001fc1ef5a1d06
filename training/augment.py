"""Colour jitter on batches of pictures, the same for the network's input and for the colours it must predict."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from uniugg_core.precision import full_precision

__all__ = ["color_jitter"]

_LUMA = (0.299, 0.587, 0.114)


@full_precision
def color_jitter(
    images_B3HW: Tensor, strength: tuple[float, float, float, float], generator: torch.Generator
) -> Tensor:
    """Changes brightness, contrast, saturation and hue of every picture by its own random amounts, in this order.

    A factor is drawn from [1 - s, 1 + s] (not below 0), the hue turns by up to ``s`` of a full circle. The turn is a
    rotation about the grey axis, one 3 x 3 matrix, where the usual way over HSV takes a dozen passes over the pixels.

    Args:
        images_B3HW: RGB in [0, 1].
        strength: s of brightness, contrast, saturation and hue; all 0 returns the input.
        generator: draws the amounts; may live on another device.

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    if not any(strength):
        return images_B3HW
    draw_B4 = torch.rand(len(images_B3HW), 4, generator=generator, device=generator.device) * 2 - 1
    amount_B4 = (draw_B4 * torch.tensor(strength)).to(images_B3HW)
    brightness, contrast, saturation = ((1 + amount_B4[:, i]).clamp(min=0)[:, None, None, None] for i in range(3))
    images = (images_B3HW * brightness).clamp(0, 1)
    luma = torch.tensor(_LUMA).to(images)
    mean_B = torch.einsum("bchw,c->b", images, luma) / images[0, 0].numel()
    images = (mean_B[:, None, None, None] + (images - mean_B[:, None, None, None]) * contrast).clamp(0, 1)
    grey = torch.einsum("bchw,c->bhw", images, luma)[:, None]
    images = (grey + (images - grey) * saturation).clamp(0, 1)
    if strength[3]:
        images = torch.einsum("bij,bjhw->bihw", _grey_axis_rotation(amount_B4[:, 3] * 2 * math.pi), images).clamp(0, 1)
    return images


def _grey_axis_rotation(angle_B: Tensor) -> Tensor:
    """Rotations (B, 3, 3) about (1, 1, 1); grey stays grey."""
    cos, sin = angle_B.cos()[:, None, None], angle_B.sin()[:, None, None]
    along = torch.full((3, 3), 1 / 3).to(angle_B)
    cross = (torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)).to(angle_B)
    return torch.eye(3).to(angle_B) * cos + along * (1 - cos) + cross * sin
