"""Objects from parts: the builder that the furniture files write with.

Every object is built in its own frame: origin under its middle on the floor, x to its right, y to its front, z up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from .palette import Material

__all__ = ["BOX", "CYLINDER", "ELLIPSOID", "Item", "Part", "Parts", "Surface"]

BOX, CYLINDER, ELLIPSOID = 0, 1, 2

Vec = tuple[float, float, float]


class Part(NamedTuple):
    """One primitive: a box, a (tapered) cylinder along its z, or an ellipsoid."""

    kind: int
    center: Vec
    half: Vec  # half extents along its own axes
    material: Material
    taper: float = 1.0  # radius at the top over radius at the bottom, at most 1 (cylinders)
    yaw: float = 0.0  # turned about z ...
    tilt: float = 0.0  # ... after a turn about x


class Surface(NamedTuple):
    """A level rectangle of an object on which smaller things can stand, in the object's frame."""

    x0: float
    y0: float
    x1: float
    y1: float
    z: float
    clearance: float = 1.0  # free height above it


@dataclass(frozen=True)
class Item:
    """A finished object, standing at its own origin: bounding box centred in x and y, lowest point at z = 0."""

    name: str
    colour: str
    parts: tuple[Part, ...]
    size: Vec  # tight box: width, depth, height
    surfaces: tuple[Surface, ...] = ()

    def renamed(self, name: str) -> Item:
        """The same thing under another class name."""
        return replace(self, name=name)


class Parts:
    """Collects parts; :meth:`item` closes the object.

    >>> from random import Random
    >>> from .palette import material
    >>> parts = Parts()
    >>> parts.box((0, 0, 0.5), (1, 1, 1), material((1, 1, 1)))
    >>> parts.item("box", "white").size
    (1.0, 1.0, 1.0)
    """

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def box(self, center: Vec, size: Vec, material: Material, *, yaw: float = 0.0, tilt: float = 0.0) -> None:
        """Adds a box with full side lengths `size`."""
        half = (0.5 * size[0], 0.5 * size[1], 0.5 * size[2])
        self._parts.append(Part(BOX, center, half, material, 1.0, yaw, tilt))

    def cylinder(
        self,
        center: Vec,
        radius: float,
        height: float,
        material: Material,
        *,
        top: float = 1.0,
        radius_y: float | None = None,
        yaw: float = 0.0,
        tilt: float = 0.0,
    ) -> None:
        """Adds a cylinder around its own z; `top` is the upper radius over the lower one (above 1: wider upwards)."""
        if top > 1.0:  # primitives only narrow upwards: stand it on its head
            radius, top, tilt = radius * top, 1.0 / top, tilt + math.pi
            radius_y = None if radius_y is None else radius_y / top
        half = (radius, radius if radius_y is None else radius_y, 0.5 * height)
        self._parts.append(Part(CYLINDER, center, half, material, top, yaw, tilt))

    def ellipsoid(self, center: Vec, size: Vec, material: Material, *, yaw: float = 0.0, tilt: float = 0.0) -> None:
        """Adds an ellipsoid with full axes `size`."""
        half = (0.5 * size[0], 0.5 * size[1], 0.5 * size[2])
        self._parts.append(Part(ELLIPSOID, center, half, material, 1.0, yaw, tilt))

    def legs(self, width: float, depth: float, height: float, thick: float, material: Material, *, round: bool) -> None:
        """Adds four legs just inside the corners of a `width` x `depth` rectangle."""
        x, y = 0.5 * (width - thick), 0.5 * (depth - thick)
        for sx in (-x, x):
            for sy in (-y, y):
                if round:
                    self.cylinder((sx, sy, 0.5 * height), 0.5 * thick, height, material)
                else:
                    self.box((sx, sy, 0.5 * height), (thick, thick, height), material)

    def item(self, name: str, colour: str, surfaces: tuple[Surface, ...] = ()) -> Item:
        """Closes the object: measures its tight box and moves it over the origin."""
        reach = [extent(part) for part in self._parts]
        middles = [part.center for part in self._parts]
        low = [min([m[axis] - r[axis] for m, r in zip(middles, reach)]) for axis in range(3)]
        high = [max([m[axis] + r[axis] for m, r in zip(middles, reach)]) for axis in range(3)]
        dx, dy, dz = -0.5 * (low[0] + high[0]), -0.5 * (low[1] + high[1]), -low[2]
        parts = tuple([Part(k, (x + dx, y + dy, z + dz), *rest) for k, (x, y, z), *rest in self._parts])
        moved = tuple(Surface(s.x0 + dx, s.y0 + dy, s.x1 + dx, s.y1 + dy, s.z + dz, s.clearance) for s in surfaces)
        return Item(name, colour, parts, (high[0] - low[0], high[1] - low[1], high[2] - low[2]), moved)


def extent(part: Part) -> Vec:
    """How far a part reaches from its centre along the object's x, y and z (cylinders: taper ignored)."""
    hx, hy, hz = part.half
    if part.yaw == 0.0 and part.tilt == 0.0:
        return part.half
    cy, sy = math.cos(part.yaw), math.sin(part.yaw)
    ct, st = math.cos(part.tilt), math.sin(part.tilt)
    rows = ((cy, -sy * ct, sy * st), (sy, cy * ct, -cy * st), (0.0, st, ct))
    if part.kind == BOX:
        return tuple(abs(a) * hx + abs(b) * hy + abs(c) * hz for a, b, c in rows)  # type: ignore[return-value]
    if part.kind == CYLINDER:
        return tuple(math.hypot(a * hx, b * hy) + abs(c) * hz for a, b, c in rows)  # type: ignore[return-value]
    return tuple(math.sqrt((a * hx) ** 2 + (b * hy) ** 2 + (c * hz) ** 2) for a, b, c in rows)  # type: ignore[return-value]
