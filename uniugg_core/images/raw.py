"""Raw buffers as in ``sensor_msgs/Image``: any row padding, every 8-bit colour encoding in use, depth in metres."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from ..errors import ErrorCode, UniuggError
from .limits import MAX_PIXELS, as_bytes, check_size, whole

__all__ = ["COLOR_ENCODINGS", "DEPTH_ENCODINGS", "check_raw", "decode_raw", "decode_raw_depth"]


class _Encoding(NamedTuple):
    """How one encoding is laid out: channels (bytes) a pixel, and the way to RGB (None: it is RGB)."""

    channels: int
    to_rgb: Callable[[np.ndarray], np.ndarray] | None
    even_width: bool = False
    even_height: bool = False


def _opencv(code: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda image: cv2.cvtColor(image, code)


_MONO = _Encoding(1, _opencv(cv2.COLOR_GRAY2RGB))
_BGR = _Encoding(3, _opencv(cv2.COLOR_BGR2RGB))
_BGRA = _Encoding(4, _opencv(cv2.COLOR_BGRA2RGB))
_UYVY = _Encoding(2, _opencv(cv2.COLOR_YUV2RGB_UYVY), even_width=True)
_YUYV = _Encoding(2, _opencv(cv2.COLOR_YUV2RGB_YUYV), even_width=True)


def _bayer(code: int) -> _Encoding:
    return _Encoding(1, _opencv(code), even_width=True, even_height=True)


_COLOR: dict[str, _Encoding] = {
    "rgb8": _Encoding(3, None),
    "bgr8": _BGR,
    "rgba8": _Encoding(4, _opencv(cv2.COLOR_RGBA2RGB)),
    "bgra8": _BGRA,
    "mono8": _MONO,
    # OpenCV's nameless types: taken in OpenCV's own order of channels.
    "8UC1": _MONO,
    "8UC3": _BGR,
    "8UC4": _BGRA,
    # ROS names a Bayer pattern by its first two pixels of the first two rows; OpenCV by the square one pixel further.
    "bayer_rggb8": _bayer(cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": _bayer(cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": _bayer(cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": _bayer(cv2.COLOR_BayerGB2RGB),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
}
_DEPTH = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}

COLOR_ENCODINGS = tuple(_COLOR)
DEPTH_ENCODINGS = tuple(_DEPTH)


def decode_raw(
    data: object,
    width: int,
    height: int,
    encoding: str,
    step: int,
    is_bigendian: bool = False,
    *,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """The RGB picture (height, width, 3) uint8 in a raw buffer.

    Args:
        data: bytes, or anything with one-dimensional bytes in it (``array.array``, NumPy array, memoryview).
        encoding: one of :data:`COLOR_ENCODINGS`; alpha is dropped, grey is repeated.
        step: bytes from one row to the next, of which those behind the pixels are padding.
        is_bigendian: without meaning for 8-bit encodings.
        max_pixels: refuse more pixels than this.

    Returns:
        For rgb8 without padding a read-only view of `data`, nothing is copied; otherwise a fresh array.

    Raises:
        UniuggError: IMAGE_MALFORMED, IMAGE_ENCODING_UNSUPPORTED, IMAGE_TOO_LARGE.
    """
    del is_bigendian
    layout, rows = _checked(data, width, height, encoding, step, max_pixels)
    pixels = np.ascontiguousarray(rows).reshape(int(height), int(width), layout.channels)
    if layout.to_rgb is not None:
        return layout.to_rgb(pixels[..., 0] if layout.channels == 1 else pixels)
    if rows.flags.c_contiguous:
        pixels.flags.writeable = False  # the memory is the message's
    return pixels


def check_raw(data: object, width: int, height: int, encoding: str, step: int, *, max_pixels: int = MAX_PIXELS) -> None:
    """Raises what :func:`decode_raw` would, without touching a pixel: for pictures that may never be looked at."""
    _checked(data, width, height, encoding, step, max_pixels)


def _checked(
    data: object, width: int, height: int, encoding: str, step: int, max_pixels: int
) -> tuple[_Encoding, np.ndarray]:
    """How the pixels are coded, and (height, row_bytes) uint8 of them."""
    width, height = whole(width, "width"), whole(height, "height")
    check_size(width, height, max_pixels)
    layout = _COLOR.get(encoding) if isinstance(encoding, str) else None
    if layout is None:
        raise _refused(encoding, COLOR_ENCODINGS)
    if (layout.even_width and width % 2) or (layout.even_height and height % 2):
        raise UniuggError(
            ErrorCode.IMAGE_MALFORMED, f"picture is {width} x {height}, which {encoding} cannot have: a side is odd"
        )
    return layout, _rows(data, width * layout.channels, height, whole(step, "step"))


def decode_raw_depth(
    data: object,
    width: int,
    height: int,
    encoding: str,
    step: int,
    is_bigendian: bool = False,
    *,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """The depth map (height, width) float32 in metres of a raw buffer; 0 where nothing was measured.

    Args:
        encoding: "16UC1" or "mono16" (millimetres) or "32FC1" (metres; NaN, infinite and negative become 0), as in
            REP-118.
        is_bigendian: byte order of the values.

    Raises:
        UniuggError: IMAGE_MALFORMED, IMAGE_ENCODING_UNSUPPORTED, IMAGE_TOO_LARGE.
    """
    width, height = whole(width, "width"), whole(height, "height")
    check_size(width, height, max_pixels)
    if not isinstance(encoding, str) or encoding not in _DEPTH:
        raise _refused(encoding, DEPTH_ENCODINGS)
    kind = np.dtype(_DEPTH[encoding]).newbyteorder(">" if is_bigendian else "<")
    rows = _rows(data, width * kind.itemsize, height, whole(step, "step"))
    values = np.ascontiguousarray(rows).view(kind)
    if kind.kind == "u":
        return values.astype(np.float32) * np.float32(1e-3)
    values = values.astype(np.float32)
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(values) & (values > 0), values, np.float32(0.0))


def _rows(data: object, row_bytes: int, height: int, step: int) -> np.ndarray:
    """(height, row_bytes) uint8 view of the buffer without its padding."""
    if step < row_bytes:
        raise UniuggError(ErrorCode.IMAGE_MALFORMED, f"step is {step} bytes, a row of pixels has {row_bytes}")
    flat = as_bytes(data)
    if flat.size != step * height:
        raise UniuggError(
            ErrorCode.IMAGE_MALFORMED,
            f"picture data has {flat.size} bytes, expected {height} rows of {step} = {step * height}",
        )
    return flat.reshape(height, step)[:, :row_bytes]


def _refused(encoding: object, known: tuple[str, ...]) -> UniuggError:
    text = encoding[:40] if isinstance(encoding, str) else encoding
    lower = text.lower() if isinstance(text, str) else ""
    same = [name for name in known if name.lower() == lower]
    if same:
        advice = f"did you mean {same[0]!r}? names are case-sensitive"
    elif known is COLOR_ENCODINGS and lower in ("16uc1", "32fc1"):
        advice = "that is a depth picture, a colour picture is needed"
    elif known is COLOR_ENCODINGS and any(depth in lower for depth in ("16", "32", "64")):
        advice = "more than 8 bits a channel are not taken; publish rgb8 or bgr8"
    else:
        advice = f"expected one of {', '.join(known)}"
    return UniuggError(ErrorCode.IMAGE_ENCODING_UNSUPPORTED, f"encoding is {text!r}; {advice}")
