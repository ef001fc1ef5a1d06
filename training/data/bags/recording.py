"""One recording ready for training: its frames, its pairs, and the views of each pair, whatever form it has on disk.

Three forms: a folder of frames with pairs or tar shards of pairs, both from `uniugg data from-bag`, which leaves a
``recording.json``; or a plain folder of frames, whose pairs are then found when it is opened.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from uniugg_core.cameras import Camera
from uniugg_core.errors import ErrorCode, UniuggError

from ..frame_folder import FrameFolder, is_frame_folder
from ..views import View
from .pairs import PairLimits, candidates, choose, measure, shrink
from .shards import PairShard

__all__ = ["FORMAT", "INDEX", "Recording", "find_recordings", "open_recording"]

FORMAT = "uniugg-recording/1"
INDEX = "recording.json"
MOST_UNPAIRED = 500  # frames of a plain folder; with more, finding pairs at every start takes too long


@dataclass(eq=False)
class Recording:
    """Frames are numbered in time order. Survives pickling; files are opened in the process that reads them."""

    path: Path
    frames: int
    pairs: np.ndarray  # (P, 4): two frame numbers, and the share that each sees of the other
    folder: FrameFolder | None  # where frames lie as files
    shards: tuple[tuple[str, int], ...] = ()  # otherwise: tar files and their pairs
    _open: dict[str, PairShard] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}

    def views(self, pair: int) -> tuple[View, View]:
        """Both views of a pair at their stored size.

        Raises:
            UniuggError: IMAGE codes for damaged or missing files.
        """
        if self.folder is not None:
            i, j = (int(number) for number in self.pairs[pair, :2])
            return self.folder.view(i), self.folder.view(j)
        name, count, pair = self._place(pair)
        if name not in self._open:
            shard = PairShard(self.path / name)
            if len(shard) != count:
                raise UniuggError(
                    ErrorCode.IMAGE_UNDECODABLE, f"{self.path / name} has {len(shard)} pairs, its index says {count}"
                )
            self._open[name] = shard
        return self._open[name].views(pair)

    def _place(self, pair: int) -> tuple[str, int, int]:
        """The shard of a pair, how many that has, and the pair's number in it."""
        for name, count in self.shards:
            if pair < count:
                return name, count, pair
            pair -= count
        raise IndexError(f"there is no pair {pair} behind the last shard of {self.path}")

    def within(self, first: int, last: int) -> np.ndarray:
        """Numbers of the pairs with both frames from `first` up to but without `last`."""
        frames = self.pairs[:, :2]
        return np.flatnonzero((frames >= first).all(-1) & (frames < last).all(-1))


def find_recordings(path: str | Path) -> list[Path]:
    """The recording at `path`, or those in the folders right below it, by name.

    Raises:
        UniuggError: IMAGE_MISSING if there are none.
    """
    path = Path(path)
    if _is_recording(path):
        return [path]
    found = sorted(folder for folder in path.iterdir() if _is_recording(folder)) if path.is_dir() else []
    if not found:
        raise UniuggError(
            ErrorCode.IMAGE_MISSING,
            f"{path} is no recording: expected a {INDEX} (made by `uniugg data from-bag`), a folder of frames, or a "
            "folder of such folders",
        )
    return found


def open_recording(path: str | Path) -> Recording:
    """Reads the index of a recording, or finds the pairs of a plain folder of frames.

    Raises:
        UniuggError: IMAGE_MISSING, REQUEST_INVALID (not of this format), and what :meth:`FrameFolder.open` raises.
    """
    path = Path(path)
    if not (path / INDEX).is_file():
        return _plain(path)
    try:
        index = json.loads((path / INDEX).read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            raise ValueError(f"format {index['format']!r}, expected {FORMAT!r}")
        pairs = np.array(index["pairs"], np.float64).reshape(-1, 4)
        frames = int(index["frames"])
        shards = tuple((str(shard["name"]), int(shard["pairs"])) for shard in index.get("shards", ()))
        if index["form"] == "shards" and sum(count for _, count in shards) != len(pairs):
            raise ValueError("the shards do not add up to the pairs")
        folder = FrameFolder.open(path) if index["form"] == "folder" else None
        if folder is not None and len(folder) != frames:
            raise ValueError(f"{frames} frames, the tables have {len(folder)}")
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path / INDEX} is no index of a recording: {error!r}") from None
    except UniuggError:
        raise
    except ValueError as error:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path / INDEX}: {error}") from None
    if len(pairs) and not ((pairs[:, :2] >= 0) & (pairs[:, :2] < frames)).all():
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path / INDEX} has pairs of frames that are not there")
    return Recording(path, frames, pairs, folder, shards)


def _is_recording(path: Path) -> bool:
    return (path / INDEX).is_file() or is_frame_folder(path)


def _plain(path: Path) -> Recording:
    folder = FrameFolder.open(path)
    if len(folder) > MOST_UNPAIRED:
        raise UniuggError(
            ErrorCode.REQUEST_INVALID,
            f"{path} has {len(folder)} frames and no {INDEX}: run `uniugg data from-bag {path} OUT` once",
        )
    small, matrices = [], []
    for number in range(len(folder)):
        view = folder.view(number)
        depth, k = shrink(view.depth, Camera(view.image.shape[1], view.image.shape[0], view.intrinsics))
        small.append(depth)
        matrices.append(k)
    if len({depth.shape for depth in small}) != 1:
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, f"{path} has pictures of several shapes: run `uniugg data from-bag`"
        )
    limits, poses = PairLimits(), folder.world_from_camera
    tried = candidates(poses, np.zeros(len(folder), int), limits)
    overlaps = measure(np.stack(small), np.stack(matrices), poses, tried[:, :2])
    kept = choose(tried[:, :2], overlaps, limits)
    return Recording(path, len(folder), np.concatenate([tried[kept, :2], overlaps[kept]], -1), folder)
