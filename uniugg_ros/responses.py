"""Filling the response messages: status, scene, answer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from geometry_msgs.msg import Point
from sensor_msgs.msg import Image

from uniugg_core.errors import UniuggError
from uniugg_core.outputs import Answer
from uniugg_core.scene import IMAGINED, Scene, View
from uniugg_interfaces.msg import Evidence, StageTiming

from .clouds import cloud_message
from .conversions import header, image_message, time_message

__all__ = ["answer_response", "imagined_view", "refusal_response", "scene_response", "view_message"]

R = TypeVar("R")

TARGET_FRAME = "uniugg_target"  # names the imagined camera; only its pose in the scene says where that is
MAX_MESSAGE = 1000  # characters of a status sentence


def refusal_response(response: R, error: UniuggError) -> R:
    """`response` with the code and sentence of `error`, and nothing else."""
    response.status.code = int(error.code)
    response.status.message = error.message[:MAX_MESSAGE]
    return response


def imagined_view(scene: Scene) -> View | None:
    """The predicted view of the scene's first sample."""
    return next((view for view in scene.views if view.source == IMAGINED), None)


def view_message(scene: Scene) -> Image:
    """The picture that the target camera is predicted to see; empty if the scene has none."""
    view = imagined_view(scene)
    return Image() if view is None else image_message(view.image, header(TARGET_FRAME, scene.stamp))


def scene_response(response: R, scene: Scene, seconds: float) -> R:
    """An ``Imagine`` response with the scene's cloud, picture, seed and timings."""
    response.scene = cloud_message(scene, header(scene.frame, scene.stamp))
    response.view = view_message(scene)
    response.seed = -1 if scene.seed is None else int(scene.seed)
    response.timings = timings(scene.timings, seconds)
    return response


def answer_response(response: R, answer: Answer, stamp: int, seconds: float) -> R:
    """An ``AskSpatial`` response with everything of the answer."""
    response.answer = answer.text
    response.confidence = float(answer.confidence)
    response.has_value = answer.value is not None
    response.value = float(answer.value) if answer.value is not None else 0.0
    response.unit = answer.unit
    response.evidence = [_evidence(item) for item in answer.evidence]
    response.tokens = int(answer.tokens)
    response.truncated = bool(answer.truncated)
    response.image_stamp = time_message(stamp)
    response.timings = timings(answer.timings, seconds)
    return response


def timings(stages: Mapping[str, float], seconds: float) -> list[StageTiming]:
    """Milliseconds by stage; `total` is the whole time on the worker, conversions included."""
    milliseconds = {**stages, "total": seconds * 1e3}
    return [StageTiming(stage=stage, milliseconds=float(value)) for stage, value in milliseconds.items()]


def _evidence(item: Any) -> Evidence:
    x, y, z = item.point if item.point is not None else (math.nan,) * 3
    return Evidence(
        image_index=int(item.image_index),
        u=float(item.u),
        v=float(item.v),
        weight=float(item.weight),
        point=Point(x=float(x), y=float(y), z=float(z)),
    )
