"""Conversations about pictures: the one sample type of image-text training, and the source that serves it.

A sample of the trainer is one turn of a conversation: its question, the answer to learn, and the turns before it as
history. Which turn, is drawn anew in every epoch.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch

from uniugg_core.cameras import Camera
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import load_image
from uniugg_core.outputs import Turn

from .posed import hashed_share
from .questions.types import Question
from .single import square

__all__ = ["Conversation", "ConversationConfig", "Conversations", "Mark", "Records", "TurnQuestion"]

_LOG = logging.getLogger(__name__)
_TRIES = 50
_FIELD_OF_VIEW = np.radians(60.0)  # of pictures from the web; nothing reads it but the shape of a batch
_COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255), "green": (0, 255, 0), "yellow": (255, 255, 0)}


@dataclass(frozen=True)
class Mark:
    """A dot or a frame that the question speaks of and that is drawn into a picture, on a scale of 0 to 1000."""

    picture: int
    colour: str
    corners: tuple[float, ...]  # x y of a dot, or x y x y of a frame

    def within_centre(self, width: int, height: int) -> bool:
        """Whether the centre square of a picture of that size shows all of it."""
        side = min(width, height)
        reach = np.array([side / width, side / height]) * 500  # to either side of the middle
        return bool((np.abs(np.reshape(self.corners, (-1, 2)) - 500) < reach).all())


@dataclass(frozen=True)
class Conversation:
    """Pictures and what is said about them; the questions say nothing of where the pictures stand."""

    name: str
    pictures: tuple[Path, ...]
    turns: tuple[Turn, ...]  # at least one
    family: str = ""  # the set's own word for the kind of question
    marks: tuple[Mark, ...] = ()

    def images(self, size: int, fit: str = "crop") -> list[np.ndarray]:
        """The pictures with their marks as squares (size, size, 3).

        Args:
            size: side in pixels.
            fit: "crop" takes the centre square, as the model does when it is asked; "pad" keeps all of the picture
                between grey bars. A picture with a mark outside of its centre square is padded anyway.

        Raises:
            UniuggError: of a picture that is missing or damaged.
        """
        out = []
        for number, path in enumerate(self.pictures):
            image = load_image(path)
            marks = [mark for mark in self.marks if mark.picture == number]
            for mark in marks:
                image = _drawn(image, mark)
            whole = fit == "pad" or not all(mark.within_centre(image.shape[1], image.shape[0]) for mark in marks)
            out.append(square(_padded(image) if whole else image, size))
        return out


@dataclass(frozen=True)
class TurnQuestion(Question):
    """A question with the turns before it."""

    history: tuple[Turn, ...] = ()


class Records(Protocol):
    """Conversations by number, still on disk; must survive pickling."""

    def __len__(self) -> int:
        """How many there are, unusable ones included."""
        ...

    def conversation(self, number: int) -> Conversation:
        """Conversation `number`.

        Raises:
            UniuggError: REQUEST_INVALID if it is damaged, or has no picture or no answer.
        """
        ...


@dataclass(frozen=True)
class ConversationConfig:
    """How conversations are served."""

    size: int = 128  # side of the square pictures
    fit: str = "crop"  # "crop" to the centre square, or "pad" to show all of a picture
    pictures: int = 2  # most pictures of a conversation; of longer ones evenly spaced ones are taken
    validation_share: float = 0.01  # conversations kept for validation
    longest: int = 4000  # characters of question, answer and history together; longer turns are left out

    def __post_init__(self) -> None:
        good = self.size >= 1 and self.pictures >= 1 and 0 <= self.validation_share < 1
        if not good or self.fit not in ("crop", "pad"):
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"data.options are out of range: {self}")


class Conversations:
    """Batches of kind "question" (and "single": first pictures); unusable records are skipped and counted.

    Args:
        name: in the registry of sources.
        records: where they are.
        config: options.
        split: "train", or anything else for the share kept for validation.
        seed: of the order.
    """

    def __init__(
        self, name: str, records: Records, config: ConversationConfig, split: str = "train", seed: int = 0
    ) -> None:
        self.name, self.records, self.config, self.split, self.seed = name, records, config, split, seed
        count = len(records)
        held = _held(count, config.validation_share)
        self.numbers = np.flatnonzero(~held if split == "train" else held) if count > 1 else np.arange(count)
        if not len(self.numbers):
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"{name} has no conversations for split {split!r}")
        self.skipped: Counter[str] = Counter()

    def __len__(self) -> int:
        """Conversations of an epoch."""
        return len(self.numbers)

    def question(self, index: int) -> tuple[list[np.ndarray], TurnQuestion]:
        """Sample number `index`: its pictures and its turn; an unusable one is replaced by the next that is not.

        Raises:
            UniuggError: REQUEST_INVALID if too many in a row are unusable.
        """
        epoch, position = divmod(index, len(self))
        order = _order(len(self), self.seed, epoch)
        for step in range(min(_TRIES, len(self))):
            number = int(self.numbers[order[(position + step) % len(self)]])
            try:
                return self._turn(self.records.conversation(number), np.random.default_rng([self.seed, index]))
            except UniuggError as error:
                if not self.skipped[error.code.name]:
                    _LOG.warning("a conversation is left out: %s", error)
                self.skipped[error.code.name] += 1
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, f"{_TRIES} unusable conversations in a row; see `uniugg data check`"
        )

    def batch(self, kind: str, indices: Sequence[int]) -> dict[str, Any]:
        """Samples number `indices`.

        Args:
            kind: "question": tensors as of a pair batch, with as many views as the longest conversation has pictures
                (at least 2), geometry empty; and "questions". "single": "image" (B, 3, H, W) and "index".
            indices: sample numbers.
        """
        if kind not in ("question", "single"):
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"{self.name} has no {kind!r} batches")
        asked = [self.question(index) for index in indices]
        number = torch.tensor(list(indices))
        if kind == "single":
            images = np.stack([pictures[0] for pictures, _ in asked])
            return {"image": torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), "index": number}
        views, size = max(2, *(len(pictures) for pictures, _ in asked)), self.config.size
        image = torch.zeros(len(asked), views, 3, size, size, dtype=torch.uint8)
        for row, (pictures, _) in zip(image, asked):
            row[: len(pictures)] = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        camera = torch.from_numpy(np.array(Camera.from_fov(size, size, _FIELD_OF_VIEW).matrix)).float()
        return {
            "image": image,
            "depth": torch.zeros(len(asked), views, size, size),
            "intrinsics": camera.expand(len(asked), views, 3, 3).contiguous(),
            "reference_from_view": torch.eye(4).expand(len(asked), views, 4, 4).contiguous(),
            "covisibility": torch.zeros(len(asked), 2),
            "index": number,
            "questions": tuple((question,) for _, question in asked),
        }

    def _turn(self, talk: Conversation, rng: np.random.Generator) -> tuple[list[np.ndarray], TurnQuestion]:
        at = int(rng.integers(len(talk.turns)))
        said = sum(len(turn.question) + len(turn.answer) for turn in talk.turns[: at + 1])
        if said > self.config.longest:
            raise UniuggError(ErrorCode.QUESTION_TOO_LONG, f"{talk.name}: {said} characters")
        shown = talk
        if len(talk.pictures) > self.config.pictures:
            kept = np.linspace(0, len(talk.pictures) - 1, self.config.pictures).round().astype(int).tolist()
            marks = tuple(Mark(kept.index(m.picture), m.colour, m.corners) for m in talk.marks if m.picture in kept)
            chosen = tuple(talk.pictures[number] for number in kept)
            shown = Conversation(talk.name, chosen, talk.turns, talk.family, marks)
        pictures = shown.images(self.config.size, self.config.fit)
        turn = talk.turns[at]
        question = TurnQuestion(
            turn.question,
            turn.answer,
            "text",
            talk.family or self.name,
            tuple(range(len(pictures))),
            history=talk.turns[:at],
        )
        return pictures, question


def _held(count: int, share: float) -> np.ndarray:
    held = np.array([hashed_share(str(number)) < share for number in range(min(count, 100_000))], bool)
    held = np.resize(held, count) if count else held
    if count > 1 and not held.any():
        held[-1] = True
    return held


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count).astype(np.int32)


def _padded(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    out = np.full((max(height, width), max(height, width), 3), 128, np.uint8)
    top, left = (len(out) - height) // 2, (len(out) - width) // 2
    out[top : top + height, left : left + width] = image
    return out


def _drawn(image: np.ndarray, mark: Mark) -> np.ndarray:
    height, width = image.shape[:2]
    scale = np.tile([width / 1000, height / 1000], len(mark.corners) // 2)
    where = np.rint(np.array(mark.corners) * scale).astype(int).tolist()
    colour, thick = _COLOURS.get(mark.colour, (255, 0, 0)), max(2, min(height, width) // 120)
    image = np.ascontiguousarray(image)
    if len(where) == 2:
        return cv2.circle(image, tuple(where), 2 * thick, colour, -1, cv2.LINE_AA)
    return cv2.rectangle(image, tuple(where[:2]), tuple(where[2:4]), colour, thick, cv2.LINE_AA)
