"""The node's path from a message to an answer, called directly: the same classes, without DDS and without a node."""

from __future__ import annotations

from typing import Any

import numpy as np

from uniugg_core.errors import UniuggError
from uniugg_interfaces.srv import AskSpatial, Imagine

from .. import conversions
from ..clouds import cloud_message
from ..engine import Engine
from ..frames import TransformBuffer, take_transforms
from ..inputs import CameraInput
from ..parameters import Settings
from ..refusals import Refusals
from ..sessions import SessionStore
from ..tasks import AskTask, Host, ImagineTask, PoseTask
from ..worker import Job
from .stand_in import StubPipeline

__all__ = ["InProcess"]


class _Buffer:
    """Our transform buffer as the tasks want it."""

    source = "own buffer"

    def __init__(self, cache: float) -> None:
        self.buffer = TransformBuffer(cache)

    def lookup(self, target: str, source: str, stamp: int, tolerance: int) -> np.ndarray:
        """As :meth:`TransformBuffer.lookup`."""
        return self.buffer.lookup(target, source, stamp, tolerance)

    def clear(self) -> None:
        """Forgets moving frames."""
        self.buffer.clear()

    def destroy(self) -> None:
        """Nothing to end."""


class InProcess:
    """Takes messages as the node's callbacks do and says what became of each.

    Args:
        settings: the node's parameters.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.refusals = Refusals(lambda line: None)
        self.camera = CameraInput(self.refusals)
        self.frames = _Buffer(self.settings.tf_cache)
        engine = Engine(lambda settings: StubPipeline(keep_calls=False))
        engine.load(self.settings)
        self.host = Host(engine, self.camera, self.frames, SessionStore(), lambda kind, timings: None)

    def take(self, kind: str, message: Any) -> str:
        """Handles one message.

        Returns:
            "OK" or the name of the code with which it was refused.

        Raises:
            Exception: anything but a coded refusal is a fault of the node.
        """
        try:
            getattr(self, f"_{kind}")(message)
        except UniuggError as error:
            self.refusals.add(kind, error)
            return error.code.name
        return "OK"

    def _image(self, message: Any) -> None:
        if not self.camera.take_image(message, self.settings):
            raise self.camera.image.last_error
        self.camera.observation(self.settings)  # decodes it

    _compressed = _image

    def _camera_info(self, message: Any) -> None:
        if not self.camera.take_info(message, self.settings):
            raise self.camera.info.last_error

    def _tf(self, message: Any) -> None:
        take_transforms(self.frames.buffer, message, static=False)

    def _tf_static(self, message: Any) -> None:
        take_transforms(self.frames.buffer, message, static=True)

    def _pose(self, message: Any) -> None:
        conversions.transform_from_pose(message.pose)
        scene = self._run(PoseTask(message, self.settings))
        cloud_message(scene, conversions.header(scene.frame, scene.stamp))

    def _imagine(self, request: Any) -> None:
        self._run(ImagineTask(request, self.settings, Imagine.Response))

    def _ask(self, request: Any) -> None:
        self._run(AskTask(request, self.settings, AskSpatial.Response))

    def _run(self, task: Any) -> Any:
        job: Job[Any] = Job(lambda job: task.run(self.host, job), label=task.kind, timeout=task.timeout)
        return task.run(self.host, job)
