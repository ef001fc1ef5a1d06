"""Writes ARKitScenes and ScanNet++ as DUSt3R's preparation leaves them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .rendered import Rendered, write_grey, write_rgb

PAIRS = np.array([[0, 1, 0.8], [1, 2, 0.7], [2, 3, 0.6], [0, 2, 0.4]])


def write_arkitscenes(root: Path, scene: Rendered, video: str = "41000001", *, split: str = "Training") -> Path:
    """One video with its own table and the table of the split; names end in .png, pictures are .jpg."""
    folder = root / split / video
    names = [f"{video}_{6855.2 + n / 10:.3f}.png" for n in range(len(scene))]
    for n, name in enumerate(names):
        write_rgb(folder / "vga_wide" / name.replace(".png", ".jpg"), cv2.resize(scene.image[n], (512, 384)))
        write_grey(folder / "lowres_depth" / name, scene.millimetres(n))
    k = np.diag([2.0, 2.0, 1.0]) @ scene.k + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    row = np.array([512, 384, k[0, 0], k[1, 1], k[0, 2], k[1, 2]])
    np.savez(
        folder / "scene_metadata.npz",
        images=np.array(names),
        intrinsics=np.repeat(row[None], len(names), 0),
        trajectories=scene.pose.astype(np.float32),
        pairs=PAIRS,
    )
    _write_all(root / split / "all_metadata.npz", video, names, k, scene)
    return folder


def write_scannetpp(root: Path, scene: Rendered, name: str = "0a1b2c3d4e") -> Path:
    """One scene that only the table of all describes; names have no ending."""
    folder = root / name
    names = [f"DSC{n:05d}" for n in range(len(scene))]
    for n, file in enumerate(names):
        write_rgb(folder / "images" / f"{file}.jpg", scene.image[n])
        write_grey(folder / "depth" / f"{file}.png", scene.millimetres(n))
    _write_all(root / "all_metadata.npz", name, names, scene.k, scene)
    return folder


def _write_all(path: Path, scene_name: str, names: list[str], k: np.ndarray, scene: Rendered) -> None:
    """The table of all scenes, with another scene's rows before these."""
    before = 2
    pairs = PAIRS + [before, before, 0]
    np.savez(
        path,
        scenes=np.array(["another", scene_name]),
        sceneids=np.array([0] * before + [1] * len(names)),
        images=np.array(["x.png"] * before + names),
        intrinsics=np.repeat(k[None], before + len(names), 0).astype(np.float32),
        trajectories=np.concatenate([np.repeat(np.eye(4)[None], before, 0), scene.pose]).astype(np.float32),
        pairs=np.concatenate([[[0, 1, 0.9]], pairs]),
        counts=np.array([1, len(pairs)]),
    )
