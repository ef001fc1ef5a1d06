"""What the training loop asks of a stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from uniugg_core.config import ModelConfig
from uniugg_core.errors import ErrorCode, UniuggError

from ..checkpoint import load_start, read_start
from ..config import TrainConfig
from ..stream import Batch, Source

__all__ = ["Fetch", "Stage", "freeze"]

Fetch = Callable[[str, int, int], Batch]
"""``fetch(kind, first, count)``: training samples by number, on the stage's device."""


class Stage(nn.Module):
    """One stage: a model to train, the data for it, and what to minimise.

    A stage is a module so that one wrapper (autocast, DDP) covers everything a step computes. Only ``model`` is saved;
    frozen helpers such as a teacher are other submodules.

    Subclasses build ``self.model`` in ``__init__`` and call :meth:`start_from`; they implement the methods that raise.
    """

    model: nn.Module
    best_metric: str = "loss"  # the validation figure that decides which checkpoint is best; lower is better
    unused_parameters: bool = False  # whether some batches leave parameters without a gradient (DDP must know)

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        self.model_config: ModelConfig = config.model.resolve()
        self.notes: list[str] = []  # facts for the log, said once at the start

    # --- to implement ---

    def source(self, split: str) -> Source:
        """Samples of "train" or "validation"."""
        raise NotImplementedError

    def kinds(self) -> dict[str, float]:
        """Kinds of batches and their shares."""
        return {"pair": 1.0}

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of one batch: "loss", which is minimised, and whatever else the curve should show.

        Args:
            batch: from the source, on the stage's device.
            generator: CPU generator of this step, the only source of randomness.
        """
        raise NotImplementedError

    def validate(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Figures of one validation batch, in evaluation mode and without gradients; the loop takes their means."""
        return self(batch, generator)

    def pictures(self, batch: Batch, generator: torch.Generator) -> dict[str, np.ndarray]:
        """RGB pictures (H, W, 3) uint8 of a validation batch."""
        return {}

    def begin(self, fetch: Fetch) -> None:
        """Before the first step of a fresh run (not of a resumed one)."""

    def settle(self, fetch: Fetch) -> None:
        """Before the best and the last checkpoint are written: measures what the next stage reads from them."""

    def export(self, out: Path) -> None:
        """After the last step, under the averaged weights: writes what is ready for use; most stages have nothing."""

    # --- given ---

    def start_from(self, *parts: str, spare: tuple[str, ...] = (), anew: tuple[str, ...] = ()) -> None:
        """Loads ``model.start`` of the configuration, if there is one.

        Args:
            parts: prefixes of what this stage takes as it is: all of it must be there, and have a place here.
            spare: those of them that the configuration does without, so that some of it may have none.
            anew: prefixes of what begins anew where its shape is another one.

        Raises:
            UniuggError: CHECKPOINT_*, also when a tensor of `parts` is missing or finds no place.
        """
        tensors: dict[str, Tensor] = {}
        for folder in self.config.model.start:
            tensors |= read_start(folder, average=self.config.model.start_ema)
        if not tensors:
            return
        where = " + ".join(self.config.model.start)
        total, own = len(tensors), self.model.state_dict()
        tensors = {
            name: tensor
            for name, tensor in tensors.items()
            if not (name.startswith(anew) and name in own and own[name].shape != tensor.shape)
        }
        missing, left = load_start(self.model, tensors, where)
        lacking = [name for name in missing if parts and name.startswith(parts)]
        if lacking:
            raise UniuggError(
                ErrorCode.CHECKPOINT_MISMATCH,
                f"{where} lacks {len(lacking)} tensors that this stage needs, e.g. {lacking[0]}",
            )
        homeless = [name for name in left if parts and name.startswith(parts) and not name.startswith(spare)]
        if homeless:  # the parts would say something else than where they were trained
            raise UniuggError(
                ErrorCode.CHECKPOINT_MISMATCH,
                f"{where} has {len(homeless)} tensors that this configuration's model has no place for, "
                f"e.g. {homeless[0]}; see model.change",
            )
        unused, taken = total - len(tensors) + len(left), len(tensors) - len(left)
        self.notes.append(f"started from {where}: {taken} tensors taken, {len(missing)} fresh, {unused} unused")

    def compiled_parts(self) -> list[nn.Module]:
        """Modules that ``run.compile`` compiles."""
        return [part for part in self.model.children() if any(p.requires_grad for p in part.parameters())]

    def train(self, mode: bool = True) -> Stage:
        """Training mode for what is trained; frozen parts stay in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            own = list(module.parameters())
            if mode and own and not any(parameter.requires_grad for parameter in own):
                module.eval()
        return self


def freeze(module: nn.Module) -> nn.Module:
    """Takes `module` out of training: no gradients, evaluation mode."""
    return module.requires_grad_(False).eval()
