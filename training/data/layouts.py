"""Which data set a folder is: every layout that can be read, asked in turn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from uniugg_core.errors import ErrorCode, UniuggError

from . import arkitscenes, processed, scannetpp
from .posed import Reader

__all__ = ["READERS", "chosen_layout", "layouts_of"]

# Prepared sets first: what is left of the raw files beside them must not be taken instead.
READERS: tuple[Reader, ...] = (
    processed.ARKITSCENES,
    processed.SCANNETPP,
    arkitscenes.READER,
    scannetpp.DSLR,
    scannetpp.IPHONE,
)


def layouts_of(folder: Path) -> list[tuple[Reader, Mapping[str, Path]]]:
    """Every layout of recordings that the folder has, with its scenes.

    Raises:
        UniuggError: REQUEST_INVALID if there is no such folder.
    """
    return [(reader, scenes) for reader in READERS if (scenes := reader.find(folder))]


def chosen_layout(folder: Path, words: str | None = None) -> tuple[Reader, Mapping[str, Path]]:
    """The first layout of the folder whose name has all of `words`.

    Raises:
        UniuggError: REQUEST_INVALID if there is none.
    """
    found = layouts_of(folder)
    for reader, scenes in found:
        if all(word in reader.layout.lower() for word in (words or "").lower().split()):
            return reader, scenes
    names = ", ".join(reader.layout for reader, _ in found) or "no recordings that can be read"
    raise UniuggError(ErrorCode.REQUEST_INVALID, f"{folder} has {names}{f', not {words!r}' if words else ''}")
