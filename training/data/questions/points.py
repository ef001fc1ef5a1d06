"""Questions that need depth and poses only, so that any recorded bag has them: marked points and camera motion.

Marked points are (x, y) on a scale of 0 to 100; they are never set on depth edges, where a pixel decides between two
surfaces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from uniugg_core.cameras import inverse_rigid

from ..covisibility import seen_by
from ..views import View, ViewPair
from .motions import Motion, motion_between
from .types import LETTERS, Question, because, choice, lettered, metres, numeric, places
from .wording import phrase, where

__all__ = ["MAKERS", "RATIO", "Mark", "change_asked", "command", "commanded", "mark_at", "motion_asked"]

RATIO = 1.15  # distances closer than this are not compared
SMOOTH = 0.06  # largest relative change of depth around a marked point
FAR = 15.0  # metres; beyond it sensors guess
_STILL = Motion(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_WAYS = {"forward": ("forward", "backward"), "right": ("right", "left"), "yaw": ("turn right", "turn left")}


@dataclass(frozen=True)
class Mark:
    """A marked point of a view."""

    view: int
    x: int  # 0 to 100
    y: int
    depth: float  # metres along the optical axis
    point: np.ndarray  # (3,) world metres

    @property
    def at(self) -> tuple[int, int, int]:
        """As evidence."""
        return self.view, self.x, self.y


def mark_at(pair: ViewPair, view: int, x: int, y: int) -> Mark | None:
    """The surface at (x, y) of a view; None on edges, where depth is unknown, and far away."""
    shot = pair.views[view]
    height, width = shot.depth.shape
    u = min(width - 1, max(0, round(x / 100 * width - 0.5)))
    v = min(height - 1, max(0, round(y / 100 * height - 0.5)))
    around = shot.depth[max(0, v - 1) : v + 2, max(0, u - 1) : u + 2]
    depth = float(shot.depth[v, u])
    if (around <= 0).any() or not 0.2 < depth < FAR or float(around.max() - around.min()) > SMOOTH * depth:
        return None
    k = shot.intrinsics
    local = np.array([(u - k[0, 2]) / k[0, 0] * depth, (v - k[1, 2]) / k[1, 1] * depth, depth])
    return Mark(view, x, y, depth, shot.world_from_camera[:3, :3] @ local + shot.world_from_camera[:3, 3])


def point_depth(pair: ViewPair, views: tuple[int, ...], rng: Random) -> Question | None:
    """Depth of a marked point."""
    mark = _mark(pair, rng.choice(views), rng)
    if mark is None:
        return None
    text = phrase(rng, "point_depth", x=mark.x, y=mark.y, where=where(rng, views, mark.view))
    return metres("point_depth", text, mark.depth, views, points=(mark.at,))


def region_depth(pair: ViewPair, views: tuple[int, ...], rng: Random) -> Question | None:
    """Median depth of a marked box in which depth does not vary much."""
    view = rng.choice(views)
    depth = pair.views[view].depth
    height, width = depth.shape
    for _ in range(6):
        x0, y0 = rng.randrange(2, 80), rng.randrange(2, 80)
        x1, y1 = min(98, x0 + rng.randrange(8, 25)), min(98, y0 + rng.randrange(8, 25))
        part = depth[y0 * height // 100 : y1 * height // 100, x0 * width // 100 : x1 * width // 100]
        if part.size < 9 or (part <= 0).mean() > 0.05:
            continue
        low, middle, high = np.quantile(part[part > 0], (0.1, 0.5, 0.9))
        if high - low < 0.25 * middle and middle < FAR:
            text = phrase(rng, "region_depth", x0=x0, y0=y0, x1=x1, y1=y1, where=where(rng, views, view))
            points = ((view, x0, y0), (view, x1, y1))
            return metres("region_depth", text, middle, views, points=points)
    return None


def point_order(pair: ViewPair, views: tuple[int, ...], rng: Random) -> Question | None:
    """Which of two to four marked points is closest."""
    view = rng.choice(views)
    marks = [mark for _ in range(rng.choice((2, 2, 3, 4))) if (mark := _mark(pair, view, rng))]
    if len(marks) < 2 or _too_close(marks, 12):
        return None
    depths = [mark.depth for mark in marks]
    ranked = sorted(depths)
    if ranked[1] < RATIO * ranked[0]:
        return None
    names = tuple(f"({mark.x}, {mark.y})" for mark in marks)
    correct = depths.index(ranked[0])
    points, place = tuple(mark.at for mark in marks), where(rng, views, view)
    if len(marks) == 2:
        first, second = marks
        text = phrase(rng, "point_pair_order", x0=first.x, y0=first.y, x1=second.x, y1=second.y, where=place)
        reason = because(names, depths)
        return choice("point_order", text, names, correct, views, points=points, reason=reason)
    text, reason = phrase(rng, "point_order", where=place), because(LETTERS, depths)
    return lettered("point_order", text, names, correct, views, points=points, reason=reason)


def point_distance(pair: ViewPair, views: tuple[int, ...], rng: Random) -> Question | None:
    """Distance in space between two marked points of one view, or of both."""
    across = len(views) == 2 and rng.random() < 0.5
    view = rng.choice(views)
    a, b = _mark(pair, views[0] if across else view, rng), _mark(pair, views[1] if across else view, rng)
    if a is None or b is None:
        return None
    distance = float(np.linalg.norm(a.point - b.point))
    if distance < 0.3:
        return None
    slots = {"x0": a.x, "y0": a.y, "x1": b.x, "y1": b.y}
    if across:
        text = phrase(rng, "cross_distance", **slots)
    else:
        text = phrase(rng, "point_distance", where=where(rng, views, view), **slots)
    return metres("point_distance", text, distance, views, points=(a.at, b.at))


def camera_motion(pair: ViewPair, views: tuple[int, ...], rng: Random) -> Question | None:
    """How far the camera moved or turned, and where to."""
    return motion_asked(pair.target_from_reference, rng) if views == (0, 1) else None


def motion_asked(target_from_reference: np.ndarray, rng: Random) -> Question | None:
    """As :func:`camera_motion`, of any two frames."""
    move, views = motion_between(target_from_reference), (0, 1)
    stood, looked = _told(target_from_reference)
    kind = rng.choice(("camera_shift", "camera_turn", "turn_side", "shift_side", "other_camera"))
    text = phrase(rng, kind)
    if kind == "camera_shift":
        return metres("camera_motion", text, move.distance, views, asks=kind) if move.distance >= 0.2 else None
    if kind == "camera_turn":
        angle = math.degrees(math.acos(min(1.0, max(-1.0, float(target_from_reference[2, 2])))))
        return numeric("camera_motion", text, angle, "deg", 0, views, asks=kind) if angle >= 8 else None
    if kind == "turn_side":
        if abs(move.yaw) < 8:
            return None
        return choice("camera_motion", text, ("left", "right"), int(move.yaw > 0), views, asks=kind, reason=looked)
    if kind == "other_camera":
        if abs(move.right) < 0.2 or abs(move.right) <= 0.3 * abs(move.forward):
            return None
        return choice("camera_motion", text, ("left", "right"), int(move.right > 0), views, asks=kind, reason=stood)
    ahead, aside = abs(move.forward), abs(move.right)
    if max(ahead, aside) < 0.2 or max(ahead, aside) < 1.5 * min(ahead, aside):
        return None
    correct = (0 if move.forward > 0 else 1) if ahead > aside else (2 if move.right < 0 else 3)
    ways = ("forward", "backward", "left", "right")
    return choice("camera_motion", text, ways, correct, views, asks=kind, reason=stood)


def view_change(pair: ViewPair, views: tuple[int, ...], rng: Random) -> Question | None:
    """Which of four commands leads from the first view to the second."""
    return change_asked(pair.target_from_reference, rng) if views == (0, 1) else None


def change_asked(target_from_reference: np.ndarray, rng: Random) -> Question | None:
    """As :func:`view_change`, of any two frames."""
    true = motion_between(target_from_reference).rounded()
    if abs(true.yaw) < 10 and max(abs(true.forward), abs(true.right)) < 0.3:
        return None
    # All four sign combinations of two components: no option stands out for somebody who does not look.
    sizes = {"yaw": abs(true.yaw) / 50, "forward": abs(true.forward), "right": abs(true.right)}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:2]
    first, second = sorted(largest, key=list(_WAYS).index)
    if getattr(true, first) == 0.0 or getattr(true, second) == 0.0:
        return None
    signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
    options = [
        replace(_STILL, **{first: a * getattr(true, first), second: b * getattr(true, second)}).words()
        for a, b in signs
    ]
    if len(set(options)) < 4:
        return None
    order = rng.sample(range(4), 4)
    text, alike = phrase(rng, "view_change"), replace(true, **{first: 0.0, second: 0.0}).words()
    if alike != _STILL.words():
        text = f"Apart from {alike}: {text[0].lower()}{text[1:]}"
    shown = tuple(options[k] for k in order)
    # how it was, then what the options differ in, one after the other until one is that
    ways = [
        " ".join(_WAYS[name][sign * getattr(true, name) < 0] for name, sign in zip((first, second), k)) for k in signs
    ]
    tried = [f"{letter} {ways[k]}" for k, letter in zip(order, LETTERS)]
    reason = ", ".join((*_told(target_from_reference), ways[0], *tried[: order.index(0) + 1]))
    return lettered("view_change", text, shown, order.index(0), (0, 1), reason=reason)


def _told(target_from_reference: np.ndarray) -> tuple[str, str]:
    """Where the second camera was and which way it looked, in words."""
    (look_x, x), _, (look_z, z) = inverse_rigid(target_from_reference)[:3, 2:]
    return places(("the camera",), ((x, z),)), places(("the view",), ((look_x, look_z),))


def visible(pair: ViewPair, views: tuple[int, ...], rng: Random) -> Question | None:
    """Whether a marked point of one view can be seen in the other."""
    if views != (0, 1):
        return None
    source = rng.choice(views)
    wanted = rng.random() < 0.5  # yes and no equally often
    for _ in range(12):
        mark = _mark(pair, source, rng)
        if mark is None:
            continue
        verdict = _verdict(mark, pair.views[1 - source])
        if verdict is wanted:
            text = phrase(rng, "visible", x=mark.x, y=mark.y, f=source + 1, g=2 - source)
            return choice("visible", text, ("yes", "no"), 0 if wanted else 1, views, points=(mark.at,))
    return None


def match(pair: ViewPair, views: tuple[int, ...], rng: Random) -> Question | None:
    """Where a marked point of one view appears in the other."""
    if views != (0, 1):
        return None
    source = rng.choice(views)
    for _ in range(4):
        mark = _mark(pair, source, rng)
        if mark is None or _verdict(mark, pair.views[1 - source]) is not True:
            continue
        shot = pair.views[1 - source]
        u, v, _ = _projected(mark.point, shot)
        height, width = shot.depth.shape
        true = round(100 * (u + 0.5) / width), round(100 * (v + 0.5) / height)
        right = mark_at(pair, 1 - source, *true)
        options = [right]
        for _ in range(30):
            other = mark_at(pair, 1 - source, rng.randrange(3, 98), rng.randrange(3, 98))
            if right and other and not _too_close([*options, other], 18):
                options.append(other)
            if len(options) == 4:
                break
        if len(options) < 4:
            return None
        rng.shuffle(options)
        text = phrase(rng, "match", x=mark.x, y=mark.y, f=source + 1, g=2 - source)
        names = tuple(f"({option.x}, {option.y})" for option in options)
        reason = because(LETTERS, (float(np.linalg.norm(option.point - mark.point)) for option in options))
        points = (mark.at, right.at)
        return lettered("match", text, names, options.index(right), views, points=points, reason=reason)
    return None


def nearer_camera(pair: ViewPair, views: tuple[int, ...], rng: Random) -> Question | None:
    """Which of the two cameras is closer to a marked point."""
    if views != (0, 1):
        return None
    mark = _mark(pair, rng.choice(views), rng)
    if mark is None:
        return None
    distances = [float(np.linalg.norm(mark.point - view.world_from_camera[:3, 3])) for view in pair.views]
    if max(distances) < RATIO * min(distances):
        return None
    text = phrase(rng, "nearer_camera", x=mark.x, y=mark.y, f=mark.view + 1)
    correct, frames = distances.index(min(distances)), ("frame 1", "frame 2")
    reason = because(frames, distances)
    return choice("nearer_camera", text, frames, correct, views, points=(mark.at,), reason=reason)


def commanded_point(pair: ViewPair, views: tuple[int, ...], rng: Random) -> Question | None:
    """How far a marked point will be from the camera after a commanded motion."""
    mark = _mark(pair, 0, rng)
    if mark is None or views != (0,):
        return None
    text, pose = command(pair, rng)
    world_from_target = pair.reference.world_from_camera @ inverse_rigid(pose)
    distance = float(np.linalg.norm(mark.point - world_from_target[:3, 3]))
    if distance < 0.3:
        return None
    text = phrase(rng, "commanded_point", command=text, x=mark.x, y=mark.y)
    rows = tuple(tuple(float(value) for value in row) for row in pose)
    return metres("commanded_point", text, distance, views, points=(mark.at,), target_from_reference=rows)


def command(pair: ViewPair, rng: Random) -> tuple[str, np.ndarray]:
    """Words for going from the reference to the target, and exactly the pose they stand for.

    Half of them say the motion, rounded as people do; the others only point to the pose that comes with the question.
    """
    return commanded(pair.target_from_reference, rng)


def commanded(target_from_reference: np.ndarray, rng: Random) -> tuple[str, np.ndarray]:
    """As :func:`command`, of any pose."""
    if rng.random() < 0.5:
        said = motion_between(target_from_reference).rounded()
        return phrase(rng, "command", motion=said.words()), said.matrix()
    return phrase(rng, "command_pose"), target_from_reference


def _mark(pair: ViewPair, view: int, rng: Random) -> Mark | None:
    for _ in range(6):
        mark = mark_at(pair, view, rng.randrange(4, 97), rng.randrange(4, 97))
        if mark is not None:
            return mark
    return None


def _too_close(marks: list[Mark], least: float) -> bool:
    return any(math.dist((a.x, a.y), (b.x, b.y)) < least for k, a in enumerate(marks) for b in marks[k + 1 :])


def _projected(point: np.ndarray, view: View) -> tuple[float, float, float]:
    local = view.world_from_camera[:3, :3].T @ (point - view.world_from_camera[:3, 3])
    z = float(local[2])
    pixel = view.intrinsics @ local / max(z, 1e-6)
    return float(pixel[0]), float(pixel[1]), z


def _verdict(mark: Mark, other: View) -> bool | None:
    """Whether a marked point is seen in another view; None where it is a close call."""
    u, v, z = _projected(mark.point, other)
    height, width = other.depth.shape
    margin = 0.04 * width
    if z < 0.1 or u < -margin or v < -margin or u > width - 1 + margin or v > height - 1 + margin:
        return False
    if u < margin or v < margin or u > width - 1 - margin or v > height - 1 - margin:
        return None
    strict = seen_by(mark.point, other.depth, other.intrinsics, other.world_from_camera, (0.02, 0.015))
    loose = seen_by(mark.point, other.depth, other.intrinsics, other.world_from_camera, (0.10, 0.10))
    x, y = round(100 * (u + 0.5) / width), round(100 * (v + 0.5) / height)
    row, column = round(v), round(u)
    around = other.depth[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
    edge = (around <= 0).any() or float(around.max() - around.min()) > SMOOTH * float(around.min() + 1e-6)
    if edge or not (0 <= x <= 100 and 0 <= y <= 100):
        return None
    return True if strict else None if loose else False


MAKERS = {
    "point_depth": point_depth,
    "region_depth": region_depth,
    "point_order": point_order,
    "point_distance": point_distance,
    "camera_motion": camera_motion,
    "view_change": view_change,
    "visible": visible,
    "match": match,
    "nearer_camera": nearer_camera,
    "commanded_point": commanded_point,
}
