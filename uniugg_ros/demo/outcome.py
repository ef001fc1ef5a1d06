"""What became of one request of the demo: the record that the pictures, the answers and the summary are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from uniugg_core.errors import ErrorCode
from uniugg_core.scene import Scene

from .recorded import Picture

__all__ = ["Outcome"]


@dataclass(eq=False)
class Outcome:
    """One request and how it ended.

    Attributes:
        number: in the order of asking, from 1.
        title: what was asked for, in words.
        via: ``topic``, ``service`` or ``action``.
        job: ``imagine`` or ``ask``.
        expected: the code that is right for this request; some are wrong on purpose.
        code: the code that came.
        message: the node's sentence, or why no reply came.
        milliseconds: from sending to having the reply.
        stages: milliseconds of each stage, from the reply.
        updates: feedback messages that came on the way (actions).
        scene, view: result of ``imagine``.
        question, answer and what follows: result of ``ask``.
        truth: the true answer, where it is known.
        stamp: of the picture that was used, nanoseconds as the node said.
        pictures: of the bag that was playing.
        reference: number of the recorded picture that was used, target: of the one at the target pose.
        target_from_reference: the pose, once the reference is known.
        marks: where in the picture an answer rests: column, row, weight.
    """

    number: int
    title: str
    via: str
    job: str
    expected: ErrorCode = ErrorCode.OK
    code: ErrorCode | None = None
    message: str = ""
    milliseconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    updates: int = 0
    scene: Scene | None = None
    view: np.ndarray | None = None
    seed: int | None = None
    stamp: int | None = None
    pictures: Sequence[Picture] = ()
    reference: int | None = None
    target: int | None = None
    target_from_reference: np.ndarray | None = None
    question: str = ""
    answer: str = ""
    truth: str = ""
    confidence: float = 0.0
    value: str = ""
    streamed: list[str] = field(default_factory=list)
    tokens: int = 0
    marks: list[tuple[float, float, float]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether the request ended as it should."""
        return self.code == self.expected

    @property
    def refused_on_purpose(self) -> bool:
        """Whether an error was the right reply."""
        return self.expected != ErrorCode.OK

    @property
    def slug(self) -> str:
        """Name of this request's files, without an ending."""
        words = "".join(letter if letter.isalnum() else " " for letter in self.title.lower()).split()
        return f"{self.number:02d}-{'-'.join(words[:6])}"
