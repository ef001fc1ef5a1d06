"""Numbers by the characters that answers write them with, so that a language model can copy what it is told.

To say "1.3" of a length that it knows as a quantity, a model has to learn rounding and the decimal system; what is told
character by character only has to be passed on.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "CENTIMETRES",
    "COORDINATE",
    "DEGREES",
    "LENGTH",
    "PERCENT",
    "centimetres",
    "coordinate",
    "degrees",
    "length",
    "percent",
]

_POINT, _NONE = 10, 11  # beside the digits 0 to 9
LENGTH, COORDINATE, DEGREES, PERCENT = 4 * 12, 2 + 2 * 10, 2 + 2 * 10, 2 * 10  # numbers that each function gives
CENTIMETRES = 3 * 11


def length(metres: Tensor) -> Tensor:
    """Lengths (...) as answers write them, to the decimetre and below one metre to the centimetre: (..., LENGTH).

    Four places with one of twelve characters each; "0.35", "1.3" and nothing, "12.0". At most 99.9.
    """
    hundredths, tenths = (100 * metres).round().long(), (10 * metres).round().clamp(max=999).long()
    point, none = torch.full_like(tenths, _POINT), torch.full_like(tenths, _NONE)
    below = torch.stack([torch.zeros_like(tenths), point, hundredths.clamp(max=99) // 10, hundredths % 10], dim=-1)
    single = torch.stack([tenths // 10 % 10, point, tenths % 10, none], dim=-1)
    double = torch.stack([tenths // 100, tenths // 10 % 10, point, tenths % 10], dim=-1)
    small, large = (metres < 0.995)[..., None], (tenths >= 100)[..., None]
    return F.one_hot(torch.where(small, below, torch.where(large, double, single)), 12).flatten(-2).to(metres)


def centimetres(metres: Tensor) -> Tensor:
    """Lengths (...) as whole centimetres, 1 to 999: three places with one of eleven characters, (..., CENTIMETRES)."""
    whole = (100 * metres).round().clamp(1, 999).long()
    none = torch.full_like(whole, _POINT)  # the eleventh
    two, three = whole >= 10, whole >= 100
    first = torch.where(three, whole // 100, torch.where(two, whole // 10, whole))
    second = torch.where(three, whole // 10 % 10, torch.where(two, whole % 10, none))
    third = torch.where(three, whole % 10, none)
    return F.one_hot(torch.stack([first, second, third], dim=-1), 11).flatten(-2).to(metres)


def coordinate(metres: Tensor) -> Tensor:
    """Coordinates (...) with sign and one decimal, at most 9.9: (..., COORDINATE)."""
    return _signed((10 * metres).round())


def degrees(angle: Tensor, step: int) -> Tensor:
    """Angles (...) in radians as whole degrees, rounded to `step` of them, with sign, at most 99: (..., DEGREES)."""
    return _signed(step * (torch.rad2deg(angle) / step).round())


def percent(share: Tensor) -> Tensor:
    """Shares (...) in hundredths, 0 to 99: (..., PERCENT)."""
    return _two((100 * share).round())


def _signed(whole: Tensor) -> Tensor:
    sign = torch.stack([whole < 0, whole > 0], dim=-1).to(whole)
    return torch.cat([sign, _two(whole.abs())], dim=-1)


def _two(whole: Tensor) -> Tensor:
    kept = whole.clamp(0, 99).long()
    return F.one_hot(torch.stack([kept // 10, kept % 10], dim=-1), 10).flatten(-2).to(whole)
