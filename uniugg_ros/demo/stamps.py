"""Moves the time stamps inside serialized messages, so that a recording can be played as if it happened now."""

from __future__ import annotations

import struct
from collections.abc import Callable

from rosbags.typesys.store import Typestore

__all__ = ["NANOSECONDS", "header_stamp", "restamp"]

NANOSECONDS = 1_000_000_000
HEADER = "std_msgs/msg/Header"
TRANSFORMS = "tf2_msgs/msg/TFMessage"
STAMP_AT = (
    4  # a serialized message begins with four bytes that say how it is encoded; bit 0 of the second: little-endian
)


def header_stamp(data: bytes, msgtype: str, store: Typestore) -> int | None:
    """The stamp, in nanoseconds, of a message that begins with a header; None for other types."""
    if not _begins_with_header(msgtype, store):
        return None
    seconds, nanoseconds = struct.unpack_from(_format(data), data, STAMP_AT)
    return seconds * NANOSECONDS + nanoseconds


def restamp(data: bytes, msgtype: str, store: Typestore, move: Callable[[int], int]) -> bytes:
    """The serialized message with its stamps (nanoseconds) passed through `move`; every other byte stays as it is.

    Headers at the front and the transforms of TF messages are moved; types without either are returned unchanged.
    """
    if msgtype == TRANSFORMS:
        message = store.deserialize_cdr(data, msgtype)
        for transform in message.transforms:
            stamp = transform.header.stamp
            stamp.sec, stamp.nanosec = divmod(move(stamp.sec * NANOSECONDS + stamp.nanosec), NANOSECONDS)
        return bytes(store.serialize_cdr(message, msgtype, little_endian=bool(data[1] & 1)))
    stamp = header_stamp(data, msgtype, store)
    if stamp is None:
        return data
    moved = bytearray(data)
    struct.pack_into(_format(data), moved, STAMP_AT, *divmod(move(stamp), NANOSECONDS))
    return bytes(moved)


def _format(data: bytes) -> str:
    return "<iI" if data[1] & 1 else ">iI"


def _begins_with_header(msgtype: str, store: Typestore) -> bool:
    fields = store.fielddefs[msgtype][1]
    return bool(fields) and fields[0][0] == "header" and fields[0][1][1] == HEADER
