"""Muon on any processor: its orthogonal updates in the number format that is fast there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor

from uniugg_core.precision import fast_bf16

__all__ = ["Muon", "orthogonalized"]

_TOGETHER = 2**24  # numbers that are reckoned with at once at most


class Muon(torch.optim.Muon):
    """torch's Muon with steps of AdamW's size, but for what takes most of its time on a CPU.

    torch reckons in bfloat16 wherever it runs, which processors without instructions for it emulate, many times slower
    than they reckon in float32 (``python -m benchmarks muon``); and here matrices of one shape are reckoned with
    together.

    Args:
        groups: of matrices.
        lr: learning rate, as AdamW would have it (Liu et al., arXiv 2502.16982).
    """

    def __init__(self, groups: Iterable[dict], lr: float) -> None:
        super().__init__(groups, lr=lr, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            matrices: list[Tensor] = []
            gradients: list[Tensor] = []
            momenta: list[Tensor] = []
            self._init_group(group, matrices, gradients, momenta)
            if not matrices:
                continue
            torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
            torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
            for chosen in _alike(matrices):
                updates = torch.stack([gradients[k].lerp(momenta[k], group["momentum"]) for k in chosen])  # Nesterov's
                turned = orthogonalized(updates, group["ns_coefficients"], group["ns_steps"], group["eps"])
                rate = group["lr"] * 0.2 * max(turned.shape[1:]) ** 0.5
                for k, update in zip(chosen, turned):
                    matrices[k].add_(update, alpha=-rate)


def _alike(matrices: Sequence[Tensor]) -> Iterator[list[int]]:
    """Numbers of matrices of one shape, some at a time."""
    order = sorted(range(len(matrices)), key=lambda k: matrices[k].shape)
    for shape, same in groupby(order, key=lambda k: matrices[k].shape):
        chosen, some = list(same), max(1, _TOGETHER // shape.numel())
        for first in range(0, len(chosen), some):
            yield chosen[first : first + some]


def orthogonalized(
    updates_KIO: Tensor, coefficients: Sequence[float] = (3.4445, -4.775, 2.0315), steps: int = 5, eps: float = 1e-7
) -> Tensor:
    """The nearest matrices whose singular values are about one, by Newton-Schulz iteration (Jordan et al. 2024).

    Args:
        updates_KIO: (K, I, O) K matrices of one shape.
        coefficients: of the iteration's polynomial, for powers one, three and five.
        steps: how often it is applied.
        eps: least norm that a matrix is divided by.

    Returns:
        (K, I, O), of the same type.
    """
    a, b, c = coefficients
    wide = updates_KIO.shape[1] <= updates_KIO.shape[2]
    x = updates_KIO if wide else updates_KIO.mT
    x = x.to(torch.bfloat16 if fast_bf16(x.device) else torch.float32)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).to(updates_KIO.dtype)
