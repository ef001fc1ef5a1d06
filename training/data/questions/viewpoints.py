"""Exercises about other cameras, shown without pictures: a commanded one, or that of a second picture.

As :mod:`.exhibits`. Marked points stand for pixels, so where the other picture has the same pixel is something else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import numpy as np

from .exhibits import OF_ALL, OF_ONE, STILL, Shot, draw_half, draw_radii, draw_spot, exhibited, some_names
from .motions import Motion
from .points import RATIO, change_asked, commanded, motion_asked
from .types import LETTERS, Exhibition, Matrix, Question, Spot, because, choice, lettered, metres, verdicts
from .wording import phrase, where

__all__ = ["viewpoint"]

_PAIR = (0, 1)
_EDGE = 0.05  # share of a picture's side; what is nearer to its border is not asked for
_FRAMES = ("frame 1", "frame 2")


def viewpoint(rng: Random) -> Question:
    """One exercise."""
    maker = rng.choice(_MAKERS)
    while True:
        question = maker(rng, draw_half(rng), _pose(rng))
        if question is not None:
            return question


# --- a commanded camera ---


def _then(rng: Random, half: float, pose: np.ndarray) -> Question | None:
    """Which thing will be in view, or will not; in which third of the picture; how far away."""
    names = some_names(rng, 5)
    command, pose = commanded(pose, rng)
    spots = [draw_spot(rng, half) for _ in names]
    then = [_moved(pose, spot) for spot in spots]
    surfaces = [[math.hypot(*spot) * rng.uniform(0.3, 0.8) if rng.random() < 0.1 else None] for spot in then]
    inside = [_inside(spot, half) for spot in then]
    kept = [k for k, margin in enumerate(inside) if margin > _EDGE and surfaces[k] == [None]]
    lost = [k for k, margin in enumerate(inside) if margin < -_EDGE or (margin > _EDGE and surfaces[k] != [None])]
    evidence = {"target_from_reference": _rows(pose)}
    kind = rng.choice(("visible", "hidden", "side", "distance"))
    if kind in ("visible", "hidden"):
        right, wrong = (kept, lost) if kind == "visible" else (lost, kept)
        if not right or not wrong:
            return None
        options = [rng.choice(right), *rng.sample(wrong, min(len(wrong), 3))]
        answer = options[0]
        rng.shuffle(options)
        text, asked = phrase(rng, f"commanded_{kind}", command=command), tuple(names[k] for k in options)
        evidence["reason"] = verdicts(k in kept for k in options)
        question = lettered("commanded_view", text, asked, options.index(answer), (0,), **evidence)
    elif not kept:
        return None
    else:
        item = rng.choice(kept)
        if kind == "side":
            x = _pictured(then[item], half)[0]
            if min(abs(x - 1 / 3), abs(x - 2 / 3)) < _EDGE:
                return None
            text = phrase(rng, "commanded_side", command=command, a=names[item])
            correct, evidence["reason"] = int(x > 1 / 3) + int(x > 2 / 3), f"at {round(100 * x)}"
            question = choice("commanded_side", text, ("left", "middle", "right"), correct, (0,), **evidence)
        else:
            text = phrase(rng, "commanded_distance", command=command, a=names[item])
            question = metres("commanded_distance", text, math.hypot(*then[item]), (0,), **evidence)
    shown = Exhibition(tuple(names), tuple((spot,) for spot in spots), half, (STILL,), tuple(map(tuple, surfaces)))
    return exhibited(question, shown)


def _commanded_point(rng: Random, half: float, pose: np.ndarray) -> Question | None:
    """How far a marked point will be away."""
    command, pose = commanded(pose, rng)
    spot = draw_spot(rng, half)
    x, y = _mark(spot, half)
    distance = math.hypot(*_moved(pose, spot))
    if distance < 0.3:
        return None
    text = phrase(rng, "commanded_point", command=command, x=x, y=y)
    question = metres("commanded_point", text, distance, (0,), target_from_reference=_rows(pose))
    return exhibited(question, Exhibition((f"({x}, {y})",), ((spot,),), half, (STILL,)))


# --- a second picture ---


def _motion(rng: Random, half: float, pose: np.ndarray) -> Question | None:
    """How the camera moved."""
    question = (motion_asked if rng.random() < 0.6 else change_asked)(pose, rng)
    return question and exhibited(question, Exhibition((), (), half, _cameras(pose)))


def _match(rng: Random, half: float, pose: np.ndarray) -> Question | None:
    """Where a marked point is in the other picture."""
    source, across = _across(rng, pose)
    mark = draw_spot(rng, half)
    right = _moved(across, mark)
    if _inside(right, half) < _EDGE:
        return None
    right = tuple(value * (1 + rng.gauss(0, 0.01)) for value in right)
    options = [right, *(draw_spot(rng, half) for _ in range(3))]
    rng.shuffle(options)
    names = [f"({x}, {y})" for x, y in (_mark(spot, half) for spot in (mark, *options))]
    if len(set(names)) < len(names):
        return None
    gaps = [math.dist(_moved(across, mark), option) for option in options]
    x, y = _mark(mark, half)
    text, reason = phrase(rng, "match", x=x, y=y, f=source + 1, g=2 - source), because(LETTERS, gaps)
    question = lettered("match", text, tuple(names[1:]), options.index(right), _PAIR, reason=reason)
    spots = [_beside(rng, mark, source), *(_beside(rng, option, 1 - source) for option in options)]
    return exhibited(question, Exhibition(tuple(names), tuple(spots), half, _cameras(pose)))


def _visible(rng: Random, half: float, pose: np.ndarray) -> Question | None:
    """Whether a marked point is in the other picture."""
    source, across = _across(rng, pose)
    wanted = rng.random() < 0.5
    hidden = not wanted and rng.random() < 0.4
    mark, there = _drawn(rng, half, across, lambda margin: (margin > 0) == (wanted or hidden) and abs(margin) > _EDGE)
    if mark is None:
        return None
    x, y = _mark(mark, half)
    text = phrase(rng, "visible", x=x, y=y, f=source + 1, g=2 - source)
    question = choice("visible", text, ("yes", "no"), 1 - wanted, _PAIR)
    surfaces: list[float | None] = [None, None]
    surfaces[source] = math.hypot(*there) * (rng.uniform(0.3, 0.85) if hidden else math.exp(rng.gauss(0, 0.03)))
    shown = Exhibition((f"({x}, {y})",), (_beside(rng, mark, source),), half, _cameras(pose), (tuple(surfaces),))
    return exhibited(question, shown)


def _nearer(rng: Random, half: float, pose: np.ndarray) -> Question | None:
    """Which camera is nearer to a marked point."""
    source, across = _across(rng, pose)
    mark = draw_spot(rng, half)
    distances = [math.hypot(*mark), math.hypot(*_moved(across, mark))]
    distances = distances if source == 0 else distances[::-1]
    if max(distances) < RATIO * min(distances):
        return None
    x, y = _mark(mark, half)
    text, reason = phrase(rng, "nearer_camera", x=x, y=y, f=source + 1), because(_FRAMES, distances)
    correct = distances.index(min(distances))
    question = choice("nearer_camera", text, _FRAMES, correct, _PAIR, reason=reason)
    shown = Exhibition((f"({x}, {y})",), (_beside(rng, mark, source),), half, _cameras(pose))
    return exhibited(question, shown)


def _point_distance(rng: Random, half: float, pose: np.ndarray) -> Question | None:
    """How far marked points, of one picture or of two, are apart."""
    a, b = draw_spot(rng, half), draw_spot(rng, half)
    (x0, y0), (x1, y1) = _mark(a, half), _mark(b, half)
    slots = {"x0": x0, "y0": y0, "x1": x1, "y1": y1}
    kind = rng.choice(("single", "single", "same", "across"))
    if (x0, y0) == (x1, y1):
        return None
    if kind == "across":
        distance, text = math.dist(_moved(np.linalg.inv(pose), b), a), phrase(rng, "cross_distance", **slots)
        spots = _beside(rng, a, 0), _beside(rng, b, 1)
    elif kind == "same":
        view = rng.choice(_PAIR)
        distance, text = math.dist(a, b), phrase(rng, "point_distance", where=where(rng, _PAIR, view), **slots)
        spots = _beside(rng, a, view), _beside(rng, b, view)
    else:
        distance, text = math.dist(a, b), phrase(rng, "point_distance", where=where(rng, (0,)), **slots)
        spots = (a,), (b,)
    if distance < 0.3:
        return None
    cameras = (STILL,) if kind == "single" else _cameras(pose)
    question = metres("point_distance", text, distance, (0,) if kind == "single" else _PAIR)
    return exhibited(question, Exhibition((f"({x0}, {y0})", f"({x1}, {y1})"), spots, half, cameras))


def _appearance(rng: Random, half: float, pose: np.ndarray) -> Question | None:
    """In which picture a thing is."""
    (name,) = some_names(rng, 1)
    seen = rng.choice(((True, False), (False, True), (True, True)))
    spot, there = _drawn(rng, half, pose, lambda margin: margin > _EDGE or seen != (True, True))
    if spot is None:
        return None
    if not seen[0]:
        there = draw_spot(rng, half)
    options = (*_FRAMES, "both")
    question = choice("appearance", phrase(rng, "appearance", a=name), options, seen[0] + 2 * seen[1] - 1, _PAIR)
    spots = (spot if seen[0] else None, there if seen[1] else None)
    return exhibited(question, Exhibition((name,), (spots,), half, _cameras(pose)))


def _of_one(rng: Random, half: float, pose: np.ndarray) -> Question | None:
    """What one of two pictures shows."""
    view, across = _across(rng, pose)
    spots = [draw_spot(rng, half) for _ in range(5)]
    names, shot = some_names(rng, 5), Shot(half, draw_radii(rng, 5), _PAIR, where(rng, _PAIR, view))
    question = rng.choice(OF_ONE)(rng, names, spots, shot)
    theirs = [_moved(across, spot) for spot in spots]
    return question and _of_two(question, names, (spots, theirs) if view == 0 else (theirs, spots), shot, pose)


def _of_all(rng: Random, half: float, pose: np.ndarray) -> Question | None:
    """How things lie to each other that one or the other picture shows."""
    back = np.linalg.inv(pose)
    drawn = [(draw_spot(rng, half), rng.choice(_PAIR)) for _ in range(5)]
    mine = [spot if view == 0 else _moved(back, spot) for spot, view in drawn]
    theirs = [spot if view == 1 else _moved(pose, spot) for spot, view in drawn]
    names, shot = some_names(rng, 5), Shot(half, draw_radii(rng, 5), _PAIR)
    question = rng.choice(OF_ALL)(rng, names, mine, shot)
    return question and _of_two(question, names, (mine, theirs), shot, pose)


def _of_two(
    question: Question, names: list[str], spots: tuple[list[Spot], list[Spot]], shot: Shot, pose: np.ndarray
) -> Question:
    """The question with its things, each in those of two pictures that it is in."""
    both = ([spot if _inside(spot, shot.half) > -1e-6 else None for spot in one] for one in spots)
    shown = Exhibition(tuple(names), tuple(zip(*both)), shot.half, _cameras(pose), radii=shot.radii)
    return exhibited(question, shown)


_MAKERS: tuple[Callable[[Random, float, np.ndarray], Question | None], ...] = (
    *(_then, _then, _then, _commanded_point, _motion, _motion, _motion, _motion, _motion, _motion),
    *(_match, _visible, _nearer, _nearer, _point_distance, _point_distance),
    *(_appearance, _of_one, _of_one, _of_all, _of_all),
)


# --- geometry ---


def _pose(rng: Random) -> np.ndarray:
    """target_from_reference of a robot's camera that went on."""
    turned = rng.gauss(0, 35) if rng.random() < 0.8 else rng.uniform(-120, 120)
    shifts = rng.gauss(0, 0.5), rng.gauss(0, 0.05), rng.gauss(0, 0.7)
    return Motion(turned, rng.gauss(0, 4), 0.0, *shifts).matrix()


def _drawn(
    rng: Random, half: float, across: np.ndarray, wanted: Callable[[float], bool]
) -> tuple[Spot, Spot] | tuple[None, None]:
    """A place that one camera sees, as it and another one have it, whose margin in the other's picture is as wanted."""
    for _ in range(30):
        spot = draw_spot(rng, half)
        there = _moved(across, spot)
        if wanted(_inside(there, half)):
            return spot, there
    return None, None


def _cameras(pose: np.ndarray) -> tuple[Matrix, ...]:
    return STILL, _rows(np.linalg.inv(pose))


def _across(rng: Random, pose: np.ndarray) -> tuple[int, np.ndarray]:
    """One of two views, and the way from its camera's frame to the other's."""
    source = rng.choice(_PAIR)
    return source, pose if source == 0 else np.linalg.inv(pose)


def _beside(rng: Random, spot: Spot, view: int) -> tuple[Spot, Spot]:
    """A marked point of one view, with what the other one has at the same pixel."""
    scale = math.exp(rng.uniform(math.log(0.5), math.log(6.0))) / spot[2]
    other = tuple(scale * value for value in spot)
    return (spot, other) if view == 0 else (other, spot)


def _moved(transform: np.ndarray, spot: Spot) -> Spot:
    return tuple(float(value) for value in transform[:3, :3] @ spot + transform[:3, 3])


def _pictured(spot: Spot, half: float) -> tuple[float, float]:
    """Where a place ahead is in the picture, shares of its sides."""
    return 0.5 + 0.5 * spot[0] / (spot[2] * half), 0.5 + 0.5 * spot[1] / (spot[2] * half)


def _inside(spot: Spot, half: float) -> float:
    """How far within the picture a place is, as a share of its side; negative outside."""
    if spot[2] < 0.1:
        return -1.0
    x, y = _pictured(spot, half)
    return min(x, 1 - x, y, 1 - y)


def _mark(spot: Spot, half: float) -> tuple[int, int]:
    x, y = _pictured(spot, half)
    return round(100 * x), round(100 * y)


def _rows(pose: np.ndarray) -> Matrix:
    return tuple(tuple(float(value) for value in row) for row in pose)
