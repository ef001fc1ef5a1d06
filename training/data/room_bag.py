"""Record a drive through a procedural room as a rosbag2, with questions whose answers are known.

examples:
  uniugg data room-bag room/ --room 7
  uniugg data room-bag room/ --room 7 --frames 40 --size 480 --hz 10
  uniugg data from-bag room/bag data/room

OUT gets bag/ (MCAP: JPEG pictures, depth in millimetres, CameraInfo, TF from map over camera_link to the optical frame)
and questions.json: for some of the pictures a question and its true answer. Rooms are those of the test split, which no
training sees. Good for trying a node, a recorder or a whole pipeline where there is no robot.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError

if TYPE_CHECKING:
    from .drives import Drive

__all__ = ["configure", "room_drive", "run", "write_room_bag"]

FRAME, LINK, MAP = "camera_color_optical_frame", "camera_link", "map"
LINK_FROM_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # REP 103
START = 1_700_000_000 * 10**9  # nanoseconds; the time of the first picture, which means nothing
QUALITY = 92  # of the JPEG pictures
MOTION = 0.3  # of a drive's full range between pictures: they follow each other closely


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg data room-bag``."""
    parser.add_argument("out", type=Path, metavar="OUT", help="new folder")
    parser.add_argument("--room", type=int, default=0, metavar="N", help="number of the room (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=24, metavar="N", help="pictures (default: %(default)s)")
    parser.add_argument("--size", type=int, default=360, metavar="PX", help="their side (default: %(default)s)")
    parser.add_argument("--hz", type=float, default=5.0, metavar="X", help="pictures a second (default: %(default)s)")
    parser.add_argument("--questions", type=int, default=8, metavar="N", help="asked in all (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Records; prints where."""
    if min(args.frames, args.size, args.hz) <= 0 or args.room < 0 or args.questions < 0:
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, "--frames, --size and --hz must be above 0, --room and --questions not below"
        )
    drive = room_drive(args.room, args.frames, args.size)
    write_room_bag(args.out / "bag", drive, args.hz)
    asked = _questions(drive, args.questions, args.room)
    (args.out / "questions.json").write_text(json.dumps(asked, indent=1) + "\n", encoding="utf-8")
    print(args.out / "bag")
    return 0


def room_drive(room: int, frames: int, size: int) -> Drive:
    """A continuous drive through test room number `room`: `frames` pictures of `size` pixels a side."""
    from .drives import Drive, RoomsConfig, open_renderer
    from .rooms import SPLITS
    from .world.paths import draw_drive, draw_rig
    from .world.room import make_room

    config = RoomsConfig(size=size, supersample=2)
    made = make_room(SPLITS["test"] + room, clutter=(0.3, 0.8), smallest=3.5, largest=6.5, l_shaped=0.0)
    rng = Random(f"drive/{room}")
    rig = draw_rig(rng, size, fov=(62.0, 70.0), heights=(1.0, 1.4))
    poses = draw_drive(made, rig, frames, rng, motion=MOTION)
    matrices = np.repeat(rig.intrinsics[None], frames, 0)
    image, depth, instances = open_renderer(config)([made], [matrices], [poses])[0]
    return Drive(made, image, depth, instances, rig.intrinsics, poses, (), ())


def write_room_bag(bag: Path, drive: Drive, hz: float) -> None:
    """Writes a drive as a rosbag2 that every distribution from Humble on reads.

    Args:
        bag: new folder.
        drive: pictures, depth, calibration and poses.
        hz: pictures a second.

    Raises:
        UniuggError: REQUEST_INVALID if the folder exists.
    """
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.rosbag2.enums import CompressionFormat, CompressionMode

    if bag.exists():
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{bag} exists already")
    bag.parent.mkdir(parents=True, exist_ok=True)
    messages = _Messages(drive.image.shape[1], drive.intrinsics)
    writer = Writer(bag, version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}

        def write(topic: str, kind: str, stamp: int, message: object, **offered: Any) -> None:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=messages.store, **offered)
            writer.write(connections[topic], stamp, messages.store.serialize_cdr(message, kind))

        tf = "tf2_msgs/msg/TFMessage"
        fixed = messages.transform(START, LINK, FRAME, LINK_FROM_OPTICAL)
        write("/tf_static", tf, START - 10**8, fixed, offered_qos_profiles=[_latched()])
        for number, pose in enumerate(drive.world_from_camera):
            stamp = START + round(number * 1e9 / hz)
            write("/tf", tf, stamp, messages.transform(stamp, MAP, LINK, pose @ np.linalg.inv(LINK_FROM_OPTICAL)))
            info = messages.info(stamp)
            write("/camera/color/camera_info", "sensor_msgs/msg/CameraInfo", stamp, info)
            picture = messages.jpeg(stamp, drive.image[number])
            write("/camera/color/image_raw/compressed", "sensor_msgs/msg/CompressedImage", stamp, picture)
            write("/camera/depth/camera_info", "sensor_msgs/msg/CameraInfo", stamp, info)
            depth = messages.depth(stamp, drive.depth[number])
            write("/camera/depth/image_raw", "sensor_msgs/msg/Image", stamp, depth)


class _Messages:
    """ROS messages of a camera, made without ROS."""

    def __init__(self, size: int, matrix: np.ndarray) -> None:
        from rosbags.typesys import Stores, get_typestore

        self.store = get_typestore(Stores.ROS2_JAZZY)
        self._size, self._matrix = size, matrix

    def _new(self, name: str, *values: Any) -> Any:
        package, kind = name.split("/")
        return self.store.types[f"{package}/msg/{kind}"](*values)

    def _header(self, stamp: int, frame: str = FRAME) -> Any:
        seconds, nanoseconds = divmod(stamp, 10**9)
        return self._new("std_msgs/Header", self._new("builtin_interfaces/Time", seconds, nanoseconds), frame)

    def jpeg(self, stamp: int, image: np.ndarray) -> Any:
        import cv2

        _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return self._new("sensor_msgs/CompressedImage", self._header(stamp), "rgb8; jpeg compressed bgr8", data.ravel())

    def depth(self, stamp: int, depth: np.ndarray) -> Any:
        millimetres = np.clip(np.rint(depth * 1000), 0, 65535).astype("<u2")
        data, size = millimetres.view(np.uint8).ravel(), self._size
        return self._new("sensor_msgs/Image", self._header(stamp), size, size, "16UC1", 0, 2 * size, data)

    def info(self, stamp: int) -> Any:
        projection = np.zeros((3, 4))
        projection[:, :3] = self._matrix
        whole = self._new("sensor_msgs/RegionOfInterest", 0, 0, 0, 0, False)
        k, turn, p = self._matrix.ravel(), np.eye(3).ravel(), projection.ravel()
        head, size = self._header(stamp), self._size
        return self._new("sensor_msgs/CameraInfo", head, size, size, "plumb_bob", np.zeros(5), k, turn, p, 0, 0, whole)

    def transform(self, stamp: int, parent: str, child: str, parent_from_child: np.ndarray) -> Any:
        from uniugg_core.cameras import quaternion_from_matrix

        shift = self._new("geometry_msgs/Vector3", *(float(value) for value in parent_from_child[:3, 3]))
        turn = quaternion_from_matrix(parent_from_child[:3, :3])
        rotation = self._new("geometry_msgs/Quaternion", *(float(value) for value in turn))
        link = self._new("geometry_msgs/Transform", shift, rotation)
        head = self._header(stamp, parent)
        return self._new("tf2_msgs/TFMessage", [self._new("geometry_msgs/TransformStamped", head, child, link)])


def _latched() -> Any:
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    forever = QosTime(2147483647, 4294967295)
    return Qos(
        QosHistory.KEEP_LAST,
        1,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL,
        forever,
        forever,
        QosLiveliness.AUTOMATIC,
        forever,
        False,
    )


def _questions(drive: Drive, count: int, seed: int) -> list[dict[str, Any]]:
    """Questions about single pictures, spread over the drive, each of another family."""
    from .questions import QuestionMaker
    from .views import ViewPair

    maker, rng = QuestionMaker(), Random(f"room-bag/{seed}")
    asked: list[dict[str, Any]] = []
    families: set[str] = set()
    last = len(drive.image) - 1
    for place in range(count):
        number = round((place + 0.5) * last / max(count, 1))
        views = drive.view(number), drive.view(number + 1 if number < last else number - 1)
        for question in maker.ask(ViewPair(*views, (1.0, 1.0), "room", number, drive.graph), 24, rng):
            if question.views == (0,) and question.target_from_reference is None and question.family not in families:
                families.add(question.family)
                asked.append({"picture": number, "question": question.text, "answer": question.answer})
                break
    return asked
