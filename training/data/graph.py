"""The scene graph: what stands in a room, where, in which colour, and what it stands on.

It is the source of truth for questions. Lengths are metres, angles radians; the world is right-handed with z up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

__all__ = ["NEAR", "Relation", "SceneGraph", "SceneObject", "footprint_distance"]

NEAR = 0.5  # metres between two boxes that count as near


@dataclass(frozen=True)
class SceneObject:
    """One object with its upright bounding box (turned about z only)."""

    id: int  # its value in instance maps; 0 means nothing
    name: str  # class name, as in `training.data.world.classes`
    colour: str  # name of the main colour, "" where none is worth naming
    center: tuple[float, float, float]  # of the box, world metres
    size: tuple[float, float, float]  # along the box's own x (width), y (depth) and z (height)
    yaw: float  # from world x to the box's x, counter-clockwise seen from above; the front looks along the box's +y
    on: int = 0  # id of what carries it; 0: the floor, a wall or the ceiling
    structural: bool = False  # wall, floor or ceiling

    @property
    def front(self) -> tuple[float, float]:
        """Unit direction on the floor plane in which the front of the object looks."""
        return -math.sin(self.yaw), math.cos(self.yaw)

    @property
    def longest(self) -> float:
        """Longest side of the box in metres."""
        return max(self.size)

    def corners(self) -> np.ndarray:
        """The box's eight corners, (8, 3) world metres."""
        signs = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        return np.asarray(self.center) + (signs * np.asarray(self.size)) @ turn.T

    def distance(self, other: SceneObject) -> float:
        """Shortest distance between the two boxes in metres; 0 where they touch or overlap."""
        gap_z = max(0.0, abs(self.center[2] - other.center[2]) - 0.5 * (self.size[2] + other.size[2]))
        return math.hypot(footprint_distance(self, other), gap_z)

    def distance_to_point(self, point: tuple[float, float, float]) -> float:
        """Shortest distance from `point` to the box in metres; 0 inside it."""
        dx, dy = point[0] - self.center[0], point[1] - self.center[1]
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        local = (c * dx + s * dy, -s * dx + c * dy, point[2] - self.center[2])
        return math.hypot(*(max(0.0, abs(p) - 0.5 * side) for p, side in zip(local, self.size)))


@dataclass(frozen=True)
class Relation:
    """``subject predicate object``, ids of two objects; predicate is "on" or "near" (boxes closer than `NEAR`)."""

    subject: int
    predicate: str
    object: int


@dataclass(frozen=True)
class SceneGraph:
    """All objects of one room."""

    objects: tuple[SceneObject, ...]
    area: float = 0.0  # of the floor, square metres
    height: float = 0.0  # floor to ceiling, metres
    kind: str = ""  # "living room", "bedroom" ...
    _by_id: dict[int, SceneObject] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._by_id.update({item.id: item for item in self.objects})

    def __getitem__(self, object_id: int) -> SceneObject:
        """The object with this id; KeyError if there is none."""
        return self._by_id[object_id]

    def __contains__(self, object_id: int) -> bool:
        return object_id in self._by_id

    @cached_property
    def relations(self) -> tuple[Relation, ...]:
        """All "on" and "near" relations between things (not walls, floor and ceiling); near goes both ways."""
        found = [Relation(item.id, "on", item.on) for item in self.objects if item.on]
        loose = [item for item in self.objects if not item.structural]
        for i, a in enumerate(loose):
            for b in loose[i + 1 :]:
                apart = math.dist(a.center, b.center) - 0.5 * (math.hypot(*a.size) + math.hypot(*b.size))
                if apart < NEAR and b.on != a.id and a.on != b.id and a.distance(b) < NEAR:
                    found += [Relation(a.id, "near", b.id), Relation(b.id, "near", a.id)]
        return tuple(found)

    def related(self, predicate: str, target: int) -> tuple[SceneObject, ...]:
        """Objects that stand in relation `predicate` to the object `target`."""
        return tuple(self[r.subject] for r in self.relations if r.predicate == predicate and r.object == target)


def footprint_distance(a: SceneObject, b: SceneObject) -> float:
    """Shortest distance between two upright boxes seen from above, metres; 0 where the rectangles overlap."""
    first, second = _rectangle(a), _rectangle(b)
    if _overlap(first, second):
        return 0.0
    return min(
        min(_to_segment(p, second[i - 1], second[i]) for p in first for i in range(4)),
        min(_to_segment(p, first[i - 1], first[i]) for p in second for i in range(4)),
    )


def _rectangle(item: SceneObject) -> list[tuple[float, float]]:
    c, s = math.cos(item.yaw), math.sin(item.yaw)
    w, d = 0.5 * item.size[0], 0.5 * item.size[1]
    x, y = item.center[0], item.center[1]
    return [(x + c * u - s * v, y + s * u + c * v) for u, v in ((-w, -d), (w, -d), (w, d), (-w, d))]


def _overlap(a: list[tuple[float, float]], b: list[tuple[float, float]]) -> bool:
    for polygon in (a, b):
        for i in range(2):  # two edge directions make all separating axes of a rectangle
            nx, ny = polygon[i + 1][1] - polygon[i][1], polygon[i][0] - polygon[i + 1][0]
            pa = [nx * x + ny * y for x, y in a]
            pb = [nx * x + ny * y for x, y in b]
            if max(pa) < min(pb) or max(pb) < min(pa):
                return False
    return True


def _to_segment(p: tuple[float, float], a: tuple[float, float], b: tuple[float, float]) -> float:
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = dx * dx + dy * dy
    t = 0.0 if length == 0 else min(1.0, max(0.0, ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / length))
    return math.hypot(p[0] - a[0] - t * dx, p[1] - a[1] - t * dy)
