"""Target views for free: a cloud that is already there, moved to where the target camera stands.

What a learnt imagination has to beat. The cloud is the reference view's: the model's own prediction of it, or the true
depth, as a depth camera gives it.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from uniugg_core.cameras import Camera, inverse_rigid
from uniugg_core.render import render_points

__all__ = ["filled_depth", "lifted", "moved_depth"]

_CRACKS = 2  # pixels; thinner gaps are between the points of a surface, not beside it


def moved_depth(points: np.ndarray, intrinsics: np.ndarray, target_from_reference: np.ndarray) -> np.ndarray:
    """Depth (H, W) in metres of a reference cloud as the target camera sees it, 0 where it shows nothing.

    Each point lands in the nearest pixel, the nearest point wins, and cracks of up to two pixels are closed.

    Args:
        points: (H, W, 3) in the reference camera's frame; NaN or infinite where there is none.
        intrinsics: (3, 3) of the target camera, which has the same picture size.
        target_from_reference: (4, 4).
    """
    height, width = points.shape[:2]
    flat = points.reshape(-1, 3)
    camera = Camera(width, height, np.asarray(intrinsics, np.float64))
    pose = inverse_rigid(np.asarray(target_from_reference, np.float64))
    drawn = render_points(flat, np.zeros((len(flat), 3), np.uint8), camera, pose, splat=1, fill_holes=_CRACKS)
    return drawn.depth


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
