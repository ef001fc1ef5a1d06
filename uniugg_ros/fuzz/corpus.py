"""Good messages of every kind the node takes: what mutations begin with, and what must still work after them."""

from __future__ import annotations

import array
from random import Random
from typing import Any

import cv2
import numpy as np
from geometry_msgs.msg import PoseStamped, TransformStamped
from sensor_msgs.msg import CompressedImage
from tf2_msgs.msg import TFMessage

from uniugg_core.cameras import Camera, motion
from uniugg_interfaces.srv import AskSpatial, Imagine

from .. import conversions

__all__ = ["FRAME", "KINDS", "Corpus"]

FRAME = "camera_optical"
WIDTH, HEIGHT = 32, 24
KINDS = ("image", "compressed", "camera_info", "pose", "tf", "tf_static", "imagine", "ask")
_QUESTIONS = ("How far is the chair?", "Is there a door?", "What is left of the table?", "Wie weit ist der Stuhl?")


class Corpus:
    """Draws good messages.

    Args:
        random: the source of everything.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        self._pictures = [np.full((HEIGHT, WIDTH, 3), 90, np.uint8), noise]
        self._files = []
        for picture in self._pictures:
            for ending, form in ((".jpg", "jpeg"), (".png", "png")):
                data = array.array("B")
                data.frombytes(cv2.imencode(ending, picture)[1].tobytes())
                self._files.append((form, data))

    def message(self, kind: str, stamp: int) -> Any:
        """A message of a kind of :data:`KINDS`; a service's request for "imagine" and "ask".

        Args:
            stamp: nanoseconds.
        """
        return getattr(self, f"_{kind}")(stamp)

    def _image(self, stamp: int) -> Any:
        return conversions.image_message(self.random.choice(self._pictures), conversions.header(FRAME, stamp))

    def _compressed(self, stamp: int) -> CompressedImage:
        form, data = self.random.choice(self._files)
        return CompressedImage(header=conversions.header(FRAME, stamp), format=form, data=data[:])

    def _camera_info(self, stamp: int) -> Any:
        return conversions.info_message(Camera.from_fov(WIDTH, HEIGHT, 1.0), conversions.header(FRAME, stamp))

    def _pose(self, stamp: int) -> PoseStamped:
        random = self.random
        where = motion(forward=random.uniform(-1, 1), right=random.uniform(-1, 1), yaw=random.uniform(-60, 60))
        return conversions.pose_message(where, conversions.header(random.choice((FRAME, "map")), stamp))

    def _tf(self, stamp: int) -> TFMessage:
        return TFMessage(transforms=[self._link("map", "base", stamp)])

    def _tf_static(self, stamp: int) -> TFMessage:
        return TFMessage(transforms=[self._link("base", FRAME, stamp)])

    def _link(self, parent: str, child: str, stamp: int) -> TransformStamped:
        link = TransformStamped(header=conversions.header(parent, stamp), child_frame_id=child)
        link.transform.translation.x = self.random.uniform(-1, 1)
        return link

    def _imagine(self, stamp: int) -> Any:
        random, request = self.random, Imagine.Request(target_pose=self._pose(stamp), seed=random_seed(self.random))
        if random.random() < 0.3:
            request.image = [self._image(stamp)]
        elif random.random() < 0.3:
            request.compressed_image = [self._compressed(stamp)]
        if (request.image or request.compressed_image) and random.random() < 0.7:
            request.camera_info = [self._camera_info(stamp)]
        request.steps, request.samples = random.choice((0, 2, 5)), random.choice((0, 1, 2))
        return request

    def _ask(self, stamp: int) -> Any:
        random = self.random
        request = AskSpatial.Request(question=random.choice(_QUESTIONS))
        request.session_id = random.choice(("", "", "a", "b", str(random.randrange(50))))
        request.with_evidence = random.random() < 0.2
        if random.random() < 0.3:
            request.images = [self._image(stamp) for _ in range(random.choice((1, 2)))]
        elif random.random() < 0.2:
            request.compressed_images = [self._compressed(stamp)]
        count = len(request.images) + len(request.compressed_images)
        if count and random.random() < 0.6:
            request.camera_infos = [self._camera_info(stamp) for _ in range(count)]
        if random.random() < 0.2:
            request.target_pose = [self._pose(stamp)]
        return request


def random_seed(random: Random) -> int:
    """What a request may have as its seed: often none."""
    return random.choice((-1, 0, random.randrange(2**31)))
