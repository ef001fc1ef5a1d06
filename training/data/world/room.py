"""A whole room from one number: outline, furniture, lights, scene graph and the arrays to render it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np

from ..graph import SceneGraph, SceneObject
from .classes import CLASS_ID, STRUCTURE
from .furnish import KINDS, furnish
from .lights import Lights, draw_lights, occlusion
from .palette import Material, material, named, shade
from .parts import Item, Parts
from .plan import Placed, Plan, Rect, Wall, draw_plan
from .primitives import Primitives, primitives_from

__all__ = ["MAX_OBJECTS", "Room", "make_room"]

MAX_OBJECTS = 254  # ids travel in eight bits, 0 is nothing
_THICK = 0.1


@dataclass(frozen=True)
class Room:
    """One furnished room; everything follows from `seed` and the arguments of :func:`make_room`."""

    seed: int
    graph: SceneGraph
    primitives: Primitives
    lights: Lights
    occlusion: np.ndarray  # see `lights.occlusion`
    plan: Plan
    blocked: tuple[Rect, ...]  # footprints a robot cannot drive through
    class_of: np.ndarray  # (256,) uint8: class id of every instance id


def make_room(
    seed: int,
    *,
    clutter: float | tuple[float, float] = (0.0, 1.0),
    smallest: float = 2.6,
    largest: float = 7.5,
    l_shaped: float = 0.25,
) -> Room:
    """Builds the room number `seed`.

    Args:
        seed: any non-negative integer; the same one gives the same room.
        clutter: how full, 0 to 1, or a range to draw from.
        smallest: shortest side in metres.
        largest: longest side in metres.
        l_shaped: probability of an L-shaped outline.
    """
    rng = Random(seed)
    low, high = (clutter, clutter) if isinstance(clutter, (int, float)) else clutter
    plan = draw_plan(rng, smallest=smallest, largest=largest, l_shaped=l_shaped)
    kind = rng.choice(sorted(KINDS))
    place = furnish(plan, kind, rng.uniform(low, high), rng)
    shell = _shell(plan, place.placed, rng)
    placed = [*shell, *place.placed][:MAX_OBJECTS]
    ids = list(range(1, len(placed) + 1))
    primitives = primitives_from(placed, ids, seed)
    class_of = np.zeros(256, np.uint8)
    for number, thing in zip(ids, placed):
        class_of[number] = CLASS_ID[thing.item.name]
    return Room(
        seed=seed,
        graph=_graph(plan, kind, placed, ids, len(shell)),
        primitives=primitives,
        lights=draw_lights(plan, place.placed, rng),
        occlusion=occlusion(plan, primitives),
        plan=plan,
        blocked=tuple(place.blocked),
        class_of=class_of,
    )


def _shell(plan: Plan, placed: list[Placed], rng: Random) -> list[Placed]:
    """Floor, ceiling and walls with skirting boards."""
    whole = (plan.width + 2 * _THICK, plan.depth + 2 * _THICK, _THICK)
    middle = 0.5 * plan.width, 0.5 * plan.depth
    ceiling = material(shade(named(rng, "white", 0.02), 1.02), "plaster", 1.5, 0.95)
    out = [
        Placed(_slab("floor", whole, _floor(rng)), *middle, -_THICK, 0.0),
        Placed(_slab("ceiling", whole, ceiling), *middle, plan.height, 0.0),
    ]
    paint, accent = _wall_paint(rng), _wall_paint(rng)
    odd = rng.randrange(len(plan.walls)) if rng.random() < 0.35 else -1
    skirting = material(named(rng, rng.choice(("white", "white", "brown", "grey")))) if rng.random() < 0.75 else None
    count = len(plan.walls)
    for k, wall in enumerate(plan.walls):
        before, after = plan.walls[k - 1], plan.walls[(k + 1) % count]
        # Walls overlap outside convex corners; at the inner corner of an L they must not reach into the room.
        start = _THICK if _turns_left(before, wall) else 0.0
        end = _THICK if _turns_left(wall, after) else 0.0
        parts = Parts()
        length = wall.length + start + end
        parts.box((0, 0, 0.5 * plan.height), (length, _THICK, plan.height), accent if k == odd else paint)
        if skirting is not None:
            parts.box((0.5 * (start - end), 0.5 * _THICK, 0.04), (wall.length, 0.03, 0.08), skirting)
        item = parts.item("wall", "")
        x, y = wall.at(0.5 * wall.length + 0.5 * (end - start), 0.5 * item.size[1] - _THICK)
        out.append(Placed(item, x, y, 0.0, wall.yaw))
    return out


def _slab(name: str, size: tuple[float, float, float], surface: Material) -> Item:
    parts = Parts()
    parts.box((0, 0, 0), size, surface)
    return parts.item(name, "")


def _floor(rng: Random) -> Material:
    pattern = rng.choices(
        ("planks", "parquet", "tiles", "carpet", "marble", "speckle", "checker", "wood"), (5, 2, 4, 4, 1, 2, 1, 1)
    )[0]
    if pattern in ("planks", "parquet", "wood"):
        tone = rng.uniform(0.55, 1.3)
        colour = shade(
            (0.62 + rng.uniform(-0.05, 0.05), 0.44 + rng.uniform(-0.04, 0.04), 0.27 + rng.uniform(-0.05, 0.05)), tone
        )
        return material(colour, pattern, rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.75))
    if pattern == "carpet":
        name = rng.choice(("grey", "beige", "brown", "blue", "green", "red"))
        return material(named(rng, name), pattern, 0.6, rng.uniform(0.6, 0.8))
    if pattern == "checker":
        return material(
            named(rng, rng.choice(("white", "beige"))), pattern, rng.uniform(0.6, 1.0), rng.uniform(0.25, 0.7)
        )
    name = rng.choice(("white", "beige", "grey", "grey"))
    repeat = rng.uniform(1.2, 2.4) if pattern == "tiles" else rng.uniform(0.8, 1.5)
    return material(named(rng, name), pattern, repeat, rng.uniform(0.55, 0.85))


def _wall_paint(rng: Random) -> Material:
    pattern = rng.choices(("plaster", "stripes", "bricks", "dots", "tiles", "fabric"), (10, 1.2, 1, 0.5, 0.8, 1))[0]
    tone = rng.choice(
        (
            (0.93, 0.92, 0.88),
            (0.88, 0.83, 0.72),
            (0.78, 0.84, 0.86),
            (0.84, 0.87, 0.78),
            (0.9, 0.8, 0.76),
            (0.66, 0.7, 0.76),
            (0.72, 0.62, 0.52),
        )
    )
    colour = shade(tone, rng.uniform(0.85, 1.05))
    if pattern == "bricks":
        clay = rng.choice(((0.62, 0.33, 0.24), (0.9, 0.88, 0.85), (0.76, 0.66, 0.5), (0.6, 0.6, 0.6)))
        return material(shade(clay, rng.uniform(0.9, 1.1)), "bricks", rng.uniform(0.9, 1.3), rng.choice((0.7, 1.3)))
    contrast = {"plaster": 0.88, "tiles": 0.7}.get(pattern, 0.84)
    return material(colour, pattern, {"plaster": 2.0, "tiles": 0.9}.get(pattern, rng.uniform(0.5, 1.2)), contrast)


def _turns_left(first: Wall, second: Wall) -> bool:
    return first.ux * second.uy - first.uy * second.ux > 0


def _graph(plan: Plan, kind: str, placed: list[Placed], ids: list[int], shell: int) -> SceneGraph:
    objects = []
    for number, thing in zip(ids, placed):
        w, d, h = thing.item.size
        objects.append(
            SceneObject(
                id=number,
                name=thing.item.name,
                colour=thing.item.colour,
                center=(thing.x, thing.y, thing.z + 0.5 * h),
                size=(w, d, h),
                yaw=math.remainder(thing.yaw, 2 * math.pi),
                on=thing.on + shell + 1 if thing.on >= 0 else 0,
                structural=thing.item.name in STRUCTURE,
            )
        )
    return SceneGraph(tuple(objects), area=plan.area, height=plan.height, kind=kind)
