"""Where a camera stands, from the points that its pixels show."""

from __future__ import annotations

import cv2
import numpy as np

from .cameras import Camera, inverse_rigid

__all__ = ["camera_pose"]

_MAX_POINTS = 2000
_INLIER_PIXELS = 5.0
_ITERATIONS = 200


def camera_pose(points: np.ndarray, confidence: np.ndarray, camera: Camera) -> np.ndarray | None:
    """The pose that best explains a pointmap: PnP with RANSAC over the more confident half of the pixels.

    Args:
        points: (H, W, 3) metres in the scene's frame, the point seen at each pixel.
        confidence: (H, W).
        camera: pinhole camera of the picture.

    Returns:
        scene_from_camera (4, 4), or None where no pose fits. The same input gives the same pose.
    """
    height, width = confidence.shape
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    good = np.isfinite(points).all(axis=-1) & (confidence >= np.median(confidence))
    chosen = np.flatnonzero(good)
    if len(chosen) < 6:
        return None
    chosen = chosen[:: -(-len(chosen) // _MAX_POINTS)]
    world = points.reshape(-1, 3)[chosen].astype(np.float64)
    pixels = np.stack([columns.ravel()[chosen], rows.ravel()[chosen]], axis=-1).astype(np.float64)
    try:
        found, rotation, translation, _ = cv2.solvePnPRansac(
            world,
            pixels,
            camera.matrix,
            None,
            iterationsCount=_ITERATIONS,
            reprojectionError=_INLIER_PIXELS,
            flags=cv2.SOLVEPNP_SQPNP,
        )
    except cv2.error:  # degenerate clouds are an error to OpenCV; to us they are an answer
        return None
    if not found or not np.isfinite(rotation).all() or not np.isfinite(translation).all():
        return None
    camera_from_scene = np.eye(4)
    camera_from_scene[:3, :3] = cv2.Rodrigues(rotation)[0]
    camera_from_scene[:3, 3] = translation[:, 0]
    return inverse_rigid(camera_from_scene)
