"""Muon's update of the matrices of the tiny model's stage 1: ours, and torch's."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from training.muon import Muon
from training.stages.vision import Vision
from uniugg_core.config import preset

from .harness import Row, row, samples_of

__all__ = ["muon_rows"]


def muon_rows(n: int) -> Iterator[Row]:
    """Steps of both by turns."""
    draw = torch.Generator().manual_seed(0)
    matrices = [parameter for parameter in Vision(preset("tiny"), 0).parameters() if parameter.dim() == 2]
    for parameter in matrices:
        parameter.grad = torch.randn(parameter.shape, generator=draw)
    ways = {
        "ours": Muon([{"params": matrices}], 1e-9),
        "torch's": torch.optim.Muon(matrices, lr=1e-9, adjust_lr_fn="match_rms_adamw"),
    }
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(n):
        for name, optimizer in ways.items():
            samples[name] += samples_of(optimizer.step, n=1, warmup=0 if turn else 1)
    for name, milliseconds in samples.items():
        yield row(f"Muon's step / {name}", f"stage 1 of tiny, {len(matrices)} matrices", milliseconds)
