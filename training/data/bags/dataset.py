"""Recordings as a source of batches: what a robot saw, in the interface of the procedural rooms.

Sample number i is a pure function of the recordings, the configuration, the split, the seed and i. Every epoch shows
each pair once, in an order of its own.

The last frames of every recording are held out: the training split never shows one of them, and validation and test
show only pairs among them. Held-out frames see the same place as the others; for another place record again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from uniugg_core.errors import ErrorCode, UniuggError

from ..questions import Question, QuestionMaker
from ..views import PairBatch, View, ViewPair
from .recording import Recording, find_recordings, open_recording

__all__ = ["BagsConfig", "BagsDataset"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class BagsConfig:
    """How recordings are shown."""

    size: int = 128  # side of the square pictures; the centre of what was recorded
    held_out: float = 0.1  # last frames of each recording, for validation and test: a share, or from 1 on a number
    questions: int = 1  # most that are asked about a pair, all about the same of its views
    swap: bool = True  # whether the later frame of a pair may be the reference
    cache: int = 600  # pairs of pictures kept in memory by each process, at `size`

    def __post_init__(self) -> None:
        for name, good in (
            ("size", self.size > 0),
            ("held_out", self.held_out >= 0),
            ("questions", self.questions > 0),
            ("cache", self.cache >= 0),
        ):
            if not good:
                raise UniuggError(ErrorCode.REQUEST_INVALID, f"data.options.{name} is {getattr(self, name)!r}")


class BagsDataset:
    """Pairs and questions of one recording, or of all in a folder.

    Args:
        path: a recording (see :mod:`training.data.bags.recording`) or a folder of recordings.
        config: how they are shown.
        split: "train", "validation" or "test"; the last two are the same here.
        seed: of the order and of the questions.

    Raises:
        UniuggError: REQUEST_INVALID for an unknown split; IMAGE_MISSING where there is nothing to show.
    """

    name = "bags"

    def __init__(self, path: str | Path, config: BagsConfig | None = None, split: str = "train", seed: int = 0) -> None:
        if split not in SPLITS:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"split is {split!r}, expected one of {list(SPLITS)}")
        self.config, self.split, self.seed = config or BagsConfig(), split, seed
        self.recordings: list[Recording] = [open_recording(folder) for folder in find_recordings(path)]
        places = []
        for number, recording in enumerate(self.recordings):
            held = self.config.held_out
            border = recording.frames - round(held if held >= 1 else held * recording.frames)
            mine = recording.within(*((0, border) if split == "train" else (border, recording.frames)))
            places.append(np.stack([np.full(len(mine), number), mine], -1))
        self._places = np.concatenate(places)  # (P, 2): recording and pair
        if not len(self._places):
            raise UniuggError(
                ErrorCode.IMAGE_MISSING,
                f"{path} has no pairs for the {split} split; data.options.held_out is {self.config.held_out:g}",
            )
        self._questions = QuestionMaker()
        self._views: OrderedDict[tuple[int, int], tuple[View, View]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_views": OrderedDict()}

    def __len__(self) -> int:
        """Pairs in an epoch."""
        return len(self._places)

    def pair(self, index: int) -> ViewPair:
        """Pair number `index`; numbers go on over the epochs.

        Raises:
            UniuggError: REQUEST_INVALID for a negative number; IMAGE codes for damaged files.
        """
        if index < 0:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"index is {index}, samples count from 0")
        epoch, position = divmod(index, len(self))
        order = np.random.default_rng([self.seed, SPLITS.index(self.split), epoch]).permutation(len(self))
        number, pair = (int(value) for value in self._places[order[position]])
        recording = self.recordings[number]
        reference, target = self._sized(number, pair)
        forth, back = (float(value) for value in recording.pairs[pair, 2:])
        found = ViewPair(reference, target, (forth, back), self.name, index)
        turn = self.config.swap and Random(f"swap/{self.split}/{self.seed}/{index}").random() < 0.5
        return found.swapped() if turn else found

    def questions(self, index: int) -> tuple[ViewPair, tuple[Question, ...]]:
        """Pair number `index` and different questions about the same of its views, from depth and poses."""
        pair, rng = self.pair(index), Random(f"questions/{self.split}/{self.seed}/{index}")
        return pair, self._questions.ask_together(pair, self.config.questions, rng)

    def batch(self, kind: str, indices: Sequence[int]) -> dict[str, Any]:
        """Samples number `indices`, stacked: a pure function of its arguments.

        Args:
            kind: "pair": the tensors of :class:`PairBatch`; "single": "image" (B, 3, H, W) uint8 of one view each;
                "question": the tensors of the pairs and "questions", for each a tuple of :class:`Question` about the
                same of its views.
            indices: sample numbers.

        Raises:
            UniuggError: REQUEST_INVALID for another kind; IMAGE codes for damaged files.
        """
        if kind == "pair":
            return PairBatch.collate([self.pair(index) for index in indices]).to_dict()
        if kind == "single":
            views = [self.pair(index).views[index % 2] for index in indices]
            pictures = np.stack([view.image for view in views])
            return {
                "image": torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(),
                "index": torch.tensor(list(indices)),
            }
        if kind == "question":
            asked = [self.questions(index) for index in indices]
            return {
                **PairBatch.collate([pair for pair, _ in asked]).to_dict(),
                "questions": tuple(questions for _, questions in asked),
            }
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"kind is {kind!r}, expected pair, single or question")

    def _sized(self, recording: int, pair: int) -> tuple[View, View]:
        """Both views at the configured size, from memory if they were shown lately."""
        key = (recording, pair)
        if key not in self._views:
            reference, target = self.recordings[recording].views(pair)
            self._views[key] = (reference.square(self.config.size), target.square(self.config.size))
        self._views.move_to_end(key)
        found = self._views[key]
        while len(self._views) > self.config.cache:
            self._views.popitem(last=False)
        return found
