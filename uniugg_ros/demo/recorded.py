"""The pictures of a bag with their cameras and poses: for choosing target poses and for showing what is really there.

Reads with rosbags and decodes with the core; ROS is not needed.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from uniugg_core.cameras import Camera, inverse_rigid
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import decode_compressed, decode_raw, decode_raw_depth

from ..frames import TransformBuffer, take_transforms
from ..shares import share
from .stamps import NANOSECONDS

__all__ = [
    "SAMPLE_TOPICS",
    "BagTopics",
    "Known",
    "Picture",
    "known_questions",
    "read_pictures",
    "relative_pose",
    "room_bag",
    "sample_bag",
]

SAMPLE, ROOM = "samples/real_rgbd/bag", "samples/room/bag"


@dataclass(frozen=True)
class BagTopics:
    """Where the pictures of a bag are; `fixed` is the frame in which poses are wanted."""

    image: str = "/camera/color/image_raw/compressed"
    camera_info: str = "/camera/color/camera_info"
    depth: str = "/camera/depth/image_raw"
    fixed: str = "map"


SAMPLE_TOPICS = BagTopics()


@dataclass(frozen=True, eq=False)
class Picture:
    """One recorded picture: RGB (H, W, 3) uint8, its camera, pose and, where recorded, depth (H, W) in metres."""

    stamp: int  # nanoseconds, as recorded
    frame: str  # name of the optical frame
    image: np.ndarray
    camera: Camera
    fixed_from_camera: np.ndarray
    depth: np.ndarray | None = None
    jpeg: bytes = b""  # the picture as it was recorded, if it was recorded compressed


@dataclass(frozen=True)
class Known:
    """A question about one picture of a bag, and its true answer."""

    picture: int
    question: str
    answer: str


def sample_bag() -> Path:
    """The real recording that comes with the package; ``UNIUGG_SAMPLE_BAG`` names another.

    Raises:
        UniuggError: IMAGE_MISSING if it is not there.
    """
    named = os.environ.get("UNIUGG_SAMPLE_BAG")
    bag = Path(named) if named else share(SAMPLE)
    if not (bag / "metadata.yaml").is_file():
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"there is no bag at {bag}; name one with --bag")
    return bag


def room_bag() -> Path | None:
    """The drive through a procedural room that comes with the package; None if it is not there."""
    bag = share(ROOM)
    return bag if (bag / "metadata.yaml").is_file() else None


def known_questions(bag: Path) -> list[Known]:
    """Questions with true answers that lie beside a bag, in ``questions.json``; none where there is no such file.

    Raises:
        UniuggError: REQUEST_INVALID if the file holds something else.
    """
    path = bag.parent / "questions.json"
    if not path.is_file():
        return []
    try:
        return [Known(int(q["picture"]), str(q["question"]), str(q["answer"])) for q in json.loads(path.read_text())]
    except (ValueError, TypeError, KeyError) as error:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path} holds no questions: {error!r}") from error


def read_pictures(bag: Path, topics: BagTopics = SAMPLE_TOPICS) -> list[Picture]:
    """The pictures of `bag` that have a calibration and a transform at their own stamp, in order.

    Raises:
        UniuggError: IMAGE_MISSING if there is no such picture, or no such bag.
    """
    if not (bag / "metadata.yaml").is_file():
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"there is no bag at {bag}")
    store = get_typestore(Stores.ROS2_JAZZY)
    colors, depths = {}, {}
    camera: Camera | None = None
    with Reader(bag) as reader:
        transforms = TransformBuffer(cache=reader.duration / NANOSECONDS + 1)
        for connection, _, data in reader.messages():
            if connection.msgtype == "tf2_msgs/msg/TFMessage":
                links = store.deserialize_cdr(data, connection.msgtype)
                take_transforms(transforms, links, static=connection.topic == "/tf_static")
            elif connection.topic == topics.camera_info and camera is None:
                info = store.deserialize_cdr(data, connection.msgtype)
                camera = Camera.from_ros(info.width, info.height, info.distortion_model, info.d, info.k)
            elif connection.topic in (topics.image, topics.depth):
                message = store.deserialize_cdr(data, connection.msgtype)
                (colors if connection.topic == topics.image else depths)[_nanoseconds(message.header.stamp)] = message
    pictures = []
    for stamp, message in sorted(colors.items()):
        try:
            pose = transforms.lookup(topics.fixed, message.header.frame_id, stamp)
        except UniuggError:
            continue  # the first and last pictures of a recording often lie outside of its transforms
        if camera is not None:
            depth = _depth(depths[stamp]) if stamp in depths else None
            jpeg = bytes(message.data) if hasattr(message, "format") else b""
            pictures.append(Picture(stamp, message.header.frame_id, _rgb(message), camera, pose, depth, jpeg))
    if not pictures:
        raise UniuggError(ErrorCode.IMAGE_MISSING, f"{bag} has no picture with a camera and a pose on {topics.image}")
    return pictures


def relative_pose(reference: Picture, target: Picture) -> np.ndarray:
    """``target_from_reference`` (4, 4) between two recorded pictures."""
    return inverse_rigid(target.fixed_from_camera) @ reference.fixed_from_camera


def _nanoseconds(stamp: object) -> int:
    return stamp.sec * NANOSECONDS + stamp.nanosec


def _rgb(message: object) -> np.ndarray:
    if hasattr(message, "format"):
        return decode_compressed(message.data, message.format)
    return decode_raw(
        message.data, message.width, message.height, message.encoding, message.step, bool(message.is_bigendian)
    )


def _depth(message: object) -> np.ndarray:
    return decode_raw_depth(
        message.data, message.width, message.height, message.encoding, message.step, bool(message.is_bigendian)
    )
