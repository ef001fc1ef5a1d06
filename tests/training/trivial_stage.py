"""The smallest stage that trains: a line through noisy points. Run as a program it is a run that can be killed.

python tests/training/trivial_stage.py OUT STEPS [--pause SECONDS] [--noise SIZE] [--batch SIZE]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.config import TrainConfig
from training.loop import Trainer
from training.stages.base import Stage
from training.stream import Batch


class Points:
    """Sample i is a point drawn with seed i."""

    def __init__(self, first_bad: int | None = None) -> None:
        self.first_bad = first_bad

    def batch(self, kind: str, indices: Sequence[int]) -> Batch:
        rows = torch.stack([torch.randn(4, generator=torch.Generator().manual_seed(index)) for index in indices])
        if self.first_bad is not None and max(indices) >= self.first_bad:
            rows[-1, 0] = float("nan")
        return {"x": rows[:, :3], "y": rows[:, :3].sum(1), "index": torch.tensor(list(indices))}


class LineStage(Stage):
    """Fits y from x, with noise of the step's generator, so that a wrong resume shows."""

    def __init__(
        self, config: TrainConfig, *, first_bad: int | None = None, pause: float = 0.0, noise: float = 0.1
    ) -> None:
        super().__init__(config)
        torch.manual_seed(config.seed)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        self.first_bad, self.pause, self.noise = first_bad, pause, noise
        self.seen: list[int] = []

    def source(self, split: str) -> Points:
        return Points(self.first_bad)

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        time.sleep(self.pause)
        if self.training:
            self.seen += batch["index"].tolist()
        noise = self.noise * torch.randn(batch["y"].shape, generator=generator)
        error = self.model(batch["x"])[:, 0] - batch["y"] + noise
        return {"loss": error.square().mean(), "noise": noise.mean()}


def settings(steps: int = 12, matrices: str = "adamw", **run: object) -> TrainConfig:
    """Settings of a run of seconds."""
    values = {
        "steps": steps,
        "batch_size": 4,
        "log_every": 3,
        "validate_every": 5,
        "validation_samples": 8,
        "checkpoint_every": 4,
        "pictures_every": 0,
        "device": "cpu",
        "tensorboard": False,
        "peak_tflops": 1.0,
        **run,
    }
    return TrainConfig.from_dict(
        {
            "data": {"workers": 0},
            "run": values,
            "optimizer": {"lr": 0.03, "clip": 1.0, "matrices": matrices},
            "ema": {"decay": 0.9},
        }
    )


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("steps", type=int)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--batch", type=int, default=4)
    args = parser.parse_args(arguments)
    config = settings(args.steps, batch_size=args.batch)
    Trainer(LineStage(config, pause=args.pause, noise=args.noise), config, args.out).run()


if __name__ == "__main__":
    main(sys.argv[1:])
