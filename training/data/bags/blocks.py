"""A block of frames that lie close together in time: decoded and written by one process, or not at all.

A finished block leaves a small file beside the pictures; a conversion that was interrupted does only the blocks that
lack theirs.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import decode_compressed, decode_compressed_depth

from .align import FramePlan
from .frames import Frame, make_frame, read_frames
from .pairs import shrink
from .reader import Bag
from .topics import Topics

__all__ = ["Block", "BlockResult", "Source", "begin_worker", "close_bags", "do_block"]


@dataclass(frozen=True)
class Source:
    """Where frames come from, and what they become; the same for all blocks."""

    path: Path
    scratch: Path  # for unpacking
    topics: Topics | None  # None: a folder of frames
    target: Path  # color/ and depth/ are written below it
    short_side: int | None
    max_depth: float
    min_depth_share: float


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive frames."""

    source: Source
    file: Path  # what says that it is finished
    names: tuple[str, ...]
    plans: tuple[FramePlan, ...]


@dataclass(frozen=True, eq=False)
class BlockResult:
    """What became of a block: F frames in order, and those dropped."""

    names: list[str]
    plans: list[int]  # their numbers in the block
    sizes: list[tuple[int, int]]  # width, height
    intrinsics: np.ndarray  # (F, 3, 3)
    shares: list[float]  # of pixels with depth
    small: list[np.ndarray]  # (h, w) depth each
    small_k: np.ndarray  # (F, 3, 3)
    dropped: list[tuple[int, str]]  # stamp and reason
    pixels: int  # bytes of decoded pictures and depth
    notes: list[str]  # what exactly was wrong, once for each code


def begin_worker() -> None:
    """One thread a process, for the processes are the parallelism; and none outlives a killed parent."""
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def do_block(block: Block) -> BlockResult:
    """Reads, writes and describes a block; one that is finished is only described.

    Raises:
        UniuggError: what :class:`Bag` raises, or INTERNAL where the disk is full.
    """
    if block.file.is_file():
        return _load(block.file)
    found: dict[int, tuple[str, tuple[int, int], np.ndarray, float, np.ndarray, np.ndarray]] = {}
    dropped, notes, pixels = [], {}, 0
    for number, frame in _frames(block):
        stamp = block.plans[number].color.stamp
        if isinstance(frame, UniuggError):
            dropped.append((stamp, f"not decodable: {frame.code.name}"))
            notes.setdefault(frame.code, f"at {stamp / 1e9:.3f} s: {frame}")
            continue
        pixels += frame.image.nbytes + frame.depth.nbytes // 2  # depth as the 16 bits that sensors give
        share = float((frame.depth > 0).mean())
        if share < block.source.min_depth_share:
            dropped.append((stamp, f"depth on less than {block.source.min_depth_share:.0%} of the picture"))
            continue
        name = block.names[number]
        _write(block.source.target, name, frame)
        size = (frame.camera.width, frame.camera.height)
        found[number] = (name, size, frame.camera.matrix, share, *shrink(frame.depth, frame.camera))
    numbers = sorted(found)
    columns = list(zip(*(found[number] for number in numbers))) or [()] * 6
    result = BlockResult(
        list(columns[0]),
        numbers,
        list(columns[1]),
        np.array(columns[2], np.float64).reshape(-1, 3, 3),
        list(columns[3]),
        list(columns[4]),
        np.array(columns[5], np.float64).reshape(-1, 3, 3),
        sorted(dropped),
        pixels,
        list(notes.values()),
    )
    _save(block.file, result)
    return result


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


_OPEN: dict[Path, Bag] = {}  # the bag that this process reads


def _frames(block: Block) -> Iterator[tuple[int, Frame | UniuggError]]:
    source = block.source
    if source.topics is None:
        yield from _folder_frames(block)
        return
    if source.path not in _OPEN:
        while _OPEN:
            _OPEN.popitem()[1].close()
        _OPEN[source.path] = Bag(source.path, source.scratch)
    yield from read_frames(_OPEN[source.path], source.topics, block.plans, source.short_side, source.max_depth)


def close_bags() -> None:
    """Closes what this process has open."""
    while _OPEN:
        _OPEN.popitem()[1].close()


def _folder_frames(block: Block) -> Iterator[tuple[int, Frame | UniuggError]]:
    for number, plan in enumerate(block.plans):
        try:
            color = Path(plan.color.frame).read_bytes()
            depth = decode_compressed_depth(Path(plan.depth.frame).read_bytes())
            image = decode_compressed(color)
            yield number, make_frame(image, color, depth, plan, block.source.short_side, block.source.max_depth)
        except OSError as error:
            yield number, UniuggError(ErrorCode.IMAGE_MISSING, f"{error.filename} cannot be read: {error.strerror}")
        except UniuggError as error:
            yield number, error


def _write(target: Path, name: str, frame: Frame) -> None:
    """The colour picture as it was recorded where nothing was changed, else a JPEG; depth in millimetres."""
    if frame.original is None:
        _, encoded = cv2.imencode(".jpg", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
        color, ending = encoded.tobytes(), ".jpg"
    else:
        color, ending = frame.original, ".png" if frame.original.startswith(b"\x89PNG") else ".jpg"
    millimetres = np.rint(frame.depth * 1000)
    millimetres[millimetres > 65535] = 0
    _, depth = cv2.imencode(".png", millimetres.astype(np.uint16), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    try:
        (target / "color" / (name + ending)).write_bytes(color)
        (target / "depth" / (name + ".png")).write_bytes(depth.tobytes())
    except OSError as error:
        raise UniuggError(ErrorCode.INTERNAL, f"{target} cannot be written: {error.strerror}") from None


def _save(file: Path, result: BlockResult) -> None:
    about = {
        name: getattr(result, name) for name in ("names", "plans", "sizes", "shares", "dropped", "pixels", "notes")
    }
    partial = file.with_name(file.name + ".partial")
    with partial.open("wb") as stream:
        np.savez(
            stream,
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            intrinsics=result.intrinsics,
            small_k=result.small_k,
            **{f"depth{number}": depth for number, depth in enumerate(result.small)},
        )
    os.replace(partial, file)


def _load(file: Path) -> BlockResult:
    with np.load(file, allow_pickle=False) as data:
        about = json.loads(data["about"].tobytes())
        small = [data[f"depth{number}"] for number in range(len(about["names"]))]
        return BlockResult(
            about["names"],
            about["plans"],
            [tuple(size) for size in about["sizes"]],
            data["intrinsics"],
            about["shares"],
            small,
            data["small_k"],
            [tuple(item) for item in about["dropped"]],
            about["pixels"],
            about["notes"],
        )
