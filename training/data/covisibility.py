"""How much of one view another one sees, measured from depth; works for rooms and for recordings alike."""

from __future__ import annotations

import numpy as np

__all__ = ["TOLERANCE", "covisibility", "lift", "seen_by"]

TOLERANCE = (0.05, 0.03)  # relative and absolute (metres) difference of depth that still counts as the same surface


def lift(depth: np.ndarray, intrinsics: np.ndarray, world_from_camera: np.ndarray, stride: int = 1) -> np.ndarray:
    """World points (..., H', W', 3) float32 of depth maps (..., H, W), every `stride`-th pixel; NaN where depth is 0.

    Args:
        depth: metres along the optical axis, 0 invalid.
        intrinsics: (..., 3, 3).
        world_from_camera: (..., 4, 4).
        stride: step in pixels; the first sample is at half a step.
    """
    height, width = depth.shape[-2:]
    u = np.arange(stride // 2, width, stride, dtype=np.float32)
    v = np.arange(stride // 2, height, stride, dtype=np.float32)
    z = depth[..., stride // 2 :: stride, stride // 2 :: stride]
    z = np.where(z > 0, z, np.float32(np.nan)).astype(np.float32)
    k, pose = np.asarray(intrinsics, np.float32), np.asarray(world_from_camera, np.float32)
    y = (v[:, None] - k[..., 1, 2, None, None]) / k[..., 1, 1, None, None]
    x = (u[None, :] - k[..., 0, 2, None, None] - k[..., 0, 1, None, None] * y) / k[..., 0, 0, None, None]
    camera = np.stack([x * z, y * z, z], -1)
    turned = camera @ np.swapaxes(pose[..., :3, :3], -1, -2)[..., None, :, :]
    return turned + pose[..., None, None, :3, 3]


def seen_by(
    points: np.ndarray,
    depth: np.ndarray,
    intrinsics: np.ndarray,
    world_from_camera: np.ndarray,
    tolerance: tuple[float, float] = TOLERANCE,
) -> np.ndarray:
    """Which world points (..., 3) a view with this depth map (H, W) sees, neither outside nor hidden; (...) bool."""
    flat = np.asarray(points, np.float32).reshape(-1, 3)
    only = np.zeros(1, np.int64)
    k, pose = np.asarray(intrinsics)[None], np.asarray(world_from_camera)[None]
    return _seen(flat[None], only, depth[None], k, pose, tolerance)[0].reshape(points.shape[:-1])


def covisibility(
    depth: np.ndarray,
    intrinsics: np.ndarray,
    world_from_camera: np.ndarray,
    pairs: np.ndarray,
    *,
    stride: int = 4,
) -> np.ndarray:
    """For each pair (i, j): the share of view i's valid pixels whose surface view j sees too.

    Args:
        depth: (V, H, W) metres, 0 invalid.
        intrinsics: (V, 3, 3).
        world_from_camera: (V, 4, 4).
        pairs: (M, 2) view numbers.
        stride: only every `stride`-th pixel along each side is asked.

    Returns:
        (M,) float32; 0 where view i has no valid depth.
    """
    points = lift(depth, intrinsics, world_from_camera, stride).reshape(len(depth), -1, 3)
    valid = np.isfinite(points[..., 2]).sum(-1)
    seen = _seen(points[pairs[:, 0]], pairs[:, 1], depth, intrinsics, world_from_camera, TOLERANCE)
    return (seen.sum(-1) / np.maximum(valid[pairs[:, 0]], 1)).astype(np.float32)


def _seen(
    points: np.ndarray,
    view: np.ndarray,
    depth: np.ndarray,
    intrinsics: np.ndarray,
    world_from_camera: np.ndarray,
    tolerance: tuple[float, float],
) -> np.ndarray:
    """(M, N): whether view ``view[m]`` sees world point n of row m; points (M, N, 3) may be NaN."""
    k, pose = np.asarray(intrinsics, np.float32), np.asarray(world_from_camera, np.float32)
    image_from_world = k @ np.swapaxes(pose[:, :3, :3], -1, -2)
    shift = (image_from_world @ pose[:, :3, 3:])[..., 0]
    image = points @ np.swapaxes(image_from_world[view], -1, -2) - shift[view][:, None]
    height, width = depth.shape[-2:]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        z = image[..., 2]
        uv = image[..., :2] / np.maximum(z, 1e-3)[..., None]  # NaN stays NaN, and no comparison holds for it
        inside = (uv[..., 0] > -0.5) & (uv[..., 0] < width - 0.5) & (uv[..., 1] > -0.5) & (uv[..., 1] < height - 0.5)
        inside &= z > 1e-3
        m, n = np.nonzero(inside)
        pixel = (uv[m, n] + 0.5).astype(np.int32)
        there, far = depth[view[m], pixel[:, 1], pixel[:, 0]], z[m, n]
        inside[m, n] = (there > 0) & (np.abs(there - far) <= tolerance[0] * far + tolerance[1])
    return inside
