"""Evaluations on several processes: a command as it is under ``torchrun`` or ``accelerate launch``, all share the work.

    torchrun --nproc-per-node 8 --no-python uniugg eval rooms --device cuda --json figures.json

Without a launcher one process has it all. On GPUs "cuda" is, for each process, the one of its number on its machine.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

__all__ = ["Share"]

T = TypeVar("T")


class Share:
    """One process's part of the work."""

    def __init__(self) -> None:
        self._state: Any = None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            import torch
            from accelerate import PartialState

            # who is done waits for the others
            self._state = PartialState(cpu=not torch.accelerator.is_available(), timeout=timedelta(days=1))

    @property
    def rank(self) -> int:
        """Number of this process."""
        return 0 if self._state is None else self._state.process_index

    @property
    def count(self) -> int:
        """How many processes there are."""
        return 1 if self._state is None else self._state.num_processes

    @property
    def leads(self) -> bool:
        """Whether this process is the one that prints and writes what is there once."""
        return self.rank == 0

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Every `count`-th item, from this process's number on."""
        return items[self.rank :: self.count]

    def gathered(self, mine: Sequence[T]) -> list[T]:
        """What all processes have, on every process; theirs one after the other."""
        if self._state is None:
            return list(mine)
        from accelerate.utils import gather_object

        return gather_object(list(mine))

    def wait(self) -> None:
        """Until all processes are here."""
        if self._state is not None:
            self._state.wait_for_everyone()
