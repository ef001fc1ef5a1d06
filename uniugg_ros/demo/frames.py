"""The pictures of a bag with their cameras and poses: for choosing target poses and for showing what is really there.

Reads with rosbags and decodes with the core; ROS is not needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from uniugg_core.cameras import Camera, inverse_rigid, rigid
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import decode_compressed, decode_raw, decode_raw_depth

from .stamps import NANOSECONDS

__all__ = ["SAMPLE_BAG", "SAMPLE_TOPICS", "Frame", "SampleTopics", "read_frames", "relative_pose"]

SAMPLE_BAG = Path(__file__).resolve().parents[2] / "samples" / "real_rgbd" / "bag"


@dataclass(frozen=True)
class SampleTopics:
    """Where the pictures of a bag are; `fixed` is the frame in which poses are wanted."""

    image: str = "/camera/color/image_raw/compressed"
    camera_info: str = "/camera/color/camera_info"
    depth: str = "/camera/depth/image_raw"
    fixed: str = "map"


SAMPLE_TOPICS = SampleTopics()


@dataclass(frozen=True, eq=False)
class Frame:
    """One recorded picture: RGB (H, W, 3) uint8, its camera, pose and, where recorded, depth (H, W) in metres."""

    stamp: int  # nanoseconds, as recorded
    frame: str  # name of the optical frame
    image: np.ndarray
    camera: Camera
    fixed_from_camera: np.ndarray
    depth: np.ndarray | None = None


def read_frames(bag: Path = SAMPLE_BAG, topics: SampleTopics = SAMPLE_TOPICS) -> list[Frame]:
    """The pictures of `bag` that have a calibration and a transform at their own stamp, in order.

    Raises:
        UniuggError: IMAGE_MISSING if there is no such picture, or no such bag.
    """
    if not (bag / "metadata.yaml").is_file():
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"there is no bag at {bag}")
    store = get_typestore(Stores.ROS2_JAZZY)
    pictures, depths, links = {}, {}, _Links()
    camera: Camera | None = None
    with Reader(bag) as reader:
        for connection, _, data in reader.messages():
            if connection.msgtype == "tf2_msgs/msg/TFMessage":
                links.add(store.deserialize_cdr(data, connection.msgtype), static=connection.topic == "/tf_static")
            elif connection.topic == topics.camera_info and camera is None:
                camera = _camera(store.deserialize_cdr(data, connection.msgtype))
            elif connection.topic in (topics.image, topics.depth):
                message = store.deserialize_cdr(data, connection.msgtype)
                target = pictures if connection.topic == topics.image else depths
                target[_nanoseconds(message.header.stamp)] = message
    frames = []
    for stamp, message in sorted(pictures.items()):
        pose = links.fixed_from(topics.fixed, message.header.frame_id, stamp)
        if camera is not None and pose is not None:
            depth = _depth(depths[stamp]) if stamp in depths else None
            frames.append(Frame(stamp, message.header.frame_id, _picture(message), camera, pose, depth))
    if not frames:
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{bag} has no picture with a camera and a pose on {topics.image}")
    return frames


class _Links:
    """Transforms of a bag by child frame; a look-up takes those of exactly the picture's stamp, or static ones."""

    def __init__(self) -> None:
        self._links: dict[str, tuple[str, dict[int | None, np.ndarray]]] = {}

    def add(self, message: object, *, static: bool) -> None:
        for link in message.transforms:
            shift, turn = link.transform.translation, link.transform.rotation
            matrix = rigid([turn.x, turn.y, turn.z, turn.w], [shift.x, shift.y, shift.z])
            stamp = None if static else _nanoseconds(link.header.stamp)
            self._links.setdefault(link.child_frame_id, (link.header.frame_id, {}))[1][stamp] = matrix

    def fixed_from(self, fixed: str, frame: str, stamp: int) -> np.ndarray | None:
        pose = np.eye(4)
        for _ in range(len(self._links) + 1):  # no longer chain without a loop
            if frame == fixed:
                return pose
            if frame not in self._links:
                return None
            frame, matrices = self._links[frame]
            matrix = matrices.get(None, matrices.get(stamp))
            if matrix is None:
                return None
            pose = matrix @ pose
        return None


def relative_pose(reference: Frame, target: Frame) -> np.ndarray:
    """``target_from_reference`` (4, 4) between two recorded pictures."""
    return inverse_rigid(target.fixed_from_camera) @ reference.fixed_from_camera


def _nanoseconds(stamp: object) -> int:
    return stamp.sec * NANOSECONDS + stamp.nanosec


def _camera(info: object) -> Camera:
    return Camera.from_ros(info.width, info.height, info.distortion_model, info.d, info.k)


def _picture(message: object) -> np.ndarray:
    if hasattr(message, "format"):
        return decode_compressed(message.data, message.format)
    return decode_raw(
        message.data, message.width, message.height, message.encoding, message.step, bool(message.is_bigendian)
    )


def _depth(message: object) -> np.ndarray:
    return decode_raw_depth(
        message.data, message.width, message.height, message.encoding, message.step, bool(message.is_bigendian)
    )
