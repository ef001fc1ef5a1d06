"""Scenes on disk: PLY for cloud viewers, GLB for 3-D viewers, NPZ with everything.

All three come back through :func:`load_scene` with points, colours, confidence, source and spread unchanged. Files are
written beside their place and moved there when whole, so that a full disk leaves no half scene under the name.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..cameras import Camera
from ..errors import ErrorCode, UniuggError
from . import glb, ply
from .model import Scene
from .view import View

__all__ = ["DAMAGED_NPZ", "load_scene", "save_scene"]

DAMAGED_NPZ = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
"""What a damaged archive raises beside OSError and ValueError; RuntimeError if encrypted or of a later version."""

MAX_NPZ_BYTES = 4 * 2**30  # unpacked
_FORMAT = 1
_ARRAYS = ("points", "colors", "confidence", "source", "spread")
_VIEW_ARRAYS = ("image", "points", "confidence", "scene_from_camera", "descriptors", "descriptor_confidence")


def save_scene(scene: Scene, path: Path) -> Path:
    """Writes `scene` in the format of the path's ending.

    Raises:
        UniuggError: REQUEST_INVALID for another ending, INTERNAL if the file cannot be written.
    """
    write = _pick(path, {".ply": ply.write, ".glb": glb.write, ".npz": _write_npz})
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            write(scene, file)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UniuggError(ErrorCode.INTERNAL, f"{path} cannot be written: {error.strerror or error}") from error
    return path


def load_scene(path: Path) -> Scene:
    """Reads a scene in the format of the path's ending.

    Raises:
        UniuggError: REQUEST_INVALID if the file is missing or is not such a file.
    """
    read = _pick(path, {".ply": ply.read, ".glb": glb.read, ".npz": _read_npz})
    try:
        return read(path)
    except OSError as error:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path} cannot be read: {error.strerror or error}") from None
    except UniuggError as error:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path}: {error.message}") from None


def _pick(path: Path, formats: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    try:
        return formats[path.suffix.lower()]
    except KeyError:
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, f"{path.name} ends in {path.suffix!r}, expected {', '.join(formats)}"
        ) from None


def _write_npz(scene: Scene, file: Any) -> None:
    arrays = {name: getattr(scene, name) for name in _ARRAYS}
    views = []
    for number, view in enumerate(scene.views):
        camera = view.camera
        views.append(
            {
                "source": view.source,
                "sample": view.sample,
                "camera": [camera.width, camera.height, camera.matrix.tolist(), list(camera.distortion), camera.model],
            }
        )
        for name in _VIEW_ARRAYS:
            if getattr(view, name) is not None:
                arrays[f"view{number}_{name}"] = getattr(view, name)
    about = {
        "format": _FORMAT,
        "frame": scene.frame,
        "stamp": scene.stamp,
        "seed": scene.seed,
        "timings": dict(scene.timings),
        "views": views,
    }
    np.savez(file, about=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8), **arrays)


def _read_npz(path: Path) -> Scene:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_NPZ_BYTES:
            raise _invalid(f"unpacks to {unpacked} bytes, the limit is {MAX_NPZ_BYTES}")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        about = json.loads(arrays["about"].tobytes())
        if about["format"] != _FORMAT:
            raise _invalid(f"scene format is {about['format']!r}, expected {_FORMAT}")
        views = tuple(_view(arrays, number, entry) for number, entry in enumerate(about["views"]))
        return Scene(
            **{name: arrays[name] for name in _ARRAYS},
            frame=about["frame"],
            stamp=about["stamp"],
            seed=about["seed"],
            timings={str(stage): float(value) for stage, value in about["timings"].items()},
            views=views,
        )
    except (*DAMAGED_NPZ, KeyError, TypeError, AttributeError, MemoryError) as error:
        raise _invalid(f"not a scene: {error}") from None
    except UniuggError:
        raise
    except ValueError as error:  # a pickled array, bad JSON or text
        raise _invalid(f"not a scene: {error}") from None


def _view(arrays: dict[str, np.ndarray], number: int, entry: dict[str, Any]) -> View:
    width, height, matrix, distortion, model = entry["camera"]
    return View(
        **{name: arrays.get(f"view{number}_{name}") for name in _VIEW_ARRAYS},
        camera=Camera(width, height, matrix, tuple(distortion), model),
        source=entry["source"],
        sample=entry["sample"],
    )


def _invalid(why: str) -> UniuggError:
    return UniuggError(ErrorCode.REQUEST_INVALID, why)
