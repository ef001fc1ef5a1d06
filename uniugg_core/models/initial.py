"""Made-up weights for models too large to initialise the ordinary way: for tests, timings and memory measurements."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["fill"]

_BLOCK = 1_000_003  # a prime, so that repeating the block does not make equal rows


def fill(module: nn.Module, seed: int, dtype: torch.dtype) -> None:
    """Gives a module of the meta device CPU weights in `dtype`, the same for the same `seed`, at memory speed.

    Matrices are slices of one repeated block of normal numbers, of the variance that torch's own initialisation of
    linear and convolutional layers has (1 / (3 fan-in)); norms are the identity and biases zero. Buffers become zero.
    """
    generator = torch.Generator().manual_seed(seed)
    block = torch.randn(_BLOCK, generator=generator).to(dtype)
    for owner in module.modules():
        norm = isinstance(owner, (nn.LayerNorm, nn.GroupNorm)) or type(owner).__name__.endswith("RMSNorm")
        for name, parameter in list(owner.named_parameters(recurse=False)):
            shape = parameter.shape
            if norm and name == "weight":
                made = torch.ones(shape, dtype=dtype)
            elif name == "bias":
                made = torch.zeros(shape, dtype=dtype)
            else:
                fan_in = shape[1:].numel() if len(shape) > 1 and not isinstance(owner, nn.Embedding) else 2500
                made = torch.empty(shape, dtype=dtype)
                _repeat(block * (3 * fan_in) ** -0.5, made.view(-1))
            setattr(owner, name, nn.Parameter(made, requires_grad=parameter.requires_grad))
        for name, buffer in list(owner.named_buffers(recurse=False)):
            if name not in owner._non_persistent_buffers_set:
                setattr(owner, name, torch.zeros(buffer.shape, dtype=buffer.dtype))


def _repeat(block: torch.Tensor, into: torch.Tensor) -> None:
    whole = into.numel() // len(block) * len(block)
    into[:whole].view(-1, len(block)).copy_(block.expand(whole // len(block), -1))
    into[whole:].copy_(block[: into.numel() - whole])
