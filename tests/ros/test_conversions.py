"""Messages to the core's types and back."""

from __future__ import annotations

import array
import math

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from uniugg_core.cameras import Camera, axis_rotation, rigid
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.scene import IMAGINED, OBSERVED, View
from uniugg_ros import conversions
from uniugg_ros.markers import frusta_message, frustum
from uniugg_ros.parameters import Settings

SETTINGS = Settings()


@given(st.integers(0, 2**31 * 10**9 - 1))
def test_times_come_back(stamp):
    message = conversions.time_message(stamp)
    assert 0 <= message.nanosec < 10**9
    assert conversions.nanoseconds(message) == stamp


def test_a_time_in_words():
    assert conversions.nanoseconds(Time(sec=3, nanosec=5)) == 3_000_000_005
    assert conversions.header("f", None).stamp == Time()


def test_a_picture_comes_back():
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    message = conversions.image_message(rgb, conversions.header("camera", 7))
    assert (message.width, message.height, message.step, message.encoding) == (7, 5, 21, "rgb8")
    assert isinstance(message.data, array.array)
    np.testing.assert_array_equal(conversions.decode_image(message, SETTINGS), rgb)


def test_a_picture_that_is_a_slice_is_written_whole():
    rgb = np.arange(10 * 10 * 3, dtype=np.uint8).reshape(10, 10, 3)
    message = conversions.image_message(rgb[::2, 3:8], conversions.header("camera", 7))
    np.testing.assert_array_equal(conversions.decode_image(message, SETTINGS), rgb[::2, 3:8])


def test_the_limits_are_those_of_the_parameters():
    message = conversions.image_message(np.zeros((100, 100, 3), np.uint8), conversions.header("camera", 7))
    with pytest.raises(UniuggError) as caught:
        conversions.decode_image(message, Settings(max_pixels=9999))
    assert caught.value.code is ErrorCode.IMAGE_TOO_LARGE
    with pytest.raises(UniuggError) as caught:
        conversions.decode_image(CompressedImage(data=array.array("B", bytes(100))), Settings(max_bytes=99))
    assert caught.value.code is ErrorCode.IMAGE_TOO_LARGE


def test_a_camera_comes_back():
    camera = Camera(640, 480, [[500, 0, 320], [0, 510, 240], [0, 0, 1]], (0.1, -0.2, 0.001, 0.002, 0.0), "plumb_bob")
    message = conversions.info_message(camera, conversions.header("camera", 7))
    assert conversions.camera_from_info(message) == camera
    plain = Camera(640, 480, [[500, 0, 320], [0, 510, 240], [0, 0, 1]])
    back = conversions.camera_from_info(conversions.info_message(plain, conversions.header("camera", 7)))
    assert not back.is_distorted
    np.testing.assert_array_equal(back.matrix, plain.matrix)


def test_a_rectified_camera_takes_p():
    message = conversions.info_message(Camera.from_fov(64, 48, 1.0), conversions.header("camera", 0))
    message.d = [0.3, 0.0, 0.0, 0.0, 0.0]
    message.p[0] = 99.0
    assert conversions.camera_from_info(message).is_distorted
    rectified = conversions.camera_from_info(message, rectified=True)
    assert rectified.matrix[0, 0] == 99.0 and not rectified.is_distorted


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"k": [0.0] * 9}, ErrorCode.CAMERA_INFO_INVALID),
        ({"k": [math.nan] + [0.0] * 8}, ErrorCode.CAMERA_INFO_INVALID),
        ({"width": 0}, ErrorCode.CAMERA_INFO_INVALID),
        ({"d": [0.1, 0.2]}, ErrorCode.CAMERA_INFO_INVALID),
        ({"distortion_model": "crystal_ball"}, ErrorCode.CAMERA_MODEL_UNSUPPORTED),
        ({"binning_x": 1000}, ErrorCode.CAMERA_INFO_INVALID),
    ],
)
def test_bad_calibrations(change, code):
    message = conversions.info_message(Camera.from_fov(64, 48, 1.0), conversions.header("camera", 0))
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(UniuggError) as caught:
        conversions.camera_from_info(message)
    assert caught.value.code is code


def test_a_pose_comes_back():
    transform = rigid(axis_rotation(1, 0.7) @ axis_rotation(0, -2.0), (1, 2, 3))
    message = conversions.pose_message(transform, conversions.header("map", 9))
    np.testing.assert_allclose(conversions.transform_from_pose(message.pose), transform, atol=1e-12)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("position.x", math.nan),
        ("position.z", math.inf),
        ("orientation.w", math.nan),
        ("orientation.w", 0.0),
        ("orientation.x", 0.5),
    ],
)
def test_bad_poses(path, value):
    pose = Pose()
    pose.orientation.w = 1.0
    part, name = path.split(".")
    setattr(getattr(pose, part), name, value)
    with pytest.raises(UniuggError) as caught:
        conversions.transform_from_pose(pose)
    assert caught.value.code is ErrorCode.POSE_INVALID


def test_an_untouched_pose_message_is_taken_as_no_pose():
    # the default quaternion of geometry_msgs is 0 0 0 1, which is a good one
    np.testing.assert_array_equal(conversions.transform_from_pose(Pose()), np.eye(4))


def test_a_frustum_by_hand():
    camera = Camera(4, 2, [[2, 0, 1.5], [0, 2, 0.5], [0, 0, 1]])
    lines = frustum(camera, rigid(np.eye(3), (10, 0, 0)), depth=2.0)
    assert lines.shape == (16, 3)
    # the picture spans -0.5 to 3.5 and -0.5 to 1.5 pixels: -1 to 1 and -0.5 to 0.5 at unit depth
    corners = {tuple(point) for point in lines.round(9).tolist()}
    assert corners == {(10, 0, 0), (8, -1, 2), (12, -1, 2), (12, 1, 2), (8, 1, 2)}


def test_the_frusta_are_where_the_cameras_are():
    camera = Camera.from_fov(8, 8, 1.0)
    blank = {"image": np.zeros((8, 8, 3), np.uint8), "points": np.zeros((8, 8, 3)), "confidence": np.ones((8, 8))}
    views = [
        View(**blank, camera=camera, scene_from_camera=np.eye(4), source=OBSERVED),
        View(**blank, camera=camera, scene_from_camera=rigid(np.eye(3), (1, 2, 3)), source=IMAGINED),
    ]
    message = frusta_message(views, conversions.header("map", 3))
    assert [(marker.ns, marker.id, marker.header.frame_id) for marker in message.markers] == [
        ("camera", 0, "map"),
        ("target", 1, "map"),
    ]
    first, second = (marker.points[0] for marker in message.markers)
    assert (first.x, first.y, first.z, second.x, second.y, second.z) == (0, 0, 0, 1, 2, 3)


def test_messages_are_clean_for_checked_fields():
    message = conversions.info_message(Camera.from_fov(np.int64(64), np.int64(48), 1.0), conversions.header("f", 0))
    assert isinstance(message, CameraInfo)
    assert isinstance(conversions.image_message(np.zeros((2, 2, 3), np.uint8), message.header), Image)
