"""A scene from above, to scale: which points were observed and which imagined, and where the two cameras stand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .cameras import inverse_rigid
from .render import IMAGINED_TINT
from .scene import IMAGINED, OBSERVED

if TYPE_CHECKING:
    from .scene import Scene

__all__ = ["IMAGINED_COLOR", "OBSERVED_COLOR", "draw_plan"]

OBSERVED_COLOR = (70, 74, 82)
IMAGINED_COLOR = IMAGINED_TINT
BACKGROUND = (247, 248, 250)
GRID = (222, 226, 231)
INK = (90, 98, 108)

OUTLIERS = 0.02  # share of the points on each side that may lie outside of the plan
SMALLEST_SPAN = 2.0  # metres
FRUSTUM = 0.16  # length of a drawn frustum, as a share of the plan's span
GRID_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def draw_plan(scene: Scene, target_from_reference: np.ndarray, size: int, *, aspect: float = 0.5) -> Image.Image:
    """The plan as a square picture, forward of the reference camera upwards, right to the right.

    Args:
        scene: in the optical frame of the reference camera.
        target_from_reference: pose (4, 4) of the second frustum.
        size: side of the picture in pixels.
        aspect: half the width of a camera's view at depth 1.
    """
    reference_from_target = inverse_rigid(target_from_reference)
    cameras = ((np.eye(4), OBSERVED_COLOR), (reference_from_target, IMAGINED_COLOR))
    scene = scene.filter()  # what is not finite has no place on a plan
    points, source = scene.points, scene.source
    centre, span = _extent(points[:, [0, 2]], np.array([pose[[0, 2], 3] for pose, _ in cameras]))
    to_pixels = _Scale(centre, span, size)

    picture = Image.new("RGB", (size, size), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    step = _grid(draw, to_pixels, centre, span)
    canvas = np.asarray(picture).copy()
    for value, color in ((OBSERVED, OBSERVED_COLOR), (IMAGINED, IMAGINED_COLOR)):
        _scatter(canvas, to_pixels(points[source == value][:, [0, 2]]), color)
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    for pose, color in cameras:
        _frustum(draw, to_pixels, pose, span * FRUSTUM, aspect, color)
    label = ImageFont.load_default(max(12, size // 24))
    draw.text((8, 6), "from above", INK, label)
    draw.text((8, size - 8), f"grid {step:g} m", INK, label, anchor="ls")
    return picture


class _Scale:
    """Right and forward in metres (N, 2) to pixels (N, 2)."""

    def __init__(self, centre: np.ndarray, span: float, size: int) -> None:
        self.centre, self.factor, self.middle = centre, size / span, size / 2

    def __call__(self, ground: np.ndarray) -> np.ndarray:
        return self.middle + (ground - self.centre) * self.factor * np.array([1, -1])


def _extent(ground: np.ndarray, cameras: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and side of a square that holds both cameras and all but the outlying points."""
    corners = cameras
    if len(ground):
        corners = np.concatenate([cameras, np.quantile(ground, [OUTLIERS, 1 - OUTLIERS], axis=0)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    return (low + high) / 2, max(float((high - low).max()) * 1.15, SMALLEST_SPAN)


def _grid(draw: ImageDraw.ImageDraw, to_pixels: _Scale, centre: np.ndarray, span: float) -> float:
    step = next((step for step in GRID_STEPS if span / step <= 8), GRID_STEPS[-1])
    size = 2 * to_pixels.middle
    for axis in (0, 1):
        first = math.ceil((centre[axis] - span / 2) / step)
        for number in range(first, first + min(int(span / step) + 2, 200)):
            at = centre.copy()
            at[axis] = number * step
            u, v = to_pixels(at[None])[0]
            draw.line((u, 0, u, size) if axis == 0 else (0, v, size, v), GRID)
    return step


def _scatter(canvas: np.ndarray, pixels: np.ndarray, color: tuple[int, int, int]) -> None:
    """Blends points into the canvas: the more of them in a pixel, the stronger the colour."""
    size = canvas.shape[0]
    cells = np.floor(pixels).astype(np.int64)
    cells = cells[((cells >= 0) & (cells < size)).all(axis=1)]
    counts = np.bincount(cells[:, 1] * size + cells[:, 0], minlength=size * size).reshape(size, size, 1)
    strength = 1 - 0.6 ** np.minimum(counts, 20)
    canvas[:] = (canvas * (1 - strength) + np.array(color) * strength).astype(np.uint8)


def _frustum(
    draw: ImageDraw.ImageDraw,
    to_pixels: _Scale,
    reference_from_camera: np.ndarray,
    length: float,
    aspect: float,
    color: tuple[int, int, int],
) -> None:
    corners = np.array([[0, 0, 0], [-aspect, 0, 1], [aspect, 0, 1]]) * length
    ground = (corners @ reference_from_camera[:3, :3].T + reference_from_camera[:3, 3])[:, [0, 2]]
    apex, left, right = (tuple(point) for point in to_pixels(ground))
    draw.line([apex, left, right, apex], (255, 255, 255), 5, joint="curve")
    draw.line([apex, left, right, apex], color, 3, joint="curve")
    draw.ellipse((apex[0] - 4, apex[1] - 4, apex[0] + 4, apex[1] + 4), color)
