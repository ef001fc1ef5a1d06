"""Target views for free: a cloud that is already there, moved to where the target camera stands.

What a learnt imagination has to beat. The cloud is the reference view's: the model's own prediction of it, or the true
depth, as a depth camera gives it.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from uniugg_core.cameras import Camera
from uniugg_core.observed import moved_cloud

__all__ = ["filled_depth", "lifted", "moved_depth"]


def moved_depth(points: np.ndarray, intrinsics: np.ndarray, target_from_reference: np.ndarray) -> np.ndarray:
    """Depth (H, W) in metres of a reference cloud as the target camera sees it, 0 where it shows nothing.

    Args:
        points: (H, W, 3) in the reference camera's frame; NaN or infinite where there is none.
        intrinsics: (3, 3) of the target camera, which has the same picture size.
        target_from_reference: (4, 4).
    """
    camera = Camera(points.shape[1], points.shape[0], np.asarray(intrinsics, np.float64))
    return moved_cloud(points, np.zeros(points.shape, np.uint8), target_from_reference, camera).depth


def filled_depth(depth: np.ndarray) -> np.ndarray:
    """Holes (0) of a depth map (H, W) take the depth of the nearest pixel that has one; an empty map stays empty."""
    holes = depth <= 0
    if holes.all() or not holes.any():
        return depth
    rows, columns = distance_transform_edt(holes, return_distances=False, return_indices=True)
    return depth[rows, columns]


def lifted(depth: np.ndarray, intrinsics: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (H, W, 3) float32 of a depth map on the rays of its pixels, and where there are any (H, W) bool."""
    height, width = depth.shape
    v, u = np.mgrid[:height, :width].astype(np.float64)
    inverse = np.linalg.inv(np.asarray(intrinsics, np.float64))
    rays = np.stack([u, v, np.ones_like(u)], -1) @ inverse.T
    return (rays * depth[..., None]).astype(np.float32), depth > 0
