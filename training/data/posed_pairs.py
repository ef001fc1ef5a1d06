"""Pairs and single pictures from recordings, as a source of the trainer.

Sample number i is a pure function of the folder, the pair list, the options, the seed and i. The pairs are gone through
in epochs, each in another order; within an epoch a group of scenes at a time, so that few are open at once.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uniugg_core.errors import ErrorCode, UniuggError

from .pair_list import DEFAULT_NAME, PairList
from .posed import Reader, Recording, hashed_share
from .views import PairBatch, ViewPair

__all__ = ["PosedConfig", "PosedPairs", "scenes_of_split"]

_LOG = logging.getLogger(__name__)
_TRIES = 20  # damaged pairs in a row after which the data, not the file, is at fault
_VALIDATION = {"validation", "val", "test", "testing"}


@dataclass(frozen=True)
class PosedConfig:
    """What of a recorded set is trained on."""

    size: int = 128  # side of the square pictures
    pairs: str | None = None  # list from `uniugg data pairs`; null: the one in the folder, else the set's own
    covisibility: tuple[float, float] = (0.05, 0.95)  # least and largest share a pair may have, where it is known
    validation_share: float = 0.05  # scenes kept for validation, where the folder's names do not say which
    group: int = 32  # scenes open at once
    reader: dict[str, Any] = field(default_factory=dict)  # options of the reader, see its file

    def __post_init__(self) -> None:
        if self.size < 1 or self.group < 1 or not 0 <= self.validation_share < 1:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"data.options are out of range: {self}")


class PosedPairs:
    """See the module.

    Args:
        name: in the registry of sources.
        readers: layouts that the folder may have; the first that finds scenes is taken.
        folder: of the data.
        config: options.
        split: "train", or anything else for the scenes kept for validation.
        seed: of the order.

    Raises:
        UniuggError: REQUEST_INVALID if the folder is of none of the layouts, or no pairs are known.
    """

    def __init__(
        self, name: str, readers: Sequence[Reader], folder: Path, config: PosedConfig, split: str, seed: int = 0
    ) -> None:
        self.name, self.config, self.split, self.seed = name, config, split, seed
        self.reader, self.scenes = _recognised(readers, folder)
        self.skipped: Counter[str] = Counter()  # damaged pairs that this process met, by error
        self._open: OrderedDict[str, Recording] = OrderedDict()
        self._order: tuple[int, np.ndarray] | None = None
        self.list: PairList | None = None
        self.list = self._choose(self._read_list(folder))
        self._open.clear()  # what was opened for its pairs, has all frames

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict(), "_order": None, "skipped": Counter()}

    def __len__(self) -> int:
        """Pairs of an epoch."""
        return len(self.list)

    # --- samples ---

    def pair(self, index: int) -> ViewPair:
        """Pair number `index`, at the configured size; a damaged one is replaced by the next that is whole.

        Raises:
            UniuggError: IMAGE_UNDECODABLE if too many in a row are damaged.
        """
        epoch, position = divmod(index, len(self))
        for step in range(_TRIES):
            row = int(self._permutation(epoch)[(position + step) % len(self)])
            try:
                return self._load(row, index)
            except UniuggError as error:
                if not self.skipped[error.code.name]:
                    _LOG.warning("a pair is left out: %s", error)
                self.skipped[error.code.name] += 1
        raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"{_TRIES} damaged pairs in a row; see `uniugg data check`")

    def batch(self, kind: str, indices: Sequence[int]) -> dict[str, Any]:
        """Samples number `indices`: "pair" (tensors of :class:`PairBatch`) or "single" ("image" and "index").

        Raises:
            UniuggError: REQUEST_INVALID for another kind.
        """
        if kind == "pair":
            return PairBatch.collate([self.pair(index) for index in indices]).to_dict()
        if kind == "single":
            images = np.stack([self.pair(index).views[index % 2].image for index in indices])
            return {
                "image": torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
                "index": torch.tensor(list(indices)),
            }
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{self.name} has no {kind!r} batches, only pair and single")

    def recording(self, scene: str) -> Recording:
        """The recording of a scene, opened at most once while it is needed."""
        if scene not in self._open:
            if scene not in self.scenes:
                raise UniuggError(ErrorCode.IMAGE_MISSING, f"there is no scene {scene!r} any more")
            self._open[scene] = self.reader.open(
                scene, self.scenes[scene], {**self.config.reader, "only": self._frames(scene)}
            )
        self._open.move_to_end(scene)
        while len(self._open) > 2 * self.config.group:
            self._open.popitem(last=False)
        return self._open[scene]

    def _frames(self, scene: str) -> frozenset[str] | None:
        """Names of the frames of a scene that are in pairs; None while the pairs are not known yet."""
        if self.list is None:
            return None
        rows = self.list.scene == self.list.scenes.index(scene)
        return frozenset([*self.list.reference[rows].tolist(), *self.list.target[rows].tolist()])

    def _load(self, row: int, index: int) -> ViewPair:
        recording = self.recording(self.list.scenes[self.list.scene[row]])
        names = self.list.reference[row], self.list.target[row]
        first, second = (recording.view(recording.number(str(name))).square(self.config.size) for name in names)
        for view in (first, second):
            if not view.check().depth.any():
                raise UniuggError(ErrorCode.IMAGE_MISSING, f"{view.name} has no depth")
        share = self.list.covisibility[row]
        return ViewPair(first, second, (float(share[0]), float(share[1])), self.name, index)

    def _permutation(self, epoch: int) -> np.ndarray:
        """(M,) rows of the list in the order of an epoch."""
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng([self.seed, epoch])
            group = rng.permutation(len(self.list.scenes)) // self.config.group
            order = np.lexsort((rng.random(len(self.list)), group[self.list.scene]))
            self._order = epoch, order
        return self._order[1]

    # --- the list ---

    def _read_list(self, folder: Path) -> PairList:
        path = Path(self.config.pairs) if self.config.pairs else folder / DEFAULT_NAME
        if self.config.pairs or path.is_file():
            pairs = PairList.load(path)
            if pairs.layout != self.reader.layout:
                raise UniuggError(
                    ErrorCode.REQUEST_INVALID, f"{path} is of {pairs.layout!r}, the folder of {self.reader.layout!r}"
                )
            return pairs
        # opening every scene of a large set takes minutes: `uniugg data pairs --listed` does it once for all runs
        own = self.scenes if self.reader.lists else ()
        rows = ((s, [(a, b, v, v) for a, b, v in self.recording(s).listed]) for s in own)
        pairs = PairList.collect(self.reader.layout, rows)
        if not len(pairs):
            raise UniuggError(
                ErrorCode.REQUEST_INVALID, f"{folder} has no list of pairs: run `uniugg data pairs {folder}` first"
            )
        return pairs

    def _choose(self, pairs: PairList) -> PairList:
        """The pairs of this split whose covisibility fits."""
        kept = scenes_of_split(tuple(self.scenes), self.split, self.config.validation_share)
        low, high = self.config.covisibility
        share = pairs.covisibility
        fits = np.isin(np.array(pairs.scenes, str)[pairs.scene], list(kept))
        # a share of 0 or above 1 is a score of another kind, which says nothing
        known = ((share > 0) & (share <= 1)).all(1)
        fits &= ~known | ((share.min(1) >= low) & (share.max(1) <= high))
        if not fits.any():
            raise UniuggError(
                ErrorCode.REQUEST_INVALID,
                f"none of {len(pairs)} pairs is of split {self.split!r} and has a covisibility of {low} to {high}",
            )
        return PairList(
            pairs.layout, pairs.scenes, pairs.scene[fits], pairs.reference[fits], pairs.target[fits], share[fits]
        )


def scenes_of_split(scenes: Sequence[str], split: str, share: float) -> set[str]:
    """Names of the scenes that belong to a split.

    Names under ``Validation/``, ``Test/`` and so on are for validation. Where none is, a share of the scenes is, chosen
    by their names alone (at least one of two scenes; a single scene serves both, and a warning says so).
    """
    held = {name for name in scenes if _VALIDATION & {part.lower() for part in name.split("/")[:-1]}}
    if not held:
        ranked = sorted(scenes, key=lambda name: hashed_share(name.rpartition("/")[2]))
        held = {name for name in ranked if hashed_share(name.rpartition("/")[2]) < share} or set(ranked[:1])
    rest = set(scenes) - held
    if not rest:
        _LOG.warning("training and validation share the same %d scenes", len(held))
        rest = held
    return rest if split == "train" else held


def _recognised(readers: Sequence[Reader], folder: Path) -> tuple[Reader, Mapping[str, Path]]:
    for reader in readers:
        scenes = reader.find(folder)
        if scenes:
            return reader, scenes
    expected = ", ".join(reader.layout for reader in readers)
    raise UniuggError(ErrorCode.REQUEST_INVALID, f"{folder} holds nothing of: {expected}; see `uniugg data check`")
