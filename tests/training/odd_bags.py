"""Bags with known answers: a camera before a wall at z = 0 with a pattern, in whatever way a recorder may write it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
from rosbags.typesys import Stores, get_typestore

from uniugg_core.cameras import Camera, inverse_rigid, quaternion_from_matrix, rigid

STORE = get_typestore(Stores.ROS2_JAZZY)
T = STORE.types
SECOND = 10**9
BODY_FROM_OPTICAL = rigid([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.1, 0.02, 0.3])
SMALL = Camera(96, 64, [[80, 0, 47], [0, 82, 32], [0, 0, 1]])
BENT = Camera(96, 64, [[80, 0, 47], [0, 82, 32], [0, 0, 1]], (-0.25, 0.08, 0.002, -0.001, 0.0), "plumb_bob")


def wall(points: np.ndarray) -> np.ndarray:
    """Colour of the wall at world points (..., 3): smooth waves, so that a shift of a pixel changes little."""
    x, y = points[..., 0], points[..., 1]
    waves = [np.sin(5 * x) * np.cos(4 * y), np.sin(3 * x + 2 * y), np.cos(4 * y - x)]
    return np.clip(128 + 90 * np.stack(waves, -1), 0, 255).astype(np.uint8)


def look(camera: Camera, world_from_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a camera sees of the wall: RGB and depth."""
    rays = camera.rays() @ world_from_camera[:3, :3].T
    depth = np.where(rays[..., 2] < 0, -world_from_camera[2, 3] / rays[..., 2], 0.0)
    points = world_from_camera[:3, 3] + rays * depth[..., None]
    return wall(points), depth.astype(np.float32)


def path(count: int) -> list[np.ndarray]:
    """World-from-optical poses two metres before the wall, moving sideways and turning a little."""
    poses = []
    for k in range(count):
        turn, _ = cv2.Rodrigues(np.array([0.0, 0.02 * k, 0.01 * k]))
        poses.append(rigid(np.diag([1.0, -1.0, -1.0]) @ turn, [0.1 * k, 0.02 * k, 2.0]))
    return poses


def stamp_of(nanoseconds: int) -> object:
    return T["builtin_interfaces/msg/Time"](int(nanoseconds // SECOND), int(nanoseconds % SECOND))


def header(nanoseconds: int, frame: str) -> object:
    return T["std_msgs/msg/Header"](stamp_of(nanoseconds), frame)


def raw(nanoseconds: int, frame: str, array: np.ndarray, encoding: str, padding: int = 0) -> object:
    rows = np.ascontiguousarray(array).view(np.uint8).reshape(array.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    height, width = array.shape[:2]
    return T["sensor_msgs/msg/Image"](
        header(nanoseconds, frame), height, width, encoding, int(array.dtype.byteorder == ">"), rows.shape[1],
        rows.ravel(),
    )  # fmt: skip


def packed(nanoseconds: int, frame: str, array: np.ndarray, ending: str, text: str, head: bytes = b"") -> object:
    if array.ndim == 3:
        array = cv2.cvtColor(array, cv2.COLOR_RGB2BGR)
    data = np.frombuffer(head + cv2.imencode(ending, array, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes(), np.uint8)
    return T["sensor_msgs/msg/CompressedImage"](header(nanoseconds, frame), text, data)


def info(nanoseconds: int, frame: str, camera: Camera) -> object:
    k = camera.matrix
    p = np.zeros((3, 4))
    p[:, :3] = k
    roi = T["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    return T["sensor_msgs/msg/CameraInfo"](
        header(nanoseconds, frame), camera.height, camera.width, "plumb_bob", np.array(camera.distortion or [0.0] * 5),
        k.ravel(), np.eye(3).ravel(), p.ravel(), 0, 0, roi,
    )  # fmt: skip


def link(nanoseconds: int, parent: str, child: str, parent_from_child: np.ndarray) -> object:
    x, y, z, w = quaternion_from_matrix(parent_from_child)
    transform = T["geometry_msgs/msg/Transform"](
        T["geometry_msgs/msg/Vector3"](*map(float, parent_from_child[:3, 3])),
        T["geometry_msgs/msg/Quaternion"](float(x), float(y), float(z), float(w)),
    )
    return T["geometry_msgs/msg/TransformStamped"](header(nanoseconds, parent), child, transform)


def tf(*links: object) -> object:
    return T["tf2_msgs/msg/TFMessage"](list(links))


@dataclass(frozen=True)
class Odd:
    """How a bag is written; the defaults are the plainest one."""

    storage: str = "sqlite3"  # or mcap
    compression: str = ""  # "file", "message", "storage"
    color: str = "rgb8"  # or bgr8, jpeg, png
    depth: str = "16UC1"  # or 32FC1, compressed, compressed32, big-endian
    camera: Camera = SMALL
    depth_camera: Camera | None = None  # None: the colour camera, registered
    depth_from_color: np.ndarray | None = None
    depth_delay: float = 0.0  # seconds
    names: tuple[str, str] = ("/camera/color/image_raw", "/camera/depth/image_raw")
    jump_at: int | None = None
    frames: int = 8
    poses_missing: tuple[int, ...] = ()


def write_bag(folder: Path, odd: Odd) -> list[np.ndarray]:
    """Writes a bag at 10 Hz and returns the poses of its pictures."""
    plugin = {"sqlite3": StoragePlugin.SQLITE3, "mcap": StoragePlugin.MCAP}[odd.storage]
    writer = Writer(folder, version=9, storage_plugin=plugin)
    modes = {"file": CompressionMode.FILE, "message": CompressionMode.MESSAGE, "storage": CompressionMode.STORAGE}
    if odd.compression:
        writer.set_compression(modes[odd.compression], CompressionFormat.ZSTD)
    color_topic, depth_topic = odd.names
    optical, other = "cam_optical", "depth_optical"
    poses, connections = path(odd.frames), {}
    with writer:

        def put(topic: str, message: object, logged: int) -> None:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic], logged, STORE.serialize_cdr(message, kind))

        fixed = [link(0, "base", optical, BODY_FROM_OPTICAL)]
        depth_frame = optical
        if odd.depth_from_color is not None:
            depth_frame = other
            fixed.append(link(0, optical, other, inverse_rigid(odd.depth_from_color)))
        put("/tf_static", tf(*fixed), SECOND)
        shift = np.zeros(3)
        for k, pose in enumerate(poses):
            now = 10 * SECOND + k * SECOND // 10
            if k == odd.jump_at:
                shift = np.array([2.0, 0.0, 0.0])
            moved = pose.copy()
            moved[:3, 3] += shift
            # map -> odom -> base, of which both move: the chain must be multiplied out
            odom = rigid(np.eye(3), [0.5, -0.01 * k, 0.0])
            base = inverse_rigid(odom) @ moved @ inverse_rigid(BODY_FROM_OPTICAL)
            if k not in odd.poses_missing:
                put("/tf", tf(link(now, "map", "odom", odom), link(now, "odom", "base", base)), now)
            put(color_topic.rsplit("/", 1)[0] + "/camera_info", info(now, optical, odd.camera), now)
            rgb, own = look(odd.camera, pose)
            if odd.color in ("jpeg", "png"):
                put(color_topic + "/compressed", packed(now, optical, rgb, f".{odd.color}", f"rgb8; {odd.color}"), now)
            else:
                rgb = rgb[..., ::-1] if odd.color == "bgr8" else rgb
                put(color_topic, raw(now, optical, rgb, odd.color, padding=5), now)
            when = now + int(odd.depth_delay * SECOND)
            if odd.depth_camera is not None:
                put(depth_topic.rsplit("/", 1)[0] + "/camera_info", info(when, depth_frame, odd.depth_camera), when)
                there = pose if odd.depth_from_color is None else pose @ inverse_rigid(odd.depth_from_color)
                own = look(odd.depth_camera, there)[1]
            put(
                depth_topic + ("/compressedDepth" if "compressed" in odd.depth else ""),
                _depth(when, depth_frame, own, odd.depth),
                when + 1,
            )
        put("/unrelated", T["std_msgs/msg/String"]("hello"), 11 * SECOND)
    return poses


def _depth(when: int, frame: str, depth: np.ndarray, kind: str) -> object:
    millimetres = np.rint(depth * 1000).astype(np.uint16)
    if kind == "16UC1":
        return raw(when, frame, millimetres, "16UC1")
    if kind == "big-endian":
        return raw(when, frame, millimetres.astype(">u2"), "16UC1", padding=4)
    if kind == "32FC1":
        return raw(when, frame, np.where(depth > 0, depth, np.nan).astype(np.float32), "32FC1")
    if kind == "compressed":
        head = np.array([0], "<i4").tobytes() + np.zeros(2, "<f4").tobytes()
        return packed(when, frame, millimetres, ".png", "16UC1; compressedDepth png", head)
    scale, offset = 2000.0, 10.0
    values = np.rint(scale / depth + offset).astype(np.uint16)
    head = np.array([0], "<i4").tobytes() + np.array([scale, offset], "<f4").tobytes()
    return packed(when, frame, values, ".png", "32FC1; compressedDepth png", head)
