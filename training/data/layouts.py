"""Which data set a folder is: every layout that can be read, asked in turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from uniugg_core.cameras import Camera
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import check_compressed

from . import arkitscenes, processed, scannetpp
from .frame_folder import FrameFolder, is_frame_folder
from .posed import Frame, PngDepth, Reader, Recording, folders_with

__all__ = ["FRAMES", "READERS", "chosen_layout", "layouts_of"]


def _find_folders(root: Path) -> dict[str, Path]:
    return {name: path for name, path in folders_with(root, ("frames.txt",)).items() if is_frame_folder(path)}


def _open_folder(name: str, path: Path, options: Mapping[str, object]) -> Recording:
    """A folder of frames, as `uniugg data from-bag` writes it; options: none."""
    folder = FrameFolder.open(path)
    problems: Counter[str] = Counter()
    frames = []
    for number, frame in enumerate(folder.names):
        try:
            picture = folder.color_file(number)
            header = check_compressed(picture.read_bytes())
        except UniuggError as error:
            problems[f"pictures left out ({error.code.name})"] += 1
            continue
        depth = path / "depth" / f"{frame}.png"
        problems["pictures without depth"] += not depth.is_file()
        camera = Camera(header.width, header.height, folder.intrinsics[number])
        stored = PngDepth(depth) if depth.is_file() else None
        frames.append(Frame(frame, picture, camera, folder.world_from_camera[number], stored))
    return Recording(name, tuple(frames), problems={what: count for what, count in problems.items() if count})


FRAMES = Reader("folder of frames", _find_folders, _open_folder)
# Prepared sets first: what is left of the raw files beside them must not be taken instead.
READERS: tuple[Reader, ...] = (
    processed.ARKITSCENES,
    processed.SCANNETPP,
    arkitscenes.READER,
    scannetpp.DSLR,
    scannetpp.IPHONE,
    FRAMES,
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
