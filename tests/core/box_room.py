"""A camera in a box with painted walls: pictures, points and distances that are known exactly."""

from __future__ import annotations

import cv2
import numpy as np

from uniugg_core.cameras import Camera, inverse_rigid

CAMERA = Camera.from_fov(128, 128, 1.2)
LOW, HIGH = np.array([-2.0, -1.4, -1.0]), np.array([1.5, 1.1, 3.5])  # x right, y down, z ahead
_FINER = 4  # rays along each side of a pixel, of tiled pictures


def exits(start: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far (...) rays (..., 3) of unit length go from `start` inside, and the wall they meet (axis + 3 if far)."""
    with np.errstate(divide="ignore"):
        ends = np.where(rays > 0, HIGH - start, LOW - start) / rays
    axis = ends.argmin(-1)
    positive = np.take_along_axis(rays, axis[..., None], -1)[..., 0] > 0
    return ends.min(-1), axis + 3 * positive


def view(room_from_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The picture (H, W, 3) uint8 of walls with blots, full of landmarks, and its points in the camera's frame."""
    points, places, wall = _seen(room_from_camera, CAMERA)
    image = np.zeros(points.shape, np.uint8)
    for number in range(6):
        random = np.random.default_rng(number)
        blots = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        paint = cv2.resize(blots, (512, 512), interpolation=cv2.INTER_CUBIC)
        u, v = _along(places, number)
        painted = cv2.remap(paint, (u + 3) * 80, (v + 3) * 80, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        image[wall == number] = painted[wall == number]
    return image, points


def tiled_view(room_from_camera: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) uint8 of walls with tiles, whose edges run as the room does."""
    size = _FINER * CAMERA.width, _FINER * CAMERA.height
    points, places, wall = _seen(room_from_camera, CAMERA.scaled(*size))
    image = np.zeros(points.shape, np.float32)
    for number in range(6):
        u, v = _along(places, number)
        shade = 90 + 20 * number + 40 * ((np.floor(u / 0.5) + np.floor(v / 0.5)) % 2)
        image[wall == number] = shade[wall == number][:, None]
    small = cv2.resize(image, (CAMERA.width, CAMERA.height), interpolation=cv2.INTER_AREA)
    return small.round().astype(np.uint8)


def camera_at(motion: np.ndarray) -> np.ndarray:
    """room_from_camera of one that was moved by `motion` (target_from_reference) from the room's origin."""
    return inverse_rigid(motion)


def _seen(room_from_camera: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (H, W, 3) in the camera's frame and in the room's, and the walls (H, W) they are on."""
    own = camera.rays().reshape(camera.height, camera.width, 3)
    own = own / np.linalg.norm(own, axis=-1, keepdims=True)
    rays, start = own @ room_from_camera[:3, :3].T, room_from_camera[:3, 3]
    distance, wall = exits(start, rays)
    return own * distance[..., None], start + rays * distance[..., None], wall


def _along(places: np.ndarray, wall: int) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.delete(places, wall % 3, axis=-1).astype(np.float32).transpose(2, 0, 1))
