"""Furnishing: which things a room of some kind has, and where people put them."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from . import decor, fixtures, seating, storage, tables
from .parts import Item
from .plan import Placed, Placer, Plan, Rect
from .style import Style

__all__ = ["KINDS", "furnish"]

FACE_BACK = math.pi  # yaw of a thing that looks at the one it stands in front of
FULL = 0.5  # of the floor: beyond it no more furniture, a robot has to drive here


def furnish(plan: Plan, kind: str, clutter: float, rng: Random) -> Placer:
    """Fills an empty room.

    Args:
        plan: the outline.
        kind: one of :data:`KINDS`.
        clutter: 0 (the bare programme of the kind) to 1 (things everywhere).
        rng: source of randomness.

    Returns:
        The placer with everything in it.
    """
    work = _Furnisher(Placer(plan, rng), Style(rng), clutter, rng)
    work.doors()
    KINDS[kind](work)
    work.windows()  # after the large furniture: they find room above a bed, a bed finds none below a window
    work.extras()
    work.walls()
    return work.place


class _Furnisher:
    """One room in the making; a method a habit."""

    def __init__(self, place: Placer, style: Style, clutter: float, rng: Random) -> None:
        self.place, self.style, self.clutter, self.rng = place, style, clutter, rng
        self.scarce = place.plan.area < 9.0

    # -- the building -------------------------------------------------------------------------------------------

    def doors(self) -> None:
        """Doors, with room to open them, and ceiling lights."""
        rng, place, plan = self.rng, self.place, self.place.plan
        for _ in range(1 if plan.area < 20 else rng.choice((1, 2))):
            index = place.hang(fixtures.door(rng, self.style), 0.0)
            if index >= 0:
                door = place.placed[index]
                nx, ny = -math.sin(door.yaw), math.cos(door.yaw)
                x, y = door.x + 0.45 * nx, door.y + 0.45 * ny
                place.kept_free.append(Rect(x - 0.5, y - 0.5, x + 0.5, y + 0.5))
        lights = 1 if plan.area < 16 else 2
        for k in range(lights):
            light = fixtures.ceiling_light(rng, self.style)
            x = plan.width * (k + 0.5) / lights if plan.width >= plan.depth else 0.5 * plan.width
            y = 0.5 * plan.depth if plan.width >= plan.depth else plan.depth * (k + 0.5) / lights
            if plan.cut is None or not Rect(x, y, x, y).grown(0.4).overlaps(plan.cut):
                place.put(light, x, y, plan.height - light.size[2], 0.0)

    def windows(self) -> None:
        """Windows, some with curtains or a radiator below."""
        for _ in range(self.rng.choice((1, 1, 2, 3)) if self.place.plan.area > 10 else 1):
            self._window()

    def _window(self) -> None:
        rng, place = self.rng, self.place
        floor_long = rng.random() < 0.15
        height = 2.0 if floor_long else rng.uniform(0.9, 1.4)
        index = place.hang(
            fixtures.window(rng, self.style, rng.uniform(0.7, 2.0), height),
            0.08 if floor_long else rng.uniform(0.75, 0.95),
        )
        if index < 0:
            return
        window = place.placed[index]
        half = 0.5 * window.item.size[0]
        ux, uy = math.cos(window.yaw), math.sin(window.yaw)
        nx, ny = -uy, ux
        if rng.random() < 0.5:
            top = min(place.plan.height - 0.05, window.z + window.item.size[2] + 0.2)
            panel = fixtures.curtain(rng, self.style, top - 0.08)
            for side in (-1, 1):
                shift, out = side * (half + 0.5 * panel.size[0] + 0.02), 0.12
                x, y = window.x + ux * shift + nx * out, window.y + uy * shift + ny * out
                if place.stand(panel, x, y, window.yaw, margin=-0.02) >= 0:
                    place.placed[-1] = place.placed[-1]._replace(z=0.08)
        if not floor_long and rng.random() < 0.6:
            heater = fixtures.radiator(rng, self.style)
            gap = 0.5 * (heater.size[1] - window.item.size[1]) + 0.03
            if heater.size[2] < window.z - 0.04:
                place.stand(heater, window.x + nx * gap, window.y + ny * gap, window.yaw, margin=-0.02)

    # -- kinds of rooms -----------------------------------------------------------------------------------------

    def living_room(self) -> None:
        """Sofa, coffee table on a rug, television opposite, and company."""
        rng, place = self.rng, self.place
        sofa = place.against_wall(seating.sofa(rng, self.style), tries=25)
        if sofa >= 0:
            self._sit_around(sofa)
            self._cushions(sofa, rng.randint(0, 3))
        stand = place.against_wall(storage.cabinet(rng, self.style), walls=self._opposite(sofa), tries=15)
        if stand >= 0 and (rng.random() < 0.8):
            place.on_top(stand, tables.tv(rng, self.style))
        for _ in range(rng.choice((0, 1, 1, 2))):
            chair = place.against_wall(seating.armchair(rng, self.style), corner=rng.random() < 0.5)
            if chair >= 0:
                self._cushions(chair, rng.choice((0, 0, 1)))
        self._maybe(0.7, storage.shelf, fill=True)
        self._maybe(0.6, decor.floor_lamp, corner=True)
        self._maybe(0.6, decor.plant, corner=True)

    def bedroom(self) -> None:
        """Bed with nightstands, wardrobe, and a place to work."""
        rng, place = self.rng, self.place
        bed = place.against_wall(seating.bed(rng, self.style), tries=25)
        if bed >= 0:
            base = place.placed[bed]
            kind = Random(rng.random())
            state = kind.getstate()
            for side in (0, 2):
                kind.setstate(state)  # the two nightstands are a pair
                small = storage.nightstand(kind, self.style)
                shift = -0.5 * (base.item.size[1] - small.size[1]) + 0.02
                stand = place.beside(bed, small, side, 0.05, shift=shift)
                if stand >= 0:
                    if rng.random() < 0.7:
                        place.on_top(stand, decor.table_lamp(rng, self.style))
                    self._things(stand, 1)
            self._rug_at(base, 0.3)
        self._maybe(0.85, storage.wardrobe)
        if rng.random() < 0.5:
            self._workplace()
        self._maybe(0.4, storage.cabinet, fill=True)
        self._maybe(0.3, seating.armchair)

    def office(self) -> None:
        """Desks with chairs and screens, shelves, a bin."""
        rng = self.rng
        for _ in range(1 if self.scarce else rng.choice((1, 2, 2, 3))):
            self._workplace()
        for _ in range(rng.choice((1, 1, 2))):
            self._maybe(0.9, storage.shelf, fill=True)
        self._maybe(0.7, storage.cabinet, fill=True)
        self._maybe(0.8, storage.bin_)
        self._maybe(0.6, decor.plant, corner=True)

    def dining_room(self) -> None:
        """A table with chairs in the middle, a sideboard."""
        rng = self.rng
        self._dining(rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.65))
        self._maybe(0.8, storage.cabinet, fill=True)
        self._maybe(0.5, storage.shelf, fill=True)
        self._maybe(0.5, decor.plant, corner=True)
        self._maybe(0.4, decor.floor_lamp, corner=True)

    def kitchen(self) -> None:
        """A row of cabinets, a fridge, a table with chairs or stools."""
        rng, place = self.rng, self.place
        model = Random(rng.random())
        state = model.getstate()
        wall = max(range(len(place.plan.walls)), key=lambda k: place.plan.walls[k].length * rng.uniform(0.6, 1.0))
        for _ in range(rng.choice((2, 3))):
            model.setstate(state)
            counter = storage.cabinet(model, self.style)
            index = place.against_wall(counter, walls=(wall,))
            if index >= 0:
                self._things(index, rng.randint(0, 3))
        place.against_wall(storage.fridge(rng, self.style), corner=rng.random() < 0.6, tries=20)
        self._dining(rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), stools=rng.random() < 0.4)
        self._maybe(0.8, storage.bin_)

    def storeroom(self) -> None:
        """Shelves, boxes in stacks, things in the way."""
        rng = self.rng
        for _ in range(rng.choice((1, 2, 3))):
            self._maybe(1.0, storage.shelf, fill=True)
        for _ in range(rng.randint(2, 6)):
            self._boxes()
        self._maybe(0.6, storage.suitcase)
        self._maybe(0.5, storage.wardrobe)
        self._maybe(0.5, tables.desk, fill=True)

    # -- groups -------------------------------------------------------------------------------------------------

    def _workplace(self) -> int:
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
        self._things(desk, rng.randint(0, 1 + round(3 * self.clutter)))
        return desk

    def _dining(self, fx: float, fy: float, *, stools: bool = False) -> None:
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
            self._rug_at(place.placed[table], 0.5)
        self._things(table, rng.randint(0, 2 + round(4 * self.clutter)))

    def _sit_around(self, sofa: int) -> None:
        """Coffee table before the sofa, perhaps a rug under it."""
        rng, place = self.rng, self.place
        base = place.placed[sofa]
        if rng.random() < 0.85:
            table = place.beside(
                sofa, tables.coffee_table(rng, self.style), 1, rng.uniform(0.3, 0.5), shift=rng.uniform(-0.2, 0.2)
            )
            if table >= 0:
                self._things(table, rng.randint(0, 1 + round(3 * self.clutter)))
        if rng.random() < 0.7:
            nx, ny = -math.sin(base.yaw), math.cos(base.yaw)
            reach = 0.5 * base.item.size[1] + 0.6
            self._rug(
                base.x + reach * nx,
                base.y + reach * ny,
                base.yaw,
                base.item.size[0] * rng.uniform(0.8, 1.1),
                rng.uniform(1.2, 1.7),
            )

    def _rug_at(self, base: Placed, chance: float) -> None:
        if self.rng.random() < chance:
            wide, deep = base.item.size[0] + self.rng.uniform(0.8, 1.4), base.item.size[1] + self.rng.uniform(0.6, 1.2)
            self._rug(base.x, base.y, base.yaw, wide, deep)

    def _rug(self, x: float, y: float, yaw: float, width: float, depth: float) -> None:
        """A rug, shrunk and moved so that it lies inside the room; furniture may stand on it."""
        plan = self.place.plan
        item = decor.rug(self.rng, self.style, min(width, plan.width - 0.6), min(depth, plan.depth - 0.6))
        c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
        w, d = 0.5 * (c * item.size[0] + s * item.size[1]), 0.5 * (s * item.size[0] + c * item.size[1])
        x = min(max(x, w + 0.05), plan.width - w - 0.05)
        y = min(max(y, d + 0.05), plan.depth - d - 0.05)
        if plan.contains(Rect(x - w, y - d, x + w, y + d)):
            self.place.put(item, x, y, 0.0, yaw)

    def _boxes(self) -> None:
        """One box, or a stack of two or three."""
        rng, place = self.rng, self.place
        base = storage.box(rng, self.style)
        index = place.against_wall(base) if rng.random() < 0.6 else place.anywhere(base)
        while index >= 0 and rng.random() < 0.45:
            index = place.on_top(index, storage.box(rng, self.style), yaw=rng.uniform(-0.3, 0.3))

    def _cushions(self, index: int, count: int) -> None:
        """Cushions at the back of a sofa."""
        base = self.place.placed[index]
        surface = base.item.surfaces[0]
        for _ in range(count):
            cushion = seating.cushion(self.rng, self.style)
            half = 0.5 * cushion.size[0]
            u = self.rng.uniform(surface.x0 + half, surface.x1 - half)
            v = surface.y0 + 0.5 * cushion.size[1]
            others = self.place._on_surface.setdefault((index, 0), [])
            rect = Rect(u - half, v - 0.1, u + half, v + 0.1)
            if not any(rect.overlaps(other) for other in others):
                others.append(rect)
                c, s = math.cos(base.yaw), math.sin(base.yaw)
                self.place.put(cushion, base.x + c * u - s * v, base.y + s * u + c * v, surface.z, base.yaw, on=index)

    def _things(self, index: int, count: int) -> None:
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

    def _fill_shelf(self, index: int) -> None:
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

    # -- helpers ------------------------------------------------------------------------------------------------

    def _maybe(
        self, chance: float, make: Callable[[Random, Style], Item], *, corner: bool = False, fill: bool = False
    ) -> int:
        """With some chance stands a thing at a wall, and things on it."""
        if self.rng.random() > chance or self.place.fill > FULL:
            return -1
        index = self.place.against_wall(make(self.rng, self.style), corner=corner)
        if index >= 0 and fill:
            if self.place.placed[index].item.name == "shelf":
                self._fill_shelf(index)
            else:
                self._things(index, self.rng.randint(0, 1 + round(3 * self.clutter)))
        return index

    def _opposite(self, index: int) -> tuple[int, ...]:
        """Walls that the placed thing looks at."""
        if index < 0:
            return ()
        yaw = self.place.placed[index].yaw
        return tuple(k for k, wall in enumerate(self.place.plan.walls) if math.cos(wall.yaw - yaw) < -0.9)

    def extras(self) -> None:
        """What makes a room lived in, the more the more clutter."""
        rng, place = self.rng, self.place
        for _ in range(round(self.clutter * rng.uniform(0.3, 0.75) * place.plan.area)):
            if place.fill > FULL:
                break
            kind = rng.choices(("wall", "corner", "floor", "boxes"), (4, 2, 3, 2))[0]
            if kind == "boxes":
                self._boxes()
            elif kind == "floor":
                make = rng.choice(
                    (
                        decor.ball,
                        storage.suitcase,
                        seating.stool,
                        storage.bin_,
                        seating.chair,
                        decor.plant,
                        seating.armchair,
                    )
                )
                place.anywhere(make(rng, self.style))
            elif kind == "corner":
                make = rng.choice((decor.plant, decor.floor_lamp, storage.bin_, storage.suitcase))
                place.against_wall(make(rng, self.style), corner=True)
            else:
                make = rng.choice(
                    (
                        storage.cabinet,
                        storage.shelf,
                        seating.chair,
                        decor.plant,
                        storage.wardrobe,
                        decor.floor_lamp,
                        storage.nightstand,
                        tables.desk,
                    )
                )
                self._maybe(1.0, make, fill=True)
        if rng.random() < 0.3:
            self._rug(
                rng.uniform(0.3, 0.7) * place.plan.width,
                rng.uniform(0.3, 0.7) * place.plan.depth,
                0.0,
                rng.uniform(1.2, 2.4),
                rng.uniform(0.9, 1.8),
            )

    def walls(self) -> None:
        """Paintings, a clock, sometimes a television, on what is left of the walls."""
        rng, place = self.rng, self.place
        for _ in range(rng.randint(1, 4) + round(self.clutter * 3)):
            place.hang(decor.painting(rng, self.style), rng.uniform(1.15, 1.5))
        if rng.random() < 0.35:
            place.hang(decor.clock(rng, self.style), rng.uniform(1.6, 1.9))
        if rng.random() < 0.15 and not any(thing.item.name == "tv" for thing in place.placed):
            place.hang(tables.wall_tv(rng, self.style), rng.uniform(0.9, 1.2))


KINDS: dict[str, Callable[[_Furnisher], None]] = {
    "living room": _Furnisher.living_room,
    "bedroom": _Furnisher.bedroom,
    "office": _Furnisher.office,
    "dining room": _Furnisher.dining_room,
    "kitchen": _Furnisher.kitchen,
    "storeroom": _Furnisher.storeroom,
}
