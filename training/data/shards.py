"""Shards as img2dataset writes them for LAION-400M and others: tar files of ``<key>.{jpg,txt,json}`` (webdataset).

Members of one sample stand next to each other and share everything before the first dot of their name. A shard is
scanned once, headers only, and then read at any place, so that sample numbers mean the same after a resume. Whole
shards may be compressed (.tar.gz, .tgz), then they are unpacked into memory; so may members (.txt.gz).

Shards come in another order in every epoch, and so do the samples of each. A shard that is cut off ends where it is
damaged; a sample without a picture, or with one that cannot be decoded, is skipped and counted by whoever reads.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib
from collections import Counter, OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError

__all__ = ["Sample", "Shard", "ShardPictures", "find"]

ENDINGS = (".tar", ".tar.gz", ".tgz")
_PICTURES = ("jpg", "jpeg", "png")
_OPEN = 4  # shards remembered at once
_MOST_UNPACKED = 1 << 31  # bytes of a compressed shard, unpacked


@dataclass(frozen=True)
class Sample:
    """One sample of a shard: where each of its members lies, by ending."""

    key: str
    members: dict[str, tuple[int, int]]  # ending -> offset and size

    @property
    def picture(self) -> str | None:
        """The ending of its picture, if it has one."""
        return next((ending for ending in _PICTURES if ending in self.members), None)


class Shard:
    """One tar file, scanned.

    Raises:
        UniuggError: IMAGE_MISSING if it cannot be opened; IMAGE_UNDECODABLE if it is no tar file at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = ""  # why the scan ended early
        self._data: bytes | None = None
        try:
            with path.open("rb") as file:
                if file.read(2) == b"\x1f\x8b":
                    self._data = self._unpacked()
            self.samples = self._scan()
        except OSError as error:
            raise UniuggError(ErrorCode.IMAGE_MISSING, f"{path} cannot be read: {error.strerror or error}") from None
        if not self.samples and self.damaged:
            raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"{path} is no shard: {self.damaged}")

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, number: int, ending: str) -> bytes:
        """A member of sample `number`; one that was stored as ``<ending>.gz`` is unpacked.

        Raises:
            UniuggError: IMAGE_MISSING, IMAGE_UNDECODABLE.
        """
        sample = self.samples[number]
        packed = ending not in sample.members and f"{ending}.gz" in sample.members
        if ending not in sample.members and not packed:
            raise UniuggError(ErrorCode.IMAGE_MISSING, f"{self.path}: {sample.key} has no .{ending}")
        offset, size = sample.members[f"{ending}.gz" if packed else ending]
        if self._data is not None:
            data = self._data[offset : offset + size]
        else:
            with self.path.open("rb") as file:
                file.seek(offset)
                data = file.read(size)
        if len(data) != size:
            raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"{self.path}: {sample.key}.{ending} is cut off")
        try:
            return gzip.decompress(data) if packed else data
        except (OSError, EOFError, zlib.error) as error:
            raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"{self.path}: {sample.key}.{ending}: {error}") from None

    def picture(self, number: int) -> bytes:
        """The encoded picture of sample `number`; raises as :meth:`read`."""
        ending = self.samples[number].picture
        if ending is None:
            raise UniuggError(ErrorCode.IMAGE_MISSING, f"{self.path}: {self.samples[number].key} has no picture")
        return self.read(number, ending)

    def caption(self, number: int) -> str:
        """The text of sample `number`; empty if there is none."""
        try:
            return self.read(number, "txt").decode("utf-8", errors="replace").strip()
        except UniuggError:
            return ""

    def about(self, number: int) -> dict[str, Any]:
        """What img2dataset wrote about sample `number` (url, status, width ...); empty if unreadable."""
        try:
            data = json.loads(self.read(number, "json"))
        except (UniuggError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    def _unpacked(self) -> bytes:
        parts, size = [], 0
        try:
            with gzip.open(self.path) as file:
                while part := file.read(1 << 20):
                    parts.append(part)
                    size += len(part)
                    if size > _MOST_UNPACKED:
                        raise UniuggError(ErrorCode.IMAGE_TOO_LARGE, f"{self.path} unpacks to over 2 GiB")
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.damaged = str(error)
        return b"".join(parts)

    def _scan(self) -> list[Sample]:
        samples: list[Sample] = []
        members: OrderedDict[str, tuple[int, int]] = OrderedDict()
        key = None
        source = {"fileobj": io.BytesIO(self._data)} if self._data is not None else {"name": self.path}
        size = len(self._data) if self._data is not None else self.path.stat().st_size
        try:
            with tarfile.open(mode="r:", **source) as tar:  # type: ignore[call-overload]
                for entry in tar:
                    if not entry.isfile():
                        continue
                    folder, _, name = entry.name.rpartition("/")
                    stem, _, ending = name.partition(".")
                    own = f"{folder}/{stem}" if folder else stem
                    if own != key or ending.lower() in members:
                        if members:
                            samples.append(Sample(str(key), dict(members)))
                        key, members = own, OrderedDict()
                    if entry.offset_data + entry.size <= size:
                        members[ending.lower()] = (entry.offset_data, entry.size)
                    else:
                        self.damaged = f"{entry.name} is cut off"
        except (tarfile.TarError, EOFError, zlib.error) as error:
            self.damaged = str(error)
        if members:
            samples.append(Sample(str(key), dict(members)))
        return samples


def find(root: Path) -> list[Path]:
    """The shards of a folder, or in folders right below it."""
    here = [path for path in (*root.glob("*"), *root.glob("*/*")) if path.name.lower().endswith(ENDINGS)]
    return sorted(path for path in here if path.is_file())


class ShardPictures:
    """The pictures of many shards, see :class:`training.data.single.Pictures`.

    How many samples a shard has stands in its ``_stats.json`` ("successes"); without one it is scanned at the start.
    Validation has the shards that training has not: every twentieth, at least one of two.

    Raises:
        UniuggError: IMAGE_MISSING if there are none.
    """

    def __init__(self, root: Path, split: str = "train") -> None:
        self.skipped: Counter[str] = Counter()
        self._open: OrderedDict[int, Shard] = OrderedDict()
        paths, counts = [], []
        for path in find(root):
            try:
                counts.append(_count(path))
                paths.append(path)
            except UniuggError:
                self.skipped["unreadable shards"] += 1
        if not paths:
            raise UniuggError(ErrorCode.IMAGE_MISSING, f"{root} holds no readable shard ({', '.join(ENDINGS)})")
        held = [number for number in range(len(paths)) if number % 20 == 19] or [len(paths) - 1]
        if len(paths) > 1:
            chosen = [n for n in range(len(paths)) if (n in held) != (split == "train")]
            paths, counts = [paths[n] for n in chosen], [counts[n] for n in chosen]
        self.paths, self.counts = paths, np.array(counts, np.int64)
        self._layout: tuple[tuple[int, int], np.ndarray, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict(), "_layout": None}

    def __len__(self) -> int:
        return int(self.counts.sum())

    def place(self, seed: int, epoch: int, position: int) -> tuple[int, int]:
        """Which shard, and which sample of it, stands at a position of an epoch."""
        if self._layout is None or self._layout[0] != (seed, epoch):
            order = np.random.default_rng([seed, epoch]).permutation(len(self.paths))
            self._layout = (seed, epoch), order, np.cumsum(self.counts[order])
        _, order, ends = self._layout
        turn = int(np.searchsorted(ends, position, side="right"))
        shard = int(order[turn])
        within = position - int(ends[turn] - self.counts[shard])
        return shard, int(_order(int(self.counts[shard]), seed, epoch, shard)[within])

    def read(self, seed: int, epoch: int, position: int) -> bytes:
        """See :class:`training.data.single.Pictures`."""
        number, sample = self.place(seed, epoch, position)
        shard = self.shard(number)
        if sample >= len(shard):
            raise UniuggError(ErrorCode.IMAGE_MISSING, f"{shard.path} has {len(shard)} samples, not {sample}")
        return shard.picture(sample)

    def shard(self, number: int) -> Shard:
        """Shard number `number`, scanned at most once while it is needed."""
        if number not in self._open:
            self._open[number] = Shard(self.paths[number])
        self._open.move_to_end(number)
        while len(self._open) > _OPEN:
            self._open.popitem(last=False)
        return self._open[number]


def _order(count: int, seed: int, epoch: int, shard: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch, shard]).permutation(count)


def _count(path: Path) -> int:
    stats = path.with_name(f"{path.name.partition('.')[0]}_stats.json")
    try:
        count = int(json.loads(stats.read_text())["successes"])
        if count > 0:
            return count
    except (OSError, ValueError, KeyError, TypeError):
        pass  # written by something else, or not finished: the shard itself knows
    return len(Shard(path))
