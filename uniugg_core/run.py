"""What every request shares while it runs: progress and cancellation, stage times, and errors of the machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .errors import ErrorCode, UniuggError
from .outputs import Callback, Progress

__all__ = ["Run", "check_finite"]


class Run:
    """One request in progress.

    Args:
        callback: asked before each step; False cancels.
        device: where the work happens; its queue is waited for at the end of a stage, so that times are true.
    """

    def __init__(self, callback: Callback | None, device: torch.device) -> None:
        self._callback = callback
        self._device = device
        self._start = time.perf_counter()
        self.timings: dict[str, float] = {}

    def report(self, stage: str, *, sample: int = 0, step: int = 0, steps: int = 0) -> None:
        """Tells the callback what comes next.

        Raises:
            UniuggError: CANCELLED if it returned False.
        """
        if self._callback is None:
            return
        if self._callback(Progress(stage, sample, step, steps)) is False:
            where = f"{stage} {step}/{steps}" if steps else stage
            raise UniuggError(ErrorCode.CANCELLED, f"cancelled at {where}")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of the block to the stage called `name`, in milliseconds."""
        start = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.timings[name] = self.timings.get(name, 0.0) + 1000.0 * (time.perf_counter() - start)

    def finished(self) -> dict[str, float]:
        """The stage times and ``total``, in milliseconds."""
        return {**self.timings, "total": 1000.0 * (time.perf_counter() - self._start)}


def check_finite(name: str, *tensors: Tensor | None) -> None:
    """Refuses NaN and infinity.

    Raises:
        UniuggError: NON_FINITE naming what holds them.
    """
    for tensor in tensors:
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise UniuggError(
                ErrorCode.NON_FINITE, f"the model's {name} have {bad} of {tensor.numel()} numbers that are not finite"
            )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on whatever device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in words or "not enough memory" in words)
