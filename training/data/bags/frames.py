"""From recorded bytes to a frame: decoded, undistorted, depth brought into the colour camera, made smaller.

Everything about pixels comes from the core, as in the node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from uniugg_core.cameras import Camera, ideal_camera, resize, undistort
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import decode_compressed, decode_compressed_depth, decode_raw, decode_raw_depth

from .align import FramePlan
from .reader import Bag, deserialize, header
from .topics import COMPRESSED, Topics

__all__ = ["Frame", "decode_color", "decode_depth", "make_frame", "read_frames", "warp_depth"]


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture and its depth as one camera without distortion sees them."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    depth: np.ndarray  # (H, W) float32 metres, 0 unknown
    camera: Camera
    original: bytes | None = None  # the JPEG or PNG that `image` is, if it was left as recorded


def read_frames(
    bag: Bag, topics: Topics, plans: Sequence[FramePlan], short_side: int | None, max_depth: float
) -> Iterator[tuple[int, Frame | UniuggError]]:
    """The frames of `plans`, which lie close together in time, with their numbers in `plans`; or why there is none."""
    logged = [time for plan in plans for time in (plan.color.logged, plan.depth.logged)]
    types = {name: topic.msgtype for name, topic in bag.topics.items()}
    color_of = {plan.color.stamp: number for number, plan in enumerate(plans)}
    users: dict[int, int] = {}  # how many frames still wait for a depth picture
    for plan in plans:
        users[plan.depth.stamp] = users.get(plan.depth.stamp, 0) + 1
    colors: dict[int, bytes] = {}
    depths: dict[int, bytes] = {}
    for topic, time, data in bag.messages([topics.color or "", topics.depth or ""], min(logged), max(logged) + 1):
        stamp = header(data)[0] or time
        if topic == topics.color and stamp in color_of:
            colors.setdefault(stamp, data)
        elif topic == topics.depth and stamp in users:
            depths.setdefault(stamp, data)
        else:
            continue
        for color_stamp in list(colors):
            number = color_of[color_stamp]
            plan = plans[number]
            if plan.depth.stamp not in depths:
                continue
            color, depth = colors.pop(color_stamp), depths[plan.depth.stamp]
            users[plan.depth.stamp] -= 1
            if not users[plan.depth.stamp]:
                del users[plan.depth.stamp], depths[plan.depth.stamp]
            try:
                image, original = decode_color(color, types[topics.color or ""])
                metres = decode_depth(depth, types[topics.depth or ""])
                yield number, make_frame(image, original, metres, plan, short_side, max_depth)
            except UniuggError as error:
                yield number, error
    for color_stamp in colors:
        yield color_of[color_stamp], UniuggError(ErrorCode.IMAGE_MISSING, "its depth was not found again")


def decode_color(data: bytes, msgtype: str) -> tuple[np.ndarray, bytes | None]:
    """RGB (H, W, 3) uint8 of a recorded picture message, and the file in it if it holds one.

    Raises:
        UniuggError: IMAGE codes.
    """
    message = deserialize(data, msgtype)
    if msgtype == COMPRESSED:
        return decode_compressed(message.data, message.format), message.data.tobytes()
    image = decode_raw(
        message.data, message.width, message.height, message.encoding, message.step, bool(message.is_bigendian)
    )
    return image, None


def decode_depth(data: bytes, msgtype: str) -> np.ndarray:
    """Depth (H, W) float32 metres of a recorded depth message.

    Raises:
        UniuggError: IMAGE codes.
    """
    message = deserialize(data, msgtype)
    if msgtype == COMPRESSED:
        return decode_compressed_depth(message.data, message.format)
    return decode_raw_depth(
        message.data, message.width, message.height, message.encoding, message.step, bool(message.is_bigendian)
    )


def make_frame(
    image: np.ndarray,
    original: bytes | None,
    depth: np.ndarray,
    plan: FramePlan,
    short_side: int | None,
    max_depth: float,
) -> Frame:
    """One camera without distortion for both pictures.

    Args:
        image: as decoded, with the lens's distortion.
        original: the file that it was decoded from.
        depth: as decoded.
        plan: cameras and transforms.
        short_side: pixels of the shorter side; None, or larger than it is, leaves the size alone.
        max_depth: metres; farther is unknown.

    Raises:
        UniuggError: CAMERA_INFO codes where pictures and calibrations do not fit.
    """
    height, width = image.shape[:2]
    camera = _plain(plan.color_camera.for_image(width, height, allow_scaling=True))
    flat, flat_camera = undistort(image, camera)
    if short_side is not None and short_side < min(height, width):
        scale = short_side / min(height, width)
        flat, flat_camera = resize(flat, flat_camera, round(width * scale), round(height * scale))
    depth_camera = _plain((plan.depth_camera or camera).for_image(depth.shape[1], depth.shape[0], allow_scaling=True))
    if plan.color_from_depth is not None:
        mapped = warp_depth(depth, depth_camera, flat_camera, plan.color_from_depth)
    elif depth_camera == flat_camera:
        mapped = depth.copy()
    else:
        mapped = cv2.remap(depth, *_depth_maps(depth_camera, flat_camera), cv2.INTER_NEAREST)
    mapped[mapped > max_depth] = 0.0
    return Frame(flat, mapped, flat_camera, original if flat is image else None)


def warp_depth(depth: np.ndarray, source: Camera, target: Camera, target_from_source: np.ndarray) -> np.ndarray:
    """Depth (H, W) that `target`, a pinhole elsewhere, sees of the surfaces in a depth picture; the nearest wins.

    A pixel covers as many pixels of the target as its share of the field of view, so that a coarse depth camera leaves
    no grid of holes.
    """
    v, u = np.nonzero(depth > 0)
    rays = _rays(source)[v, u]
    z = depth[v, u].astype(np.float64)
    points = (rays * z[:, None]) @ target_from_source[:3, :3].T + target_from_source[:3, 3]
    with np.errstate(invalid="ignore", divide="ignore"):
        pixels = target.project(points)
    ahead = points[:, 2]
    good = np.isfinite(pixels).all(-1) & (ahead > 0)
    pixels, ahead = pixels[good], ahead[good]
    spread = int(np.clip(np.ceil(target.matrix[0, 0] / source.matrix[0, 0] - 0.1), 1, 8))
    order = np.argsort(-ahead, kind="stable")  # written last, the nearest stays
    corner = np.rint(pixels[order] - (spread - 1) / 2).astype(np.int64)
    ahead = ahead[order].astype(np.float32)
    # a border as wide as a splat takes what falls outside
    canvas = np.zeros((target.height + 2 * spread, target.width + 2 * spread), np.float32)
    x, y = corner[:, 0] + spread, corner[:, 1] + spread
    inside = (x >= 0) & (y >= 0) & (x < target.width + spread) & (y < target.height + spread)
    x, y, ahead = x[inside], y[inside], ahead[inside]
    layers = []
    for dy in range(spread):
        for dx in range(spread):
            layer = np.zeros_like(canvas)
            layer[y + dy, x + dx] = ahead
            layers.append(layer)
    far = np.float32(np.inf)
    nearest = np.min([np.where(layer > 0, layer, far) for layer in layers], axis=0)
    canvas = np.where(np.isfinite(nearest), nearest, 0.0).astype(np.float32)
    return np.ascontiguousarray(canvas[spread:-spread, spread:-spread])


def _plain(camera: Camera) -> Camera:
    """The camera as a pinhole, if its coefficients are all zero."""
    return camera if camera.is_distorted else Camera(camera.width, camera.height, camera.matrix)


@lru_cache(maxsize=8)
def _rays(camera: Camera) -> np.ndarray:
    return camera.rays()


@lru_cache(maxsize=8)
def _depth_maps(source: Camera, target: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of `target` lies in a depth picture of `source`, which stands at the same place."""
    pixels = source.project(ideal_camera(target).rays())
    pixels = np.where(np.isfinite(pixels), pixels, -1e4).astype(np.float32)
    return pixels[..., 0], pixels[..., 1]
