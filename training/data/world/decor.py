"""Smaller things that make a room lived in: lamp, plant, rug, painting, clock, vase, bottle, ball."""

from __future__ import annotations

import math
from random import Random

from .palette import COLOURS, Material, darker, glow, material, named
from .parts import Item, Parts
from .style import Style

__all__ = ["ball", "bottle", "clock", "floor_lamp", "painting", "plant", "rug", "small_plant", "table_lamp", "vase"]


def floor_lamp(rng: Random, style: Style) -> Item:
    """A tall lamp with a shade."""
    return _lamp(rng, style, height=rng.uniform(1.35, 1.75), shade=rng.uniform(0.17, 0.25))


def table_lamp(rng: Random, style: Style) -> Item:
    """A small lamp for tables and nightstands."""
    return _lamp(rng, style, height=rng.uniform(0.32, 0.52), shade=rng.uniform(0.09, 0.15))


def plant(rng: Random, style: Style) -> Item:
    """A potted plant for the floor: a bush of balls, a fan of leaves, or a little tree."""
    return _plant(rng, style, rng.uniform(0.6, 1.5))


def small_plant(rng: Random, style: Style) -> Item:
    """A potted plant for a table or a board."""
    return _plant(rng, style, rng.uniform(0.2, 0.38))


def rug(rng: Random, style: Style, width: float = 2.0, depth: float = 1.4) -> Item:
    """A flat rug with a border; round ones are `width` across."""
    tint, parts = style.textile(rng), Parts()
    other = named(rng, rng.choice(sorted(COLOURS)))
    pattern = rng.choice(("rings", "stripes", "checker", "plaid", "dots", "carpet", "carpet"))
    surface = tint.surface._replace(second=other) if pattern != "carpet" else tint.surface
    repeat = min(width, depth) if pattern == "rings" else rng.uniform(0.3, 0.7)
    surface = material(surface.first, pattern, repeat)._replace(second=surface.second)
    if rng.random() < 0.25:
        parts.cylinder((0, 0, 0.005), 0.5 * min(width, depth), 0.01, surface)
        return parts.item("rug", tint.name)
    parts.box((0, 0, 0.004), (width, depth, 0.008), darker(tint.surface, 0.6))
    parts.box((0, 0, 0.006), (width - 0.16, depth - 0.16, 0.012), surface)
    return parts.item("rug", tint.name)


def painting(rng: Random, style: Style) -> Item:
    """A framed painting: a landscape, an abstract or a portrait made of flat shapes; its back is at the wall."""
    width, height = rng.uniform(0.35, 1.1), rng.uniform(0.35, 0.8)
    frame = style.wood(rng) if rng.random() < 0.6 else style.paint(rng)
    parts = Parts()
    parts.box((0, 0, 0.5 * height), (width, 0.03, height), frame.surface)
    w, h = width - 0.07, height - 0.07
    parts.box((0, 0.012, 0.5 * height), (w, 0.016, h), _ink(rng))
    z0, kind = 0.5 * (height - h), rng.choice(("landscape", "abstract", "portrait"))
    if kind == "landscape":
        ground = rng.uniform(0.25, 0.55) * h
        parts.box((0, 0.015, z0 + 0.5 * ground), (w, 0.014, ground), _ink(rng))
        parts.cylinder(
            (rng.uniform(-0.3, 0.3) * w, 0.018, z0 + 0.75 * h), 0.1 * min(w, h), 0.01, _ink(rng), tilt=0.5 * math.pi
        )
        hill = rng.uniform(0.3, 0.6) * w
        parts.cylinder(
            (rng.uniform(-0.2, 0.2) * w, 0.014, z0 + ground),
            0.5 * hill,
            0.015,
            _ink(rng),
            radius_y=0.25 * h,
            tilt=0.5 * math.pi,
        )
    elif kind == "abstract":
        for k in range(rng.randint(2, 5)):
            pw, ph = rng.uniform(0.15, 0.5) * w, rng.uniform(0.15, 0.5) * h
            x, z = rng.uniform(-0.5, 0.5) * (w - pw), z0 + 0.5 * h + rng.uniform(-0.5, 0.5) * (h - ph)
            if rng.random() < 0.5:
                parts.box((x, 0.018, z), (pw, 0.01 + 0.002 * k, ph), _ink(rng))
            else:
                parts.cylinder((x, 0.018, z), 0.5 * min(pw, ph), 0.01 + 0.002 * k, _ink(rng), tilt=0.5 * math.pi)
    else:
        parts.cylinder(
            (0, 0.018, z0 + 0.6 * h), 0.2 * min(w, h), 0.014, material((0.85, 0.65, 0.5)), tilt=0.5 * math.pi
        )
        parts.box((0, 0.016, z0 + 0.17 * h), (0.55 * w, 0.014, 0.34 * h), _ink(rng))
    return parts.item("painting", "")


def clock(rng: Random, style: Style) -> Item:
    """A round wall clock."""
    radius, tint, parts = rng.uniform(0.13, 0.2), style.paint(rng), Parts()
    parts.cylinder((0, 0, 0), radius, 0.04, tint.surface, tilt=0.5 * math.pi)
    parts.cylinder((0, 0.012, 0), 0.87 * radius, 0.03, material((0.93, 0.93, 0.9)), tilt=0.5 * math.pi)
    black = material(COLOURS["black"])
    parts.box((0, 0.03, 0.3 * radius), (0.02, 0.006, 0.6 * radius), black)
    parts.box((0.22 * radius, 0.03, 0), (0.45 * radius, 0.006, 0.022), black)
    return parts.item("clock", tint.name)


def vase(rng: Random, style: Style) -> Item:
    """A vase: a belly and a neck, sometimes with flowers."""
    tint, height, parts = style.paint(rng), rng.uniform(0.16, 0.32), Parts()
    radius = rng.uniform(0.26, 0.36) * height
    parts.ellipsoid((0, 0, 0.38 * height), (2 * radius, 2 * radius, 0.76 * height), tint.surface)
    parts.cylinder((0, 0, 0.85 * height), 0.4 * radius, 0.3 * height, tint.surface, top=1.4)
    if rng.random() < 0.5:
        petals = material(named(rng, rng.choice(("red", "yellow", "pink", "purple", "white"))))
        for k in range(4):
            angle, reach = 1.6 * k, 0.5 * radius
            x, y = reach * math.cos(angle), reach * math.sin(angle)
            parts.cylinder((0.6 * x, 0.6 * y, 1.15 * height), 0.006, 0.4 * height, material(named(rng, "green")))
            parts.ellipsoid((x, y, 1.38 * height), (0.06, 0.06, 0.05), petals)
    return parts.item("vase", tint.name)


def bottle(rng: Random, style: Style) -> Item:
    """A bottle."""
    tint, height, parts = style.paint(rng), rng.uniform(0.2, 0.33), Parts()
    radius = rng.uniform(0.03, 0.045)
    parts.cylinder((0, 0, 0.31 * height), radius, 0.62 * height, tint.surface)
    parts.cylinder((0, 0, 0.7 * height), radius, 0.16 * height, tint.surface, top=0.4)
    parts.cylinder((0, 0, 0.87 * height), 0.4 * radius, 0.26 * height, darker(tint.surface, 0.6))
    return parts.item("bottle", tint.name)


def ball(rng: Random, style: Style) -> Item:
    """A ball with a band."""
    tint, size, parts = style.paint(rng), rng.uniform(0.15, 0.3), Parts()
    parts.ellipsoid((0, 0, 0.5 * size), (size, size, size), tint.surface)
    parts.cylinder((0, 0, 0.5 * size), 0.505 * size, 0.12 * size, darker(tint.surface, 0.5), tilt=0.6)
    return parts.item("ball", tint.name)


def _lamp(rng: Random, style: Style, *, height: float, shade: float) -> Item:
    parts = Parts()
    stand = style.metal if rng.random() < 0.6 else style.wood(rng).surface
    drop = min(0.35 * height, 1.4 * shade)
    parts.cylinder((0, 0, 0.012), 0.75 * shade, 0.024, stand)
    parts.cylinder((0, 0, 0.5 * (height - drop)), 0.012 + 0.006 * height, height - drop, stand)
    name = rng.choice(("white", "white", "yellow", "beige", "orange", "red", "blue", "green"))
    cover = glow(named(rng, name), 0.55 if rng.random() < 0.75 else 0.0)
    if rng.random() < 0.8:
        parts.cylinder((0, 0, height - 0.5 * drop), shade, drop, cover, top=rng.uniform(0.55, 0.95))
    else:
        parts.ellipsoid((0, 0, height - 0.5 * drop), (2 * shade, 2 * shade, 1.5 * shade), cover)
    return parts.item("lamp", name)


def _plant(rng: Random, style: Style, height: float) -> Item:
    parts = Parts()
    pot = style.paint(rng) if rng.random() < 0.6 else style.wood(rng)
    tall = min(0.3 * height + 0.03, 0.35)
    radius = rng.uniform(0.36, 0.48) * tall + 0.02
    parts.cylinder((0, 0, 0.5 * tall), radius * 0.8, tall, pot.surface, top=1.3)
    parts.cylinder((0, 0, tall), radius * 0.98, 0.01, material((0.16, 0.11, 0.08)))
    green = material(
        (rng.uniform(0.08, 0.25), rng.uniform(0.33, 0.55), rng.uniform(0.08, 0.25)),
        "speckle",
        0.25 * height,
        rng.uniform(0.5, 0.75),
    )
    crown = height - tall
    kind = rng.choice(("bush", "leaves", "tree"))
    if kind == "bush":
        for k in range(rng.randint(4, 7)):
            side = rng.uniform(0.4, 0.65) * crown
            x, y = (rng.uniform(-0.28, 0.28) * crown for _ in range(2))
            z = tall + 0.5 * side + k / 7 * (crown - side)
            parts.ellipsoid((x, y, z), (side, side, side), darker(green, rng.uniform(0.75, 1.2)))
    elif kind == "leaves":
        count = rng.randint(6, 10)
        for k in range(count):
            angle, tilt = 2.4 * k, rng.uniform(0.15, 0.9)
            length = rng.uniform(0.75, 1.0) * crown
            reach = 0.5 * length * math.sin(tilt)
            x, y = reach * math.sin(angle), -reach * math.cos(angle)
            z = tall + 0.5 * length * math.cos(tilt)
            leaf = (0.22 * length + 0.01, 0.03 * length + 0.004, length)
            parts.ellipsoid((x, y, z), leaf, darker(green, rng.uniform(0.75, 1.25)), yaw=angle, tilt=tilt)
    else:
        parts.cylinder(
            (0, 0, tall + 0.3 * crown), 0.02 * height + 0.006, 0.6 * crown, material((0.36, 0.25, 0.15), "wood")
        )
        for k in range(3):
            side = rng.uniform(0.45, 0.6) * crown
            x, y = (rng.uniform(-0.12, 0.12) * crown for _ in range(2))
            parts.ellipsoid(
                (x, y, height - 0.5 * side - 0.1 * k * crown),
                (side, side, 0.8 * side),
                darker(green, rng.uniform(0.8, 1.2)),
            )
    return parts.item("plant", "green")


def _ink(rng: Random) -> Material:
    return material(named(rng, rng.choice(sorted(COLOURS)), 0.12), rng.choice(("plain", "plaster")), 0.4)
