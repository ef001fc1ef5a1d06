"""Default limits of what a picture may claim to be, and the checks against them."""

from __future__ import annotations

import numpy as np

from ..errors import ErrorCode, UniuggError

__all__ = ["MAX_BYTES", "MAX_PIXELS", "as_bytes", "check_bytes", "check_size", "whole"]

MAX_PIXELS = 40_000_000  # 8K video has 33 million; a decoded picture then stays below 120 MB
MAX_BYTES = 64 * 2**20  # of a compressed picture


def as_bytes(data: object) -> np.ndarray:
    """(N,) uint8 view, without a copy, of bytes or anything with contiguous one-byte items in it.

    Raises:
        UniuggError: IMAGE_MALFORMED.
    """
    try:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        raise UniuggError(
            ErrorCode.IMAGE_MALFORMED, f"picture data is {type(data).__name__}, expected contiguous bytes"
        ) from None
    return np.frombuffer(view, dtype=np.uint8) if view.nbytes else np.zeros(0, dtype=np.uint8)


def whole(value: object, name: str) -> int:
    """`value` as a Python int, which no product can overflow.

    Raises:
        UniuggError: IMAGE_MALFORMED if it is no whole number, or negative.
    """
    try:
        number = value.__index__()  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        raise UniuggError(ErrorCode.IMAGE_MALFORMED, f"picture {name} is {value!r}, expected a whole number") from None
    if number < 0:
        raise UniuggError(ErrorCode.IMAGE_MALFORMED, f"picture {name} is {number}, expected 0 or more")
    return int(number)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuses pictures of no pixels or of more than `max_pixels`.

    Raises:
        UniuggError: IMAGE_MALFORMED, IMAGE_TOO_LARGE.
    """
    if width == 0 or height == 0:
        raise UniuggError(ErrorCode.IMAGE_MALFORMED, f"picture is {width} x {height}: it has no pixels")
    if width * height > max_pixels:
        raise UniuggError(ErrorCode.IMAGE_TOO_LARGE, f"picture is {width} x {height}, the limit is {max_pixels} pixels")


def check_bytes(count: int, max_bytes: int) -> None:
    """Refuses compressed pictures of more than `max_bytes`.

    Raises:
        UniuggError: IMAGE_TOO_LARGE.
    """
    if count > max_bytes:
        raise UniuggError(ErrorCode.IMAGE_TOO_LARGE, f"picture has {count} bytes, the limit is {max_bytes}")
