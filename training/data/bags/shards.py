"""Shards of pairs: tar files in the manner of webdataset, a sample a pair, and random access to them.

A sample's members share the part of their name before the first dot:

    00000123.0.jpg  00000123.0.depth.png   the reference: colour as in a folder of frames, depth 16-bit millimetres
    00000123.1.jpg  00000123.1.depth.png   the target
    00000123.json                          {"views": [{"name", "intrinsics", "world_from_camera"} x 2], "covisibility"}

Any reader of webdataset streams them; :class:`PairShard` also finds pair number k at once, since tar members lie in
the file as they are. Writing the same pairs gives the same bytes.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import decode_compressed, decode_compressed_depth

from ..frame_folder import FrameFolder, fitted
from ..views import View

__all__ = ["PairShard", "write_shard"]


def write_shard(path: Path, folder: FrameFolder, pairs: Sequence[Sequence[float]], first: int) -> None:
    """Writes pairs (i, j, overlap of i, overlap of j) of a folder as one tar file, whole or not at all.

    Args:
        first: number of the first pair, which names the samples.
    """
    partial = path.with_name(path.name + ".partial")
    with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, (i, j, forth, back) in enumerate(pairs, first):
            key, views = f"{number:08d}", []
            for side, frame in enumerate((int(i), int(j))):
                color, name = folder.color_file(frame), folder.names[frame]
                _add(tar, f"{key}.{side}{color.suffix}", color.read_bytes())
                _add(tar, f"{key}.{side}.depth.png", (folder.path / "depth" / f"{name}.png").read_bytes())
                matrices = folder.intrinsics[frame].tolist(), folder.world_from_camera[frame].tolist()
                views.append({"name": name, "intrinsics": matrices[0], "world_from_camera": matrices[1]})
            about = {"views": views, "covisibility": [round(float(forth), 4), round(float(back), 4)]}
            _add(tar, f"{key}.json", json.dumps(about).encode())
    os.replace(partial, path)


class PairShard:
    """One tar file of pairs; its members are listed when it is opened.

    Raises:
        UniuggError: IMAGE_MISSING (no such file), IMAGE_UNDECODABLE (no tar file, or cut off).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        samples: dict[str, dict[str, tuple[int, int]]] = {}
        try:
            with tarfile.open(self.path, "r:") as tar:
                for member in tar:
                    if member.isfile():
                        key, _, ending = Path(member.name).name.partition(".")
                        samples.setdefault(key, {})[ending] = (member.offset_data, member.size)
            size = self.path.stat().st_size
        except FileNotFoundError:
            raise UniuggError(ErrorCode.IMAGE_MISSING, f"there is no shard at {self.path}") from None
        except (tarfile.TarError, OSError) as error:
            raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"{self.path} is no whole tar file: {error}") from None
        if any(at + length > size for parts in samples.values() for at, length in parts.values()):
            raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"{self.path} is cut off at byte {size}")
        self._samples = [samples[key] for key in sorted(samples)]

    def __len__(self) -> int:
        return len(self._samples)

    def views(self, number: int) -> tuple[View, View]:
        """Reference and target of pair number `number` of this file, checked.

        Raises:
            UniuggError: IMAGE codes, or what :meth:`View.check` says.
        """
        parts = self._samples[number]
        with self.path.open("rb") as stream:
            about = self._about(stream, parts)
            reference, target = (self._view(stream, parts, side, view) for side, view in enumerate(about["views"]))
        return reference, target

    def _view(
        self, stream: io.BufferedReader, parts: dict[str, tuple[int, int]], side: int, about: dict[str, Any]
    ) -> View:
        color = next((parts[end] for end in (f"{side}.jpg", f"{side}.png", f"{side}.jpeg") if end in parts), None)
        depth = parts.get(f"{side}.depth.png")
        if color is None or depth is None:
            raise UniuggError(ErrorCode.IMAGE_MISSING, f"{self.path} holds a pair without its pictures")
        image = decode_compressed(_read(stream, color))
        return View(
            image,
            fitted(decode_compressed_depth(_read(stream, depth)), image, str(self.path)),
            np.array(about["intrinsics"], np.float64),
            np.array(about["world_from_camera"], np.float64),
            name=f"{self.path.name}/{about['name']}",
        ).check()

    def _about(self, stream: io.BufferedReader, parts: dict[str, tuple[int, int]]) -> dict[str, Any]:
        try:
            about = json.loads(_read(stream, parts["json"]))
            for view in about["views"]:
                if not {"name", "intrinsics", "world_from_camera"} <= set(view):
                    raise ValueError(f"a view of {sorted(view)}")
            if len(about["views"]) != 2:
                raise ValueError(f"{len(about['views'])} views")
            return about
        except (KeyError, TypeError, ValueError) as error:
            raise UniuggError(
                ErrorCode.IMAGE_UNDECODABLE, f"{self.path} holds a sample that is no pair: {error!r}"
            ) from None


def _read(stream: io.BufferedReader, place: tuple[int, int]) -> bytes:
    stream.seek(place[0])
    return stream.read(place[1])


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    about = tarfile.TarInfo(name)  # time, owner and mode stay at their defaults, so the bytes do not depend on the day
    about.size = len(data)
    tar.addfile(about, io.BytesIO(data))
