"""Writes ARKitScenes as Apple publishes it, with its odd corners."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .rendered import Rendered, write_grey, write_rgb

START, STEP = 6855.213, 0.1


def write_raw(
    root: Path, scene: Rendered, video: str = "41000001", *, split: str = "Training", form: str = "raw"
) -> Path:
    """One video; in "3dod" form a folder deeper. All is there and named right."""
    folder = root / split / video
    if form == "3dod":
        (folder).mkdir(parents=True, exist_ok=True)
        (folder / f"{video}_3dod_annotation.json").write_text("{}")
        folder = folder / f"{video}_frames"
    fx, fy, cx, cy = scene.k[0, 0], scene.k[1, 1], scene.k[0, 2], scene.k[1, 2]
    lines = []
    for n in range(len(scene)):
        name = f"{video}_{START + n * STEP:.3f}"
        write_rgb(folder / "lowres_wide" / f"{name}.png", scene.image[n])
        write_grey(folder / "lowres_depth" / f"{name}.png", scene.millimetres(n))
        write_grey(folder / "confidence" / f"{name}.png", np.full(scene.depth[n].shape, 2, np.uint8))
        pincam = folder / "lowres_wide_intrinsics" / f"{name}.pincam"
        pincam.parent.mkdir(exist_ok=True)
        pincam.write_text(f"256 192 {fx} {fy} {cx} {cy}")
        camera_from_world = np.linalg.inv(scene.pose[n])
        axis = cv2.Rodrigues(camera_from_world[:3, :3])[0].ravel()
        numbers = [START + n * STEP + 2e-4, *axis, *camera_from_world[:3, 3]]
        lines.append(" ".join(f"{number:.9f}" for number in numbers))
    (folder / "lowres_wide.traj").write_text("\n".join(lines) + "\n")
    return folder
