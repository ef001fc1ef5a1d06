"""Mirroring a network along the picture's diagonal: with every spatial weight transposed, a transposed picture must
give the transposed outputs. Rows and columns mixed up anywhere in the code break this on a grid that is not square.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from uniugg_core.models.layers import Attention, CrossAttention, PatchEmbed


@torch.no_grad()
def transpose_weights(module: nn.Module, *, rotary: bool) -> None:
    """Transposes in place; `rotary` where attention turns its queries and keys by 2-D positions."""
    for part in module.modules():
        if isinstance(part, PatchEmbed):
            square = part.weight.unflatten(1, (3, part.patch, part.patch))
            part.weight.copy_(square.transpose(-1, -2).flatten(1).clone())
        elif isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            part.weight.copy_(part.weight.transpose(-1, -2).clone())
        elif isinstance(part, Attention) and rotary:
            width = part.proj.in_features
            for tensor in (part.qkv.weight, part.qkv.bias):
                tensor[: 2 * width].copy_(_swap_halves(tensor[: 2 * width], 2 * part.heads))
        elif isinstance(part, CrossAttention):
            for layer in (part.q, part.k):
                for tensor in (layer.weight, layer.bias):
                    tensor.copy_(_swap_halves(tensor, part.heads))
    for name, tensor in module.named_parameters():
        if name.endswith("position_table"):
            tensor.copy_(tensor.transpose(0, 1).clone())
        elif "descriptors.fc2" in name:
            patch = module.get_submodule(name.rpartition(".fc2")[0]).patch
            tensor.copy_(tensor.unflatten(0, (-1, patch, patch)).transpose(1, 2).flatten(0, 2).clone())


def transpose_tokens(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, h w, D) in raster order of (h, w) -> in raster order of (w, h)."""
    return tokens.unflatten(1, grid).transpose(1, 2).flatten(1, 2)


def _swap_halves(rows: Tensor, heads: int) -> Tensor:
    """Exchanges the row half and the column half of every head's outputs."""
    return rows.unflatten(0, (heads, 2, -1)).flip(1).flatten(0, 2).clone()
