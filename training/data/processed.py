"""ARKitScenes and ScanNet++ as DUSt3R's preparation leaves them: pictures, depth of the same frames, one table.

``<Training|Test>/all_metadata.npz`` (ARKitScenes) or ``all_metadata.npz`` (ScanNet++) describe all scenes at once
(scenes, sceneids, images, intrinsics (N, 3, 3), trajectories (N, 4, 4) camera-to-world, pairs (M, 2 or 3)); each scene
has a ``scene_metadata.npz`` of its own, in ARKitScenes with intrinsics as ``w h fx fy cx cy``. Names end in .png in
ARKitScenes although ``vga_wide`` holds .jpg, and have no ending in ScanNet++. Pictures are upright already.

Every scene's own pair list is read: ``pairs`` of its metadata, or ``selected_pairs.npz`` (selection, pairs).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from uniugg_core.cameras import Camera, check_rigid
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import check_compressed
from uniugg_core.scene.files import DAMAGED_NPZ

from .posed import Frame, PngDepth, Reader, Recording, folders_with

__all__ = ["ARKITSCENES", "SCANNETPP", "find_arkitscenes", "find_scannetpp", "open_arkitscenes", "open_scannetpp"]

_META = "scene_metadata.npz"
_ALL = "all_metadata.npz"
_PAIRS = "selected_pairs.npz"


def find_arkitscenes(root: Path) -> dict[str, Path]:
    """Scenes with ``vga_wide`` pictures that a metadata file describes."""
    return _find(root, "vga_wide")


def find_scannetpp(root: Path) -> dict[str, Path]:
    """Scenes with ``images`` and ``depth`` that a metadata file describes."""
    return {name: path for name, path in _find(root, "images").items() if (path / "depth").is_dir()}


def open_arkitscenes(name: str, folder: Path, options: Mapping[str, object]) -> Recording:
    """One prepared ARKitScenes video; options: none."""
    return _open(name, folder, "vga_wide", "lowres_depth", options.get("only"))


def open_scannetpp(name: str, folder: Path, options: Mapping[str, object]) -> Recording:
    """One prepared ScanNet++ scene, dslr and iphone pictures together; options: none."""
    return _open(name, folder, "images", "depth", options.get("only"))


def _find(root: Path, pictures: str) -> dict[str, Path]:
    found = folders_with(root, (pictures,), depth=3)
    return {name: path for name, path in found.items() if (path / _META).is_file() or (path.parent / _ALL).is_file()}


def _open(name: str, folder: Path, pictures: str, depths: str, only: object = None) -> Recording:
    table = _scene_table(folder)
    names = [str(image) for image in table["images"]]
    problems: Counter[str] = Counter()
    frames: list[Frame] = []
    kept: dict[int, str] = {}
    for number, image in enumerate(names):
        if only is not None and image not in only:  # type: ignore[operator]
            continue
        picture = _with_ending(folder / pictures, image)
        if picture is None:
            problems["poses without a picture"] += 1
            continue
        try:
            pose = check_rigid(table["trajectories"][number].astype(np.float64), image)
        except UniuggError:
            problems["damaged poses"] += 1
            continue
        depth = folder / depths / f"{Path(image).stem if Path(image).suffix in ('.png', '.jpg') else image}.png"
        if not depth.is_file():
            problems["pictures without depth"] += 1
        camera = _camera(table["intrinsics"][number], picture)
        kept[number] = image
        frames.append(Frame(image, picture, camera, pose, PngDepth(depth) if depth.is_file() else None))
    listed = _listed(folder, table, names, set(kept.values()))
    return Recording(name, tuple(frames), listed=listed, problems=dict(problems))


def _scene_table(folder: Path) -> dict[str, np.ndarray]:
    """images, intrinsics, trajectories and perhaps pairs of one scene, numbers counting its own pictures."""
    if (folder / _META).is_file():
        table = dict(_load(folder / _META))
    else:
        whole = _load(folder.parent / _ALL)
        scene = np.flatnonzero(whole["scenes"] == folder.name)
        mine = np.flatnonzero(np.isin(whole["sceneids"], scene))
        if not len(mine):
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"{folder.parent / _ALL} does not describe {folder.name}")
        table = {key: whole[key][mine] for key in ("images", "intrinsics", "trajectories")}
        if "pairs" in whole:
            pairs = np.asarray(whole["pairs"], np.float64)
            pairs = pairs[np.isin(pairs[:, 0].astype(int), mine) & np.isin(pairs[:, 1].astype(int), mine)]
            pairs[:, :2] = np.searchsorted(mine, pairs[:, :2].astype(int))
            table["pairs"] = pairs
    lacking = [key for key in ("images", "intrinsics", "trajectories") if key not in table]
    if lacking or len({len(table[key]) for key in ("images", "intrinsics", "trajectories")}) != 1:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{folder}: metadata lacks {lacking or 'rows'}")
    return table


def _listed(
    folder: Path, table: Mapping[str, np.ndarray], names: list[str], usable: set[str]
) -> tuple[tuple[str, str, float], ...]:
    pairs, order = table.get("pairs"), names
    if (folder / _PAIRS).is_file():
        chosen = _load(folder / _PAIRS)
        pairs = chosen["pairs"]
        if len(chosen.get("selection", ())):
            by_stem = {_stem(name): name for name in names}
            order = [by_stem.get(_stem(str(name)), "") for name in chosen["selection"]]
    out = []
    for row in [] if pairs is None else np.asarray(pairs, np.float64):
        i, j = int(row[0]), int(row[1])
        if max(i, j) < len(order) and {order[i], order[j]} <= usable:
            out.append((order[i], order[j], float(row[2]) if len(row) > 2 else 0.0))
    return tuple(out)


def _stem(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix.lower() in (".png", ".jpg", ".jpeg") else path.name


def _with_ending(folder: Path, name: str) -> Path | None:
    stem = _stem(name)
    for ending in (".jpg", ".png", ".JPG"):
        if (folder / f"{stem}{ending}").is_file():
            return folder / f"{stem}{ending}"
    return None


def _camera(row: np.ndarray, picture: Path) -> Camera:
    """The camera of one picture: from ``w h fx fy cx cy``, or from K, which is of the stored picture."""
    if row.shape == (6,):
        width, height, fx, fy, cx, cy = row.astype(float)
        return Camera(int(width), int(height), np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]))
    header = check_compressed(picture.read_bytes())
    return Camera(header.width, header.height, np.asarray(row, np.float64))


@lru_cache(maxsize=4)
def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, *DAMAGED_NPZ) as error:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path} cannot be read: {error}") from None


ARKITSCENES = Reader("ARKitScenes, DUSt3R-processed", find_arkitscenes, open_arkitscenes, lists=True)
SCANNETPP = Reader("ScanNet++, DUSt3R-processed", find_scannetpp, open_scannetpp, lists=True)
