"""Building blocks of the vision networks: 2-D rotary positions, attention, MLP, patch embedding and stem.

Shape letters: B batch, N tokens, M context tokens, D width, H heads, C head width, h w token grid, P patch side.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "NORM_EPS",
    "Attention",
    "Bottleneck",
    "CrossAttention",
    "Mlp",
    "PatchEmbed",
    "Rope",
    "Rope2d",
    "Stem",
    "attend",
    "in_the_open",
    "rotate",
]

NORM_EPS = 1e-6
_CACHED_GRIDS = 8  # a process sees a handful of picture sizes; more would be a leak in disguise


class Rope(NamedTuple):
    """Cosines and sines of one token grid, both (N, C) float32; rows in raster order of the grid."""

    cos_NC: Tensor
    sin_NC: Tensor


class Rope2d:
    """Rotary positions of a token grid: the first half of a head turns with the row, the last half with the column.

    Frequencies are ``base ** (-2 i / (C / 2))`` for i in [0, C / 4); positions are integers. MASt3R's and UniUGG's
    attention use base 100 and C = 64.

    Tables are cached per grid and device, outside any state dict. While compiling or exporting they are computed in
    the graph instead, where they fold to constants.

    Args:
        head_width: C, a multiple of 4.
        base: the frequency base.
    """

    def __init__(self, head_width: int, base: float) -> None:
        if head_width % 4:
            raise ValueError(f"head width {head_width} is not a multiple of 4, as 2-D rotary positions need")
        self.head_width = head_width
        self.base = base
        self._tables: dict[tuple[int, int, torch.device], Rope] = {}

    def __call__(self, grid: tuple[int, int], device: torch.device) -> Rope:
        """The table of `grid` = (rows, columns) on `device`."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return self._compute(grid, device)
        key = (*grid, device)
        if key not in self._tables:
            # A table born under inference_mode could never serve a training step afterwards.
            with torch.inference_mode(False), torch.no_grad():
                table = self._compute(grid, device)
            while len(self._tables) >= _CACHED_GRIDS:
                self._tables.pop(next(iter(self._tables)))
            self._tables[key] = table
        return self._tables[key]

    def _compute(self, grid: tuple[int, int], device: torch.device) -> Rope:
        rows, columns = grid
        half = self.head_width // 2
        exponents = torch.arange(0, half, 2, dtype=torch.float32, device=device) / half
        frequencies = self.base**-exponents
        y = torch.arange(rows, dtype=torch.float32, device=device)[:, None] * frequencies
        x = torch.arange(columns, dtype=torch.float32, device=device)[:, None] * frequencies
        y = y[:, None].expand(rows, columns, -1)
        x = x[None].expand(rows, columns, -1)
        angles_NC = torch.cat([y, y, x, x], dim=-1).reshape(rows * columns, self.head_width)
        return Rope(angles_NC.cos(), angles_NC.sin())

    def __deepcopy__(self, memo: dict) -> Rope2d:
        return Rope2d(self.head_width, self.base)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_tables": {}}


def rotate(tokens: Tensor, rope: Rope) -> Tensor:
    """Turns queries or keys (B, H, N, C) by their positions; computed in float32, returned in the input's type."""
    y1, y2, x1, x2 = tokens.chunk(4, dim=-1)
    turned = torch.cat([-y2, y1, -x2, x1], dim=-1)
    return (tokens * rope.cos_NC + turned * rope.sin_NC).to(tokens.dtype)


def in_the_open(query: Tensor) -> bool:
    """Whether :func:`attend` spells its products out: on a processor that has to go back."""
    return query.device.type == "cpu" and torch.is_grad_enabled() and query.requires_grad


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention of (..., N, C) to (..., M, C), in whichever way is fast.

    Where a processor has to go back, products in the open take a fraction of the time of torch's fused kernel in
    bfloat16; ``python -m benchmarks attention`` compares them.

    Args:
        query, key, value: of the same leading shape.
        mask: (..., N, M), True where there is something to see, or to be added to the scores.
    """
    if not in_the_open(query):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        hidden = torch.finfo(scores.dtype).min  # not infinity: padding that sees nothing must not become NaN
        scores = scores.masked_fill(~mask, hidden) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(dim=-1).to(value.dtype) @ value


class Mlp(nn.Module):
    """Two linear layers with exact GELU between: (..., D) -> (..., out)."""

    def __init__(self, width: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width if out is None else out)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., out)."""
        return self.fc2(F.gelu(self.fc1(x)))


class Attention(nn.Module):
    """Multi-head self-attention, with rotary positions when a table is given."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_BND: Tensor, rope: Rope | None = None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        qkv = self.qkv(x_BND).unflatten(-1, (3, self.heads, -1))
        q_BHNC, k_BHNC, v_BHNC = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if rope is not None:
            q_BHNC, k_BHNC = rotate(q_BHNC, rope), rotate(k_BHNC, rope)
        mixed = attend(q_BHNC, k_BHNC, v_BHNC)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """Multi-head attention from one view's tokens to the other's, each turned by its own positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x_BND: Tensor, context_BMD: Tensor, rope: Rope, context_rope: Rope) -> Tensor:
        """(B, N, D) attending to (B, M, D) -> (B, N, D)."""
        q_BHNC = rotate(self._heads(self.q(x_BND)), rope)
        k_BHMC = rotate(self._heads(self.k(context_BMD)), context_rope)
        mixed = attend(q_BHNC, k_BHMC, self._heads(self.v(context_BMD)))
        return self.proj(mixed.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class PatchEmbed(nn.Linear):
    """Linear map of non-overlapping P x P patches, each flattened in the order (channel, row, column).

    The weight is (D, 3 P P); a stride-P convolution's (D, 3, P, P) reshapes into it unchanged.
    """

    def __init__(self, patch: int, width: int, bias: bool) -> None:
        super().__init__(3 * patch * patch, width, bias=bias)
        self.patch = patch

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, h P, w P) -> (B, h w, D), tokens in raster order."""
        side = self.patch
        batch, channels, height, width = image.shape
        patches = image.reshape(batch, channels, height // side, side, width // side, side)
        patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        return super().forward(patches)


class Stem(nn.Module):
    """Convolutions that halve a picture until a cell is a token: what small things are made of, found wherever it is.

    A small transformer that sees little learns faster behind one (Xiao et al., NeurIPS 2021). The last layer begins at
    zero, so that a model which had none begins as it was.

    Args:
        widths: channels after each halving but the last.
        width: D, channels after the last one.
        units: how many :class:`Bottleneck` stand behind each halving but the last; () for none.
    """

    def __init__(self, widths: Sequence[int], width: int, units: Sequence[int] = ()) -> None:
        super().__init__()
        pairs = itertools.pairwise((3, *widths, width))
        self.halvings = nn.ModuleList(nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairs)
        counts = units or [0] * len(widths)
        self.units = nn.ModuleList(
            nn.Sequential(*(Bottleneck(channels) for _ in range(count))) for channels, count in zip(widths, counts)
        )
        *inner, last = self.halvings
        for halving in inner:
            nn.init.kaiming_normal_(halving.weight, nonlinearity="relu")
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, N, D), tokens in raster order; sides are multiples of 2 to the number of halvings."""
        for halving, units in zip(self.halvings, self.units):
            image = units(F.gelu(halving(image)))
        return self.halvings[-1](image).flatten(2).transpose(1, 2)


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two of 1 x 1, at half the width, added to the input; it adds nothing at first.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.narrow, self.widen = nn.Conv2d(width, half, 1), nn.Conv2d(half, width, 1)
        self.look = nn.Conv2d(half, half, 3, padding=1)
        nn.init.zeros_(self.widen.weight)
        nn.init.zeros_(self.widen.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) -> (B, width, h, w)."""
        return x + self.widen(F.gelu(self.look(F.gelu(self.narrow(x)))))
