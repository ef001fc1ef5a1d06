"""Folders of pictures: ImageNet's ``<split>/<class>/*.JPEG``, or any tree of JPEG and PNG."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError

__all__ = ["FolderPictures", "find"]

_ENDINGS = (".jpeg", ".jpg", ".png")


def find(root: Path, most: int | None = None) -> list[tuple[Path, str]]:
    """Folder and name of every picture below `root`, in a fixed order; `most` stops early."""
    found: list[tuple[Path, str]] = []
    for folder, below, names in os.walk(root):
        below.sort()
        here = Path(folder)
        found += [(here, name) for name in sorted(names) if name.lower().endswith(_ENDINGS)]
        if most is not None and len(found) >= most:
            break
    return found


class FolderPictures:
    """Pictures below ``<root>/<split>`` where there is such a folder (ImageNet's train and val), else below `root`.

    Raises:
        UniuggError: IMAGE_MISSING if there are none.
    """

    def __init__(self, root: Path, split: str = "train") -> None:
        names = ("train",) if split == "train" else ("val", "validation", "test")
        base = next((root / name for name in names if (root / name).is_dir()), root)
        found = find(base)
        if not found:
            raise UniuggError(ErrorCode.IMAGE_MISSING, f"{base} holds no {', '.join(_ENDINGS)}")
        self._folders = sorted({folder for folder, _ in found})
        numbers = {folder: number for number, folder in enumerate(self._folders)}
        # bytes and small numbers: a million paths must travel to every worker
        self._folder = np.array([numbers[folder] for folder, _ in found], np.int32)
        self._names = np.array([name.encode() for _, name in found])

    def __len__(self) -> int:
        return len(self._names)

    def read(self, seed: int, epoch: int, position: int) -> bytes:
        """See :class:`training.data.single.Pictures`."""
        number = int(_order(len(self), seed, epoch)[position])
        path = self._folders[self._folder[number]] / self._names[number].decode()
        try:
            return path.read_bytes()
        except OSError as error:
            raise UniuggError(ErrorCode.IMAGE_MISSING, f"{path} cannot be read: {error.strerror}") from None


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count).astype(np.int32)
