"""Pictures of a scene for people: the cloud from two sides, framed by itself, observed and imagined told apart.

Points keep their colours; imagined ones are tinted magenta, a colour rooms seldom have. Edges are darkened by depth
steps (eye-dome lighting, C. Boucheny's thesis, 2009, here in its simplest form), without which a cloud looks flat.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from ..cameras import Camera, axis_rotation, inverse_rigid
from ..errors import ErrorCode, UniuggError
from ..scene import IMAGINED, OBSERVED, Scene, View, up_direction
from .splat import render_points

__all__ = ["IMAGINED_TINT", "scene_picture"]

IMAGINED_TINT = (226, 30, 150)
TINT_SHARE = 0.35  # of the tint in an imagined point's colour
BACKGROUND = (244, 245, 247)
INK = (70, 74, 82)
FIELD_OF_VIEW = math.radians(45.0)
OVERSAMPLE = 2  # drawn this much larger, then averaged
MAX_FRUSTA = 16  # cameras drawn, at most
MAX_POINTS = 400_000  # more are thinned evenly; a panel has fewer pixels than that


class _Side(NamedTuple):
    """Where a panel looks from: degrees round the scene (0 behind the camera, positive to its right) and above it."""

    azimuth: float
    elevation: float
    title: str


SIDES = (_Side(-35.0, 28.0, "from behind, left"), _Side(40.0, 58.0, "from above, right"))


def scene_picture(scene: Scene, size: int | tuple[int, int] = 360) -> np.ndarray:
    """The cloud from behind the camera's left shoulder and from high on its right, side by side.

    The framing follows the bulk of the points, so a few strays do not shrink the rest. The cameras of the scene's
    views are drawn, a bar gives the scale, and a legend says which points are imagined.

    Args:
        scene: any, also an empty one.
        size: the picture's height, for two panels of 4:3; or its (width, height), both panels and the gap included.

    Returns:
        (height, width, 3) uint8.

    Raises:
        UniuggError: REQUEST_INVALID for panels with a side below 64 or above 4096 pixels.
    """
    gap = max((size if isinstance(size, int) else size[1]) // 90, 2)
    width, height = (2 * round(size * 4 / 3) + gap, size) if isinstance(size, int) else size
    widths = ((width - gap) // 2, width - gap - (width - gap) // 2)
    if not all(64 <= side <= 4096 for side in (*widths, height)):
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"size is {size}: a panel has sides of 64 to 4096 pixels")
    cloud = scene.filter()
    if len(cloud) > MAX_POINTS:
        cloud = cloud.select(np.linspace(0, len(cloud) - 1, MAX_POINTS).astype(np.int64))
    left, right = (_panel(cloud, side, wide, height) for side, wide in zip(SIDES, widths))
    return np.concatenate([left, np.full((height, gap, 3), 255, np.uint8), right], axis=1)


def _panel(cloud: Scene, side: _Side, width: int, height: int) -> np.ndarray:
    scale = height / 360
    if not len(cloud):
        picture = np.full((height, width, 3), BACKGROUND, np.uint8)
        _text(picture, "no points", (width // 2 - int(40 * scale), height // 2), scale)
        return picture
    scene_from_eye, camera, distance = _eye(cloud, side, width * OVERSAMPLE, height * OVERSAMPLE)
    colors = cloud.colors.astype(np.float32)
    imagined = cloud.source == IMAGINED
    colors[imagined] += TINT_SHARE * (np.array(IMAGINED_TINT, np.float32) - colors[imagined])
    drawn = render_points(
        cloud.points,
        colors.astype(np.uint8),
        camera,
        scene_from_eye,
        splat=_splat_size(len(cloud), camera),
        fill_holes=2,
        background=BACKGROUND,
    )
    picture = _shaded(drawn.rgb, drawn.depth)
    for view in cloud.views[:MAX_FRUSTA]:
        _frustum(picture, view, camera, scene_from_eye, 0.08 * distance)
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    _text(picture, side.title, (int(8 * scale), int(18 * scale)), scale)
    _scale_bar(picture, camera.matrix[0, 0] / OVERSAMPLE / distance, scale)
    _legend(picture, cloud, scale)
    return picture


def _eye(cloud: Scene, side: _Side, width: int, height: int) -> tuple[np.ndarray, Camera, float]:
    """A camera that sees the bulk of the cloud from a side: scene_from_eye (4, 4), the camera, metres to the middle."""
    up = up_direction(cloud.frame)
    forward = _level_forward(cloud, up)
    right = np.cross(forward, up)
    azimuth, elevation = math.radians(side.azimuth), math.radians(side.elevation)
    # Columns are the eye's axes x right, y down, z forward, first level behind the scene's camera, then moved round.
    axes = np.stack([right, -up, forward], axis=1) @ axis_rotation(1, -azimuth) @ axis_rotation(0, -elevation)
    seen = cloud.points.astype(np.float64) @ axes
    cameras = np.array([view.scene_from_camera[:3, 3] for view in cloud.views[:MAX_FRUSTA]]).reshape(-1, 3) @ axes
    low, high = np.percentile(seen, [2, 98], axis=0)
    if len(cameras):
        low, high = np.minimum(low, cameras.min(axis=0)), np.maximum(high, cameras.max(axis=0))
    middle = 0.5 * (low + high)
    camera = Camera.from_fov(width, height, FIELD_OF_VIEW)
    reach = 0.88 * np.array([width, height]) / 2 / camera.matrix[[0, 1], [0, 1]]

    def needed(positions: np.ndarray) -> np.ndarray:
        """The distance from which a point just fits: |x| / (z + distance) = reach."""
        offsets = positions - middle
        return (np.abs(offsets[:, :2]) / reach).max(axis=1) - offsets[:, 2]

    # Nearly all points must fit, and every camera.
    distance = max(float(np.percentile(needed(seen), 97)), float(needed(cameras).max(initial=0.0)), 0.05)
    scene_from_eye = np.eye(4)
    scene_from_eye[:3, :3] = axes
    scene_from_eye[:3, 3] = axes @ (middle - (0.0, 0.0, distance))
    return scene_from_eye, camera, distance


def _level_forward(cloud: Scene, up: np.ndarray) -> np.ndarray:
    """Horizontal unit vector the reference camera looks along; the frame's own forward without one."""
    forward = np.array([0.0, 0.0, 1.0]) if abs(up[2]) < 0.5 else np.array([1.0, 0.0, 0.0])
    for view in cloud.views:
        if view.source == OBSERVED:
            forward = view.scene_from_camera[:3, 2]
            break
    level = forward - up * (forward @ up)
    if np.linalg.norm(level) < 1e-3:  # looking straight up or down: any direction is as good
        level = np.cross(up, np.eye(3)[int(np.abs(up).argmin())])
    return level / np.linalg.norm(level)


def _splat_size(count: int, camera: Camera) -> int:
    """Splats that just about close the surface, were the points spread over half of the panel."""
    spacing = math.sqrt(0.5 * camera.width * camera.height / count)
    return int(np.clip(math.ceil(1.2 * spacing), 2, 4 * OVERSAMPLE))


def _shaded(rgb: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Pixels darkened by how far they lie behind their neighbours; the background stays bright."""
    drawn = depth > 0
    logs = np.where(drawn, np.log(np.maximum(depth, 1e-6)), np.float32(np.inf)).astype(np.float32)
    behind = np.zeros_like(logs)
    for reach in (OVERSAMPLE, 2 * OVERSAMPLE):
        padded = np.pad(logs, reach, constant_values=np.inf)
        for rows, columns in ((0, reach), (2 * reach, reach), (reach, 0), (reach, 2 * reach)):
            neighbour = padded[rows : rows + logs.shape[0], columns : columns + logs.shape[1]]
            with np.errstate(invalid="ignore"):
                behind += np.where(drawn, np.maximum(logs - neighbour, 0.0), 0.0)
    shade = np.maximum(np.exp(-3.0 * behind), 0.45)
    return np.where(drawn[..., None], rgb * shade[..., None], rgb).astype(np.uint8)


def _frustum(picture: np.ndarray, view: View, camera: Camera, scene_from_eye: np.ndarray, size: float) -> None:
    """The outline of a view's camera, `size` metres deep."""
    right, bottom = view.camera.width - 0.5, view.camera.height - 0.5
    corners = view.camera.rays(np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])) * size
    outline = np.concatenate([np.zeros((1, 3)), corners])
    eye_from_view = inverse_rigid(scene_from_eye) @ view.scene_from_camera
    pixels = camera.project(outline @ eye_from_view[:3, :3].T + eye_from_view[:3, 3])
    if not np.isfinite(pixels).all() or np.abs(pixels).max() > 1e5:
        return
    color = IMAGINED_TINT if view.source == IMAGINED else INK
    points = [tuple(int(value) for value in np.rint(pixel)) for pixel in pixels]
    thickness = max(camera.height // 300, 1)
    for start, end in ((0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4), (4, 1)):
        cv2.line(picture, points[start], points[end], color, thickness, cv2.LINE_AA)


def _scale_bar(picture: np.ndarray, pixels_per_metre: float, scale: float) -> None:
    """A bar of a round length at the bottom right, right for things in the middle of the scene."""
    height, width = picture.shape[:2]
    lengths = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
    metres = [length for length in lengths if length * pixels_per_metre < 0.25 * width]
    if not metres:
        return
    x, y = width - int(10 * scale), height - int(12 * scale)
    left = x - round(metres[-1] * pixels_per_metre)
    cv2.line(picture, (left, y), (x, y), INK, max(round(2 * scale), 1), cv2.LINE_AA)
    label = f"{metres[-1]:g} m"
    _text(picture, label, (left, y - int(6 * scale)), scale)


def _legend(picture: np.ndarray, cloud: Scene, scale: float) -> None:
    """How many points are observed (their own colours) and imagined (tinted)."""
    y, imagined = picture.shape[0] - int(12 * scale), int((cloud.source == IMAGINED).sum())
    x, size = int(8 * scale), int(9 * scale)
    for name, count, color in (("observed", len(cloud) - imagined, INK), ("imagined", imagined, IMAGINED_TINT)):
        if count:
            cv2.rectangle(picture, (x, y - size), (x + size, y), color, -1)
            _text(picture, name, (x + int(13 * scale), y), scale)
            x += int(90 * scale)


def _text(picture: np.ndarray, text: str, at: tuple[int, int], scale: float) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42 * scale, INK, max(round(scale), 1), cv2.LINE_AA)
