"""Habits: groups of things that people put together, and how they fill a shelf."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from . import decor, seating, storage, tables
from .parts import Item
from .plan import Placed, Placer, Rect
from .style import Style

__all__ = ["FACE_BACK", "FULL", "Habits"]

FACE_BACK = math.pi  # yaw of a thing that looks at the one it stands in front of
FULL = 0.5  # of the floor: beyond it no more furniture, a robot has to drive here


class Habits:
    """What can be done in any room; `furnish` decides what is done in which.

    Args:
        place: keeps track of what stands where.
        style: the room's materials.
        clutter: 0 to 1.
        rng: source of randomness.
    """

    def __init__(self, place: Placer, style: Style, clutter: float, rng: Random) -> None:
        self.place, self.style, self.clutter, self.rng = place, style, clutter, rng
        self.scarce = place.plan.area < 9.0

    def workplace(self) -> int:
        """A desk at a wall with a chair and screens."""
        rng, place = self.rng, self.place
        desk = place.against_wall(tables.desk(rng, self.style), tries=15)
        if desk < 0:
            return -1
        chair = seating.chair(rng, self.style)
        place.beside(
            desk,
            chair,
            1,
            rng.uniform(0.0, 0.25),
            shift=rng.uniform(-0.15, 0.15),
            facing=FACE_BACK + rng.uniform(-0.35, 0.35),
        )
        if rng.random() < 0.75:
            for _ in range(rng.choice((1, 1, 2))):
                place.on_top(desk, tables.monitor(rng, self.style), yaw=rng.uniform(-0.15, 0.15))
        else:
            place.on_top(desk, tables.laptop(rng, self.style), yaw=rng.uniform(-0.15, 0.15))
        if rng.random() < 0.4:
            place.on_top(desk, decor.table_lamp(rng, self.style))
        self.things(desk, rng.randint(0, 1 + round(3 * self.clutter)))
        return desk

    def dining(self, fx: float, fy: float, *, stools: bool = False) -> None:
        """A table somewhere in the middle and seats of one model around it."""
        rng, place = self.rng, self.place
        top = tables.table(rng, self.style)
        yaw = rng.choice((0.0, 0.5 * math.pi))
        table = -1
        for _ in range(12):
            table = place.stand(
                top, fx * place.plan.width, fy * place.plan.depth, yaw, margin=0.1 if self.scarce else 0.45
            )
            if table >= 0:
                break
            fx, fy = rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8)
        if table < 0:
            table = place.against_wall(top)
            if table < 0:
                return
        model = Random(rng.random())
        state = model.getstate()
        places = [(side, 0.0) for side in range(4)]
        if top.size[0] > 1.5:
            places = [(0, 0.0), (2, 0.0)] + [(side, x * top.size[0]) for side in (1, 3) for x in (-0.2, 0.2)]
        for side, shift in places:
            if rng.random() < 0.85:
                model.setstate(state)
                seat = seating.stool(model, self.style) if stools else seating.chair(model, self.style)
                toward = (0.5 * math.pi, FACE_BACK, -0.5 * math.pi, 0.0)[side]
                place.beside(
                    table, seat, side, rng.uniform(0.03, 0.3), shift=shift, facing=toward + rng.uniform(-0.2, 0.2)
                )
        if rng.random() < 0.3:
            self.rug_at(place.placed[table], 0.5)
        self.things(table, rng.randint(0, 2 + round(4 * self.clutter)))

    def sit_around(self, sofa: int) -> None:
        """Coffee table before the sofa, perhaps a rug under it."""
        rng, place = self.rng, self.place
        base = place.placed[sofa]
        if rng.random() < 0.85:
            table = place.beside(
                sofa, tables.coffee_table(rng, self.style), 1, rng.uniform(0.3, 0.5), shift=rng.uniform(-0.2, 0.2)
            )
            if table >= 0:
                self.things(table, rng.randint(0, 1 + round(3 * self.clutter)))
        if rng.random() < 0.7:
            nx, ny = -math.sin(base.yaw), math.cos(base.yaw)
            reach = 0.5 * base.item.size[1] + 0.6
            self.rug(
                base.x + reach * nx,
                base.y + reach * ny,
                base.yaw,
                base.item.size[0] * rng.uniform(0.8, 1.1),
                rng.uniform(1.2, 1.7),
            )

    def rug_at(self, base: Placed, chance: float) -> None:
        """With some chance a rug under something, larger than it."""
        if self.rng.random() < chance:
            wide, deep = base.item.size[0] + self.rng.uniform(0.8, 1.4), base.item.size[1] + self.rng.uniform(0.6, 1.2)
            self.rug(base.x, base.y, base.yaw, wide, deep)

    def rug(self, x: float, y: float, yaw: float, width: float, depth: float) -> None:
        """A rug, shrunk and moved so that it lies inside the room; furniture may stand on it."""
        plan = self.place.plan
        item = decor.rug(self.rng, self.style, min(width, plan.width - 0.6), min(depth, plan.depth - 0.6))
        c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
        w, d = 0.5 * (c * item.size[0] + s * item.size[1]), 0.5 * (s * item.size[0] + c * item.size[1])
        x = min(max(x, w + 0.05), plan.width - w - 0.05)
        y = min(max(y, d + 0.05), plan.depth - d - 0.05)
        if plan.contains(Rect(x - w, y - d, x + w, y + d)):
            self.place.put(item, x, y, 0.0, yaw)

    def boxes(self) -> None:
        """One box, or a stack of two or three."""
        rng, place = self.rng, self.place
        base = storage.box(rng, self.style)
        index = place.against_wall(base) if rng.random() < 0.6 else place.anywhere(base)
        while index >= 0 and rng.random() < 0.45:
            index = place.on_top(index, storage.box(rng, self.style), yaw=rng.uniform(-0.3, 0.3))

    def cushions(self, index: int, count: int) -> None:
        """Cushions at the back of a sofa."""
        surface = self.place.placed[index].item.surfaces[0]
        for _ in range(count):
            cushion = seating.cushion(self.rng, self.style)
            half = 0.5 * cushion.size[0]
            u = self.rng.uniform(surface.x0 + half, surface.x1 - half)
            self.place.set_down(index, cushion, 0, u, surface.y0 + 0.5 * cushion.size[1])

    def things(self, index: int, count: int) -> None:
        """Small things on top of something."""
        rng = self.rng
        for _ in range(count):
            make = rng.choices(
                (
                    decor.vase,
                    decor.bottle,
                    storage.book_stack,
                    decor.small_plant,
                    storage.box,
                    decor.ball,
                    tables.laptop,
                ),
                (3, 3, 3, 2, 1, 1, 1),
            )[0]
            self.place.on_top(index, make(rng, self.style), yaw=rng.uniform(-0.6, 0.6))

    def fill_shelf(self, index: int) -> None:
        """Books and small things on the boards."""
        rng, base = self.rng, self.place.placed[index]
        share = 0.35 + 0.55 * self.clutter
        for level, surface in enumerate(base.item.surfaces):
            if rng.random() > share:
                continue
            if rng.random() < 0.6:
                width = rng.uniform(0.4, 0.85) * (surface.x1 - surface.x0)
                row = storage.book_row(rng, self.style, width, min(0.3, surface.clearance))
                self.place.on_top(index, row, level=level)
            for _ in range(rng.choice((0, 1, 1, 2))):
                make = rng.choice(
                    (decor.vase, decor.bottle, storage.book_stack, decor.small_plant, decor.ball, storage.box)
                )
                self.place.on_top(index, make(rng, self.style), level=level)

    def maybe(
        self, chance: float, make: Callable[[Random, Style], Item], *, corner: bool = False, fill: bool = False
    ) -> int:
        """With some chance stands a thing at a wall, and things on it."""
        if self.rng.random() > chance or self.place.fill > FULL:
            return -1
        index = self.place.against_wall(make(self.rng, self.style), corner=corner)
        if index >= 0 and fill:
            if self.place.placed[index].item.name == "shelf":
                self.fill_shelf(index)
            else:
                self.things(index, self.rng.randint(0, 1 + round(3 * self.clutter)))
        return index

    def opposite(self, index: int) -> tuple[int, ...]:
        """Walls that the placed thing looks at."""
        if index < 0:
            return ()
        yaw = self.place.placed[index].yaw
        return tuple(k for k, wall in enumerate(self.place.plan.walls) if math.cos(wall.yaw - yaw) < -0.9)
