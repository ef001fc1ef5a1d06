"""The shading rules in torch, line for line what `shaders.py` says in GLSL.

N surface points of R rooms are shaded at once; every tensor carries the room first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F

from .textures import PATTERNS, SIDE, pyramid

__all__ = ["Surface", "pattern_value", "shade"]


@dataclass
class Surface:
    """What a ray hit, (R, N, ...)."""

    point: torch.Tensor  # (R, N, 3) world metres
    normal: torch.Tensor  # (R, N, 3) unit
    uv: torch.Tensor  # (R, N, 2) metres on the surface
    first: torch.Tensor  # (R, N, 3)
    second: torch.Tensor  # (R, N, 3)
    layer: torch.Tensor  # (R, N)
    repeat: torch.Tensor  # (R, N)
    shift: torch.Tensor  # (R, N, 2)
    emission: torch.Tensor  # (R, N)


def shade(
    surface: Surface,
    eye: torch.Tensor,
    pixel: torch.Tensor,
    room: torch.Tensor,
    solid: torch.Tensor,
    light_at: torch.Tensor,
    light_colour: torch.Tensor,
    light_fade: torch.Tensor,
    ambient: torch.Tensor,
) -> torch.Tensor:
    """Display colours of surface points.

    Args:
        surface: the points.
        eye: (R, N, 3) where they are seen from.
        pixel: (R, N) metres that a pixel covers at one metre.
        room: (R, 3) size of each room's box.
        solid: (R, D, H, W) occlusion volumes in [0, 1].
        light_at: (R, L, 3) positions of the lights.
        light_colour: (R, L, 3).
        light_fade: (R, L).
        ambient: (R, 3).

    Returns:
        (R, N, 3) in [0, 1].
    """
    to_eye = eye - surface.point
    distance = to_eye.norm(dim=-1)
    slant = ((surface.normal * to_eye).sum(-1).abs() / distance.clamp_min(1e-9)).clamp_min(0.08)
    texels = pixel * distance * slant.rsqrt() / surface.repeat * SIDE
    mixed = pattern_value(surface.uv / surface.repeat[..., None] + surface.shift, surface.layer, texels)
    albedo = torch.lerp(surface.first, surface.second, mixed[..., None])

    where = 2 * (surface.point + 0.13 * surface.normal) / room[:, None] - 1
    near_solid = F.grid_sample(solid[:, None], where[:, None, None], padding_mode="border", align_corners=False)
    opened = (1.5 - 1.9 * near_solid[:, 0, 0, 0]).clamp(0.15, 1.0)
    light = ambient[:, None] * ((0.8 + 0.2 * surface.normal[..., 2]) * opened)[..., None]
    for k in range(light_at.shape[1]):
        d = light_at[:, None, k] - surface.point
        d2 = (d * d).sum(-1)
        facing = (0.85 * (surface.normal * d).sum(-1) * d2.clamp_min(1e-9).rsqrt() + 0.15).clamp_min(0.0)
        strength = facing * (0.35 + 0.65 * opened) / (1.0 + d2 * light_fade[:, None, k])
        light = light + light_colour[:, None, k] * strength[..., None]
    colour = albedo * (light + 1.4 * surface.emission[..., None])
    colour = colour / (1.0 + 0.25 * colour)
    return colour.clamp(0.0, 1.0).sqrt()


def pattern_value(uv: torch.Tensor, layer: torch.Tensor, texels: torch.Tensor) -> torch.Tensor:
    """Looks patterns up, smoothly within the mip level that fits.

    Args:
        uv: (..., 2) in repetitions of the pattern.
        layer: (...) pattern numbers.
        texels: (...) texels that a pixel covers.

    Returns:
        (...) pattern values in [0, 1].
    """
    table, offsets = _flat_pyramid(uv.device)
    level = (torch.log2(texels.clamp_min(1.0)) + 0.5).ceil().long() - 1
    level = level.clamp(0, len(offsets) - 1)
    side = torch.div(SIDE, 2**level, rounding_mode="floor")
    position = uv * side[..., None] - 0.5
    corner = position.floor()
    weight = position - corner
    x0, y0 = corner.long().unbind(-1)
    base = offsets[level] + layer.long() * side * side
    mask = side - 1  # sides are powers of two
    x1, y1 = (x0 + 1) & mask, (y0 + 1) & mask
    x0, y0 = x0 & mask, y0 & mask
    wx, wy = weight.unbind(-1)
    top = torch.lerp(table[base + y0 * side + x0], table[base + y0 * side + x1], wx)
    bottom = torch.lerp(table[base + y1 * side + x0], table[base + y1 * side + x1], wx)
    return torch.lerp(top, bottom, wy)


@lru_cache(maxsize=4)
def _flat_pyramid(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """All mip levels behind each other, and where each begins."""
    levels = [torch.from_numpy(level) for level in pyramid()]
    starts = [0]
    for level in levels[:-1]:
        starts.append(starts[-1] + len(PATTERNS) * level.shape[1] ** 2)
    return torch.cat([level.reshape(-1) for level in levels]).to(device), torch.tensor(starts, device=device)
