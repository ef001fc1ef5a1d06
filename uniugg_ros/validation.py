"""What a request may ask for: every check that needs no picture and no model, made when the request arrives.

Requests are taken by their field names, so that a service's request and an action's goal go the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from uniugg_core.cameras import check_reach, inverse_rigid
from uniugg_core.errors import ErrorCode, UniuggError

from .conversions import transform_from_pose
from .frames import SECOND
from .parameters import SPECS, Settings
from .tf import Frames

__all__ = ["ImagineOptions", "deadline", "imagine_options", "question", "target_transform", "tokens"]


@dataclass(frozen=True)
class ImagineOptions:
    """How to imagine; None leaves it to the model."""

    steps: int | None
    samples: int
    scheduler: str | None
    guidance: float | None
    seed: int | None


def imagine_options(request: Any, settings: Settings) -> ImagineOptions:
    """The request's wishes over the node's parameters, within the node's limits.

    Raises:
        UniuggError: REQUEST_INVALID, naming the value and the limit.
    """
    steps = int(request.steps) or settings.steps
    samples = int(request.samples) or settings.samples
    guidance = float(request.guidance) or settings.guidance
    scheduler = request.scheduler or settings.scheduler
    _limit("steps", steps, settings.max_steps)
    _limit("samples", samples, settings.max_samples)
    _range("guidance", guidance, 0.0, SPECS["guidance"].high)
    if scheduler not in SPECS["scheduler"].choices:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"scheduler is {scheduler!r}, expected ddim, dpm++ or ddpm")
    if request.seed < -1:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"seed is {request.seed}, expected 0 or more, or -1 for any")
    return ImagineOptions(
        steps=steps or None,
        samples=samples,
        scheduler=scheduler or None,
        guidance=guidance or None,
        seed=None if request.seed == -1 else int(request.seed),
    )


def deadline(timeout: float, settings: Settings) -> float:
    """Seconds that a request may take, from its own wish and the node's parameters.

    Raises:
        UniuggError: REQUEST_INVALID.
    """
    timeout = float(timeout) or settings.timeout
    _range("timeout", timeout, 0.0, settings.max_timeout)
    return timeout


def tokens(wanted: int, settings: Settings) -> int | None:
    """Most tokens of an answer; None leaves it to the model.

    Raises:
        UniuggError: REQUEST_INVALID.
    """
    count = int(wanted) or settings.max_new_tokens
    _limit("max_new_tokens", count, settings.max_new_tokens_limit)
    return count or None


def question(text: str, settings: Settings) -> str:
    """The question, trimmed, with control characters as blanks.

    Raises:
        UniuggError: QUESTION_EMPTY or QUESTION_TOO_LONG.
    """
    if len(text) > settings.max_question_chars:
        raise UniuggError(
            ErrorCode.QUESTION_TOO_LONG,
            f"the question has {len(text)} characters, the limit is {settings.max_question_chars}",
        )
    clean = "".join(character if character.isprintable() else " " for character in text).strip()
    if not clean:
        raise UniuggError(ErrorCode.QUESTION_EMPTY, f"the question is {text[:40]!r}")
    return clean


def target_transform(target_pose: Any, frame: str, stamp: int, frames: Frames, settings: Settings) -> np.ndarray:
    """target_from_reference (4, 4) for a target camera's pose (PoseStamped) in any TF frame.

    Args:
        frame: optical frame of the reference camera.
        stamp: when its picture was taken, nanoseconds; transforms are looked up for this time.

    Raises:
        UniuggError: POSE_INVALID, FRAME_UNKNOWN, TRANSFORM_UNAVAILABLE or POSE_OUT_OF_RANGE.
    """
    named_from_target = transform_from_pose(target_pose.pose)
    named = target_pose.header.frame_id.lstrip("/")
    if not named:
        raise UniuggError(ErrorCode.FRAME_UNKNOWN, "the target pose names no frame")
    reference_from_target = named_from_target
    if named != frame:
        if not frame:
            raise UniuggError(
                ErrorCode.FRAME_UNKNOWN, "the picture names no frame (set its frame_id, or the parameter camera_frame)"
            )
        tolerance = int(settings.tf_tolerance * SECOND)
        reference_from_target = frames.lookup(frame, named, stamp, tolerance) @ named_from_target
    check_reach(reference_from_target, settings.max_distance, math.radians(settings.max_angle))
    return inverse_rigid(reference_from_target)


def _limit(name: str, value: int, limit: int) -> None:
    if value > limit:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{name} is {value}, the limit is {limit}")


def _range(name: str, value: float, low: float, high: float | None) -> None:
    if not (math.isfinite(value) and low <= value and (high is None or value <= high)):
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{name} is {value}, expected {low:g} to {high:g}")
