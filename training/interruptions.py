"""Ends of a run that were not planned: signals, and memory that does not suffice."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import torch
from accelerate import Accelerator

from uniugg_core.errors import ErrorCode, UniuggError

__all__ = ["StopSignal", "out_of_memory"]


class StopSignal:
    """SIGINT or SIGTERM, noted so that the run can end after the current step; a second one ends it at once."""

    def __init__(self) -> None:
        self.name: str | None = None  # of the signal that came

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Within it the signals are noted; elsewhere than in the main thread it does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, _: FrameType | None) -> None:
            if self.name is not None:
                raise KeyboardInterrupt
            self.name = signal.Signals(number).name

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def asked(self, accelerator: Accelerator) -> bool:
        """Whether to stop; every process gets the same answer, since they must stop after the same step."""
        if accelerator.num_processes > 1:
            flag = torch.tensor(float(self.name is not None), device=accelerator.device)
            if accelerator.reduce(flag, "sum").item() and self.name is None:
                self.name = "SIGTERM"  # it reached another process
        return self.name is not None


def out_of_memory(error: BaseException, where: str) -> UniuggError | None:
    """A coded error that says what to change if `error` means that memory ran out; None if it means something else."""
    memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
    if not memory:
        return None
    return UniuggError(ErrorCode.OUT_OF_MEMORY, f"no memory {where}. Halve run.batch_size and double run.accumulate")
