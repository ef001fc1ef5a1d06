"""The folder of frames: the plainest form of a posed RGB-D recording, for people and for `uniugg data from-bag`.

    FOLDER/
      color/NAME.jpg or .png   8-bit colour, without distortion
      depth/NAME.png           16-bit, millimetres along the optical axis, 0 = not measured; of the colour camera
      K.txt                    3 rows of 3 numbers for all pictures, or a row of 9 for each; pixel centres at integers
      poses.txt                a row of 16 numbers for each: the row-major 4 x 4 camera-to-world matrix, metres;
                               camera axes x right, y down, z forward
      frames.txt               the NAMEs in time order, one a line
      stamps.txt               optional: seconds, one a line

Depth may be smaller or larger than the colour picture, if it shows the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from uniugg_core.cameras import Camera, check_rigid
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import decode_compressed, decode_compressed_depth

from .views import View

__all__ = ["FrameFolder", "fitted", "is_frame_folder", "write_tables"]

_ENDINGS = (".jpg", ".jpeg", ".png")


def is_frame_folder(path: str | Path) -> bool:
    """Whether this looks like a folder of frames."""
    return (Path(path) / "frames.txt").is_file() and (Path(path) / "poses.txt").is_file()


@dataclass(frozen=True, eq=False)
class FrameFolder:
    """A folder whose tables are read; pictures are read when asked for."""

    path: Path
    names: tuple[str, ...]
    world_from_camera: np.ndarray  # (N, 4, 4) float64
    intrinsics: np.ndarray  # (N, 3, 3) float64
    stamps: np.ndarray  # (N,) float64 seconds; 0, 1, 2 ... where there are none

    @classmethod
    def open(cls, path: str | Path) -> FrameFolder:
        """Reads and checks the tables.

        Raises:
            UniuggError: IMAGE_MISSING (no such file), REQUEST_INVALID (tables that are none, or of different lengths),
                POSE_INVALID, CAMERA_INFO_INVALID.
        """
        path = Path(path)
        try:
            names = tuple((path / "frames.txt").read_text(encoding="utf-8").split())
        except OSError as error:
            raise UniuggError(
                ErrorCode.IMAGE_MISSING, f"{path / 'frames.txt'} cannot be read: {error.strerror}"
            ) from None
        poses, intrinsics = _table(path / "poses.txt", 16), _table(path / "K.txt")
        if not names or len(poses) != len(names):
            raise UniuggError(
                ErrorCode.REQUEST_INVALID, f"{path}: frames.txt has {len(names)} names, poses.txt {len(poses)} rows"
            )
        if intrinsics.shape == (3, 3):
            intrinsics = np.repeat(intrinsics[None], len(names), 0)
        elif intrinsics.shape == (len(names), 9):
            intrinsics = intrinsics.reshape(-1, 3, 3)
        else:
            raise UniuggError(
                ErrorCode.REQUEST_INVALID,
                f"{path / 'K.txt'} is a table of {intrinsics.shape}, expected (3, 3) or ({len(names)}, 9)",
            )
        poses = np.stack([check_rigid(p, f"{path}, pose of {n}") for n, p in zip(names, poses.reshape(-1, 4, 4))])
        stamps = np.arange(len(names), dtype=np.float64)
        if (path / "stamps.txt").is_file():
            stamps = _table(path / "stamps.txt", 1)[:, 0]
            if len(stamps) != len(names):
                raise UniuggError(
                    ErrorCode.REQUEST_INVALID, f"{path / 'stamps.txt'} has {len(stamps)} rows for {len(names)} frames"
                )
        return cls(path, names, poses, intrinsics, stamps)

    def __len__(self) -> int:
        return len(self.names)

    def color_file(self, number: int) -> Path:
        """Where the colour picture of a frame is.

        Raises:
            UniuggError: IMAGE_MISSING.
        """
        for ending in _ENDINGS:
            file = self.path / "color" / (self.names[number] + ending)
            if file.is_file():
                return file
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{self.path / 'color'} has no picture {self.names[number]!r}")

    def view(self, number: int) -> View:
        """Frame number `number`, checked.

        Raises:
            UniuggError: IMAGE codes, or what :meth:`View.check` says.
        """
        name = self.names[number]
        color, depth_file = self.color_file(number), self.path / "depth" / f"{name}.png"
        image = _decode(color, decode_compressed)
        depth = _decode(depth_file, decode_compressed_depth)
        height, width = image.shape[:2]
        Camera(width, height, self.intrinsics[number])
        depth = fitted(depth, image, str(depth_file))
        label = f"{self.path.name}/{name}"
        return View(image, depth, self.intrinsics[number], self.world_from_camera[number], name=label).check()


def fitted(depth: np.ndarray, image: np.ndarray, name: str) -> np.ndarray:
    """A depth map at the size of its colour picture, if both have the same shape.

    Raises:
        UniuggError: CAMERA_INFO_MISMATCH, with `name`, if they do not.
    """
    height, width = image.shape[:2]
    if depth.shape == (height, width):
        return depth
    if abs(depth.shape[1] * height - depth.shape[0] * width) > max(height, width):
        raise UniuggError(
            ErrorCode.CAMERA_INFO_MISMATCH,
            f"{name} has depth of {depth.shape[1]} x {depth.shape[0]}, its colour picture {width} x {height}",
        )
    return cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST)


def write_tables(
    path: Path, names: list[str], world_from_camera: np.ndarray, intrinsics: np.ndarray, stamps: np.ndarray
) -> None:
    """Writes the tables of a folder of frames; the arguments as the fields of :class:`FrameFolder`."""
    one = all(np.array_equal(k, intrinsics[0]) for k in intrinsics)
    (path / "frames.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    np.savetxt(path / "poses.txt", world_from_camera.reshape(len(names), 16), fmt="%.12g")
    np.savetxt(path / "K.txt", intrinsics[0] if one else intrinsics.reshape(len(names), 9), fmt="%.12g")
    np.savetxt(path / "stamps.txt", stamps, fmt="%.9f")


def _table(path: Path, columns: int | None = None) -> np.ndarray:
    try:
        table = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except OSError:
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{path} cannot be read") from None
    except ValueError as error:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path} is no table of numbers: {error}") from None
    if columns is not None and table.shape[1] != columns:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path} has {table.shape[1]} columns, expected {columns}")
    return table


def _decode(path: Path, decode: object) -> np.ndarray:
    try:
        return decode(path.read_bytes())  # type: ignore[operator]
    except OSError as error:
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{path} cannot be read: {error.strerror}") from None
    except UniuggError as error:
        raise UniuggError(error.code, f"{path}: {error.message}") from None
