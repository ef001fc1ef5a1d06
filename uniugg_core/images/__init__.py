"""Pictures from bytes: ROS image buffers, compressed pictures and files, checked before anything is allocated.

NumPy and OpenCV only; live ROS messages and recorded ones come through the same functions. Every malformed input is a
:class:`~uniugg_core.errors.UniuggError` with an IMAGE code.
"""

from __future__ import annotations

from .compressed import check_compressed, decode_compressed, decode_compressed_depth
from .files import load_image, save_image
from .headers import ImageHeader, read_header
from .limits import MAX_BYTES, MAX_PIXELS
from .raw import COLOR_ENCODINGS, DEPTH_ENCODINGS, check_raw, decode_raw, decode_raw_depth

__all__ = [
    "COLOR_ENCODINGS",
    "DEPTH_ENCODINGS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "ImageHeader",
    "check_compressed",
    "check_raw",
    "decode_compressed",
    "decode_compressed_depth",
    "decode_raw",
    "decode_raw_depth",
    "load_image",
    "read_header",
    "save_image",
]
