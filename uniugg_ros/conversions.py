"""Between ROS messages and the core's types. No cv_bridge, no sensor_msgs_py: plain NumPy.

Every function copies at most once. What can be wrong with a message is found here or in the core and raised with its
code; sizes are cast with ``int()`` and ``float()`` because rclpy refuses NumPy's numbers.
"""

from __future__ import annotations

import array
import math
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, PoseStamped
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from uniugg_core import images
from uniugg_core.cameras import Camera, matrix_from_quaternion, quaternion_from_matrix
from uniugg_core.errors import ErrorCode, UniuggError

from .parameters import Settings

__all__ = [
    "camera_from_info",
    "decode_image",
    "header",
    "image_message",
    "info_message",
    "nanoseconds",
    "pose_message",
    "time_message",
    "transform_from_pose",
]

_PLAIN_MODEL = "plumb_bob"  # what ROS calls a camera without distortion: this, with no or zero coefficients


def nanoseconds(stamp: Time) -> int:
    """A message's time as one number."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def time_message(stamp: int) -> Time:
    """The inverse of :func:`nanoseconds`."""
    return Time(sec=int(stamp // 1_000_000_000), nanosec=int(stamp % 1_000_000_000))


def header(frame: str, stamp: int | None) -> Header:
    """A header; no stamp is written as zero."""
    return Header(frame_id=frame, stamp=time_message(stamp or 0))


def decode_image(message: Image | CompressedImage, settings: Settings) -> np.ndarray:
    """The picture in a message as (H, W, 3) uint8 RGB.

    Raises:
        UniuggError: IMAGE_*.
    """
    data = np.frombuffer(message.data, np.uint8)
    if isinstance(message, CompressedImage):
        return images.decode_compressed(
            data, message.format, max_pixels=settings.max_pixels, max_bytes=settings.max_bytes
        )
    return images.decode_raw(
        data,
        message.width,
        message.height,
        message.encoding,
        message.step,
        bool(message.is_bigendian),
        max_pixels=settings.max_pixels,
    )


def image_message(rgb: np.ndarray, head: Header) -> Image:
    """A picture (H, W, 3) uint8 as an rgb8 message."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(rgb).data.cast("B"))
    message = Image()
    message.header = head
    message.height, message.width = int(rgb.shape[0]), int(rgb.shape[1])
    message.encoding = "rgb8"
    message.step = 3 * message.width
    message.data = data
    return message


def camera_from_info(message: CameraInfo, *, rectified: bool = False) -> Camera:
    """The camera that a calibration message describes, region of interest and binning included.

    Args:
        rectified: the pictures are already undistorted (``image_rect``): K is taken from P, without distortion.

    Raises:
        UniuggError: CAMERA_INFO_INVALID or CAMERA_MODEL_UNSUPPORTED.
    """
    region = message.roi
    return Camera.from_ros(
        message.width,
        message.height,
        message.distortion_model,
        message.d,
        message.k,
        message.r,
        message.p,
        message.binning_x,
        message.binning_y,
        (region.x_offset, region.y_offset, region.width, region.height),
        rectified=rectified,
    )


def info_message(camera: Camera, head: Header) -> CameraInfo:
    """A calibration message of a camera."""
    message = CameraInfo()
    message.header = head
    message.width, message.height = int(camera.width), int(camera.height)
    message.distortion_model = _PLAIN_MODEL if camera.model == "pinhole" else camera.model
    message.d = [float(value) for value in camera.distortion or (0.0,) * 5]
    message.k = [float(value) for value in camera.matrix.ravel()]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [float(value) for row in camera.matrix for value in (*row, 0.0)]
    return message


def transform_from_pose(pose: Pose) -> np.ndarray:
    """frame_from_body (4, 4) of a body's pose in a frame.

    Raises:
        UniuggError: POSE_INVALID for NaN, infinity, or a quaternion that is not of unit length.
    """
    position, orientation = pose.position, pose.orientation
    translation = (position.x, position.y, position.z)
    if not all(math.isfinite(value) for value in translation):
        raise UniuggError(ErrorCode.POSE_INVALID, f"the position is {translation}")
    transform = np.eye(4)
    transform[:3, :3] = matrix_from_quaternion((orientation.x, orientation.y, orientation.z, orientation.w))
    transform[:3, 3] = translation
    return transform


def pose_message(frame_from_body: np.ndarray, head: Header) -> PoseStamped:
    """The inverse of :func:`transform_from_pose`, with a header."""
    message = PoseStamped()
    message.header = head
    set_pose(message.pose, frame_from_body)
    return message


def set_pose(pose: Any, frame_from_body: np.ndarray) -> None:
    """Writes a transform (4, 4) into a pose."""
    pose.position.x, pose.position.y, pose.position.z = (float(value) for value in frame_from_body[:3, 3])
    x, y, z, w = (float(value) for value in quaternion_from_matrix(frame_from_body))
    pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w = x, y, z, w
