"""Which number format is fast where; geometry keeps its precision while networks run in half of theirs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

__all__ = ["fast_bf16", "full_precision"]

P = ParamSpec("P")
R = TypeVar("R")

_BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # what torch calls the instructions of x86-64 and, the last, of ARM


def fast_bf16(device: torch.device) -> bool:
    """Whether a device reckons in bfloat16 itself: other processors emulate it, many times slower than float32."""
    if device.type == "cpu":
        known = torch.cpu.get_capabilities()
        return any(known.get(name, False) for name in _BF16)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return False


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Runs `function` outside autocast, on the device of its first tensor.

    Autocast turns every matrix product into half precision, which leaves a pixel or a point three digits.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        device = next((value.device.type for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return run
