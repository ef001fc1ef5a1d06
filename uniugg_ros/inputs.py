"""The camera as the node sees it: the newest picture and calibration, each checked when it arrives.

A picture is only looked at (sizes against each other) when it comes in and decoded when a request wants it, on the
worker's thread. A refused picture hides the good one before it: a request is told what is wrong with the camera instead
of being answered from the past.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from uniugg_core import images
from uniugg_core.cameras import Camera
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.outputs import Observation

from . import conversions
from .parameters import Settings
from .refusals import Refusals

__all__ = ["CameraInput", "InputState", "InputStats", "Picture", "check_image", "observe"]


class InputState(Enum):
    """How an input is doing."""

    WAITING = "waiting"  # nothing has come yet
    ACTIVE = "active"
    STALE = "stale"  # silent for too long
    REJECTED = "rejected"  # the newest was refused


@dataclass
class InputStats:
    """Arrivals of one input, on a clock that only goes forward."""

    name: str
    received: int = 0
    rejected: int = 0
    last_arrival: float | None = None
    last_error: UniuggError | None = None  # of the newest message; None if that was good
    arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=30))

    def arrived(self, now: float) -> None:
        """Counts a message."""
        self.received += 1
        self.last_arrival = now
        self.arrivals.append(now)

    def judged(self, error: UniuggError | None) -> None:
        """Says how the newest message was found."""
        self.last_error = error
        self.rejected += error is not None

    def state(self, now: float, timeout: float) -> InputState:
        """How the input is doing."""
        if self.last_arrival is None:
            return InputState.WAITING
        if now - self.last_arrival > timeout:
            return InputState.STALE
        return InputState.ACTIVE if self.last_error is None else InputState.REJECTED

    def rate(self, now: float) -> float:
        """Messages a second over the last thirty."""
        if len(self.arrivals) < 2 or now - self.arrivals[0] <= 0:
            return 0.0
        return (len(self.arrivals) - 1) / (now - self.arrivals[0])


@dataclass(eq=False)
class Picture:
    """A picture message, and what has been made of it so far."""

    message: Image | CompressedImage
    arrival: float
    used: bool = False
    rgb: np.ndarray | None = None

    def pixels(self, settings: Settings) -> np.ndarray:
        """The decoded picture (H, W, 3); decoding happens once."""
        if self.rgb is None:
            self.rgb = conversions.decode_image(self.message, settings)
        return self.rgb


class CameraInput:
    """Newest picture and calibration of the camera topics; safe to use from several threads."""

    def __init__(self, refusals: Refusals, clock: Callable[[], float] = time.monotonic) -> None:
        self.image = InputStats("image")
        self.info = InputStats("camera_info")
        self.overwritten = 0  # pictures that no request used; not an error: the newest counts
        self._refusals = refusals
        self._clock = clock
        self._lock = threading.Lock()
        self._picture: Picture | None = None
        self._camera: Camera | None = None
        self._camera_key: tuple | None = None

    def take_image(self, message: Image | CompressedImage, settings: Settings) -> bool:
        """A picture has arrived; False if it was refused."""
        now = self._clock()
        error = None
        try:
            check_image(message, settings)
        except UniuggError as problem:
            error = problem
        with self._lock:
            self.image.arrived(now)
            self.image.judged(error)
            if self._picture is not None and not self._picture.used:
                self.overwritten += 1
            self._picture = Picture(message, now) if error is None else None
        if error is not None:
            self._refusals.add("image", error)
        return error is None

    def take_info(self, message: CameraInfo, settings: Settings) -> bool:
        """A calibration has arrived; False if it was refused. Equal ones are not looked at again."""
        key = _info_key(message, settings.rectified)
        camera, error = self._camera, None
        if key != self._camera_key:
            try:
                camera = conversions.camera_from_info(message, rectified=settings.rectified)
            except UniuggError as problem:
                camera, error = None, problem
        elif camera is None:
            error = self.info.last_error
        with self._lock:
            self.info.arrived(self._clock())
            self.info.judged(error)
            self._camera, self._camera_key = camera, key
        if error is not None:
            self._refusals.add("camera_info", error)
        return error is None

    def clear(self) -> None:
        """Forgets the picture and the calibration (time was set back, or the node was cleaned up)."""
        with self._lock:
            self._picture = self._camera = self._camera_key = None

    def picture(self, settings: Settings) -> Picture:
        """The newest picture.

        Raises:
            UniuggError: IMAGE_MISSING, IMAGE_STALE, or the code with which the newest was refused.
        """
        with self._lock:
            picture, error, arrival = self._picture, self.image.last_error, self.image.last_arrival
            if picture is None:
                if arrival is not None and error is not None:
                    raise error
                raise UniuggError(ErrorCode.IMAGE_MISSING, "no picture has been received, and none is attached")
            age = self._clock() - picture.arrival
            if settings.image_max_age and age > settings.image_max_age:
                raise UniuggError(
                    ErrorCode.IMAGE_STALE,
                    f"the newest picture came {age:.1f} s ago, the limit is {settings.image_max_age:g} s",
                )
            picture.used = True
            return picture

    def observation(self, settings: Settings) -> Observation:
        """The newest picture with its calibration, decoded.

        Raises:
            UniuggError: IMAGE_* or CAMERA_INFO_*.
        """
        picture = self.picture(settings)
        with self._lock:
            camera, error = self._camera, self.info.last_error
        if camera is None and error is not None:
            raise error
        return observe(picture, camera, settings)


def observe(picture: Picture, camera: Camera | None, settings: Settings) -> Observation:
    """A picture and its calibration as what the model takes.

    Raises:
        UniuggError: IMAGE_*; CAMERA_INFO_MISSING without a calibration, if the settings refuse that;
            CAMERA_INFO_MISMATCH.
    """
    rgb = picture.pixels(settings)
    height, width = rgb.shape[:2]
    if camera is not None:
        camera = camera.for_image(width, height, allow_scaling=settings.scale_camera_info)
    elif settings.missing_camera_info == "refuse":
        raise UniuggError(
            ErrorCode.CAMERA_INFO_MISSING,
            "no calibration has been received for the picture (parameter missing_camera_info: refuse)",
        )
    else:
        camera = Camera.from_fov(width, height, np.radians(settings.assumed_fov))
    head = picture.message.header
    return Observation(
        image=rgb,
        camera=camera,
        frame=(settings.camera_frame or head.frame_id).lstrip("/"),
        stamp=conversions.nanoseconds(head.stamp),
    )


def check_image(message: Image | CompressedImage, settings: Settings) -> None:
    """Looks at the sizes in a picture message, without touching the pixels.

    Raises:
        UniuggError: IMAGE_*.
    """
    data = np.frombuffer(message.data, np.uint8)
    if isinstance(message, CompressedImage):
        images.check_compressed(data, message.format, max_pixels=settings.max_pixels, max_bytes=settings.max_bytes)
    else:
        images.check_raw(
            data, message.width, message.height, message.encoding, message.step, max_pixels=settings.max_pixels
        )


def _info_key(message: CameraInfo, rectified: bool) -> tuple:
    roi = message.roi
    return (
        rectified,
        message.width,
        message.height,
        message.distortion_model,
        bytes(message.d),
        message.k.tobytes(),
        message.p.tobytes(),
        message.binning_x,
        message.binning_y,
        (roi.x_offset, roi.y_offset, roi.width, roi.height),
    )
