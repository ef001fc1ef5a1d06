"""Scenes as binary little-endian PLY: opens in MeshLab, CloudCompare, Open3D and trimesh; own writer and reader.

Vertex properties: x y z (float), red green blue (uchar), confidence (float), source (uchar), spread (float). Frame,
stamp and seed stand in one comment line, ``comment uniugg {...}``, as JSON.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import ErrorCode, UniuggError
from .model import Scene

__all__ = ["read", "write"]

_VERTEX = np.dtype(
    [
        ("x", "<f4"),
        ("y", "<f4"),
        ("z", "<f4"),
        ("red", "u1"),
        ("green", "u1"),
        ("blue", "u1"),
        ("confidence", "<f4"),
        ("source", "u1"),
        ("spread", "<f4"),
    ]
)
_NAMES = {"f4": "float", "u1": "uchar"}
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "<i2"),
    **dict.fromkeys(("ushort", "uint16"), "<u2"),
    **dict.fromkeys(("int", "int32"), "<i4"),
    **dict.fromkeys(("uint", "uint32"), "<u4"),
    **dict.fromkeys(("float", "float32"), "<f4"),
    **dict.fromkeys(("double", "float64"), "<f8"),
}
_COMMENT = "comment uniugg "
_MAX_HEADER = 64 * 1024  # bytes


def write(scene: Scene, file: BinaryIO) -> None:
    """Writes the scene to an open binary file."""
    about = {"frame": scene.frame, "stamp": scene.stamp, "seed": scene.seed}
    properties = [f"property {_NAMES[_VERTEX[name].str[1:]]} {name}" for name in _VERTEX.names]
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        _COMMENT + json.dumps(about),  # JSON escapes line breaks and everything beyond ASCII
        "comment source: 0 observed, 1 imagined; metres",
        f"element vertex {len(scene)}",
        *properties,
        "end_header",
    ]
    vertices = np.empty(len(scene), dtype=_VERTEX)
    for axis, name in enumerate("xyz"):
        vertices[name] = scene.points[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        vertices[name] = scene.colors[:, channel]
    for name in ("confidence", "source", "spread"):
        vertices[name] = getattr(scene, name)
    file.write("\n".join([*lines, ""]).encode("ascii"))
    file.write(vertices.tobytes())


def read(path: Path) -> Scene:
    """Reads a binary little-endian PLY whose first element is ``vertex`` with scalar properties, ours or another's.

    Missing colours are grey, missing confidences 1, missing sources observed.

    Raises:
        UniuggError: REQUEST_INVALID, saying what is wrong with the file.
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        header, kind, count = _read_header(file)
        expected, left = count * kind.itemsize, os.fstat(file.fileno()).st_size - file.tell()
        if expected > left:
            raise _invalid(f"{count} points need {expected} bytes, {left} are left: the file is cut off")
        vertices = np.frombuffer(file.read(expected), dtype=kind)
    about = _about(header)
    names = kind.names or ()
    return Scene.from_arrays(
        np.stack([vertices[axis] for axis in "xyz"], axis=1),
        _colors(vertices, names),
        confidence=vertices["confidence"] if "confidence" in names else 1.0,
        source=vertices["source"] if "source" in names else 0,
        spread=vertices["spread"] if "spread" in names else 0.0,
        frame=about["frame"],
        stamp=about["stamp"],
        seed=about["seed"],
    )


def _read_header(file: BinaryIO) -> tuple[list[str], np.dtype, int]:
    if file.readline(8).rstrip() != b"ply":
        raise _invalid("not a PLY file")
    lines: list[str] = []
    while True:
        raw = file.readline(_MAX_HEADER)
        if not raw.endswith(b"\n") or file.tell() > _MAX_HEADER:
            raise _invalid("the PLY header has no end")
        line = raw.decode("ascii", errors="replace").strip()
        if line == "end_header":
            break
        lines.append(line)
    words = [line.split() for line in lines if line and not line.startswith(("comment", "obj_info"))]
    if not words or words[0] != ["format", "binary_little_endian", "1.0"]:
        found = " ".join(words[0][:3]) if words else "nothing"
        raise _invalid(f"the PLY header begins with {found!r}, expected 'format binary_little_endian 1.0'")
    elements = [number for number, line in enumerate(words) if line[0] == "element"]
    first = words[elements[0]] if elements else []
    if len(first) != 3 or first[1] != "vertex" or not first[2].isdigit() or len(first[2]) > 12:
        raise _invalid(f"the first PLY element is {' '.join(first) or 'missing'}, expected 'vertex' and a number")
    fields: list[tuple[str, str]] = []
    for line in words[elements[0] + 1 : elements[1] if len(elements) > 1 else None]:
        if len(line) != 3 or line[0] != "property" or line[1] not in _TYPES or line[2] in dict(fields):
            raise _invalid(f"PLY property {' '.join(line)!r} is not a scalar with a name of its own")
        fields.append((line[2], _TYPES[line[1]]))
    if not {"x", "y", "z"} <= dict(fields).keys():
        raise _invalid("the PLY vertices have no x, y, z")
    return lines, np.dtype(fields), int(first[2])


def _colors(vertices: np.ndarray, names: tuple[str, ...]) -> np.ndarray | None:
    channels = ("red", "green", "blue")
    if not set(channels) <= set(names):
        return None
    stacked = np.stack([vertices[name] for name in channels], axis=1)
    if stacked.dtype.kind == "f":  # some programs write 0 to 1
        stacked = np.rint(np.nan_to_num(stacked).clip(0, 1) * 255)
    return stacked.clip(0, 255).astype(np.uint8)


def _about(lines: list[str]) -> dict[str, Any]:
    """Frame, stamp and seed of our comment line, checked; defaults for files of other programs."""
    about: dict[str, Any] = {"frame": "camera", "stamp": None, "seed": None}
    for line in lines:
        if line.startswith(_COMMENT):
            try:
                stored = json.loads(line[len(_COMMENT) :])
                good = isinstance(stored, dict) and isinstance(stored.get("frame"), str)
            except ValueError:
                good = False
            if not good:
                raise _invalid(f"PLY comment {line[:80]!r} is damaged")
            about["frame"] = stored["frame"]
            for name in ("stamp", "seed"):
                about[name] = stored.get(name) if type(stored.get(name)) is int else None
    return about


def _invalid(why: str) -> UniuggError:
    return UniuggError(ErrorCode.REQUEST_INVALID, why)
