"""Questions whose truth stands in the scene graph: counts, sizes, distances, directions, order, what is on what.

Every maker takes what is visible and a source of randomness, and returns a question or None where the views do not
allow one without doubt: things too small to see, names that fit two things, answers too close to call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from ..graph import SceneObject
from .sight import Sight, plural
from .types import LETTERS, Question, because, choice, lettered, metres, numeric, places
from .wording import phrase, where

__all__ = ["MAKERS", "bearing", "direction", "roll_call"]

APART = 0.3  # metres by which distances must differ to be compared
RATIO = 1.15  # ... and their ratio
INVENTORY = 6  # things that are listed at most
_BACK = math.radians(135.0)  # from there on something is at one's back
_DIRECTIONS: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {  # options, and the borders between them
    "direction_side": (("left", "right"), (0.0, math.pi)),
    "direction_back": (("left", "right", "back"), (0.0, _BACK)),
    "direction_quadrant": (("front-left", "front-right", "back-left", "back-right"), (0.0, 0.5 * math.pi, math.pi)),
}
SURE = math.radians(15.0)  # directions this close to a border are not asked for


def count(sight: Sight, rng: Random) -> Question | None:
    """How many things of a class are visible; one or none of them is asked for less often."""
    groups = sight.counted()
    if not groups:
        return None
    names = sorted(groups)
    name = rng.choices(names, [1.0 if len(groups[name]) == 1 else 4.0 for name in names])[0]
    if len(groups[name]) == 1 and rng.random() < 0.6:
        return None  # or "1" would be a safe guess
    text = phrase(rng, "count", things=plural(name), where=where(rng, sight.views))
    ids = tuple(item.id for item in groups[name])
    return numeric("count", text, len(ids), "", 0, sight.views, objects=ids)


def object_distance(sight: Sight, rng: Random) -> Question | None:
    """Shortest distance between the boxes of two things."""
    for _ in range(4):
        picked = _pick(sight, rng, 2)
        if picked is None:
            return None
        a, b = picked
        distance = a.distance(b)
        if distance >= APART:
            text = phrase(rng, "object_distance", a=sight.spoken[a.id], b=sight.spoken[b.id])
            return metres("object_distance", text, distance, sight.views, objects=(a.id, b.id))
    return None


def camera_distance(sight: Sight, rng: Random) -> Question | None:
    """Distance from the camera to the nearest visible point of a thing."""
    view = rng.choice(sight.views)
    items = [item for item in sight.named if sight.clear_in(item.id, view)]
    if not items:
        return None
    item = rng.choice(items)
    name = sight.spoken[item.id]
    text = phrase(rng, "camera_distance", a=name)
    if len(sight.views) > 1:
        text = f"{where(rng, sight.views, view).capitalize()}: {text[0].lower()}{text[1:]}"
    return metres("camera_distance", text, sight.distance(item.id, view), sight.views, objects=(item.id,))


def relative_distance(sight: Sight, rng: Random) -> Question | None:
    """Which of three or four things is closest to another."""
    picked = _pick(sight, rng, min(len(sight.named), rng.choice((4, 5))))
    if picked is None or len(picked) < 4:
        return None
    anchor, *others = picked
    gaps = [anchor.distance(other) for other in others]
    ranked = sorted(gaps)
    if ranked[1] - ranked[0] < APART or ranked[1] < RATIO * ranked[0]:
        return None
    text = phrase(rng, "relative_distance", a=sight.spoken[anchor.id])
    names = tuple(sight.spoken[other.id] for other in others)
    ids = tuple(item.id for item in picked)
    reason = because(LETTERS, gaps)
    return lettered("relative_distance", text, names, gaps.index(ranked[0]), sight.views, objects=ids, reason=reason)


def object_size(sight: Sight, rng: Random) -> Question | None:
    """Longest side, or height, of a thing seen whole."""
    items = [item for item in sight.named if any(sight.whole(item, view) for view in sight.views)]
    if not items:
        return None
    item = rng.choice(items)
    key = rng.choice(("object_size", "object_height"))
    value = item.longest if key == "object_size" else item.size[2]
    if value < 0.15:
        return None
    text = phrase(rng, key, a=sight.spoken[item.id])
    return numeric("object_size", text, 100 * value, "cm", 0, sight.views, objects=(item.id,))


def room_size(sight: Sight, rng: Random) -> Question | None:
    """Floor area, where at least three walls and a good piece of floor can be seen."""
    walls, floor = set(), 0.0
    for view in sight.views:
        share = sight.share(view)
        for item in sight.graph.objects:
            if item.name == "wall" and share[item.id] > 0.01:
                walls.add(item.id)
            elif item.name == "floor":
                floor = max(floor, share[item.id])
    if len(walls) < 3 or floor < 0.1:
        return None
    return numeric("room_size", phrase(rng, "room_size"), sight.graph.area, "m2", 0, sight.views)


def relative_direction(sight: Sight, rng: Random) -> Question | None:
    """Standing at one thing and facing another: where is a third? Two, three or four possible answers."""
    for _ in range(4):
        picked = _pick(sight, rng, 3)
        if picked is None:
            return None
        names = [sight.spoken[item.id] for item in picked]
        question = direction_asked(rng, names, [item.center for item in picked], sight.views)
        if question is not None:
            return replace(question, objects=tuple(item.id for item in picked))
    return None


def direction_asked(
    rng: Random, names: Sequence[str], spots: Sequence[Sequence[float]], views: tuple[int, ...]
) -> Question | None:
    """As :func:`relative_direction`, of any three things; None where it is a close call.

    Args:
        rng: source of randomness.
        names: of the things.
        spots: where they are, as for :func:`bearing`.
        views: of the question.
    """
    a, b, c = spots
    away = math.dist(a[:2], c[:2])
    if math.dist(a[:2], b[:2]) < 0.8 or away < 0.6:
        return None
    angle = bearing(a, b, c)
    level = rng.choice(tuple(_DIRECTIONS))
    options, borders = _DIRECTIONS[level]
    if min(abs(abs(angle) - border) for border in borders) < SURE:
        return None
    reason = places(names[2:], [(-away * math.sin(angle), away * math.cos(angle))])
    text, correct = phrase(rng, level, **dict(zip("abc", names))), direction(level, angle)
    return choice("relative_direction", text, options, correct, views, asks=level, reason=reason)


def direction(level: str, angle: float) -> int:
    """Which of a question's options a direction is.

    Args:
        level: the question, of `_DIRECTIONS`.
        angle: to the left of straight ahead, radians in (-pi, pi].
    """
    side = 0 if angle > 0 else 1
    if level == "direction_side":
        return side
    if level == "direction_back":
        return 2 if abs(angle) > _BACK else side
    return (2 if abs(angle) > 0.5 * math.pi else 0) + side


def image_side(sight: Sight, rng: Random) -> Question | None:
    """Which of two things is farther left in a picture."""
    view = rng.choice(sight.views)
    picked = _pick(sight, rng, 2, view)
    if picked is None:
        return None
    a, b = picked
    middles = [sight.middle(item.id, view)[0] for item in (a, b)]
    difference = middles[0] - middles[1]
    if abs(difference) < 0.12:
        return None
    names = {"a": sight.spoken[a.id], "b": sight.spoken[b.id]}
    text = phrase(rng, "image_side", where=where(rng, sight.views, view), **names)
    correct = 0 if difference < 0 else 1
    reason = ", ".join(f"{name} {round(100 * x)}" for name, x in zip(names.values(), middles))
    return choice("image_side", text, ("left", "right"), correct, sight.views, objects=(a.id, b.id), reason=reason)


def depth_order(sight: Sight, rng: Random) -> Question | None:
    """Which of two, three or four things is nearest to the camera, or farthest from it."""
    view = rng.choice(sight.views)
    picked = _pick(sight, rng, rng.choice((2, 2, 3, 4)), view)
    if picked is None:
        return None
    distances = [sight.distance(item.id, view) for item in picked]
    far = len(picked) > 2 and rng.random() < 0.5
    key = "depth_order" if len(picked) == 2 else "farthest" if far else "nearest"
    ranked = sorted(distances, reverse=far)
    first, second = sorted(ranked[:2])
    if second < RATIO * first or second - first < 0.15:
        return None
    names = tuple(sight.spoken[item.id] for item in picked)
    ids, place = tuple(item.id for item in picked), where(rng, sight.views, view)
    correct = distances.index(ranked[0])
    if len(picked) == 2:
        text = phrase(rng, key, a=names[0], b=names[1], where=place)
        reason = because(names, distances)
        return choice("depth_order", text, names, correct, sight.views, asks=key, objects=ids, reason=reason)
    text, reason = phrase(rng, key, where=place), because(LETTERS, distances)
    return lettered("depth_order", text, names, correct, sight.views, asks=key, objects=ids, reason=reason)


def on_top(sight: Sight, rng: Random) -> Question | None:
    """Which thing is on another one."""
    carried = [item for item in sight.named if item.on in sight.spoken]
    if not carried:
        return None
    item = rng.choice(carried)
    others = [other for other in sight.named if other.on != item.on and other.id not in (item.id, item.on)]
    if len(others) < 2:
        return None
    wrong = rng.sample(others, min(len(others), rng.choice((2, 3))))
    options = [*wrong, item]
    rng.shuffle(options)
    text = phrase(rng, "on_top", a=sight.spoken[item.on])
    names, ids = tuple(sight.spoken[option.id] for option in options), (item.on, item.id)
    return lettered("on_top", text, names, options.index(item), sight.views, objects=ids)


def inventory(sight: Sight, rng: Random) -> Question | None:
    """What is in a picture from left to right, and how far away; a lesson, since it has no single right answer."""
    view = rng.choice(sight.views)
    items = [item for item in sight.named if sight.clear_in(item.id, view)]
    largest = sorted(items, key=lambda item: -sight.share(view)[item.id])[:INVENTORY]
    if not largest:
        return None
    largest.sort(key=lambda item: sight.middle(item.id, view)[0])
    said = because((sight.spoken[item.id] for item in largest), (sight.distance(item.id, view) for item in largest))
    text, ids = phrase(rng, "inventory", where=where(rng, sight.views, view)), tuple(item.id for item in largest)
    return Question(text, said, "words", "inventory", sight.views, objects=ids)


def roll_call(sight: Sight, rng: Random) -> Question:
    """Where everything is that can be named, one by one and all of a class together; it has no answer.

    For words to learn where to look, whatever is asked.
    """
    names = [sight.spoken[item.id] for item in sight.named] + [plural(name) for name in sight.counted()]
    rng.shuffle(names)
    text, ids = phrase(rng, "roll_call", things=", ".join(names)), tuple(item.id for item in sight.clear)
    return Question(text, "", "words", "roll_call", sight.views, objects=ids)


def appearance(sight: Sight, rng: Random) -> Question | None:
    """In which of two frames a thing can be seen."""
    if len(sight.views) != 2:
        return None
    shares = [sight.share(view) for view in sight.views]
    sure = []
    for item in sight.named:
        seen = tuple(share[item.id] >= CLEAR_IN_FRAME for share in shares)
        doubtful = any(0 < share[item.id] < CLEAR_IN_FRAME for share in shares)
        if any(seen) and not doubtful:
            sure.append((item, seen))
    if not sure:
        return None
    single = [entry for entry in sure if not all(entry[1])]
    item, seen = rng.choice(single) if single and rng.random() < 0.67 else rng.choice(sure)
    options = ("frame 1", "frame 2", "both")
    correct = 2 if all(seen) else 0 if seen[0] else 1
    text = phrase(rng, "appearance", a=sight.spoken[item.id])
    return choice("appearance", text, options, correct, sight.views, objects=(item.id,))


CLEAR_IN_FRAME = 0.004


def bearing(a: Sequence[float], b: Sequence[float], c: Sequence[float]) -> float:
    """Angle from the direction a-to-b to the direction a-to-c on the floor, radians in (-pi, pi]; positive is left.

    Args:
        a, b, c: places (x, y, ...), y to the left of x as seen from above.
    """
    facing = math.atan2(b[1] - a[1], b[0] - a[0])
    toward = math.atan2(c[1] - a[1], c[0] - a[0])
    return math.remainder(toward - facing, 2 * math.pi)


def _pick(sight: Sight, rng: Random, count: int, view: int | None = None) -> list[SceneObject] | None:
    items = sight.named if view is None else [item for item in sight.named if sight.clear_in(item.id, view)]
    return rng.sample(items, count) if 0 < count <= len(items) else None


MAKERS = {
    "count": count,
    "object_distance": object_distance,
    "camera_distance": camera_distance,
    "relative_distance": relative_distance,
    "object_size": object_size,
    "room_size": room_size,
    "relative_direction": relative_direction,
    "image_side": image_side,
    "depth_order": depth_order,
    "on_top": on_top,
    "appearance": appearance,
    "inventory": inventory,
}
