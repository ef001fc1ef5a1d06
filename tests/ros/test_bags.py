"""Bags on real topics: what is played arrives byte for byte, stamps move together, any reader reads the record."""

from __future__ import annotations

import contextlib
import threading
import time

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore
from std_msgs.msg import Header

from uniugg_core.cameras import inverse_rigid
from uniugg_core.errors import UniuggError
from uniugg_interfaces.msg import Status
from uniugg_ros.demo.play import BagPlayer
from uniugg_ros.demo.record import Recorder
from uniugg_ros.demo.recorded import read_pictures, relative_pose
from uniugg_ros.demo.stamps import header_stamp, restamp
from uniugg_ros.demo.types import bag_types, message_class

MATCHING = 0.7  # seconds for publishers and subscriptions to find each other
IMAGE, INFO = "/camera/color/image_raw/compressed", "/camera/color/camera_info"


def messages(bag) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    with Reader(bag) as reader:
        for connection, _, data in reader.messages():
            found.setdefault(connection.topic, []).append(bytes(data))
    return found


@contextlib.contextmanager
def recording(folder, topics=None):
    recorder, executor = Recorder(folder, topics), SingleThreadedExecutor()
    executor.add_node(recorder)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    try:
        yield recorder
        time.sleep(0.3)
    finally:
        executor.shutdown()
        thread.join()
        recorder.close()
        recorder.destroy_node()


@pytest.fixture
def node():
    node = rclpy.create_node("bag_test")
    yield node
    node.destroy_node()


def test_a_bag_played_and_recorded_again_is_the_same_byte_for_byte(node, sample_bag, tmp_path):
    with Reader(sample_bag) as reader:
        topics = sorted(reader.topics)
    with recording(tmp_path / "bag", topics) as recorder:
        player = BagPlayer(node, sample_bag, loop=False, fresh_stamps=False)
        time.sleep(MATCHING)
        player.start()
        player.join()
    assert recorder.counts == player.counts
    assert messages(tmp_path / "bag") == messages(sample_bag)


def test_fresh_stamps_move_together_and_forward_over_the_seam_of_the_loop(node, sample_bag, tmp_path):
    before = time.time_ns()
    with recording(tmp_path / "bag", [IMAGE, INFO, "/tf", "/tf_static"]):
        player = BagPlayer(node, sample_bag, [IMAGE, INFO, "/tf", "/tf_static"], rate=3.0)
        time.sleep(MATCHING)
        player.start()
        while player.loops < 2:
            time.sleep(0.05)
        player.stop()
    after = time.time_ns()
    store, played, original = bag_types([]), messages(tmp_path / "bag"), messages(sample_bag)
    kind = "sensor_msgs/msg/CompressedImage"
    stamps = [header_stamp(data, kind, store) for data in played[IMAGE]]
    assert len(stamps) >= 48 and stamps == sorted(set(stamps)), "the time must only run forward"
    assert before < stamps[0] and stamps[-1] < after, "the time must be that of playing"
    spacing = np.diff(stamps)
    np.testing.assert_allclose(spacing, 1e8 / 3, rtol=0.1)  # also over the seam
    transforms = [store.deserialize_cdr(data, "tf2_msgs/msg/TFMessage").transforms[0] for data in played["/tf"]]
    tf_stamps = {link.header.stamp.sec * 10**9 + link.header.stamp.nanosec for link in transforms}
    assert set(stamps) <= tf_stamps, "every picture has its transform at exactly its own time"
    for number, data in enumerate(played[IMAGE][:30]):
        source = original[IMAGE][number % 24]
        assert data[:4] == source[:4] and data[12:] == source[12:], "only the stamp may differ"
        assert player.original_stamp(stamps[number]) == header_stamp(source, kind, store)
    assert player.original_stamp(1) is None
    assert len(played["/tf_static"]) == 1, "latched: once is for ever"


def test_a_late_recorder_gets_latched_messages(node, sample_bag, tmp_path):
    player = BagPlayer(node, sample_bag, ["/tf_static"], loop=False, fresh_stamps=False)
    player.start()
    player.join()
    with recording(tmp_path / "bag", ["/tf_static"]) as recorder:
        deadline = time.monotonic() + 5
        while not recorder.counts and time.monotonic() < deadline:
            time.sleep(0.05)
    assert messages(tmp_path / "bag")["/tf_static"] == messages(sample_bag)["/tf_static"]


def test_our_own_types_are_in_the_record_and_any_reader_decodes_them(node, tmp_path):
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    ours = node.create_publisher(Status, "ours", latched)
    common = node.create_publisher(DiagnosticArray, "common", latched)
    ours.publish(Status(code=Status.FRAME_UNKNOWN, message="frame 'x'"))
    common.publish(DiagnosticArray(header=Header(frame_id="here")))
    with recording(tmp_path / "bag", ["/ours", "/common"]) as recorder:
        deadline = time.monotonic() + 5
        while len(recorder.counts) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    with AnyReader([tmp_path / "bag"]) as reader:  # knows our type from the bag alone
        decoded = {c.topic: reader.deserialize(data, c.msgtype) for c, _, data in reader.messages()}
    assert (decoded["/ours"].code, decoded["/ours"].message) == (301, "frame 'x'")
    assert decoded["/common"].header.frame_id == "here"


def test_types():
    assert message_class("uniugg_interfaces/msg/Status") is Status
    for name in ("no_such_package/msg/Thing", "std_msgs/msg/NoSuchThing", "uniugg_interfaces/action/Imagine_Feedback"):
        with pytest.raises(LookupError):
            message_class(name)
    with pytest.raises(LookupError, match="no_such_package"):
        bag_types(["no_such_package/msg/Thing"])
    assert "uniugg_interfaces/msg/Evidence" in bag_types(["uniugg_interfaces/msg/Status"]).fielddefs


@pytest.mark.parametrize("little_endian", [True, False])
def test_restamping_moves_the_stamp_and_nothing_else(little_endian):
    store = get_typestore(Stores.ROS2_JAZZY)
    header = store.types["std_msgs/msg/Header"]
    moment = store.types["builtin_interfaces/msg/Time"]
    message = store.types["sensor_msgs/msg/CompressedImage"](
        header(moment(12, 999_999_999), "camera"), "jpeg", np.arange(9, dtype=np.uint8)
    )
    name = "sensor_msgs/msg/CompressedImage"
    data = bytes(store.serialize_cdr(message, name, little_endian=little_endian))
    assert header_stamp(data, name, store) == 12_999_999_999
    moved = restamp(data, name, store, lambda stamp: stamp + 1)
    assert header_stamp(moved, name, store) == 13_000_000_000
    assert moved[12:] == data[12:] and len(moved) == len(data)
    text = bytes(store.serialize_cdr(store.types["std_msgs/msg/String"]("hello"), "std_msgs/msg/String"))
    assert header_stamp(text, "std_msgs/msg/String", store) is None
    assert restamp(text, "std_msgs/msg/String", store, lambda stamp: stamp + 1) == text


class TestRecordedPictures:
    def test_the_sample(self, sample_bag):
        pictures = read_pictures(sample_bag)
        assert len(pictures) == 24
        first = pictures[0]
        assert first.image.shape == (360, 540, 3) and first.depth.shape == (360, 540)
        assert first.frame == "camera_color_optical_frame" and first.jpeg[:2] == b"\xff\xd8"
        assert [p.stamp for p in pictures] == sorted(p.stamp for p in pictures)

    def test_poses_carry_the_depth_of_one_picture_onto_that_of_the_next(self, sample_bag):
        """The convention of `relative_pose`; with the inverse pose the difference is decimetres."""
        pictures = read_pictures(sample_bag)
        differences = {}
        for turned in (False, True):
            reference, target = pictures[8], pictures[9]
            pose = relative_pose(reference, target)
            pose = inverse_rigid(pose) if turned else pose
            rows, columns = np.nonzero(reference.depth > 0)
            depth = reference.depth[rows, columns]
            points = reference.camera.rays()[rows, columns] * depth[:, None]
            points = points @ pose[:3, :3].T + pose[:3, 3]
            points = points[points[:, 2] > 0.1]
            pixels = np.rint(target.camera.project(points)).astype(int)
            inside = ((pixels >= 0) & (pixels < (540, 360))).all(axis=1)
            seen = target.depth[pixels[inside, 1], pixels[inside, 0]]
            measured = seen > 0
            differences[turned] = np.median(np.abs(seen - points[inside, 2])[measured])
        assert differences[False] < 0.02
        assert differences[True] > 0.1

    def test_no_bag(self, tmp_path):
        with pytest.raises(UniuggError, match="IMAGE_MISSING"):
            read_pictures(tmp_path)
