"""Point clouds to pictures: a z-buffer with square splats and small holes filled, in NumPy.

This is the rendering of the evaluation (a cloud seen from the target camera) and the base of the overview pictures in
:mod:`uniugg_core.render.pictures`. N points, H W pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike

from ..cameras import Camera, inverse_rigid
from ..errors import ErrorCode, UniuggError

__all__ = ["Rendering", "render_points"]

NEAR = 0.01  # metres; nearer points are not drawn


class Rendering(NamedTuple):
    """A picture of a cloud.

    Args:
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32 metres along z, 0 where nothing was drawn.
        hole_fraction: share of pixels where nothing was drawn, after holes were filled.
        index: (H, W) int32, which point is seen, -1 for none.
    """

    rgb: np.ndarray
    depth: np.ndarray
    hole_fraction: float
    index: np.ndarray


def render_points(
    points: np.ndarray,
    colors: np.ndarray,
    camera: Camera,
    scene_from_camera: ArrayLike | None = None,
    *,
    splat: int = 2,
    fill_holes: int = 2,
    background: tuple[int, int, int] = (0, 0, 0),
) -> Rendering:
    """What a camera sees of a cloud: the nearest point wins each pixel.

    Args:
        points: (N, 3) in the scene's frame; those that are not finite are left out.
        colors: (N, 3) uint8.
        camera: with any distortion.
        scene_from_camera: (4, 4), where the camera stands; the origin by default.
        splat: side in pixels of the square drawn for a point.
        fill_holes: holes up to this many pixels across are filled from the neighbour farthest away, since what shows
            between points of a surface belongs to what is behind.
        background: colour of pixels without a point.

    Raises:
        UniuggError: REQUEST_INVALID for a splat or fill of nonsense size or colours that do not fit the points.
    """
    if not 1 <= splat <= 64 or not 0 <= fill_holes <= 64 or len(colors) != len(points):
        raise UniuggError(
            ErrorCode.REQUEST_INVALID,
            f"splat {splat} (1 to 64), fill_holes {fill_holes} (0 to 64), {len(points)} points, {len(colors)} colours",
        )
    pixels, depths, numbers = _seen(points, camera, scene_from_camera)
    index = _splat(pixels, depths, numbers, camera.width, camera.height, splat)
    drawn = index >= 0
    depth = np.zeros(index.shape, np.float32)
    by_number = np.zeros(len(points), np.float32)
    by_number[numbers] = depths
    depth[drawn] = by_number[index[drawn]]
    if fill_holes:
        _fill(index, depth, fill_holes)
        drawn = index >= 0
    rgb = np.empty((*index.shape, 3), np.uint8)
    rgb[:] = background
    rgb[drawn] = np.asarray(colors, np.uint8)[index[drawn]]
    return Rendering(rgb, depth, float(1.0 - drawn.mean()), index)


def _seen(
    points: np.ndarray, camera: Camera, scene_from_camera: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (M, 2), depths (M,) and numbers (M,) of the points in front of the camera."""
    if scene_from_camera is not None:
        camera_from_scene = inverse_rigid(scene_from_camera)
        # float64: the subtraction of two far-away positions must not lose the centimetres.
        points = points @ camera_from_scene[:3, :3].T + camera_from_scene[:3, 3]
    depths = points[:, 2]
    with np.errstate(invalid="ignore"):
        numbers = np.flatnonzero((depths > NEAR) & (depths < np.inf))
    in_front = points[numbers]
    return camera.project(in_front), in_front[:, 2].astype(np.float32), numbers


def _splat(
    pixels: np.ndarray, depths: np.ndarray, numbers: np.ndarray, width: int, height: int, splat: int
) -> np.ndarray:
    """(H, W) numbers of the nearest points, -1 for none; a splat of side s covers the s x s pixels round its point."""
    # Column by column: NumPy is slow at reductions over an axis of two. Comparisons are false for NaN.
    with np.errstate(invalid="ignore"):
        left, top = pixels[:, 0] + (1.0 - 0.5 * splat), pixels[:, 1] + (1.0 - 0.5 * splat)
        touches = (left > 1 - splat) & (left < width) & (top > 1 - splat) & (top < height)
    columns = np.floor(left[touches]).astype(np.int32)
    rows = np.floor(top[touches]).astype(np.int32)
    depths, numbers = depths[touches], numbers[touches].astype(np.int32)
    order = _far_to_near(depths)
    columns, rows, numbers = columns[order], rows[order], numbers[order]
    # A frame of splat pixels round the picture takes what hangs over the border.
    stride = width + 2 * splat
    first = (rows + splat) * stride + columns + splat
    offsets = (np.arange(splat)[:, None] * stride + np.arange(splat)).ravel().astype(np.int32)
    index = np.full((height + 2 * splat) * stride, -1, np.int32)
    # Written from far to near: of several values for one pixel the last, the nearest, stays.
    index[(first[:, None] + offsets).ravel()] = np.repeat(numbers, len(offsets))
    return np.ascontiguousarray(index.reshape(-1, stride)[splat:-splat, splat:-splat])


def _far_to_near(depths: np.ndarray) -> np.ndarray:
    """The order of falling depth; of equal depths the lower place comes last, on every machine.

    The bits of a positive float32 grow with its value, so one sort of whole numbers, several times faster than an
    argsort, ranks depth and place at once.
    """
    keys = (depths.view(np.uint32).astype(np.int64) << 32) | np.arange(len(depths))
    keys.sort()
    return keys[::-1] & 0xFFFFFFFF


def _fill(index: np.ndarray, depth: np.ndarray, widest: int) -> None:
    """Fills holes up to `widest` pixels across, in place, from the farthest of the eight neighbours."""
    drawn = (index >= 0).astype(np.uint8)
    # Closing with a square of side w + 1 covers exactly the gaps up to w wide. Two steps with mirrored anchors, for
    # OpenCV's own closing shifts the picture when the side is even.
    square = np.ones((widest + 1, widest + 1), np.uint8)
    closed = cv2.erode(cv2.dilate(drawn, square, anchor=(0, 0)), square, anchor=(widest, widest))
    rows, columns = np.nonzero((closed > 0) & (drawn == 0))
    height, width = index.shape
    shifts = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if r or c]
    for _ in range((widest + 1) // 2):
        if not len(rows):
            return
        near_rows = np.stack([(rows + r).clip(0, height - 1) for r, _ in shifts])
        near_columns = np.stack([(columns + c).clip(0, width - 1) for _, c in shifts])
        best = depth[near_rows, near_columns].argmax(axis=0)
        each = np.arange(len(rows))
        from_rows, from_columns = near_rows[best, each], near_columns[best, each]
        values, depths = index[from_rows, from_columns], depth[from_rows, from_columns]
        index[rows, columns], depth[rows, columns] = values, depths
        rows, columns = rows[values < 0], columns[values < 0]
