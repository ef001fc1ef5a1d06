"""The stream of batches: which samples make up micro-batch b, and the processes that make them ahead of time.

Sample numbers run over all processes: with R processes and batch size B, process r takes the numbers
``position + r B ... position + r B + B - 1`` and the position moves on by ``R B``. The position is all that a
resumed run needs.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

__all__ = ["Batch", "Source", "choose_kind", "stream"]

Batch = dict[str, Any]


class Source(Protocol):
    """Something that makes batches; must survive pickling, since it travels to other processes."""

    def batch(self, kind: str, indices: Sequence[int]) -> Batch:
        """Samples number `indices` of kind `kind`, stacked; a pure function of its arguments."""
        ...


def choose_kind(shares: Mapping[str, float], seed: int, batch: int) -> str:
    """The kind of micro-batch number `batch`: drawn with the weights `shares`, the same in every process."""
    kinds = [kind for kind, share in shares.items() if share > 0]
    if len(kinds) == 1:
        return kinds[0]
    return random.Random(f"{seed}/{batch}").choices(kinds, [shares[kind] for kind in kinds])[0]


class _Requests:
    """Endless requests (kind, indices) from a position on."""

    def __init__(
        self, shares: Mapping[str, float], seed: int, batch: int, sample: int, size: int, rank: int, world: int
    ) -> None:
        self._arguments = shares, seed, batch, sample, size, rank, world

    def __iter__(self) -> Iterator[list[tuple[str, int]]]:
        shares, seed, batch, sample, size, rank, world = self._arguments
        while True:
            first = sample + rank * size
            kind = choose_kind(shares, seed, batch)
            yield [(kind, index) for index in range(first, first + size)]
            batch += 1
            sample += world * size


class _Fetch(Dataset):
    """A source behind the interface of torch's loader."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getitem__(self, request: tuple[str, int]) -> Batch:
        return self.__getitems__([request])

    def __getitems__(self, requests: list[tuple[str, int]]) -> Batch:
        kind = requests[0][0]
        return {**self._source.batch(kind, [index for _, index in requests]), "kind": kind}


def _same(batch: Batch) -> Batch:
    return batch


def _begin_worker(_: int) -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to handle


def stream(
    source: Source,
    shares: Mapping[str, float],
    *,
    seed: int,
    batch: int,
    sample: int,
    size: int,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    prefetch: int = 2,
    start_method: str = "forkserver",
    pin: bool = False,
) -> Iterator[Batch]:
    """Endless batches from micro-batch number `batch` and sample number `sample` on.

    Args:
        source: what makes the samples.
        shares: kinds of batches and how often they come.
        seed: of the order of kinds.
        batch, sample: the position.
        size: samples a batch.
        rank, world: this process and how many there are.
        workers: processes that make samples; 0 makes them in this one.
        prefetch: batches each of them keeps ready.
        start_method: of those processes.
        pin: page-locked memory, for a GPU.

    Yields:
        what ``source.batch`` returned, with its ``kind`` added.
    """
    ahead = {"prefetch_factor": prefetch, "multiprocessing_context": start_method} if workers else {}
    loader = DataLoader(
        _Fetch(source),
        batch_sampler=_Requests(shares, seed, batch, sample, size, rank, world),
        collate_fn=_same,
        num_workers=workers,
        worker_init_fn=_begin_worker if workers else None,
        pin_memory=pin,
        generator=torch.Generator(),  # or the loader would draw from the global one
        **ahead,
    )
    return iter(loader)
