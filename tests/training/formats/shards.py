"""Writes shards as img2dataset does, and folders as ImageNet has them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np


def picture(seed: int, size: tuple[int, int] = (96, 80), ending: str = ".jpg") -> bytes:
    """A smooth picture whose mean colour tells its seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (4, 4, 3)).astype(np.uint8)
    ok, data = cv2.imencode(ending, cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))
    assert ok
    return data.tobytes()


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """One member."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def write_shard(path: Path, count: int, *, first: int = 0, stats: bool = True, broken: tuple[int, ...] = ()) -> Path:
    """``00000.tar`` of jpg, txt and json, with its ``_stats.json``; pictures numbered in `broken` are cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as tar:
        for n in range(count):
            key = f"{int(path.name.partition('.')[0]):05d}{n:04d}"
            data = picture(first + n)
            about = {"url": f"http://example.com/{n}", "caption": f"caption {n}", "key": key, "status": "success"}
            about |= {"error_message": None, "width": 96, "height": 80, "original_width": 96, "exif": "{}"}
            add(tar, f"{key}.jpg", data[: len(data) // 3] if n in broken else data)
            add(tar, f"{key}.json", json.dumps(about).encode())
            add(tar, f"{key}.txt", f"caption {n}".encode())
    if stats:
        numbers = {"count": count + 3, "successes": count, "failed_to_download": 3}
        path.with_name(f"{path.name.partition('.')[0]}_stats.json").write_text(json.dumps(numbers))
    return path


def write_imagenet(root: Path, classes: int = 3, each: int = 4) -> None:
    """``train/<class>/*.JPEG`` and ``val``."""
    for split, count in (("train", each), ("val", 1)):
        for c in range(classes):
            folder = root / split / f"n0144076{c}"
            folder.mkdir(parents=True)
            for n in range(count):
                (folder / f"n0144076{c}_{n}.JPEG").write_bytes(picture(100 * c + n + (50 if split == "val" else 0)))
