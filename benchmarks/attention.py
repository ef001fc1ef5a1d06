"""Attention and back again on a processor: the products in the open, as training computes them, and torch's kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from uniugg_core.models.layers import attend

from .harness import Row, row, samples_of

__all__ = ["attention_rows"]

# pictures or questions, heads, tokens, width of a head
SHAPES = {
    "encoder of tiny, 32 pairs": (64, 4, 72, 64),
    "decoder of tiny, 32 pairs": (32, 6, 64, 32),
    "language of tiny, 16 questions": (16, 4, 200, 64),
}


def _kernel(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value)


def _math(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(query, key, value)


WAYS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "in the open, ours": attend,
    "torch's fused kernel": _kernel,
    "torch's plain kernel": _math,
}


def attention_rows(n: int) -> Iterator[Row]:
    """Forward and backward in bfloat16, the ways by turns."""
    for variant, shape in SHAPES.items():
        drawn = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)).bfloat16()
        *inputs, wanted = drawn.unbind(0)
        inputs = [tensor.clone().requires_grad_() for tensor in inputs]
        calls = {name: partial(_there_and_back, way, inputs, wanted) for name, way in WAYS.items()}
        samples: dict[str, list[float]] = {name: [] for name in WAYS}
        for turn in range(n):
            for name, call in calls.items():
                samples[name] += samples_of(call, n=1, warmup=0 if turn else 2)
        for name, milliseconds in samples.items():
            yield row(f"attention, there and back / {name}", variant, milliseconds)


def _there_and_back(way: Callable[[Tensor, Tensor, Tensor], Tensor], inputs: Sequence[Tensor], wanted: Tensor) -> None:
    way(*inputs).backward(wanted)
