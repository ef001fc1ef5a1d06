"""Pictures with their cameras: undistortion, resizes and the square crop the model works on; K stays right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike

from ..errors import ErrorCode, UniuggError
from .lens import fold_radius
from .model import Camera

__all__ = ["CropResult", "ideal_camera", "resize", "square_crop", "undistort"]

MAX_HALF_ANGLE = math.radians(60.0)  # a wider lens is cut to this, for a flat picture of it would be mostly stretch
_BORDER_SAMPLES = 65  # points along each border that decide how much of a bent picture is kept


@dataclass(frozen=True)
class CropResult:
    """A square crop, its camera, and the way back.

    Args:
        image: (size, size, 3) uint8.
        camera: pinhole camera of `image`, without distortion.
        full_from_crop: (3, 3) homography from pixels of the crop to pixels of the full *undistorted* picture.
        flat_camera: camera of the full undistorted picture; the source's own when it had no distortion.
        source_camera: camera of the picture that came in.
    """

    image: np.ndarray
    camera: Camera
    full_from_crop: np.ndarray
    flat_camera: Camera
    source_camera: Camera

    def source_pixels(self, pixels: ArrayLike) -> np.ndarray:
        """Where pixels (..., 2) of the crop lie in the picture that came in, its distortion included."""
        pixels = np.asarray(pixels, dtype=np.float64)
        flat = pixels @ self.full_from_crop[:2, :2].T + self.full_from_crop[:2, 2]
        if not self.source_camera.is_distorted:
            return flat
        return self.source_camera.project(self.flat_camera.rays(flat))


def undistort(image: np.ndarray, camera: Camera) -> tuple[np.ndarray, Camera]:
    """The picture as a camera without distortion would have taken it, same size, and that camera.

    The new K shows the largest part that has no empty corners (up to 60 degrees off the axis). The pixel maps are
    cached for each camera. An undistorted picture is returned as it is.

    Raises:
        UniuggError: IMAGE_MALFORMED, CAMERA_INFO_MISMATCH, or CAMERA_INFO_INVALID for coefficients that fold the
            picture over.
    """
    _check_image(image, camera)
    if not camera.is_distorted:
        return image, camera
    coarse, fine = _undistort_maps(camera)
    return cv2.remap(image, coarse, fine, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), ideal_camera(camera)


@lru_cache(maxsize=64)
def ideal_camera(camera: Camera) -> Camera:
    """The pinhole camera of :func:`undistort`'s result; `camera` itself when it has no distortion.

    Raises:
        UniuggError: CAMERA_INFO_INVALID for coefficients that fold the picture over.
    """
    if not camera.is_distorted:
        return camera
    width, height = camera.width, camera.height
    across = np.linspace(0.0, width - 1.0, _BORDER_SAMPLES)
    down = np.linspace(0.0, height - 1.0, _BORDER_SAMPLES)
    zeros, ones = np.zeros(_BORDER_SAMPLES), np.ones(_BORDER_SAMPLES)
    reach = math.tan(MAX_HALF_ANGLE)
    if camera.model != "equidistant":
        # A calibration may fold over beyond what it was measured on; the corners reach farthest, so stay well inside.
        reach = min(reach, 0.7 * fold_radius(camera.distortion))

    def border(u: np.ndarray, v: np.ndarray, axis: int) -> np.ndarray:
        seen = camera.rays(np.stack([u, v], axis=-1))[:, axis]
        return seen[np.isfinite(seen)].clip(-reach, reach)

    left = border(zeros, down, 0).max(initial=-reach)
    right = border(ones * (width - 1), down, 0).min(initial=reach)
    top = border(across, zeros, 1).max(initial=-reach)
    bottom = border(across, ones * (height - 1), 1).min(initial=reach)
    least = 0.05 / camera.matrix[[0, 1], [0, 1]]  # of what the pinhole alone would see
    if not (right - left > least[0] * width and bottom - top > least[1] * height):
        raise UniuggError(
            ErrorCode.CAMERA_INFO_INVALID,
            f"distortion {camera.distortion} of {camera.model} folds the picture over, none of it can be undistorted",
        )
    # One zoom for both axes keeps the pixels' shape; the tighter axis decides, the other loses a little.
    aspect = camera.matrix[1, 1] / camera.matrix[0, 0]
    fx = max(max(width - 1, 1) / (right - left), max(height - 1, 1) / (bottom - top) / aspect)
    fy = fx * aspect
    cx = (width - 1) / 2 - fx * (left + right) / 2
    cy = (height - 1) / 2 - fy * (top + bottom) / 2
    return Camera(width, height, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]))


def resize(image: np.ndarray, camera: Camera, width: int, height: int) -> tuple[np.ndarray, Camera]:
    """The picture at another size, antialiased, and its camera.

    Raises:
        UniuggError: IMAGE_MALFORMED, CAMERA_INFO_MISMATCH, CAMERA_INFO_INVALID (a size of nothing).
    """
    _check_image(image, camera)
    scaled = camera.scaled(width, height)
    return _resample(image, width, height), scaled


def square_crop(image: np.ndarray, camera: Camera, size: int) -> CropResult:
    """The centre square of a picture at `size` pixels: undistorted, cut, resized with antialiasing.

    Args:
        image: (H, W, 3) uint8.
        camera: of that size, with any distortion.
        size: side of the result in pixels.

    Raises:
        UniuggError: IMAGE_MALFORMED, CAMERA_INFO_MISMATCH, CAMERA_INFO_INVALID.
    """
    flat, flat_camera = undistort(image, camera)
    side = min(flat_camera.width, flat_camera.height)
    x, y = (flat_camera.width - side) // 2, (flat_camera.height - side) // 2
    crop_camera = flat_camera.cropped(x, y, side, side).scaled(size, size)
    scale = side / size
    full_from_crop = np.array([[scale, 0, 0.5 * scale - 0.5 + x], [0, scale, 0.5 * scale - 0.5 + y], [0, 0, 1.0]])
    return CropResult(
        image=_resample(flat[y : y + side, x : x + side], size, size),
        camera=crop_camera,
        full_from_crop=full_from_crop,
        flat_camera=flat_camera,
        source_camera=camera,
    )


@lru_cache(maxsize=8)
def _undistort_maps(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """OpenCV's fixed-point remap tables: where each pixel of the flat picture lies in the bent one."""
    source = camera.project(ideal_camera(camera).rays()).astype(np.float32)
    return cv2.convertMaps(source, None, cv2.CV_16SC2)


def _resample(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Area averaging where an axis shrinks, linear where it grows; always a fresh contiguous array."""
    old_height, old_width = image.shape[:2]
    if (old_width, old_height) == (width, height):
        return image.copy(order="C")
    if (width < old_width) != (height < old_height) and width != old_width and height != old_height:
        image = _resample(image, min(width, old_width), min(height, old_height))
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    shrinks = width < old_width or height < old_height
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _check_image(image: np.ndarray, camera: Camera) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        shape = getattr(image, "shape", type(image).__name__)
        raise UniuggError(
            ErrorCode.IMAGE_MALFORMED,
            f"picture is {shape} of {getattr(image, 'dtype', 'no type')}, expected (H, W, 3) of uint8",
        )
    camera.for_image(image.shape[1], image.shape[0])
