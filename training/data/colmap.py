"""COLMAP's text files and nerfstudio's JSON, as ScanNet++ has them, to cameras and poses in this project's conventions.

COLMAP: world-to-camera, quaternions w first, pixel centres at half numbers. nerfstudio as the ScanNet++ tools write it:
camera-to-world with the camera's y and z axes flipped, then the world's rows reordered to [1, 0, 2], then the third row
negated; :func:`unpermuted` undoes all three.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from uniugg_core.cameras import Camera, inverse_rigid, matrix_from_quaternion, rigid
from uniugg_core.errors import ErrorCode, UniuggError

__all__ = ["read_cameras", "read_images", "read_transforms", "unpermuted"]

# COLMAP's names of lenses, how many parameters stand before the coefficients, and what the lens is called here
_MODELS = {
    "SIMPLE_PINHOLE": (3, "pinhole"),
    "PINHOLE": (4, "pinhole"),
    "SIMPLE_RADIAL": (3, "plumb_bob"),
    "RADIAL": (3, "plumb_bob"),
    "OPENCV": (4, "plumb_bob"),
    "FULL_OPENCV": (4, "rational_polynomial"),
    "OPENCV_FISHEYE": (4, "equidistant"),
}


def read_cameras(path: Path) -> dict[int, Camera]:
    """Cameras of a ``cameras.txt`` by number.

    Raises:
        UniuggError: CAMERA_INFO_INVALID or CAMERA_MODEL_UNSUPPORTED.
    """
    cameras = {}
    for line in _lines(path):
        words = line.split()
        if not words:
            continue
        try:
            number, width, height = int(words[0]), int(words[2]), int(words[3])
            numbers = [float(word) for word in words[4:]]
        except (ValueError, IndexError):
            raise UniuggError(ErrorCode.CAMERA_INFO_INVALID, f"{path}: not a camera: {line[:80]!r}") from None
        cameras[number] = _camera(words[1], width, height, numbers, str(path))
    return cameras


def read_images(path: Path) -> dict[str, tuple[np.ndarray, int]]:
    """World from camera (4, 4) and camera number of every picture of an ``images.txt``, by name.

    The second line of each picture, its points, may be empty.

    Raises:
        UniuggError: POSE_INVALID.
    """
    images = {}
    rows = _lines(path)
    while rows and not rows[0].strip():
        rows.pop(0)
    for line in rows[::2]:
        if not line.strip():
            continue
        words = line.split(maxsplit=9)
        try:
            values = [float(word) for word in words[1:8]]
            camera, name = int(words[8]), words[9].strip()
        except (ValueError, IndexError):
            raise UniuggError(ErrorCode.POSE_INVALID, f"{path}: not a picture: {line[:80]!r}") from None
        w, x, y, z = values[:4]
        turn = matrix_from_quaternion(np.array([x, y, z, w]) / np.linalg.norm(values[:4]))
        images[name] = (inverse_rigid(rigid(turn, values[4:])), camera)
    return images


def unpermuted(matrix: object) -> np.ndarray:
    """World from camera (4, 4), OpenCV axes, COLMAP's world, of a ``transform_matrix`` as the ScanNet++ tools write it.

    Raises:
        UniuggError: POSE_INVALID.
    """
    try:
        pose = np.array(matrix, np.float64).reshape(4, 4)
    except (TypeError, ValueError):
        raise UniuggError(ErrorCode.POSE_INVALID, f"transform_matrix is {str(matrix)[:80]}, expected 4 x 4") from None
    pose[2, :] *= -1
    pose = pose[[1, 0, 2, 3], :]
    pose[:3, 1:3] *= -1
    return pose


def read_transforms(path: Path) -> tuple[Camera, dict[str, np.ndarray], dict[str, bool]]:
    """Camera, poses by name of the picture, and whether each is of ``test_frames``, of a ``transforms*.json``.

    Pictures that the file itself calls bad (``is_bad``) are left out.

    Raises:
        UniuggError: REQUEST_INVALID, CAMERA_INFO_INVALID, POSE_INVALID.
    """
    try:
        data = json.loads(path.read_text())
        keys = ("fl_x", "fl_y", "cx", "cy")
        numbers = [float(data[key]) for key in keys] + [float(data.get(f"k{n}", 0.0)) for n in (1, 2, 3, 4)]
        if data.get("camera_model") == "OPENCV":
            numbers[6:] = [float(data.get("p1", 0.0)), float(data.get("p2", 0.0))]
        width, height = int(data["w"]), int(data["h"])
        model = str(data.get("camera_model", "PINHOLE"))
        poses, test = {}, {}
        for part in ("frames", "test_frames"):
            for frame in data.get(part) or ():
                if frame.get("is_bad") and part == "frames":
                    continue
                poses[frame["file_path"]] = unpermuted(frame["transform_matrix"])
                test[frame["file_path"]] = part == "test_frames"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, UniuggError):
            raise
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path} is no nerfstudio file: {error!r}") from None
    return _camera(model, width, height, numbers[:4] if model == "PINHOLE" else numbers, str(path)), poses, test


def _camera(model: str, width: int, height: int, numbers: list[float], source: str) -> Camera:
    if model not in _MODELS:
        raise UniuggError(
            ErrorCode.CAMERA_MODEL_UNSUPPORTED, f"{source}: camera model {model!r}, expected one of {sorted(_MODELS)}"
        )
    count, lens = _MODELS[model]
    if len(numbers) < count:
        raise UniuggError(ErrorCode.CAMERA_INFO_INVALID, f"{source}: {model} has {len(numbers)} parameters")
    fx, fy, cx, cy = numbers[:4] if count == 4 else (numbers[0], *numbers[:3])
    bend = _coefficients(model, numbers[count:])
    matrix = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])  # its pixel centres lie at half numbers
    return Camera(width, height, matrix, bend, lens)


def _coefficients(model: str, numbers: list[float]) -> tuple[float, ...]:
    if model in ("SIMPLE_RADIAL", "RADIAL"):
        return (*numbers, 0.0, 0.0, 0.0)[:2] + (0.0, 0.0) if model == "RADIAL" else (numbers[0], 0.0, 0.0, 0.0)
    if model == "FULL_OPENCV":
        return tuple(numbers[:8])
    return tuple(numbers[:4])


def _lines(path: Path) -> list[str]:
    """Lines that are no comment; empty ones are kept, since COLMAP's pictures without points have one."""
    try:
        return [line for line in path.read_text().splitlines() if not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path} cannot be read: {error}") from None
