"""What a PNG or JPEG says of itself, read from its first bytes and its chunk structure, without decoding a pixel.

A picture of 130 kB can unfold to gigabytes, so the size is known and judged before a decoder sees the data. Layouts:
PNG, ISO/IEC 15948 (W3C); JPEG, ITU-T T.81 annex B.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..errors import ErrorCode, UniuggError

__all__ = ["ImageHeader", "read_header"]

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # by colour type; 3 is a palette of RGB
_JPEG = b"\xff\xd8\xff"
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the frame headers; the others in that range are tables
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # JPEG markers without a length
_OTHERS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000"),
    (b"\xff\x0a", "a JPEG XL"),
)


@dataclass(frozen=True)
class ImageHeader:
    """What the header of a compressed picture says.

    Args:
        kind: "png" or "jpeg".
        width: pixels.
        height: pixels.
        channels: in the file: 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha (PNG) or CMYK (JPEG).
        bits: per channel.
        animated: whether there is more than one picture in it (APNG).
    """

    kind: str
    width: int
    height: int
    channels: int
    bits: int
    animated: bool = False


def read_header(data: bytes | memoryview) -> ImageHeader:
    """The header of a whole PNG or JPEG; also sees whether the data was cut off.

    Raises:
        UniuggError: IMAGE_UNDECODABLE for data that is neither, damaged or truncated; IMAGE_ENCODING_UNSUPPORTED for
            other kinds of picture.
    """
    data = bytes(data)
    if data.startswith(_PNG):
        return _read_png(data)
    if data.startswith(_JPEG):
        return _read_jpeg(data)
    for start, name in _OTHERS:
        if data.startswith(start):
            raise UniuggError(ErrorCode.IMAGE_ENCODING_UNSUPPORTED, f"picture is {name}, expected PNG or JPEG")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        raise UniuggError(ErrorCode.IMAGE_ENCODING_UNSUPPORTED, "picture is a WebP, expected PNG or JPEG")
    raise _undecodable(f"{len(data)} bytes that begin with {data[:8].hex() or 'nothing'} are neither PNG nor JPEG")


def _read_png(data: bytes) -> ImageHeader:
    if len(data) < 33 or data[8:16] != b"\0\0\0\rIHDR":
        raise _undecodable("the PNG has no header")
    width, height, bits, color = struct.unpack(">IIBB", data[16:26])
    if color not in _PNG_CHANNELS or bits not in (1, 2, 4, 8, 16):
        raise _undecodable(f"the PNG claims {bits} bits of colour type {color}")
    animated, pixels_seen, at = False, False, 8
    while True:
        if at + 12 > len(data):
            raise _undecodable(f"the PNG ends early, at byte {len(data)}")
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"IEND":
            break
        animated |= kind == b"acTL"
        pixels_seen |= kind == b"IDAT"
        at += 12 + length
    if not pixels_seen:
        raise _undecodable("the PNG holds no pixels")
    return ImageHeader("png", width, height, _PNG_CHANNELS[color], bits, animated)


def _read_jpeg(data: bytes) -> ImageHeader:
    at, header = 2, None
    while True:
        # Any number of fill bytes FF may stand before a marker.
        if data[at : at + 1] != b"\xff":
            raise _undecodable(f"the JPEG is damaged at byte {at}" if at < len(data) else "the JPEG ends early")
        while data[at : at + 1] == b"\xff":
            at += 1
        if at + 3 > len(data):
            raise _undecodable(f"the JPEG ends early, at byte {len(data)}")
        marker = data[at]
        at += 1
        if marker in _STANDALONE:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if marker in (0x00, 0xD8, 0xD9) or length < 2:
            raise _undecodable(f"the JPEG is damaged at byte {at}")
        if marker in _SOF:
            if header is not None or length < 8 or at + 8 > len(data):
                raise _undecodable("the JPEG has no single, whole frame header")
            bits, height, width, channels = struct.unpack(">BHHB", data[at + 2 : at + 8])
            header = ImageHeader("jpeg", width, height, channels, bits)
        at += length
        if marker == 0xDA:  # pixels follow, in which FF D9 can only be the end
            break
    if header is None:
        raise _undecodable("the JPEG has pixels before its frame header")
    if data.find(b"\xff\xd9", at) < 0:
        raise _undecodable(f"the JPEG ends early, at byte {len(data)}")
    return header


def _undecodable(why: str) -> UniuggError:
    return UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"picture cannot be decoded: {why}")
