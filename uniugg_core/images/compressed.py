"""Compressed pictures as in ``sensor_msgs/CompressedImage``: judged by their header, then decoded."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from ..errors import ErrorCode, UniuggError
from .headers import ImageHeader, read_header
from .limits import MAX_BYTES, MAX_PIXELS, as_bytes, check_bytes, check_size

__all__ = ["check_compressed", "decode_compressed", "decode_compressed_depth"]

_DEPTH_HEADER = struct.Struct("<iff")  # of compressed_depth_image_transport: a format number, then A and B


def decode_compressed(
    data: object,
    format: str = "",
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    upright: bool = False,
) -> np.ndarray:
    """The RGB picture (H, W, 3) uint8 of a PNG or JPEG.

    Grey is repeated and alpha dropped. Which of the two it is, and in which order the channels come, is read from the
    data: the many spellings of `format` ("jpeg", "png", "rgb8; jpeg compressed bgr8") are all taken.

    Args:
        data: bytes, or anything with one-dimensional bytes in it.
        format: the message's own word for it, used only to refuse depth pictures clearly.
        max_pixels: refuse more pixels than this, as the header says, before decoding.
        max_bytes: refuse more compressed bytes than this.
        upright: turn the picture as its EXIF orientation says. Off for cameras, whose calibration is of the picture as
            stored.

    Raises:
        UniuggError: IMAGE_TOO_LARGE, IMAGE_UNDECODABLE (also if truncated), IMAGE_MALFORMED (no pixels),
            IMAGE_ENCODING_UNSUPPORTED (16-bit, CMYK, animated, depth, other kinds of picture).
    """
    flat, header = _checked(data, format, max_pixels, max_bytes)
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = _imdecode(flat, flags)
    sizes = {(header.height, header.width)} | ({(header.width, header.height)} if upright else set())
    if image.shape[:2] not in sizes:
        raise UniuggError(
            ErrorCode.IMAGE_UNDECODABLE,
            f"picture decodes to {image.shape[1]} x {image.shape[0]}, its header says {header.width} x {header.height}",
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def check_compressed(
    data: object, format: str = "", *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> ImageHeader:
    """The header of a picture that :func:`decode_compressed` would take; nothing is decoded.

    Raises:
        UniuggError: as :func:`decode_compressed`, but for damage among the pixels themselves.
    """
    return _checked(data, format, max_pixels, max_bytes)[1]


def _checked(data: object, format: str, max_pixels: int, max_bytes: int) -> tuple[np.ndarray, ImageHeader]:
    if isinstance(format, str) and "compresseddepth" in format.lower():
        raise UniuggError(
            ErrorCode.IMAGE_ENCODING_UNSUPPORTED,
            f"format is {format[:60]!r}: a depth picture; subscribe to the compressed colour topic",
        )
    flat = as_bytes(data)
    check_bytes(flat.size, max_bytes)
    header = read_header(flat.tobytes())
    check_size(header.width, header.height, max_pixels)
    _check_kind(header)
    return flat, header


def decode_compressed_depth(
    data: object,
    format: str = "",
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> np.ndarray:
    """The depth map (H, W) float32 metres of a ``compressedDepth`` message (PNG); 0 where nothing was measured.

    A 12-byte header stands before the PNG. 16-bit depth is millimetres as it is; 32-bit depth was stored as
    ``A / depth + B`` with A and B in that header. A bare 16-bit PNG is taken as millimetres.

    Args:
        format: such as "16UC1; compressedDepth png" or "32FC1; compressedDepth".

    Raises:
        UniuggError: IMAGE_TOO_LARGE, IMAGE_UNDECODABLE, IMAGE_MALFORMED, IMAGE_ENCODING_UNSUPPORTED (RVL).
    """
    name = format.lower() if isinstance(format, str) else ""
    if "rvl" in name:
        raise UniuggError(ErrorCode.IMAGE_ENCODING_UNSUPPORTED, f"format is {format!r}; choose png for compressedDepth")
    flat = as_bytes(data)
    check_bytes(flat.size, max_bytes)
    scale, offset = 0.0, 0.0
    if flat.size > _DEPTH_HEADER.size and flat[:4].tobytes() != b"\x89PNG":
        _, scale, offset = _DEPTH_HEADER.unpack(flat[: _DEPTH_HEADER.size].tobytes())
        flat = flat[_DEPTH_HEADER.size :]
    header = read_header(flat.tobytes())
    check_size(header.width, header.height, max_pixels)
    if (header.kind, header.channels, header.bits) != ("png", 1, 16):
        raise UniuggError(
            ErrorCode.IMAGE_ENCODING_UNSUPPORTED,
            f"depth is a {header.kind} of {header.channels} x {header.bits} bits, expected a PNG of one 16-bit channel",
        )
    values = _imdecode(flat, cv2.IMREAD_UNCHANGED)
    if values.dtype != np.uint16 or values.shape != (header.height, header.width):
        raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"depth decodes to {values.shape} of {values.dtype}")
    if not name.startswith("32fc1"):
        return values.astype(np.float32) * np.float32(1e-3)
    if not (np.isfinite([scale, offset]).all() and scale > 0.0):
        raise UniuggError(
            ErrorCode.IMAGE_MALFORMED, f"depth header has A {scale} and B {offset}, expected numbers, A > 0"
        )
    inverse = values.astype(np.float32) - np.float32(offset)
    measured = (values > 0) & (inverse > 0)
    return np.where(measured, np.float32(scale) / np.where(measured, inverse, 1.0), 0.0).astype(np.float32)


def _check_kind(header: ImageHeader) -> None:
    if header.animated:
        raise UniuggError(ErrorCode.IMAGE_ENCODING_UNSUPPORTED, "picture is an animated PNG, expected a single picture")
    if header.bits > 8:
        raise UniuggError(
            ErrorCode.IMAGE_ENCODING_UNSUPPORTED,
            f"picture has {header.bits} bits a channel, expected 8"
            + (": is it depth?" if header.channels == 1 else ""),
        )
    if header.kind == "jpeg" and header.channels not in (1, 3):
        raise UniuggError(
            ErrorCode.IMAGE_ENCODING_UNSUPPORTED,
            f"picture is a JPEG of {header.channels} channels (CMYK?), expected grey or colour",
        )


def _imdecode(flat: np.ndarray, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(flat, flags)
    except cv2.error as error:
        raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"picture cannot be decoded: {error.err}") from None
    if image is None:
        raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"picture cannot be decoded: {flat.size} damaged bytes")
    return image
