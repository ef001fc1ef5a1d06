"""One request from message to answer: what services, actions and the pose topic have in common.

A task is made when the request arrives, on the executor's thread: it checks all that can be checked without a picture.
It runs on the worker's thread, where pictures are decoded, transforms looked up and the model is called, and returns
the finished response. Services' requests and actions' goals have the same fields and are taken by name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.outputs import Answer, Observation, Progress, Turn
from uniugg_core.scene import Scene

from . import conversions, validation
from .engine import Engine
from .frames import SECOND
from .inputs import CameraInput, Picture, observe
from .parameters import Settings
from .responses import answer_response, scene_response
from .sessions import SessionStore
from .tf import Frames
from .worker import Job

__all__ = ["AskTask", "Host", "ImagineTask", "PoseTask", "Task", "Token"]

R = TypeVar("R")


@dataclass
class Host:
    """What a task finds in the node."""

    engine: Engine
    camera: CameraInput
    frames: Frames
    sessions: SessionStore
    on_timings: Callable[[str, Mapping[str, float]], None]  # the kind of request, milliseconds by stage


@dataclass(frozen=True)
class Token:
    """One piece of an answer, and how many there are by now."""

    text: str
    tokens: int


class Task(Generic[R]):
    """A checked request.

    Attributes:
        timeout: seconds from arrival.
        progress: called with each :class:`Progress` or :class:`Token`, on the worker's thread.
    """

    kind = "task"

    def __init__(self, settings: Settings, timeout: float, progress: Callable[[Any], None] | None = None) -> None:
        self.settings = settings
        self.timeout = timeout
        self.progress = progress

    def run(self, host: Host, job: Job[R]) -> R:
        """Does the work; on the worker's thread."""
        raise NotImplementedError

    def report(self, job: Job[R], progress: Any) -> bool:
        """Passes progress on; False once the job should end."""
        if job.stopped:
            return False
        if self.progress is not None:
            self.progress(progress)
        return True


class _SceneTask(Task[R]):
    """Imagines the scene from a pose, for whoever asked."""

    kind = "imagine"

    def imagine(
        self, host: Host, job: Job[R], observation: Observation, target_pose: Any, options: validation.ImagineOptions
    ) -> Scene:
        """The scene in the frame that the settings want."""
        settings = self.settings
        stamp = observation.stamp or 0
        target_from_reference = validation.target_transform(
            target_pose, observation.frame, stamp, host.frames, settings
        )
        output_from_camera = None
        output_frame = settings.output_frame.lstrip("/")
        if output_frame and output_frame != observation.frame:
            tolerance = int(settings.tf_tolerance * SECOND)
            output_from_camera = host.frames.lookup(output_frame, observation.frame, stamp, tolerance)
        job.check()
        quantile = settings.min_confidence_quantile
        scene = host.engine.pipeline.imagine(
            observation,
            target_from_reference,
            steps=options.steps,
            scheduler=options.scheduler,
            guidance=options.guidance,
            samples=options.samples,
            seed=options.seed,
            drop_quantile=None if quantile < 0 else quantile,
            callback=lambda progress: self.report(job, progress),
        )
        job.check()
        if settings.voxel_size:
            scene = scene.voxel_downsample(settings.voxel_size)
        if output_from_camera is not None:
            scene = scene.transform(output_from_camera, output_frame)
        host.on_timings(self.kind, scene.timings)
        return scene


class ImagineTask(_SceneTask[R]):
    """An ``Imagine`` request of the service or the action.

    Args:
        response_type: what :meth:`run` returns one of.

    Raises:
        UniuggError: REQUEST_INVALID or POSE_INVALID.
    """

    def __init__(
        self,
        request: Any,
        settings: Settings,
        response_type: Callable[[], R],
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        super().__init__(settings, validation.deadline(request.timeout, settings), progress)
        self.request = request
        self.options = validation.imagine_options(request, settings)
        conversions.transform_from_pose(request.target_pose.pose)
        if len(request.image) + len(request.compressed_image) > 1:
            raise UniuggError(ErrorCode.TOO_MANY_IMAGES, "image and compressed_image are both given, one is taken")
        self._response_type = response_type

    def run(self, host: Host, job: Job[R]) -> R:
        """The response with cloud, picture, seed and timings."""
        began = time.monotonic()
        request, settings = self.request, self.settings
        attached = [*request.image, *request.compressed_image]
        if attached:
            observation = _attached(attached, request.camera_info, settings)[0]
        else:
            observation = host.camera.observation(settings)
        scene = self.imagine(host, job, observation, request.target_pose, self.options)
        return scene_response(self._response_type(), scene, time.monotonic() - began)


class PoseTask(_SceneTask[Scene]):
    """The newest target pose of the topic on the newest picture."""

    kind = "target_pose"

    def __init__(self, target_pose: Any, settings: Settings) -> None:
        super().__init__(settings, settings.timeout)
        self._target_pose = target_pose

    def run(self, host: Host, job: Job[Scene]) -> Scene:
        """The scene."""
        settings = self.settings
        options = validation.ImagineOptions(
            steps=settings.steps or None,
            samples=settings.samples,
            scheduler=settings.scheduler or None,
            guidance=settings.guidance or None,
            seed=None if settings.seed < 0 else settings.seed,
        )
        return self.imagine(host, job, host.camera.observation(settings), self._target_pose, options)


class AskTask(Task[R]):
    """An ``AskSpatial`` request of the service or the action.

    Raises:
        UniuggError: QUESTION_*, TOO_MANY_IMAGES, REQUEST_INVALID or POSE_INVALID.
    """

    kind = "ask"

    def __init__(
        self,
        request: Any,
        settings: Settings,
        response_type: Callable[[], R],
        progress: Callable[[Token], None] | None = None,
    ) -> None:
        super().__init__(settings, validation.deadline(request.timeout, settings), progress)
        self.request = request
        self.question = validation.question(request.question, settings)
        self.tokens = validation.tokens(request.max_new_tokens, settings)
        count = len(request.images) + len(request.compressed_images)
        if count > settings.max_images:
            raise UniuggError(
                ErrorCode.TOO_MANY_IMAGES, f"{count} pictures are attached, the limit is {settings.max_images}"
            )
        for pose in request.target_pose:
            conversions.transform_from_pose(pose.pose)
        self._response_type = response_type

    def run(self, host: Host, job: Job[R]) -> R:
        """The response with answer, evidence and timings."""
        began = time.monotonic()
        request, settings = self.request, self.settings
        history = host.sessions.history(
            request.session_id, max_sessions=settings.max_sessions, expiry=settings.session_expiry
        )
        attached = [*request.images, *request.compressed_images]
        if attached:
            observations = _attached(attached, request.camera_infos, settings)
        else:
            observations = [host.camera.observation(settings)]
        last = observations[-1]
        imagine_from = None
        for pose in request.target_pose:
            imagine_from = validation.target_transform(pose, last.frame, last.stamp or 0, host.frames, settings)
        answer = self._answer(host, job, observations, history, imagine_from)
        host.sessions.append(request.session_id, Turn(self.question, answer.text), max_turns=settings.max_session_turns)
        host.on_timings(self.kind, answer.timings)
        return answer_response(self._response_type(), answer, last.stamp or 0, time.monotonic() - began)

    def _answer(
        self, host: Host, job: Job[R], observations: list[Observation], history: tuple[Turn, ...], imagine_from: Any
    ) -> Answer:
        """The answer, its tokens passed on as they come."""
        job.check()
        stream = host.engine.pipeline.stream(
            observations,
            self.question,
            history,
            max_new_tokens=self.tokens,
            with_evidence=bool(self.request.with_evidence),
            imagine_from=imagine_from,
            callback=lambda _progress: not job.stopped,
        )
        try:
            for count, token in enumerate(stream, start=1):
                self.report(job, Token(token.text, count))
                job.check()
            return stream.answer
        finally:
            stream.close()


def _attached(messages: list[Any], infos: list[Any], settings: Settings) -> list[Observation]:
    """The pictures that came with a request, with their calibrations."""
    if infos and len(infos) != len(messages):
        raise UniuggError(
            ErrorCode.CAMERA_INFO_MISMATCH,
            f"{len(infos)} calibrations are attached to {len(messages)} pictures; give one for each, or none",
        )
    cameras = [conversions.camera_from_info(info, rectified=settings.rectified) for info in infos]
    pairs = zip(messages, cameras or [None] * len(messages))
    return [observe(Picture(message, arrival=0.0), camera, settings) for message, camera in pairs]
