"""Furnishing: which things a room of some kind has, and where people put them."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from . import decor, fixtures, seating, storage, tables
from .habits import FULL, Habits
from .plan import Placer, Plan, Rect
from .style import Style

__all__ = ["KINDS", "furnish"]


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


class _Furnisher(Habits):
    """One room in the making; a method a habit."""

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
            self.sit_around(sofa)
            self.cushions(sofa, rng.randint(0, 3))
        stand = place.against_wall(storage.cabinet(rng, self.style), walls=self.opposite(sofa), tries=15)
        if stand >= 0 and (rng.random() < 0.8):
            place.on_top(stand, tables.tv(rng, self.style))
        for _ in range(rng.choice((0, 1, 1, 2))):
            chair = place.against_wall(seating.armchair(rng, self.style), corner=rng.random() < 0.5)
            if chair >= 0:
                self.cushions(chair, rng.choice((0, 0, 1)))
        self.maybe(0.7, storage.shelf, fill=True)
        self.maybe(0.6, decor.floor_lamp, corner=True)
        self.maybe(0.6, decor.plant, corner=True)

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
                    self.things(stand, 1)
            self.rug_at(base, 0.3)
        self.maybe(0.85, storage.wardrobe)
        if rng.random() < 0.5:
            self.workplace()
        self.maybe(0.4, storage.cabinet, fill=True)
        self.maybe(0.3, seating.armchair)

    def office(self) -> None:
        """Desks with chairs and screens, shelves, a bin."""
        rng = self.rng
        for _ in range(1 if self.scarce else rng.choice((1, 2, 2, 3))):
            self.workplace()
        for _ in range(rng.choice((1, 1, 2))):
            self.maybe(0.9, storage.shelf, fill=True)
        self.maybe(0.7, storage.cabinet, fill=True)
        self.maybe(0.8, storage.bin_)
        self.maybe(0.6, decor.plant, corner=True)

    def dining_room(self) -> None:
        """A table with chairs in the middle, a sideboard."""
        rng = self.rng
        self.dining(rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.65))
        self.maybe(0.8, storage.cabinet, fill=True)
        self.maybe(0.5, storage.shelf, fill=True)
        self.maybe(0.5, decor.plant, corner=True)
        self.maybe(0.4, decor.floor_lamp, corner=True)

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
                self.things(index, rng.randint(0, 3))
        place.against_wall(storage.fridge(rng, self.style), corner=rng.random() < 0.6, tries=20)
        self.dining(rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), stools=rng.random() < 0.4)
        self.maybe(0.8, storage.bin_)

    def storeroom(self) -> None:
        """Shelves, boxes in stacks, things in the way."""
        rng = self.rng
        for _ in range(rng.choice((1, 2, 3))):
            self.maybe(1.0, storage.shelf, fill=True)
        for _ in range(rng.randint(2, 6)):
            self.boxes()
        self.maybe(0.6, storage.suitcase)
        self.maybe(0.5, storage.wardrobe)
        self.maybe(0.5, tables.desk, fill=True)

    def extras(self) -> None:
        """What makes a room lived in, the more the more clutter."""
        rng, place = self.rng, self.place
        for _ in range(round(self.clutter * rng.uniform(0.3, 0.75) * place.plan.area)):
            if place.fill > FULL:
                break
            kind = rng.choices(("wall", "corner", "floor", "boxes"), (4, 2, 3, 2))[0]
            if kind == "boxes":
                self.boxes()
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
                self.maybe(1.0, make, fill=True)
        if rng.random() < 0.3:
            self.rug(
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
