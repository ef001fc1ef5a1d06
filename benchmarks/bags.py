"""How fast recordings become pictures: ``python -m benchmarks.bags [--size 640 480] [--frames 120] [--json FILE]``.

Bags of colour and depth are written in the usual forms, read once so that they lie in the page cache, and read again by
one and by two processes through the same functions as ``uniugg data from-bag``. Bytes are those of the decoded pictures
(three a pixel for colour, two for depth). The parts say what limits each form.
"""

from __future__ import annotations

import os

# Read when NumPy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

__all__ = ["FORMS", "Rate", "main", "measure"]

SECOND = 10**9
# name: storage, compression, colour, depth
FORMS = {
    "sqlite3, raw": ("SQLITE3", None, "rgb8", "16UC1"),
    "sqlite3, raw bgr8": ("SQLITE3", None, "bgr8", "16UC1"),
    "mcap, raw": ("MCAP", None, "rgb8", "16UC1"),
    "mcap, raw, 32FC1": ("MCAP", None, "rgb8", "32FC1"),
    "mcap, zstd chunks": ("MCAP", "STORAGE", "rgb8", "16UC1"),
    "sqlite3, zstd messages": ("SQLITE3", "MESSAGE", "rgb8", "16UC1"),
    "mcap, JPEG + PNG depth": ("MCAP", None, "jpeg", "compressedDepth"),
    "mcap, JPEG + raw depth": ("MCAP", None, "jpeg", "16UC1"),
}


@dataclass(frozen=True)
class Rate:
    """Megabytes (10^6) of decoded pictures a second, all processes together, and where one process's time goes."""

    form: str
    processes: int
    mb_per_second: float
    frames_per_second: float
    read: float  # share of the time spent in storage and decompression
    parse: float  # in the message
    decode: float  # from bytes to RGB and metres


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bags", description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--frames", type=int, default=120, help="pictures a bag (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="the best of so many (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    given = parser.parse_args(argv)
    rates = measure(tuple(given.size), given.frames, given.repeat)
    print(f"{'':<26}{'processes':>10}{'MB/s':>9}{'frames/s':>10}{'read':>8}{'parse':>8}{'decode':>8}")
    for r in rates:
        print(
            f"{r.form:<26}{r.processes:>10}{r.mb_per_second:>9.0f}{r.frames_per_second:>10.0f}"
            f"{r.read:>8.0%}{r.parse:>8.0%}{r.decode:>8.0%}"
        )
    if given.json:
        from .harness import machine

        report = {"machine": machine(), "size": list(given.size), "rates": [asdict(rate) for rate in rates]}
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def measure(size: tuple[int, int], frames: int, repeat: int) -> list[Rate]:
    """Every form with one and with two processes; see :func:`main` for the arguments."""
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        for name, form in FORMS.items():
            bag = Path(folder) / name.replace(", ", "-").replace(" ", "-")
            write(bag, form, size, frames)
            parts = _parts(bag)
            for processes in (1, 2):
                seconds = min(_together(bag, frames, processes) for _ in range(repeat))
                megabytes = 5 * size[0] * size[1] * frames / 1e6
                rates.append(Rate(name, processes, megabytes / seconds, frames / seconds, *parts))
    return rates


def write(folder: Path, form: tuple[str, str | None, str, str], size: tuple[int, int], frames: int) -> None:
    """A bag of colour and depth at 30 Hz. The pictures are soft shapes with sensor noise, so that they compress as
    pictures do."""
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
    from rosbags.typesys import Stores, get_typestore

    storage, compression, color, depth = form
    store = get_typestore(Stores.ROS2_JAZZY)
    writer = Writer(folder, version=9, storage_plugin=StoragePlugin[storage])
    if compression:
        writer.set_compression(CompressionMode[compression], CompressionFormat.ZSTD)
    pictures = [_picture(size, seed) for seed in range(8)]
    with writer:
        topics: dict[str, Any] = {}
        for number in range(frames):
            rgb, metres = pictures[number % len(pictures)]
            stamp = 100 * SECOND + number * SECOND // 30
            messages = {"/color": _color(store, stamp, rgb, color), "/depth": _depth(store, stamp, metres, depth)}
            for topic, message in messages.items():
                if topic not in topics:
                    topics[topic] = writer.add_connection(topic, message.__msgtype__, typestore=store)
                writer.write(topics[topic], stamp, store.serialize_cdr(message, message.__msgtype__))


def read(folder: Path, start: int | None = None, stop: int | None = None) -> int:
    """Decodes what was logged from `start` to `stop`; how many pictures."""
    from training.data.bags.frames import decode_color, decode_depth
    from training.data.bags.reader import Bag

    count = 0
    with Bag(folder) as bag:
        types = {topic.name: topic.msgtype for topic in bag.topics.values()}
        for topic, _, data in bag.messages(["/color", "/depth"], start, stop):
            (decode_color if topic == "/color" else decode_depth)(data, types[topic])
            count += 1
    return count


def _together(folder: Path, frames: int, processes: int) -> float:
    """Seconds that so many processes take for the whole bag, each for its part of the time."""
    context = multiprocessing.get_context("spawn")
    start, done = context.Barrier(processes + 1), context.Barrier(processes + 1)
    edges = [100 * SECOND + frames * part // processes * SECOND // 30 for part in range(processes + 1)]
    workers = [
        context.Process(target=_work, args=(folder, edges[part], edges[part + 1], start, done))
        for part in range(processes)
    ]
    for worker in workers:
        worker.start()
    start.wait()
    begin = time.perf_counter()
    done.wait()
    seconds = time.perf_counter() - begin
    for worker in workers:
        worker.join()
    return seconds


def _work(folder: Path, first: int, last: int, start: Any, done: Any) -> None:
    cv2.setNumThreads(1)
    read(folder, first, first + SECOND // 5)  # imports, decoders, page cache
    start.wait()
    read(folder, first, last)
    done.wait()


def _parts(folder: Path) -> tuple[float, float, float]:
    """Shares of one process's time: storage, message, pixels."""
    from training.data.bags.frames import decode_color, decode_depth
    from training.data.bags.reader import Bag, deserialize

    cv2.setNumThreads(1)
    read(folder)
    with Bag(folder) as bag:
        types = {topic.name: topic.msgtype for topic in bag.topics.values()}
        begin = time.process_time()
        messages = [(topic, data) for topic, _, data in bag.messages(["/color", "/depth"])]
        reading = time.process_time() - begin
    begin = time.process_time()
    for topic, data in messages:
        deserialize(data, types[topic])
    parsing = time.process_time() - begin
    begin = time.process_time()
    for topic, data in messages:
        (decode_color if topic == "/color" else decode_depth)(data, types[topic])
    decoding = max(time.process_time() - begin - parsing, 0.0)
    total = reading + parsing + decoding
    return reading / total, parsing / total, decoding / total


def _picture(size: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    width, height = size
    coarse = rng.uniform(0, 255, (height // 40, width // 40, 4)).astype(np.float32)
    smooth = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    rgb = np.clip(smooth[..., :3] + rng.normal(0, 2, (height, width, 3)), 0, 255).astype(np.uint8)
    metres = (1 + smooth[..., 3] / 100 + rng.normal(0, 0.002, (height, width))).clip(0.3, 8).astype(np.float32)
    return rgb, metres


def _color(store: Any, stamp: int, rgb: np.ndarray, encoding: str) -> Any:
    pixels = rgb[..., ::-1] if encoding in ("bgr8", "jpeg") else rgb
    if encoding == "jpeg":
        data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].ravel()
        return store.types["sensor_msgs/msg/CompressedImage"](_header(store, stamp), "rgb8; jpeg compressed bgr8", data)
    height, width = rgb.shape[:2]
    data = np.ascontiguousarray(pixels).ravel()
    return store.types["sensor_msgs/msg/Image"](_header(store, stamp), height, width, encoding, 0, 3 * width, data)


def _depth(store: Any, stamp: int, metres: np.ndarray, encoding: str) -> Any:
    height, width = metres.shape
    values = metres if encoding == "32FC1" else np.rint(1000 * metres).astype(np.uint16)
    if encoding == "compressedDepth":
        png = cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].ravel()
        data = np.concatenate([np.zeros(12, np.uint8), png])
        kind = store.types["sensor_msgs/msg/CompressedImage"]
        return kind(_header(store, stamp), "16UC1; compressedDepth png", data)
    data = np.ascontiguousarray(values).view(np.uint8).ravel()
    step = values.itemsize * width
    return store.types["sensor_msgs/msg/Image"](_header(store, stamp), height, width, encoding, 0, step, data)


def _header(store: Any, stamp: int) -> Any:
    time_type = store.types["builtin_interfaces/msg/Time"]
    return store.types["std_msgs/msg/Header"](time_type(stamp // SECOND, stamp % SECOND), "camera")


if __name__ == "__main__":
    raise SystemExit(main())
