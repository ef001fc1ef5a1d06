"""Exercises without pictures: the words of spatial questions, with what there is to see told in words instead.

A language model that learns from nothing has to find out that names, places and numbers of a question can be looked up
and said again, before anything that it sees can be of use to it. Words alone teach that without looking at a single
picture. What is told mostly stands behind its name, where a model whose words look is shown what they find; else it
stands in front, in an order of its own, so that only looking it up by name helps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import torch

from uniugg_core.errors import ErrorCode, UniuggError

from .exhibits import NO_PICTURE, THINGS, exhibit, some_names
from .motions import Motion
from .points import change_asked
from .sight import plural, spoken_name
from .types import LETTERS, Question, because, choice, length, lettered, metres, numeric
from .viewpoints import viewpoint
from .wording import phrase

__all__ = ["Drills", "drill"]

_TOGETHER = 8  # exercises a sample
_BEHIND = 0.75  # share of exercises that tell things behind their names
_SHOWN = 0.85  # share of exercises that show them there, see .exhibits
_MOVED = 0.5  # share of these that are about other cameras, see .viewpoints


class Drills:
    """A source of batches of kind "drill": sample number i is a pure function of the split, the seed and i.

    Args:
        split: another split, other exercises.
        seed: another seed, too.
        shown: whether things are shown as well, for models whose words look.
        situated: whether other cameras are shown, too, for models that are told of them.
    """

    def __init__(self, split: str = "train", seed: int = 0, *, shown: bool = False, situated: bool = False) -> None:
        self.split, self.seed, self.shown, self.situated = split, seed, shown, situated

    def batch(self, kind: str, indices: Sequence[int]) -> dict[str, Any]:
        """ "questions": for each sample a tuple of exercises; "index".

        Raises:
            UniuggError: REQUEST_INVALID for another kind.
        """
        if kind != "drill":
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"kind is {kind!r}, exercises come as drill")
        made = []
        for index in indices:
            rng = Random(f"drills/{self.split}/{self.seed}/{index}")
            made.append(tuple(self._one(rng) for _ in range(_TOGETHER)))
        return {"questions": tuple(made), "index": torch.tensor(list(indices))}

    def _one(self, rng: Random) -> Question:
        if not self.shown or rng.random() >= _SHOWN:
            return drill(rng)
        return viewpoint(rng) if self.situated and rng.random() < _MOVED else exhibit(rng)


def drill(rng: Random) -> Question:
    """One exercise in words alone."""
    return rng.choice(_MAKERS)(rng)


def _place(rng: Random) -> str:
    return f"({rng.randrange(101)}, {rng.randrange(101)})"


def _metres(rng: Random) -> float:
    return rng.choice((rng.uniform(0.3, 1.5), rng.uniform(0.8, 4.0), rng.uniform(1.0, 8.0)))


def _told(rng: Random, facts: Sequence[str]) -> str:
    return ", ".join(rng.sample(list(facts), len(facts)))


def _stated(rng: Random, names: Sequence[str], facts: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """What is told before a question, and the names as it says them."""
    if rng.random() < _BEHIND:
        return "", tuple(f"{name} [{fact}]" for name, fact in zip(names, facts))
    return f"{_told(rng, [f'{name} {fact}' for name, fact in zip(names, facts)])}. ", tuple(names)


def _apart(rng: Random, count: int) -> list[float]:
    """Lengths that read differently."""
    while True:
        lengths = [_metres(rng) for _ in range(count)]
        if len({length(value) for value in lengths}) == count:
            return lengths


def _again(rng: Random) -> Question:
    """Something to say again."""
    kinds = (lambda: some_names(rng, 1)[0], lambda: _place(rng), lambda: length(_metres(rng)))
    text = ", ".join(rng.choice(kinds)() for _ in range(rng.randint(1, 8)))
    asked = rng.choice(("Say again: {}", "Repeat this: {}", "{} Say that again."))
    return Question(asked.format(text), text, "words", "again", NO_PICTURE)


def _distance(rng: Random) -> Question:
    """A thing's or a place's distance among others."""
    count = rng.randint(2, 6)
    names = [_place(rng) for _ in range(count)] if rng.random() < 0.3 else some_names(rng, count)
    lengths = [_metres(rng) for _ in range(count)]
    told, (asked_for, *_) = _stated(rng, names, [length(value) for value in lengths])
    if names[0].startswith("("):
        x, y = names[0][1:-1].split(", ")
        asked = phrase(rng, "point_depth", x=x, y=y, where="in the image").replace(names[0], asked_for)
        return metres("point_depth", told + asked, lengths[0], NO_PICTURE)
    return metres("camera_distance", told + phrase(rng, "camera_distance", a=asked_for), lengths[0], NO_PICTURE)


def _order(rng: Random) -> Question:
    """Which of several things or places is nearest."""
    count, points = rng.choice((2, 2, 3, 4)), rng.random() < 0.4
    names = tuple(_place(rng) for _ in range(count)) if points else tuple(some_names(rng, count))
    lengths = _apart(rng, count)
    told, said = _stated(rng, names, [length(value) for value in lengths])
    far = count > 2 and not points and rng.random() < 0.5
    correct = lengths.index(max(lengths) if far else min(lengths))
    family = "point_order" if points else "depth_order"
    if count > 2:
        asked = phrase(rng, "point_order" if points else "farthest" if far else "nearest", where="in the image")
        reason = because(LETTERS, lengths)
        return lettered(family, told + asked, said, correct, NO_PICTURE, reason=reason)
    if points:
        (x0, y0), (x1, y1) = (name[1:-1].split(", ") for name in names)
        asked = phrase(rng, "point_pair_order", x0=x0, y0=y0, x1=x1, y1=y1, where="in the image")
        for name, full in zip(names, said):
            asked = asked.replace(name, full)
    else:
        asked = phrase(rng, "depth_order", a=said[0], b=said[1], where="in the image")
    return choice(family, told + asked, names, correct, NO_PICTURE, reason=because(names, lengths))


def _closest(rng: Random) -> Question:
    """Which of several things is closest to another."""
    anchor, *names = some_names(rng, rng.choice((4, 5)))
    lengths = _apart(rng, len(names))
    told, said = _stated(rng, names, [length(value) for value in lengths])
    asked = f"{f'From {anchor}: ' if told else ''}{told}{phrase(rng, 'relative_distance', a=anchor)}"
    correct, reason = lengths.index(min(lengths)), because(LETTERS, lengths)
    return lettered("relative_distance", asked, said, correct, NO_PICTURE, reason=reason)


def _side(rng: Random) -> Question:
    """Which of two things is farther left."""
    names = some_names(rng, rng.randint(2, 5))
    across = rng.sample(range(101), len(names))
    told, said = _stated(rng, names, [str(x) for x in across])
    asked = phrase(rng, "image_side", a=said[0], b=said[1], where="in the image")
    reason = ", ".join(f"{name} {x}" for name, x in zip(names[:2], across))
    options = ("left", "right")
    return choice("image_side", told + asked, options, int(across[0] > across[1]), NO_PICTURE, reason=reason)


def _count(rng: Random) -> Question:
    """How many of a kind there are."""
    kinds = rng.sample(THINGS, rng.randint(1, 4))
    counts = [rng.randint(1, 4) for _ in kinds]
    told = _told(rng, [spoken_name(kind) for kind, count in zip(kinds, counts) for _ in range(count)])
    asked = phrase(rng, "count", things=plural(kinds[0]), where="in the image")
    return numeric("count", f"{told}. {asked}", counts[0], "", 0, NO_PICTURE)


def _carried(rng: Random) -> Question:
    """What is on what."""
    names = some_names(rng, 2 * rng.choice((3, 4)))
    carried, below = names[::2], names[1::2]
    told = _told(rng, [f"{a} on {b}" for a, b in zip(carried, below)])
    correct = rng.randrange(len(carried))
    asked = phrase(rng, "on_top", a=below[correct])
    return lettered("on_top", f"{told}. {asked}", tuple(carried), correct, NO_PICTURE)


def _motion(rng: Random) -> Question:
    """Which option says what was told."""
    while True:
        yaw, forward, right = 5.0 * rng.randint(-12, 12), *(round(rng.uniform(-2, 2), 1) for _ in range(2))
        told = Motion(yaw, 0.0, 0.0, right, 0.0, forward)
        question = change_asked(told.matrix(), rng)
        if question is not None:
            return replace(question, text=f"The camera did this: {told.words()}. {question.text}", views=NO_PICTURE)


_MAKERS: tuple[Callable[[Random], Question], ...] = (
    *(_again, _again, _again, _again, _distance, _distance, _order, _order, _order),
    *(_closest, _side, _count, _carried, _motion),
)
