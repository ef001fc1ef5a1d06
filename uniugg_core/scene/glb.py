"""Scenes as binary glTF 2.0 (GLB) point clouds, for browsers and 3-D viewers; own writer and reader.

The points keep their numbers; the node that holds them is turned so that the scene stands upright in glTF's axes (y
up). Confidence, source and spread are the vertex attributes _CONFIDENCE, _SOURCE and _SPREAD; frame, stamp and seed are
the scene's ``extras``. Layout: Khronos glTF 2.0 specification, chapters 3 and 4.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import ErrorCode, UniuggError
from .axes import upright_from_frame
from .model import Scene

__all__ = ["read", "write"]

_JSON_CHUNK, _BIN_CHUNK = 0x4E4F534A, 0x004E4942
_FLOAT, _BYTE, _POINTS, _ARRAY_BUFFER = 5126, 5121, 0, 34962
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


def write(scene: Scene, file: BinaryIO) -> None:
    """Writes the scene to an open binary file. Points that are not finite are left out: glTF forbids them."""
    scene = scene.filter()
    opaque = np.full((len(scene), 1), 255, np.uint8)
    attributes = {
        "POSITION": (scene.points, "VEC3"),
        "COLOR_0": (np.concatenate([scene.colors, opaque], axis=1), "VEC4"),
        "_CONFIDENCE": (scene.confidence, "SCALAR"),
        "_SOURCE": (scene.source.astype(np.float32), "SCALAR"),  # as float: vertex data comes in steps of four bytes
        "_SPREAD": (scene.spread, "SCALAR"),
    }
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    body = bytearray()
    for values, shape in attributes.values():
        color = values.dtype == np.uint8
        accessor: dict[str, Any] = {
            "bufferView": len(views),
            "componentType": _BYTE if color else _FLOAT,
            "count": len(scene),
            "type": shape,
        }
        if color:
            accessor["normalized"] = True
        if shape == "VEC3":
            accessor["min"] = scene.points.min(axis=0).tolist() if len(scene) else [0.0] * 3
            accessor["max"] = scene.points.max(axis=0).tolist() if len(scene) else [0.0] * 3
        data = np.ascontiguousarray(values).tobytes()
        views.append({"buffer": 0, "byteOffset": len(body), "byteLength": len(data), "target": _ARRAY_BUFFER})
        accessors.append(accessor)
        body += data
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "uniugg"},
        "scene": 0,
        "scenes": [{"extras": {"frame": scene.frame, "stamp": scene.stamp, "seed": scene.seed}}],
    }
    if len(scene):  # glTF has no empty buffers
        document["scenes"][0]["nodes"] = [0]
        document |= {
            "nodes": [{"mesh": 0, "name": "scene", "matrix": upright_from_frame(scene.frame).T.ravel().tolist()}],
            "meshes": [
                {"primitives": [{"attributes": {name: i for i, name in enumerate(attributes)}, "mode": _POINTS}]}
            ],
            "accessors": accessors,
            "bufferViews": views,
            "buffers": [{"byteLength": len(body)}],
        }
    text = json.dumps(document).encode("ascii")
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), _JSON_CHUNK) + text
    if len(scene):
        chunks += struct.pack("<II", len(body), _BIN_CHUNK) + body
    file.write(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)


def read(path: Path) -> Scene:
    """Reads what :func:`write` wrote; glTF files of other programs are refused.

    Raises:
        UniuggError: REQUEST_INVALID, saying what is wrong with the file.
        OSError: if it cannot be read.
    """
    data = path.read_bytes()
    document, body = _chunks(data)
    try:
        if document["asset"].get("generator") != "uniugg":
            raise _invalid("not a GLB of this program")
        extras = document["scenes"][0]["extras"]
        about = {name: extras[name] for name in ("frame", "stamp", "seed")}
        if "meshes" not in document:
            return Scene.from_arrays(np.zeros((0, 3)), **about)
        attributes = document["meshes"][0]["primitives"][0]["attributes"]
        columns = {name: _accessor(document, body, number) for name, number in attributes.items()}
        return Scene(
            points=columns["POSITION"],
            colors=columns["COLOR_0"][:, :3],
            confidence=columns["_CONFIDENCE"],
            source=columns["_SOURCE"].astype(np.uint8),
            spread=columns["_SPREAD"],
            **about,
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise _invalid(f"the GLB misses {error}") from None


def _chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    if len(data) < 20 or struct.unpack_from("<4sI", data) != (b"glTF", 2):
        raise _invalid("not a GLB file")
    length, kind = struct.unpack_from("<II", data, 12)
    if kind != _JSON_CHUNK or 20 + length > len(data) or struct.unpack_from("<I", data, 8)[0] != len(data):
        raise _invalid("the GLB is cut off")
    try:
        document = json.loads(data[20 : 20 + length])
    except ValueError:
        raise _invalid("the GLB's description is damaged") from None
    if not isinstance(document, dict):
        raise _invalid("the GLB's description is damaged")
    return document, data[28 + length :]


def _accessor(document: dict[str, Any], body: bytes, number: int) -> np.ndarray:
    accessor = document["accessors"][number]
    offset = document["bufferViews"][accessor["bufferView"]]["byteOffset"]
    width, count = _WIDTHS[accessor["type"]], accessor["count"]
    kind = np.dtype({_FLOAT: "<f4", _BYTE: "u1"}[accessor["componentType"]])
    if type(count) is not int or type(offset) is not int or min(count, offset) < 0:
        raise _invalid("the GLB has a negative size")
    if offset + count * width * kind.itemsize > len(body):
        raise _invalid("the GLB is cut off")
    values = np.frombuffer(body, kind, count * width, offset).copy()
    return values.reshape(count, width) if width > 1 else values


def _invalid(why: str) -> UniuggError:
    return UniuggError(ErrorCode.REQUEST_INVALID, why)
