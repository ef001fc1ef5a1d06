"""The empty room: a rectangle or an L, its walls, and where furniture may still go."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from .parts import Item

__all__ = ["Plan", "Placed", "Placer", "Rect", "Wall", "draw_plan"]


class Rect(NamedTuple):
    """An axis-aligned rectangle on the floor, metres."""

    x0: float
    y0: float
    x1: float
    y1: float

    def overlaps(self, other: Rect) -> bool:
        """Whether the two rectangles share an area."""
        return self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1

    def grown(self, margin: float) -> Rect:
        """The rectangle with `margin` added on every side."""
        return Rect(self.x0 - margin, self.y0 - margin, self.x1 + margin, self.y1 + margin)

    @property
    def area(self) -> float:
        """Square metres."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)


class Wall(NamedTuple):
    """One side of the room: from (x, y) along the unit vector (ux, uy); the room lies to its left."""

    x: float
    y: float
    ux: float
    uy: float
    length: float

    @property
    def inward(self) -> tuple[float, float]:
        """Unit normal into the room."""
        return -self.uy, self.ux

    @property
    def yaw(self) -> float:
        """Yaw of an object that stands with its back to this wall."""
        nx, ny = self.inward
        return math.atan2(-nx, ny)

    def at(self, along: float, out: float) -> tuple[float, float]:
        """The floor point `along` metres down the wall and `out` metres into the room."""
        nx, ny = self.inward
        return self.x + self.ux * along + nx * out, self.y + self.uy * along + ny * out


@dataclass(frozen=True)
class Plan:
    """Room outline: ``[0, width] x [0, depth]`` without the rectangle `cut` (L-shaped rooms) in one corner."""

    width: float
    depth: float
    height: float
    cut: Rect | None
    walls: tuple[Wall, ...]

    @property
    def area(self) -> float:
        """Floor area in square metres."""
        return self.width * self.depth - (self.cut.area if self.cut else 0.0)

    def contains(self, rect: Rect) -> bool:
        """Whether a rectangle lies fully inside the room."""
        inside = rect.x0 >= 0 and rect.y0 >= 0 and rect.x1 <= self.width and rect.y1 <= self.depth
        return inside and not (self.cut and rect.overlaps(self.cut))


class Placed(NamedTuple):
    """An item where it stands."""

    item: Item
    x: float
    y: float
    z: float
    yaw: float
    on: int = -1  # index of the placed item that carries it; -1: floor, wall or ceiling


@dataclass
class Placer:
    """Keeps track of what stands where, and finds free places.

    Every method that places returns the index of the new :class:`Placed`, or -1 when no place was found.
    """

    plan: Plan
    rng: Random
    placed: list[Placed] = field(default_factory=list)
    blocked: list[Rect] = field(default_factory=list)  # footprints of what stands on the floor
    kept_free: list[Rect] = field(default_factory=list)  # in front of doors, between a sofa and its table ...
    on_wall: list[list[tuple[float, float, float, float]]] = field(default_factory=list)  # per wall: t0, t1, z0, z1
    _on_surface: dict[tuple[int, int], list[Rect]] = field(default_factory=dict)

    _standing: list[tuple[Rect, float, float]] = field(default_factory=list)  # footprint, bottom, top
    _hung: list[tuple[Rect, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.on_wall = [[] for _ in self.plan.walls]

    @property
    def fill(self) -> float:
        """Share of the floor that is taken."""
        return sum(rect.area for rect in self.blocked) / self.plan.area

    def free(self, rect: Rect, ignore: Rect | None = None) -> bool:
        """Whether the floor is free in `rect`."""
        if not self.plan.contains(rect):
            return False
        return not any(rect.overlaps(other) for other in self.blocked if other is not ignore) and not any(
            rect.overlaps(zone) for zone in self.kept_free
        )

    def stand(
        self, item: Item, x: float, y: float, yaw: float, *, ignore: Rect | None = None, margin: float = 0.02
    ) -> int:
        """Places `item` on the floor at a given pose if that is free."""
        rect = footprint(item, x, y, yaw)
        if not self.free(rect.grown(margin), ignore) or self._meets(rect, 0.0, item.size[2], self._hung):
            return -1
        self.blocked.append(rect)
        self._standing.append((rect, 0.0, item.size[2]))
        return self.put(item, x, y, 0.0, yaw)

    def put(self, item: Item, x: float, y: float, z: float, yaw: float, on: int = -1) -> int:
        """Places `item` without asking."""
        self.placed.append(Placed(item, x, y, z, yaw, on))
        return len(self.placed) - 1

    def against_wall(self, item: Item, *, walls: tuple[int, ...] = (), corner: bool = False, tries: int = 10) -> int:
        """Stands `item` with its back to a wall, clear of doors, and of windows where it is tall."""
        rng, (width, depth, height) = self.rng, item.size
        choices = walls or tuple(range(len(self.plan.walls)))
        for _ in range(tries):
            number = rng.choice(choices)
            wall = self.plan.walls[number]
            slack = wall.length - width - 0.1
            if slack < 0:
                continue
            along = 0.5 * width + 0.05 + (rng.choice((0.0, slack)) if corner else rng.uniform(0.0, slack))
            t0, t1 = along - 0.5 * width, along + 0.5 * width
            if not self.wall_free(number, t0, t1, 0.0, height):
                continue
            out = 0.5 * depth + rng.uniform(0.02, 0.05)
            x, y = wall.at(along, out)
            index = self.stand(item, x, y, wall.yaw, margin=0.0)
            if index >= 0:
                self.on_wall[number].append((t0, t1, 0.0, height))
                return index
        return -1

    def hang(
        self, item: Item, bottom: float, *, walls: tuple[int, ...] = (), along: float | None = None, tries: int = 8
    ) -> int:
        """Hangs `item` flat on a wall with its lower edge at height `bottom`."""
        width, depth, height = item.size
        choices = walls or tuple(range(len(self.plan.walls)))
        if bottom + height > self.plan.height - 0.05:
            return -1
        for _ in range(tries):
            number = self.rng.choice(choices)
            wall = self.plan.walls[number]
            slack = wall.length - width - 0.1
            if slack < 0:
                continue
            at = 0.5 * width + 0.05 + self.rng.uniform(0.0, slack) if along is None else along
            t0, t1 = at - 0.5 * width, at + 0.5 * width
            if t0 < 0.02 or t1 > wall.length - 0.02 or not self.wall_free(number, t0, t1, bottom, bottom + height):
                continue
            x, y = wall.at(at, 0.5 * depth + 0.001)
            rect = footprint(item, x, y, wall.yaw)
            if self._meets(rect, bottom, bottom + height, self._standing):
                continue
            self._hung.append((rect, bottom, bottom + height))
            self.on_wall[number].append((t0 - 0.05, t1 + 0.05, bottom - 0.03, bottom + height + 0.05))
            return self.put(item, x, y, bottom, wall.yaw)
        return -1

    @staticmethod
    def _meets(rect: Rect, low: float, high: float, others: list[tuple[Rect, float, float]]) -> bool:
        return any(low < top and bottom < high and rect.overlaps(other) for other, bottom, top in others)

    def wall_free(self, number: int, t0: float, t1: float, z0: float, z1: float) -> bool:
        """Whether a rectangle on a wall is free of windows, doors, pictures and furniture."""
        return not any(t0 < b and a < t1 and z0 < d and c < z1 for a, b, c, d in self.on_wall[number])

    def anywhere(self, item: Item, *, yaw: float | None = None, margin: float = 0.1, tries: int = 8) -> int:
        """Stands `item` somewhere on the free floor."""
        for _ in range(tries):
            turn = self.rng.uniform(-math.pi, math.pi) if yaw is None else yaw
            x = self.rng.uniform(0.3, self.plan.width - 0.3)
            y = self.rng.uniform(0.3, self.plan.depth - 0.3)
            index = self.stand(item, x, y, turn, margin=margin)
            if index >= 0:
                return index
        return -1

    def beside(
        self, index: int, item: Item, side: int, distance: float, *, shift: float = 0.0, facing: float = 0.0
    ) -> int:
        """Stands `item` next to a placed one.

        Args:
            index: the placed item.
            item: what to add.
            side: 0 right, 1 front, 2 left, 3 behind, as the placed item sees it.
            distance: gap between the two boxes, metres; negative tucks it under.
            shift: offset along that side from its middle.
            facing: yaw added to the placed item's yaw.
        """
        base = self.placed[index]
        reach = 0.5 * base.item.size[side % 2]
        sideways, quarter = side % 2 == 0, abs(math.sin(facing)) > 0.7
        own = 0.5 * item.size[0 if sideways != quarter else 1]
        out = reach + distance + own
        local = ((out, shift), (shift, out), (-out, shift), (shift, -out))[side]
        x, y = turned_by(base.yaw, *local)
        ignore = footprint(base.item, base.x, base.y, base.yaw) if distance < 0.02 else None
        same = next((rect for rect in self.blocked if rect == ignore), None)
        return self.stand(item, base.x + x, base.y + y, base.yaw + facing, ignore=same, margin=0.0)

    def on_top(self, index: int, item: Item, *, level: int | None = None, yaw: float = 0.0, tries: int = 5) -> int:
        """Stands `item` somewhere on a surface of a placed one, with `yaw` added to that one's yaw."""
        count = len(self.placed[index].item.surfaces)
        for _ in range(tries if count else 0):
            number = self.rng.randrange(count) if level is None else level
            surface = self.placed[index].item.surfaces[number]
            half = footprint(item, 0.0, 0.0, yaw)
            if 2 * half.x1 > surface.x1 - surface.x0 or 2 * half.y1 > surface.y1 - surface.y0:
                continue
            u = self.rng.uniform(surface.x0 + half.x1, surface.x1 - half.x1)
            v = self.rng.uniform(surface.y0 + half.y1, surface.y1 - half.y1)
            found = self.set_down(index, item, number, u, v, yaw)
            if found >= 0:
                return found
        return -1

    def set_down(self, index: int, item: Item, level: int, u: float, v: float, yaw: float = 0.0) -> int:
        """Stands `item` at (u, v) of surface number `level` of a placed one, if nothing is in the way."""
        base = self.placed[index]
        surface = base.item.surfaces[level]
        bottom = base.z + surface.z
        top = bottom + item.size[2]
        taken = self._on_surface.setdefault((index, level), [])
        rect = footprint(item, u, v, yaw)
        if item.size[2] > surface.clearance or top > self.plan.height - 0.05 or any(rect.overlaps(r) for r in taken):
            return -1
        x, y = turned_by(base.yaw, u, v)
        place = footprint(item, base.x + x, base.y + y, base.yaw + yaw)
        if self._meets(place, bottom, top, self._hung):
            return -1
        taken.append(rect.grown(0.01))
        self._standing.append((place, bottom, top))
        return self.put(item, base.x + x, base.y + y, bottom, base.yaw + yaw, on=index)


def footprint(item: Item, x: float, y: float, yaw: float) -> Rect:
    """Axis-aligned rectangle around a turned item on the floor."""
    c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
    w = 0.5 * (c * item.size[0] + s * item.size[1])
    d = 0.5 * (s * item.size[0] + c * item.size[1])
    return Rect(x - w, y - d, x + w, y + d)


def turned_by(yaw: float, x: float, y: float) -> tuple[float, float]:
    """The vector (x, y) turned counter-clockwise."""
    c, s = math.cos(yaw), math.sin(yaw)
    return c * x - s * y, s * x + c * y


def draw_plan(rng: Random, *, smallest: float, largest: float, l_shaped: float) -> Plan:
    """A random outline with sides between `smallest` and `largest` metres.

    Args:
        rng: source of randomness.
        smallest: shortest allowed side.
        largest: longest allowed side.
        l_shaped: probability of an L (only rooms with sides above 4 m).
    """
    width, depth = rng.uniform(smallest, largest), rng.uniform(smallest, largest)
    height = rng.uniform(2.35, 3.1)
    cut, corners = None, [(0.0, 0.0), (width, 0.0), (width, depth), (0.0, depth)]
    if min(width, depth) > 4.0 and rng.random() < l_shaped:
        a, b = rng.uniform(0.25, 0.45) * width, rng.uniform(0.25, 0.45) * depth
        right, far = rng.random() < 0.5, rng.random() < 0.5
        x0, y0 = (width - a if right else 0.0), (depth - b if far else 0.0)
        cut = Rect(x0, y0, x0 + a, y0 + b)
        x, y = (x0 if right else a), (y0 if far else b)  # the inner corner
        if right and far:
            corners[2:3] = [(width, y), (x, y), (x, depth)]
        elif far:
            corners[3:4] = [(x, depth), (x, y), (0.0, y)]
        elif right:
            corners[1:2] = [(x, 0.0), (x, y), (width, y)]
        else:
            corners[0:1] = [(0.0, y), (x, y), (x, 0.0)]
    walls = []
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1]):
        length = math.hypot(x1 - x0, y1 - y0)
        walls.append(Wall(x0, y0, (x1 - x0) / length, (y1 - y0) / length, length))
    return Plan(width, depth, height, cut, tuple(walls))
