"""Endless pairs of views of furnished rooms, made while training runs.

Sample number i of a split is a pure function of the configuration, the split, the seed and i: it does not matter which
process makes it, in which order, or whether the run was resumed. Rooms are numbered; the number is the seed of the
room, and the splits own disjoint ranges of it, so no training run ever sees a test room.

    dataset = RoomsDataset(RoomsConfig(size=128), "train", seed=0)
    pair = dataset.pair(7)                              # one ViewPair
    for batch in dataset.batches(32, start=position):   # endless PairBatch; remember how many were used
        ...
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import count
from random import Random
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from uniugg_core.errors import ErrorCode, UniuggError

from .drives import Drive, Renderer, RoomsConfig, open_renderer, photograph
from .questions import LESSONS, Question, QuestionMaker, roll_call
from .views import PairBatch, ViewPair

__all__ = ["SPLITS", "Drive", "RoomsConfig", "RoomsDataset"]

_RANGE = 1 << 60
_SEEDS = 1 << 24  # seeds a split, each with _RANGE / _SEEDS rooms
SPLITS: dict[str, int] = {"train": 0, "validation": _RANGE, "test": 2 * _RANGE}  # first room number of each split


class RoomsDataset(IterableDataset):
    """Pairs, single views and questions of rooms; see the module's docstring for how to iterate.

    Args:
        config: what they are like.
        split: "train", "validation" or "test".
        seed: another seed is another world in the same split.

    Raises:
        UniuggError: REQUEST_INVALID for an unknown split or a seed out of range.
    """

    name = "rooms"

    def __init__(self, config: RoomsConfig | None = None, split: str = "train", seed: int = 0) -> None:
        super().__init__()
        if split not in SPLITS:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"split is {split!r}, expected one of {sorted(SPLITS)}")
        if not 0 <= seed < _SEEDS:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"seed is {seed}, expected 0 to {_SEEDS - 1}")
        self.config = config or RoomsConfig()
        self.split, self.seed = split, seed
        self._drives: OrderedDict[int, Drive] = OrderedDict()  # those that samples still come from
        self._render: Renderer | None = None
        self._questions = QuestionMaker(LESSONS)

    def __getstate__(self) -> dict[str, Any]:
        # Renderers belong to their process; a copy in another one opens its own.
        return {**self.__dict__, "_drives": OrderedDict(), "_render": None}

    # -- samples by number --------------------------------------------------------------------------------------

    def pair(self, index: int) -> ViewPair:
        """Pair number `index`; raises as :meth:`place` does."""
        room, slot = self.place(index)
        drive = self.drive(room)
        reference, target = drive.pairs[slot]
        return ViewPair(
            drive.view(reference), drive.view(target), drive.covisibility[slot], self.name, index, drive.graph
        )

    def place(self, index: int) -> tuple[int, int]:
        """Room number of pair number `index`, and which of that room's pairs it is.

        Raises:
            UniuggError: REQUEST_INVALID for a negative number.
        """
        if index < 0:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"index is {index}, samples count from 0")
        deal, width = self.config.pairs * self.config.interleave, self.config.interleave
        block, rest = divmod(index, deal)
        slot, position = divmod(rest, width)
        return block * width + position, slot

    def questions(self, index: int) -> tuple[ViewPair, tuple[Question, ...]]:
        """Pair number `index` and up to `config.questions` different questions (at least one) about the same views."""
        pair = self.pair(index)
        rng = Random(f"questions/{self.split}/{self.seed}/{index}")
        return pair, self._questions.ask_together(pair, self.config.questions, rng)

    def names(self, index: int) -> tuple[ViewPair, tuple[Question, ...]]:
        """Pair number `index`, and for each of its views where everything is that can be named in it."""
        pair = self.pair(index)
        return pair, roll_call(pair, Random(f"names/{self.split}/{self.seed}/{index}"))

    def drive(self, number: int) -> Drive:
        """Room number `number` of this split and seed with all its views."""
        self._prepare([number])
        return self._drives[number]

    def _prepare(self, rooms: Sequence[int]) -> None:
        """Makes the rooms that are not in memory, together, and lets the longest unused ones go."""
        missing = [room for room in rooms if room not in self._drives]
        if missing:
            self._drives.update(self._make(missing))
        for room in rooms:
            self._drives.move_to_end(room)
        while len(self._drives) > max(self.config.interleave, len(set(rooms))):
            self._drives.popitem(last=False)

    # -- streams ------------------------------------------------------------------------------------------------

    def batch(self, kind: str, indices: Sequence[int]) -> dict[str, Any]:
        """Samples number `indices`, stacked: a pure function of its arguments.

        Args:
            kind: "pair": the tensors of :class:`PairBatch`. "single": "image" (B, 3, H, W) uint8 and "classes"
                (B, H, W) uint8 of unrelated views. "question": the tensors of the pairs, and "questions", for each
                pair a tuple of :class:`Question` that are asked about the same of its views. "names": the same, where
                everything is in each of its views.
            indices: sample numbers.

        Raises:
            UniuggError: REQUEST_INVALID for another kind.
        """
        self._prepare([self.place(index)[0] for index in indices])
        if kind == "pair":
            return PairBatch.collate([self.pair(i) for i in indices]).to_dict()
        if kind == "single":
            views = [self.pair(i).views[i % 2] for i in indices]
            return {
                "image": torch.from_numpy(np.stack([view.image for view in views])).permute(0, 3, 1, 2).contiguous(),
                "classes": torch.from_numpy(np.stack([view.classes for view in views])),  # type: ignore[arg-type]
                "index": torch.tensor(list(indices)),
            }
        if kind in ("question", "names"):
            asked = [self.questions(i) if kind == "question" else self.names(i) for i in indices]
            return {
                **PairBatch.collate([pair for pair, _ in asked]).to_dict(),
                "questions": tuple(questions for _, questions in asked),
            }
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"kind is {kind!r}, expected pair, single, question or names")

    def batches(self, size: int, *, start: int = 0, rank: int = 0, world: int = 1) -> Iterator[PairBatch]:
        """Endless batches of pairs from batch number `start` on.

        Batch b of process `rank` of `world` holds the pairs ``(b * world + rank) * size`` and the `size` - 1 after it.
        In a worker of torch's loader (``batch_size=None``) every worker makes its share, and the loader hands the
        batches out in this same order.
        """
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        number = start + first
        while True:
            begin = (number * world + rank) * size
            yield PairBatch.from_dict(self.batch("pair", range(begin, begin + size)))
            number += step

    def __iter__(self) -> Iterator[ViewPair]:
        """Endless pairs from number 0 on; with several workers in a loader, each has rooms of its own."""
        info = get_worker_info()
        mine, workers = (info.id, info.num_workers) if info else (0, 1)
        for index in count():
            if index % self.config.interleave % workers == mine:
                yield self.pair(index)

    # -- making -------------------------------------------------------------------------------------------------

    def difficulty(self, room: int) -> float:
        """How hard the pairs of room number `room` are, from `easiest` to 1."""
        if self.config.curriculum <= 0:
            return 1.0
        share = min(1.0, room * self.config.pairs / self.config.curriculum)
        return self.config.easiest + (1.0 - self.config.easiest) * share

    def _make(self, numbers: Sequence[int]) -> dict[int, Drive]:
        """Drives through rooms; one with too little free floor for good pairs is replaced, twice at most."""
        if self._render is None:
            self._render = open_renderer(self.config)
        best: dict[int, tuple[Drive, int]] = {}
        wanted = list(dict.fromkeys(numbers))
        for attempt in range(3):
            first = SPLITS[self.split] + self.seed * (_RANGE // _SEEDS) + attempt * (_RANGE // _SEEDS // 4)
            configs = [self.config.at(self.difficulty(number)) for number in wanted]
            for number, made in zip(wanted, photograph([first + n for n in wanted], configs, self._render)):
                if number not in best or made[1] > best[number][1]:
                    best[number] = made
            wanted = [number for number in wanted if best[number][1] < max(1, self.config.pairs // 3)]
            if not wanted:
                break
        return {number: drive for number, (drive, _) in best.items()}
