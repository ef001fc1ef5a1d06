"""Recordings of places: frames with a picture, a camera, a pose and perhaps depth, still on disk.

A reader of a data set finds its scenes and opens each as a :class:`Recording`; from there on all sets are alike. A
recording makes :class:`training.data.views.View` of its frames: lens undone, depth brought into the picture's pixels,
the picture turned until the sky is up.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from uniugg_core.cameras import Camera, ideal_camera, undistort
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import decode_compressed

from .views import View

__all__ = [
    "Depth",
    "Frame",
    "PngDepth",
    "Reader",
    "Recording",
    "folders_with",
    "hashed_share",
    "quarter_turns",
    "read_picture",
    "turned",
]

_FAR = 50.0  # metres; the format's largest numbers stand for "nothing", and no room is larger
# Pixels of a picture turned clockwise by 90 degrees: the new x axis is the old -y, the new y axis the old x.
_CLOCKWISE = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


class Depth(Protocol):
    """Depth of a frame, still on disk; of the same field of view as its picture, at any resolution."""

    def read(self) -> np.ndarray:
        """(h, w) float32 metres along the optical axis, 0 where nothing is known.

        Raises:
            UniuggError: IMAGE_MISSING or IMAGE_UNDECODABLE.
        """
        ...


@dataclass(frozen=True)
class PngDepth:
    """Depth as 16-bit PNG in millimetres, with an 8-bit PNG of confidence beside it or without one."""

    path: Path
    confidence: Path | None = None
    least: int = 0  # pixels of less confidence are dropped

    def read(self) -> np.ndarray:
        """See :class:`Depth`."""
        depth = _unchanged(self.path)
        if depth.ndim != 2 or depth.dtype != np.uint16:
            raise UniuggError(
                ErrorCode.IMAGE_UNDECODABLE, f"{self.path}: depth is {depth.dtype} {depth.shape}, expected 16-bit grey"
            )
        metres = depth.astype(np.float32) * np.float32(1e-3)
        if self.confidence is not None and self.least > 0:
            sure = _unchanged(self.confidence)
            if sure.shape == depth.shape:
                metres[sure < self.least] = 0.0
        return metres


@dataclass(frozen=True)
class Frame:
    """One picture of a recording, not read yet."""

    name: str  # unique in its recording; pair lists use it
    picture: Path
    camera: Camera  # of the picture as stored, with its lens; scaled if the picture turns out to be of another size
    world_from_camera: np.ndarray  # (4, 4) float64, OpenCV axes
    depth: Depth | None = None


@dataclass(frozen=True)
class Recording:
    """All usable frames of one scene, and what was not usable."""

    name: str
    frames: tuple[Frame, ...]
    turns: int = 0  # clockwise quarter turns that bring the sky up
    listed: tuple[tuple[str, str, float], ...] = ()  # pairs of names with a score, where the set brings its own list
    problems: Mapping[str, int] = field(default_factory=dict)  # what is missing or left out, and how often

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def poses(self) -> np.ndarray:
        """(N, 4, 4) float64 world from camera, before the quarter turns."""
        return np.stack([frame.world_from_camera for frame in self.frames])

    def number(self, name: str) -> int:
        """Which frame is called `name`.

        Raises:
            UniuggError: IMAGE_MISSING.
        """
        number = self._numbers.get(name)
        if number is None:
            raise UniuggError(ErrorCode.IMAGE_MISSING, f"{self.name} has no frame {name!r} with picture and pose")
        return number

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {frame.name: number for number, frame in enumerate(self.frames)}

    def depth(self, number: int, width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Depth (h, w) of frame `number` without lens, and its K (3, 3); not turned. Zeros where there is none.

        Args:
            number: of the frame.
            width: pixels to a side at most; None: as large as the picture.
        """
        frame = self.frames[number]
        flat = ideal_camera(frame.camera)
        if width is not None and max(flat.width, flat.height) > width:
            shrink = width / max(flat.width, flat.height)
            flat = flat.scaled(max(1, round(flat.width * shrink)), max(1, round(flat.height * shrink)))
        return _depth_in(frame, flat), np.array(flat.matrix)

    def view(self, number: int) -> View:
        """Frame `number` as a sample: undistorted, depth in its pixels, upright.

        Raises:
            UniuggError: IMAGE_MISSING, IMAGE_UNDECODABLE, CAMERA_INFO_MISMATCH and others of a damaged picture.
        """
        frame = self.frames[number]
        image = read_picture(frame.picture)
        camera = frame.camera.for_image(image.shape[1], image.shape[0], allow_scaling=True)
        image, flat = undistort(image, camera)
        view = View(
            image=image,
            depth=_depth_in(replace(frame, camera=camera), flat),
            intrinsics=np.array(flat.matrix),
            world_from_camera=frame.world_from_camera,
            name=f"{self.name}/{frame.name}",
        )
        return turned(view, self.turns)


@dataclass(frozen=True)
class Reader:
    """How one layout of a data set is read; a file of this package makes one for each layout."""

    layout: str  # "ScanNet++, dslr" ...
    find: Callable[[Path], dict[str, Path]]  # folder -> name of each scene in it and where it lies
    # Name, place and options -> recording. The option "only", names of frames, spares readers the cost of others.
    open: Callable[[str, Path, Mapping[str, object]], Recording]
    lists: bool = False  # whether its recordings bring pairs of their own


def read_picture(path: Path) -> np.ndarray:
    """The RGB picture in a file, as stored: a calibration is of the picture before any turn that EXIF asks for."""
    data = _bytes(path)
    try:
        return decode_compressed(data)
    except UniuggError as error:
        raise UniuggError(error.code, f"{path}: {error.message}") from None


def turned(view: View, turns: int) -> View:
    """The view with its picture turned clockwise by `turns` quarter turns; K and pose follow, points stay in place."""
    for _ in range(turns % 4):
        height = view.image.shape[0]
        k = view.intrinsics
        intrinsics = np.array([[k[1, 1], 0.0, height - 1 - k[1, 2]], [0.0, k[0, 0], k[0, 2]], [0.0, 0.0, 1.0]])
        pose = view.world_from_camera.copy()
        pose[:3, :3] = pose[:3, :3] @ _CLOCKWISE.T
        view = replace(
            view,
            image=np.ascontiguousarray(np.rot90(view.image, -1)),
            depth=np.ascontiguousarray(np.rot90(view.depth, -1)),
            intrinsics=intrinsics,
            world_from_camera=pose,
        )
    return view


def quarter_turns(poses: np.ndarray, up: Sequence[float] = (0.0, 0.0, 1.0)) -> int:
    """Clockwise quarter turns after which most pictures of poses (N, 4, 4) have the world's `up` upwards."""
    if not len(poses):
        return 0
    right, down = (np.swapaxes(poses[:, :3, :3], 1, 2) @ np.asarray(up, np.float64)).T[:2]
    share = np.array([-down, -right, down, right])  # sky up, left, down, right
    return int(share.mean(1).argmax())


def folders_with(root: Path, marks: Sequence[str], depth: int = 4) -> dict[str, Path]:
    """Folders below (or at) `root` that hold one of the files or folders `marks`, by their path relative to `root`.

    A folder that is found is not looked into any further, so that scenes with thousands of pictures cost nothing.

    Raises:
        UniuggError: REQUEST_INVALID if `root` is no folder.
    """
    if not root.is_dir():
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{root} is no folder")
    found: dict[str, Path] = {}
    level = [root]
    for _ in range(depth + 1):
        below: list[Path] = []
        for folder in level:
            if any((folder / mark).exists() for mark in marks):
                name = folder.relative_to(root).as_posix()
                found[root.resolve().name if name == "." else name] = folder
            else:
                with os.scandir(folder) as entries:  # knows folders from files without asking about each
                    names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
                below += [folder / name for name in sorted(names)]
        level = below
    return dict(sorted(found.items()))


def hashed_share(name: str) -> float:
    """A number in [0, 1) that only depends on `name`: which split a scene belongs to."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "big") / 2**48


def _depth_in(frame: Frame, flat: Camera) -> np.ndarray:
    """Depth of a frame in the pixels of `flat`, a camera of the same pose without lens; the nearest value each."""
    if frame.depth is None:
        return np.zeros((flat.height, flat.width), np.float32)
    stored = frame.depth.read()
    source = frame.camera.scaled(stored.shape[1], stored.shape[0])
    if frame.camera.is_distorted:
        pixels = source.project(flat.rays())
        u, v = pixels[..., 0], pixels[..., 1]
    else:  # an axis at a time: both are pinholes of one pose
        k, own = source.matrix, flat.matrix
        u = (np.arange(flat.width) - own[0, 2]) / own[0, 0] * k[0, 0] + k[0, 2]
        v = (np.arange(flat.height) - own[1, 2]) / own[1, 1] * k[1, 1] + k[1, 2]
        u, v = np.broadcast_arrays(u[None, :], v[:, None])
    with np.errstate(invalid="ignore"):
        inside = (u > -0.5) & (u < stored.shape[1] - 0.5) & (v > -0.5) & (v < stored.shape[0] - 0.5)
    column = np.rint(np.where(inside, u, 0)).astype(np.intp)
    row = np.rint(np.where(inside, v, 0)).astype(np.intp)
    values = np.where(inside, stored[row, column], 0.0)
    return np.where(np.isfinite(values) & (values > 0) & (values < _FAR), values, 0.0).astype(np.float32)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{path} cannot be read: {error.strerror}") from None


def _unchanged(path: Path) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(_bytes(path) or b"\0", np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"{path} is no picture")
    return image
