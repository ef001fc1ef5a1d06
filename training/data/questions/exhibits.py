"""Exercises about things that are shown without pictures: a name, and behind it where that is.

A model whose words look for what they name is shown what they found behind them. To read it there, and to reckon with
it, is learnt sooner where nothing was found wrongly and every place is exact.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from ..world.classes import CLASSES, STRUCTURE
from ..world.palette import COLOURS
from .scene import APART, RATIO, direction_asked
from .sight import plural, spoken_name
from .types import LETTERS, Exhibition, Question, Spot, because, choice, lettered, metres, numeric
from .wording import phrase

__all__ = [
    "NO_PICTURE",
    "OF_ALL",
    "OF_ONE",
    "STILL",
    "THINGS",
    "Shot",
    "draw_half",
    "draw_radii",
    "draw_spot",
    "exhibit",
    "exhibited",
    "some_names",
]

THINGS = tuple(name for name in CLASSES if name not in STRUCTURE)
NO_PICTURE = ()
STILL = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
_LEAST = 0.1  # metres between things that are compared
_WHOLE = 0.3  # share of exercises about what a thing is, not where
_MOST = 6  # things of a class


@dataclass(frozen=True)
class Shot:
    """What a question is asked of.

    Attributes:
        half: tangent of half the camera's field of view.
        radii: of the things, which are balls.
        views: all there are.
        place: how the camera's own is spoken of.
    """

    half: float
    radii: tuple[float, ...]
    views: tuple[int, ...] = (0,)
    place: str = "in the image"

    def gap(self, spots: list[Spot], one: int, other: int) -> float:
        """Metres between two things at their closest."""
        return math.dist(spots[one], spots[other]) - self.radii[one] - self.radii[other]


def exhibit(rng: Random) -> Question:
    """One exercise about what a single camera sees."""
    if rng.random() < _WHOLE:
        return rng.choice((_count, _object_size))(rng)
    maker = rng.choice((*OF_ONE, *OF_ALL))
    while True:
        half = draw_half(rng)
        names = tuple(some_names(rng, 5))
        spots = [draw_spot(rng, half) for _ in names]
        shot = Shot(half, draw_radii(rng, len(names)))
        question = maker(rng, list(names), spots, shot)
        if question is not None:
            each = tuple((spot,) for spot in spots)
            return exhibited(question, Exhibition(names, each, half, (STILL,), radii=shot.radii))


def _count(rng: Random) -> Question:
    half, name, number = draw_half(rng), plural(rng.choice(THINGS)), rng.randint(1, _MOST)
    question = numeric("count", phrase(rng, "count", things=name, where="in the image"), number, "", 0, (0,))
    return exhibited(question, Exhibition((name,), ((draw_spot(rng, half),),), half, (STILL,), counts=(number,)))


def _object_size(rng: Random) -> Question:
    half, key = draw_half(rng), rng.choice(("object_size", "object_height"))
    (name,) = some_names(rng, 1)
    sides = tuple(math.exp(rng.uniform(math.log(0.1), math.log(3.0))) for _ in range(3))
    length = max(sides) if key == "object_size" else sides[2]
    question = numeric("object_size", phrase(rng, key, a=name), 100 * length, "cm", 0, (0,))
    return exhibited(question, Exhibition((name,), ((draw_spot(rng, half),),), half, (STILL,), sides=(sides,)))


def exhibited(question: Question, shown: Exhibition) -> Question:
    """The question with what it shows, and where the names of that stand in its text."""
    found = sorted(
        (match.start(), match.end(), (number,))
        for number, name in enumerate(shown.names)
        if not name.startswith("(")
        for match in re.finditer(rf"{re.escape(name)}(?![a-z])", question.text)
    )
    return replace(question, mentions=tuple(found), shown=shown)


def some_names(rng: Random, count: int) -> list[str]:
    """Different things as a question names them."""
    colours = sorted(COLOURS)
    return [spoken_name(name, rng.choice(colours) if rng.random() < 0.3 else "") for name in rng.sample(THINGS, count)]


def draw_half(rng: Random) -> float:
    """Tangent of half a camera's field of view."""
    return math.tan(math.radians(rng.uniform(45.0, 80.0)) / 2)


def draw_spot(rng: Random, half: float, near: float = 0.5, far: float = 6.0) -> Spot:
    """A place that a camera sees."""
    ahead = math.exp(rng.uniform(math.log(near), math.log(far)))
    return rng.uniform(-half, half) * ahead, rng.uniform(-half, half) * ahead, ahead


def draw_radii(rng: Random, count: int) -> tuple[float, ...]:
    """Of things."""
    return tuple(rng.uniform(0.05, 0.5) for _ in range(count))


def _far_enough(lengths: Sequence[float], least: float) -> bool:
    ranked = sorted(lengths)
    return ranked[1] - ranked[0] >= least and ranked[1] >= RATIO * ranked[0]


def _camera_distance(rng: Random, names: list[str], spots: list[Spot], shot: Shot) -> Question | None:
    text = phrase(rng, "camera_distance", a=names[0])
    if len(shot.views) > 1:
        text = f"{shot.place.capitalize()}: {text[0].lower()}{text[1:]}"
    return metres("camera_distance", text, math.hypot(*spots[0]), shot.views)


def _object_distance(rng: Random, names: list[str], spots: list[Spot], shot: Shot) -> Question | None:
    distance = shot.gap(spots, 0, 1)
    text = phrase(rng, "object_distance", a=names[0], b=names[1])
    return metres("object_distance", text, distance, shot.views) if distance >= APART else None


def _depth_order(rng: Random, names: list[str], spots: list[Spot], shot: Shot) -> Question | None:
    count = rng.choice((2, 2, 3, 4))
    asked, lengths = tuple(names[:count]), [math.hypot(*spot) for spot in spots[:count]]
    far = count > 2 and rng.random() < 0.5
    if not _far_enough(sorted(lengths)[-2:] if far else lengths, 0.15):
        return None
    correct = lengths.index(max(lengths) if far else min(lengths))
    key = "depth_order" if count == 2 else "farthest" if far else "nearest"
    if count == 2:
        text = phrase(rng, key, a=names[0], b=names[1], where=shot.place)
        return choice("depth_order", text, asked, correct, shot.views, asks=key, reason=because(asked, lengths))
    text = phrase(rng, key, where=shot.place)
    return lettered("depth_order", text, asked, correct, shot.views, asks=key, reason=because(LETTERS, lengths))


def _relative_distance(rng: Random, names: list[str], spots: list[Spot], shot: Shot) -> Question | None:
    others = tuple(names[1 : rng.choice((4, 5))])
    gaps = [shot.gap(spots, 0, other) for other in range(1, len(others) + 1)]
    if min(gaps) < _LEAST or not _far_enough(gaps, APART):
        return None
    text, reason = phrase(rng, "relative_distance", a=names[0]), because(LETTERS, gaps)
    return lettered("relative_distance", text, others, gaps.index(min(gaps)), shot.views, reason=reason)


def _image_side(rng: Random, names: list[str], spots: list[Spot], shot: Shot) -> Question | None:
    across = [round(50 + 50 * x / (z * shot.half)) for x, _, z in spots[:2]]
    if abs(across[0] - across[1]) < 12:
        return None
    text = phrase(rng, "image_side", a=names[0], b=names[1], where=shot.place)
    reason = ", ".join(f"{name} {x}" for name, x in zip(names, across))
    options = ("left", "right")
    return choice("image_side", text, options, int(across[0] > across[1]), shot.views, reason=reason)


def _direction(rng: Random, names: list[str], spots: list[Spot], shot: Shot) -> Question | None:
    return direction_asked(rng, names[:3], [(z, -x) for x, _, z in spots[:3]], shot.views)


def _on_top(rng: Random, names: list[str], spots: list[Spot], shot: Shot) -> Question | None:
    (x, y, z), count = spots[0], rng.choice((3, 4))
    spots[1] = x + rng.gauss(0, 0.15), y - rng.uniform(0.08, 0.5), z + rng.gauss(0, 0.15)
    if max(map(abs, spots[1][:2])) > shot.half * spots[1][2]:
        return None
    if any(math.dist(spots[0], spot) < 0.7 for spot in spots[2 : count + 1]):
        return None
    options = rng.sample(names[1 : count + 1], count)
    return lettered("on_top", phrase(rng, "on_top", a=names[0]), tuple(options), options.index(names[1]), shot.views)


_Maker = Callable[[Random, list[str], list[Spot], Shot], Question | None]
# of what one camera sees, and of how things lie to each other, whoever sees them; the harder ones twice
OF_ONE: tuple[_Maker, ...] = (_camera_distance, _depth_order, _depth_order, _image_side, _on_top)
OF_ALL: tuple[_Maker, ...] = (_object_distance, _relative_distance, _relative_distance, _direction, _direction)
