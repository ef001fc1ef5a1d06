"""What goes into the pipeline and what comes out of it: small frozen dataclasses on NumPy arrays and plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .errors import ErrorCode, UniuggError

if TYPE_CHECKING:
    from .cameras import Camera

__all__ = [
    "ASSUMED_FOV_DEG",
    "Answer",
    "AnswerToken",
    "Callback",
    "Evidence",
    "Observation",
    "Progress",
    "Turn",
]

ASSUMED_FOV_DEG = 60.0  # horizontal field of view of a picture that comes without calibration


@dataclass(frozen=True)
class Observation:
    """One picture and the camera that took it.

    Args:
        image: RGB picture (H, W, 3) uint8 of any size.
        camera: its calibration, for exactly this size. None: a pinhole with a horizontal field of view of
            :data:`ASSUMED_FOV_DEG` is assumed, and :attr:`assumed_camera` says so; distances are then only as good
            as that guess.
        frame: name of the camera's optical frame (x right, y down, z forward).
        stamp: when the picture was taken, nanoseconds; None if unknown.

    Raises:
        UniuggError: IMAGE_MALFORMED, naming the shape and type; CAMERA_INFO_MISMATCH if the camera is of another size.
    """

    image: np.ndarray
    camera: Camera | None = None
    frame: str = "camera"
    stamp: int | None = None

    def __post_init__(self) -> None:
        image = self.image
        if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise UniuggError(ErrorCode.IMAGE_MALFORMED, f"the picture is {what}, expected uint8 (H, W, 3) RGB")
        height, width = image.shape[:2]
        if height < 1 or width < 1:
            raise UniuggError(ErrorCode.IMAGE_MALFORMED, f"the picture is {width}x{height} pixels")
        if self.camera is not None and (self.camera.width, self.camera.height) != (width, height):
            raise UniuggError(
                ErrorCode.CAMERA_INFO_MISMATCH,
                f"calibration of {self.camera.width}x{self.camera.height} pixels, but the picture has {width}x{height}",
            )

    @property
    def assumed_camera(self) -> bool:
        """Whether the field of view is a guess because no calibration came with the picture."""
        return self.camera is None


@dataclass(frozen=True)
class Progress:
    """Where a request stands; handed to the callback before each step.

    `stage` is ``encode``, ``condition``, ``denoise``, ``decode``, ``prefill``, ``generate`` or ``evidence``. `sample`
    counts the scene samples from 0. `step` counts denoising steps or answer tokens from 1 and is 0 in the other stages;
    `steps` is how many there will be, for answers at most.
    """

    stage: str
    sample: int = 0
    step: int = 0
    steps: int = 0


Callback = Callable[[Progress], "bool | None"]
"""Called with each :class:`Progress`; returning False cancels the request (any other value goes on)."""


@dataclass(frozen=True)
class Turn:
    """One earlier question and its answer, oldest first in a history."""

    question: str
    answer: str


@dataclass(frozen=True)
class Evidence:
    """A place in one of the pictures on which an answer rests, by the language model's attention.

    Attributes:
        image_index: which of the pictures, from 0.
        u, v: pixel coordinates in the picture as it was given (before undistortion and cropping); for a view that was
            imagined, in the square predicted picture.
        weight: share of the attention on all picture tokens, 0 to 1; those of an answer add up to at most 1.
        point: the place in metres in the optical frame of that picture's camera (of the reference camera for an
            imagined view), or None.
    """

    image_index: int
    u: float
    v: float
    weight: float
    point: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class AnswerToken:
    """One generated token; the texts of all tokens joined are the answer's text.

    `text` may be empty: a token can hold a part of a character, or white space that only counts once more text follows.
    """

    text: str
    token_id: int
    logprob: float


@dataclass(frozen=True)
class Answer:
    """An answer to a spatial question.

    Attributes:
        text: the answer.
        confidence: geometric mean of the answer tokens' probabilities, 0 to 1.
        logprobs: natural logarithm of each answer token's probability.
        value: the first number in the text in `unit`, or None.
        unit: as written in the answer ("m", "cm", "degrees"); empty when there is none.
        tokens: number of generated tokens.
        truncated: stopped by the token limit, not by the model.
        evidence: where the answer rests; empty unless asked for.
        timings: milliseconds by stage (encode, prefill, generate, evidence; total).
        seed: of the view that was imagined for the answer; None if none was.
    """

    text: str
    confidence: float
    logprobs: tuple[float, ...] = ()
    value: float | None = None
    unit: str = ""
    tokens: int = 0
    truncated: bool = False
    evidence: tuple[Evidence, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)
    seed: int | None = None
