"""Attention and back again on a processor: the products in the open, as training computes them, and torch's kernels."""

from __future__ import annotations

from collections.abc import Iterator

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


def attention_rows(n: int) -> Iterator[Row]:
    """Forward and backward in bfloat16, the ways by turns."""
    ways = {"in the open, ours": attend, "torch's fused kernel": _kernel, "torch's plain kernel": _math}
    for variant, shape in SHAPES.items():
        generator = torch.Generator().manual_seed(0)
        draw = lambda: torch.randn(shape, generator=generator, dtype=torch.bfloat16)  # noqa: B023, E731
        query, key, value = (draw().requires_grad_() for _ in range(3))
        wanted = draw()
        for name, way in ways.items():
            samples = samples_of(lambda: way(query, key, value).backward(wanted), n=n)  # noqa: B023
            yield row(f"attention, there and back / {name}", variant, samples)
