"""``depth.bin`` of ScanNet++'s iPhone recordings: one frame after the other, compressed in one of three ways.

* "lz4": for each frame four bytes little-endian size, then an lz4 block of 192 x 256 uint16 millimetres;
* "deflate frames": the same sizes, each with a raw deflate stream of float32 metres;
* "deflate stream": the whole file is one raw deflate stream of float32 metres, without sizes.

Which one a file is, is decided by its first frame. Nothing is decompressed beyond the size a frame must have.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError

__all__ = ["SHAPE", "DepthFile", "StreamDepth"]

SHAPE = (192, 256)  # rows and columns of a frame
_PIXELS = SHAPE[0] * SHAPE[1]
_CHUNK = 1 << 16  # compressed bytes read at once
_MARK_EVERY = 16  # frames of a deflate stream between two remembered states of the decompressor


class DepthFile:
    """Random access to the frames of one ``depth.bin``; what it learns about the file stays in this process.

    Raises:
        UniuggError: IMAGE_MISSING if it cannot be read, IMAGE_UNDECODABLE if it is none of the three.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: list[tuple[int, int]] = []
        self._marks: list[tuple[int, Any, bytes]] = []  # (file offset, decompressor, bytes left over) every so often
        try:
            self._size = path.stat().st_size
        except OSError as error:
            raise UniuggError(ErrorCode.IMAGE_MISSING, f"{path} cannot be read: {error.strerror}") from None
        self.kind = self._recognise()

    def __len__(self) -> int:
        """Frames; a last one that is cut off does not count. Of a deflate stream, the whole file must be read once."""
        if self.kind == "deflate stream":
            count = 0
            try:
                while True:
                    self._from_stream(count)
                    count += 1
            except UniuggError:
                return count
        return len(self._offsets)

    def frame(self, number: int) -> np.ndarray:
        """Depth (192, 256) float32 metres of frame `number`.

        Raises:
            UniuggError: IMAGE_MISSING if there are fewer frames, IMAGE_UNDECODABLE if this one is damaged.
        """
        if number < 0:
            raise UniuggError(ErrorCode.IMAGE_MISSING, f"{self.path} has no frame {number}")
        if self.kind == "deflate stream":
            return self._from_stream(number)
        if number >= len(self._offsets):
            raise UniuggError(ErrorCode.IMAGE_MISSING, f"{self.path} has {len(self._offsets)} frames, not {number}")
        offset, size = self._offsets[number]
        with self.path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
        depth = _lz4(data) if self.kind == "lz4" else _deflate(data)
        if depth is None:
            raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"{self.path}: frame {number} is damaged")
        return depth

    def _recognise(self) -> str:
        offset = 0
        with self.path.open("rb") as file:
            while offset + 4 <= self._size:
                file.seek(offset)
                size = int.from_bytes(file.read(4), "little")
                if not 0 < size <= self._size - offset - 4:
                    break  # cut off, or no sizes at all
                self._offsets.append((offset + 4, size))
                offset += 4 + size
            if self._offsets:
                file.seek(self._offsets[0][0])
                first = file.read(self._offsets[0][1])
                for kind, read in (("lz4", _lz4), ("deflate frames", _deflate)):
                    if read(first) is not None:
                        return kind
        self._offsets = []
        self._marks = [(0, zlib.decompressobj(-zlib.MAX_WBITS), b"")]
        try:
            self._from_stream(0)
        except UniuggError:
            raise UniuggError(
                ErrorCode.IMAGE_UNDECODABLE, f"{self.path} is neither lz4 frames nor deflated depth of {SHAPE}"
            ) from None
        return "deflate stream"

    def _from_stream(self, number: int) -> np.ndarray:
        mark = min(number // _MARK_EVERY, len(self._marks) - 1)
        position, unpack, left = self._marks[mark]
        unpack = unpack.copy()
        at = mark * _MARK_EVERY
        with self.path.open("rb") as file:
            file.seek(position)
            while True:
                if at % _MARK_EVERY == 0 and at // _MARK_EVERY == len(self._marks):
                    self._marks.append((position, unpack.copy(), left))
                frame, left, position = self._next(file, unpack, left, position)
                if at == number:
                    return np.frombuffer(frame, np.float32).reshape(SHAPE).copy()
                at += 1

    def _next(self, file: Any, unpack: Any, left: bytes, position: int) -> tuple[bytes, bytes, int]:
        """The next frame's bytes, and what of the compressed bytes was read but not used."""
        parts, missing = [], 4 * _PIXELS
        while missing:
            data = left or file.read(_CHUNK)
            if not left:
                position += len(data)
            try:
                part = unpack.decompress(data, missing)
            except zlib.error:
                raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"{self.path} is damaged at byte {position}") from None
            left = unpack.unconsumed_tail
            if not part and (not data or unpack.eof):
                raise UniuggError(ErrorCode.IMAGE_MISSING, f"{self.path} ends before this frame")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts), left, position


class StreamDepth:
    """Frame `number` of a ``depth.bin``, see :class:`training.data.posed.Depth`.

    Frames of one recording share the :class:`DepthFile`.
    """

    def __init__(self, file: DepthFile, number: int) -> None:
        self.file, self.number = file, number

    def read(self) -> np.ndarray:
        """(192, 256) float32 metres."""
        return self.file.frame(self.number)


def _lz4(data: bytes) -> np.ndarray | None:
    from lz4.block import LZ4BlockError, decompress  # only these recordings need it

    try:
        raw = decompress(data, uncompressed_size=2 * _PIXELS)
    except (LZ4BlockError, MemoryError, ValueError):
        return None
    if len(raw) != 2 * _PIXELS:
        return None
    return np.frombuffer(raw, "<u2").reshape(SHAPE).astype(np.float32) * np.float32(1e-3)


def _deflate(data: bytes) -> np.ndarray | None:
    try:
        raw = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, 4 * _PIXELS)
    except zlib.error:
        return None
    return np.frombuffer(raw, "<f4").reshape(SHAPE).copy() if len(raw) == 4 * _PIXELS else None
