"""Pictures on disk, PNG and JPEG."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ..errors import ErrorCode, UniuggError
from .compressed import decode_compressed
from .limits import MAX_BYTES, MAX_PIXELS, check_bytes

__all__ = ["load_image", "save_image"]

_ENDINGS = {".png": [], ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95], ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95]}


def load_image(path: str | Path, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """The RGB picture (H, W, 3) uint8 in a PNG or JPEG file, turned upright as its EXIF says.

    Raises:
        UniuggError: IMAGE_MISSING if there is no such file, and all of :func:`decode_compressed`.
    """
    path = Path(path)
    try:
        check_bytes(path.stat().st_size, max_bytes)
        data = path.read_bytes()
    except OSError as error:
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{path} cannot be read: {error.strerror}") from None
    try:
        return decode_compressed(data, max_pixels=max_pixels, max_bytes=max_bytes, upright=True)
    except UniuggError as error:
        raise UniuggError(error.code, f"{path}: {error.message}") from None


def save_image(path: str | Path, rgb: np.ndarray) -> Path:
    """Writes an RGB (H, W, 3) or grey (H, W) uint8 picture as ``.png`` or ``.jpg`` and returns the path.

    Raises:
        UniuggError: REQUEST_INVALID for another ending, IMAGE_MALFORMED, INTERNAL if the file cannot be written.
    """
    path = Path(path)
    options = _ENDINGS.get(path.suffix.lower())
    if options is None:
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, f"{path.name} ends in {path.suffix!r}, expected {', '.join(_ENDINGS)}"
        )
    rgb = np.asarray(rgb)
    if rgb.dtype != np.uint8 or rgb.size == 0 or not (rgb.ndim == 2 or (rgb.ndim == 3 and rgb.shape[2] == 3)):
        raise UniuggError(
            ErrorCode.IMAGE_MALFORMED, f"picture is {rgb.shape} of {rgb.dtype}, expected (H, W, 3) or (H, W) of uint8"
        )
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR) if rgb.ndim == 3 else rgb
    _, encoded = cv2.imencode(path.suffix.lower(), bgr, options)
    try:
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise UniuggError(ErrorCode.INTERNAL, f"{path} cannot be written: {error.strerror}") from error
    return path
