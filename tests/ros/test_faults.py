"""Bad input by topic: each fault gets its code, is counted, diagnosed and logged, and the next good input works."""

from __future__ import annotations

import array
import math

import cv2
import numpy as np
import pytest
from node_harness import FRAME, pose
from sensor_msgs.msg import CompressedImage

from uniugg_core.cameras import Camera
from uniugg_core.errors import ErrorCode
from uniugg_interfaces.srv import Imagine
from uniugg_ros import conversions, names


@pytest.fixture(scope="module")
def node(launch_for_module):
    """An active node that takes raw pictures."""
    process, talker = launch_for_module("image_max_age:=0.0")
    talker.listen(names.SCENE_IMAGINED)
    return process, talker


@pytest.fixture
def talker(node):
    node[1].forget()
    return node[1]


def code(talker, target=None):
    return talker.call(talker.imagine, Imagine.Request(target_pose=target or pose(0.1), seed=0)).status.code


def good_image(width=64, height=48):
    return conversions.image_message(np.full((height, width, 3), 50, np.uint8), conversions.header(FRAME, 10**9))


def good_info(width=64, height=48):
    return conversions.info_message(Camera.from_fov(width, height, 1.0), conversions.header(FRAME, 10**9))


def changed(message, **fields):
    for name, value in fields.items():
        setattr(message, name, value)
    return message


# first, before any picture has come
def test_nothing_received_yet(talker):
    assert code(talker) == ErrorCode.IMAGE_MISSING
    image = talker.health(new=True)["image"]  # one from before it was active would miss no picture yet
    assert image.level == b"\x01"
    assert image.message == "waiting"
    talker.connected()
    talker.say(talker.image, good_image(), "image")
    assert code(talker) == ErrorCode.CAMERA_INFO_MISSING
    assert talker.parameter(missing_camera_info="assume_fov") == ""
    assert code(talker) == 0
    assert talker.parameter(missing_camera_info="refuse") == ""
    assert code(talker) == ErrorCode.CAMERA_INFO_MISSING
    talker.say(talker.info, good_info(), "camera_info")
    assert code(talker) == 0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"step": 0}, ErrorCode.IMAGE_MALFORMED),
        ({"step": 191}, ErrorCode.IMAGE_MALFORMED),
        ({"step": 193}, ErrorCode.IMAGE_MALFORMED),
        ({"width": 0}, ErrorCode.IMAGE_MALFORMED),
        ({"height": 0}, ErrorCode.IMAGE_MALFORMED),
        ({"height": 49}, ErrorCode.IMAGE_MALFORMED),
        ({"data": array.array("B", bytes(10))}, ErrorCode.IMAGE_MALFORMED),
        ({"data": array.array("B")}, ErrorCode.IMAGE_MALFORMED),
        ({"width": 2**32 - 1, "height": 2**32 - 1}, ErrorCode.IMAGE_TOO_LARGE),
        ({"width": 65536, "height": 65536, "step": 0}, ErrorCode.IMAGE_TOO_LARGE),
        ({"encoding": "16UC1"}, ErrorCode.IMAGE_ENCODING_UNSUPPORTED),
        ({"encoding": "RGB8"}, ErrorCode.IMAGE_ENCODING_UNSUPPORTED),
        ({"encoding": ""}, ErrorCode.IMAGE_ENCODING_UNSUPPORTED),
    ],
)
def test_bad_pictures(talker, fields, expected):
    rejected = int(talker.value("image", "rejected"))
    talker.say(talker.image, changed(good_image(), **fields), "image")
    assert code(talker) == expected  # and not an answer from the good picture before
    assert int(talker.value("image", "rejected", new=True)) > rejected
    assert talker.value("image", "state") == "rejected"
    assert expected.name in talker.health()["image"].message
    talker.look()
    assert code(talker) == 0
    assert talker.value("image", "state") == "active"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"k": [0.0] * 9}, ErrorCode.CAMERA_INFO_INVALID),
        ({"k": [math.nan] * 9}, ErrorCode.CAMERA_INFO_INVALID),
        ({"k": [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0]}, ErrorCode.CAMERA_INFO_INVALID),
        ({"width": 0}, ErrorCode.CAMERA_INFO_INVALID),
        ({"distortion_model": "unheard_of"}, ErrorCode.CAMERA_MODEL_UNSUPPORTED),
    ],
)
def test_bad_calibrations(talker, fields, expected):
    talker.look()
    talker.say(talker.info, changed(good_info(), **fields), "camera_info")
    assert code(talker) == expected
    assert talker.value("camera_info", "state") == "rejected"
    talker.look()
    assert code(talker) == 0


def test_a_calibration_of_another_size(talker):
    talker.look()
    talker.say(talker.info, good_info(128, 96), "camera_info")
    assert code(talker) == ErrorCode.CAMERA_INFO_MISMATCH
    assert talker.parameter(scale_camera_info=True) == ""
    assert code(talker) == 0
    talker.say(talker.info, good_info(128, 48), "camera_info")  # another shape: no resize explains that
    assert code(talker) == ErrorCode.CAMERA_INFO_MISMATCH
    assert talker.parameter(scale_camera_info=False) == ""
    talker.look()
    assert code(talker) == 0


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (pose(math.nan), ErrorCode.POSE_INVALID),
        (pose(y=math.inf), ErrorCode.POSE_INVALID),
        (pose(quaternion=(0, 0, 0, 0)), ErrorCode.POSE_INVALID),
        (pose(quaternion=(0, 0, 0, 2)), ErrorCode.POSE_INVALID),
        (pose(frame="nowhere"), ErrorCode.FRAME_UNKNOWN),
        (pose(frame=""), ErrorCode.FRAME_UNKNOWN),
        (pose(1e9), ErrorCode.POSE_OUT_OF_RANGE),
    ],
)
def test_bad_poses_on_the_topic(talker, target, expected):
    talker.look()
    key = f"refused target_pose/{expected.name}"
    before = int(talker.value("requests", key) or 0)
    talker.pose.publish(target)
    talker.until(lambda: int(talker.value("requests", key) or 0) == before + 1)
    assert talker.received[names.SCENE_IMAGINED] == []
    talker.pose.publish(pose())
    talker.next(names.SCENE_IMAGINED)


def test_frames_that_are_known_but_not_connected_or_not_then(talker):
    talker.look(stamp=100 * 10**9)
    talker.transform("island", "tree", (0, 0, 0))
    for second in (90, 91):
        talker.transform("map", FRAME, (0, 0, 0), stamp=second * 10**9, static=False)
    talker.until_known("tree")
    assert code(talker, pose(frame="tree")) == ErrorCode.TRANSFORM_UNAVAILABLE
    talker.until_known("map")
    assert code(talker, pose(frame="map")) == ErrorCode.TRANSFORM_UNAVAILABLE
    talker.transform("map", FRAME, (0, 0, 0), stamp=100 * 10**9 - 10**7, static=False)  # within the tolerance
    talker.until(lambda: code(talker, pose(frame="map")) == 0)


def test_a_camera_that_has_stopped(talker):
    talker.look()
    assert talker.parameter(image_max_age=0.05) == ""
    talker.health(new=True)
    assert code(talker) == ErrorCode.IMAGE_STALE
    assert talker.parameter(image_max_age=0.0) == ""
    assert code(talker) == 0


def test_everything_was_logged_once_and_nothing_unforeseen(node):
    process, _ = node
    for expected in ("IMAGE_MALFORMED", "CAMERA_INFO_INVALID", "POSE_INVALID", "FRAME_UNKNOWN", "IMAGE_MISSING"):
        assert expected in process.text
    assert "Traceback" not in process.text
    assert process.text.count("\n") < 150


def test_compressed_pictures(launch):
    _, talker = launch("image_max_age:=0.0", "image_transport:=compressed")
    talker.until(lambda: talker.compressed.get_subscription_count() > 0)
    good = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
    bomb = cv2.imencode(".png", np.zeros((8000, 8000), np.uint8))[1].tobytes()
    deep = cv2.imencode(".png", np.zeros((48, 64), np.uint16))[1].tobytes()
    assert len(bomb) < 100_000

    def say(data, format="jpeg"):
        message = CompressedImage(header=conversions.header(FRAME, 10**9), format=format, data=data)
        talker.say(talker.compressed, message, "image")

    talker.until(lambda: talker.info.get_subscription_count() > 0)
    talker.say(talker.info, good_info(), "camera_info")
    for data, expected in (
        (b"garbage", ErrorCode.IMAGE_UNDECODABLE),
        (b"", ErrorCode.IMAGE_UNDECODABLE),
        (good[: len(good) // 2], ErrorCode.IMAGE_UNDECODABLE),
        (bomb, ErrorCode.IMAGE_TOO_LARGE),
        (deep, ErrorCode.IMAGE_ENCODING_UNSUPPORTED),
        (b"GIF89a" + bytes(100), ErrorCode.IMAGE_ENCODING_UNSUPPORTED),
    ):
        say(data)
        assert code(talker) == expected
        say(good)
        assert code(talker) == 0
    say(good, format="16UC1; compressedDepth png")
    assert code(talker) == ErrorCode.IMAGE_ENCODING_UNSUPPORTED


def test_a_camera_that_nobody_can_match_shows_in_diagnostics(launch):
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    _, talker = launch(f"qos_overrides.{'/image'}.subscription.reliability:=reliable", remap=("image:=/image",))
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    talker.node.create_publisher(Image, "/image", best_effort)
    talker.until(lambda: "RELIABILITY" in talker.health()["image"].message, 10)
    assert talker.health()["image"].level == b"\x02"
