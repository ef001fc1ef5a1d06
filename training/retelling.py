"""What follows from what a model itself perceives, as answers for its words to learn.

Words that are taught the truth about pictures learn to guess what perception got wrong, and trust it no longer: of a
length that it is told in digits (:mod:`uniugg_core.models.digits`) a small language model then says something near it.
The truth is for perception to learn, from points, masks and boxes; words only have to pass on what they are told. So
questions about pictures may be taught with the answer that follows from what was shown of the places that they name:
those whose answers geometry gives. How many there are of something, how large it is and what will be in view is told
more roughly than words guess it.

Shape letters: M places, P pictures of a talk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uniugg_core.models.showing import Shown, Situated
from uniugg_core.models.situation import fates, from_first_facing_second
from uniugg_core.prompts import Piece, pictures_of, segments

from .data.questions.scene import direction
from .data.questions.types import LETTERS, Question, because, length, places

__all__ = ["RETOLD", "retell"]

_SURE = 0.5  # share of what a name looks for from which on it is in a picture


@dataclass(frozen=True)
class _Told:
    """What is told of the M places of one question.

    Attributes:
        slots: (M,), in the order of the question's text, in its first picture.
        rows: (M,), which of the situation's they are.
        situated: of all questions.
        camera: first_from_camera (4, 4) of the second picture; None: there is none.
    """

    slots: Sequence[Piece]
    rows: Sequence[int]
    situated: Situated | None
    camera: Tensor | None

    def away(self, view: int | None = None) -> list[float]:
        """Metres (M,) from the camera of a picture to their near sides; None: that of the picture that has them."""
        near_MP = self.situated.placed.near * self.situated.itself.distance
        return (self._best(near_MP) if view is None else near_MP[list(self.rows), view]).tolist()

    def away_then(self) -> list[float]:
        """Metres (M,) from the other camera to their near sides."""
        return self._best(self.situated.placed.near * self.situated.other.distance).tolist()

    def in_view_then(self) -> list[bool]:
        """Whether the other camera sees them (M,)."""
        return (self._best(fates(self.situated.other)[..., 0]) > 0).tolist()

    def gaps(self) -> list[float]:
        """Metres (M,) to the first one at their closest."""
        return self._best(self.situated.apart).tolist()

    def facing(self) -> Tensor:
        """(M, 3), as somebody at the first one has them who faces the second one."""
        return self._best(from_first_facing_second(self.situated.placed)[0])

    @property
    def picture(self) -> Tensor:
        """The first one (M,) that surely has each of them."""
        share_MP = self.situated.placed.share[list(self.rows)]
        earlier_P = 1 - torch.arange(share_MP.shape[1], device=share_MP.device) / share_MP.shape[1]
        return torch.where(share_MP > _SURE, 1 + earlier_P, share_MP).argmax(1)

    def _best(self, values: Tensor) -> Tensor:
        """Of values of all places and pictures those (M, ...) of that picture."""
        return values[list(self.rows)][torch.arange(len(self.rows)), self.picture]


def retell(shown: Shown, talk: int, place: int, question: Question) -> str | None:
    """What a model that perceives what it was shown should say; None: what is true.

    Args:
        shown: to it.
        talk, place: where among its prompts the question is.
        question: of one of the families `RETOLD`; others have no other answer than the true one.
    """
    teller = RETOLD.get(question.family)
    if teller is None or shown.cameras is None:
        return None
    prompt, situated = shown.prompts[talk][place], shown.situated
    slots = [] if situated is None else [whose[2] for whose in situated.whose if whose[:2] == (talk, place)]
    number = {} if situated is None else {whose: row for row, whose in enumerate(situated.whose)}
    marked = len(segments(question.text, True)) - 1
    if len(slots) != len(question.mentions) + marked:
        return None  # a name found nothing, a word that is none found something, or two places have the same numbers
    camera = next((shown.cameras[talk][slot.index] for slot in prompt.cameras), None)
    return teller(question, _Told(slots, [number[talk, place, slot] for slot in slots], situated, camera))


def _least(names: Sequence[str], lengths: Sequence[float]) -> str:
    return names[min(range(len(lengths)), key=lengths.__getitem__)]


def _picture(question: Question) -> int:
    """The one of its pictures that a question is about."""
    return pictures_of(question.text, len(question.views))[0]


def _camera_distance(question: Question, told: _Told) -> str:
    return length(told.away(_picture(question))[0])


def _then(question: Question, told: _Told) -> str:
    return length(told.away_then()[0])


def _apart(question: Question, told: _Told) -> str:
    return length(told.gaps()[1])


def _nearest(question: Question, told: _Told) -> str:
    gaps = told.gaps()[1:]
    return f"{because(LETTERS, gaps)}: {_least(LETTERS, gaps)}"


def _order(question: Question, told: _Told) -> str:
    metres = told.away(_picture(question))
    names = LETTERS if question.lettered else question.options
    ranked = [-away for away in metres] if question.asks == "farthest" else metres
    return f"{because(names, metres)}: {_least(names, ranked)}"


def _nearer_camera(question: Question, told: _Told) -> str:
    here, there = told.away()[0], told.away_then()[0]
    metres = (here, there) if told.picture[0] == 0 else (there, here)
    return f"{because(question.options, metres)}: {_least(question.options, metres)}"


def _direction(question: Question, told: _Told) -> str:
    right, _, ahead = told.facing()[2].tolist()
    start, end, _ = question.mentions[2]
    reason = places((question.text[start:end],), ((right, ahead),))
    return f"{reason}: {question.options[direction(question.asks, math.atan2(-right, ahead))]}"


def _visible(question: Question, told: _Told) -> str:
    return question.options[0 if told.in_view_then()[0] else 1]


def _motion(question: Question, told: _Told) -> str | None:
    if told.camera is None:
        return None
    x, _, z = told.camera[:3, 3].tolist()
    look_x, _, look_z = told.camera[:3, 2].tolist()
    if question.asks == "camera_shift":
        return length(float(told.camera[:3, 3].norm()))
    if question.asks == "camera_turn":
        return f"{round(math.degrees(math.acos(min(1.0, max(-1.0, look_z)))))} deg"
    if question.asks == "turn_side":
        return f"{places(('the view',), ((look_x, look_z),))}: {question.options[int(look_x > 0)]}"
    stood = places(("the camera",), ((x, z),))
    if question.asks == "other_camera":
        return f"{stood}: {question.options[int(x > 0)]}"
    way = (0 if z > 0 else 1) if abs(z) > abs(x) else (2 if x < 0 else 3)
    return f"{stood}: {question.options[way]}"


RETOLD: dict[str, Callable[[Question, _Told], str | None]] = {
    "camera_distance": _camera_distance,
    "commanded_distance": _then,
    "commanded_point": _then,
    "camera_motion": _motion,
    "depth_order": _order,
    "nearer_camera": _nearer_camera,
    "object_distance": _apart,
    "point_distance": _apart,
    "relative_direction": _direction,
    "relative_distance": _nearest,
    "visible": _visible,
}
