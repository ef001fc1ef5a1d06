"""Tables, desks and what works on them: table, coffee table, desk, monitor, laptop, tv."""

from __future__ import annotations

from random import Random

from .palette import COLOURS, Material, darker, glow, material, named
from .parts import Item, Parts, Surface
from .style import Style

__all__ = ["coffee_table", "desk", "laptop", "monitor", "table", "tv", "wall_tv"]


def table(rng: Random, style: Style) -> Item:
    """A dining table, rectangular or round."""
    return _table(rng, style, (rng.uniform(0.8, 2.0), rng.uniform(0.75, 1.0)), rng.uniform(0.71, 0.77))


def coffee_table(rng: Random, style: Style) -> Item:
    """A low table."""
    size = rng.uniform(0.6, 1.2), rng.uniform(0.5, 0.7)
    return _table(rng, style, size, rng.uniform(0.34, 0.48)).renamed("coffee table")


def desk(rng: Random, style: Style) -> Item:
    """A desk to work at from its front: legs or side panels, often a block of drawers."""
    width, depth, height = rng.uniform(1.0, 1.7), rng.uniform(0.6, 0.8), rng.uniform(0.72, 0.76)
    tint, parts = style.wood(rng), Parts()
    parts.box((0, 0, height - 0.015), (width, depth, 0.03), tint.surface)
    if rng.random() < 0.5:
        parts.legs(width - 0.04, depth - 0.04, height - 0.03, 0.05, style.metal, round=False)
    else:
        for side in (-1, 1):
            x = side * (0.5 * width - 0.03)
            parts.box((x, 0, 0.5 * (height - 0.03)), (0.03, depth - 0.06, height - 0.03), tint.surface)
        parts.box((0, -0.4 * depth, 0.6 * height), (width - 0.08, 0.02, 0.35), tint.surface)
    if rng.random() < 0.6:
        x = rng.choice((-1, 1)) * (0.5 * width - 0.27)
        body = style.furniture(rng).surface
        parts.box((x, 0, 0.5 * height), (0.4, depth - 0.1, height - 0.12), body)
        for k in range(3):
            z = 0.16 + 0.2 * k
            parts.box((x, 0.5 * depth - 0.045, z), (0.36, 0.02, 0.17), darker(body, 1.15))
            parts.box((x, 0.5 * depth - 0.03, z + 0.03), (0.12, 0.02, 0.02), style.metal)
    surface = Surface(-0.46 * width, -0.44 * depth, 0.46 * width, 0.4 * depth, height)
    return parts.item("desk", tint.name, (surface,))


def monitor(rng: Random, style: Style) -> Item:
    """A computer screen on a foot."""
    width = rng.uniform(0.45, 0.7)
    height, parts = 0.58 * width, Parts()
    case = material(named(rng, rng.choice(("black", "black", "grey", "white"))))
    parts.box((0, 0, 0.008), (0.24, 0.18, 0.016), case)
    parts.box((0, -0.02, 0.1), (0.05, 0.03, 0.2), case)
    _screen(parts, rng, width, height, 0.14 + 0.5 * height, case)
    return parts.item("monitor", _case_name(case))


def tv(rng: Random, style: Style) -> Item:
    """A television set on a foot."""
    width = rng.uniform(0.8, 1.35)
    height, parts = 0.57 * width, Parts()
    case = material(named(rng, "black"))
    parts.box((0, 0, 0.01), (0.4 * width, 0.22, 0.02), case)
    parts.box((0, 0, 0.05), (0.1, 0.04, 0.1), case)
    _screen(parts, rng, width, height, 0.07 + 0.5 * height, case)
    return parts.item("tv", "black")


def wall_tv(rng: Random, style: Style) -> Item:
    """A television set for the wall."""
    width = rng.uniform(0.9, 1.45)
    parts = Parts()
    _screen(parts, rng, width, 0.57 * width, 0.3 * width, material(named(rng, "black")))
    return parts.item("tv", "black")


def laptop(rng: Random, style: Style) -> Item:
    """An open laptop computer."""
    name = rng.choice(("grey", "black", "white"))
    case, parts = material(named(rng, name)), Parts()
    parts.box((0, 0.11, 0.01), (0.34, 0.23, 0.02), case)
    parts.box((0, 0.12, 0.0215), (0.29, 0.12, 0.003), material(COLOURS["black"]))
    parts.box((0, -0.04, 0.125), (0.34, 0.012, 0.225), case, tilt=0.25)
    parts.box((0, -0.032, 0.127), (0.31, 0.012, 0.195), _picture(rng), tilt=0.25)
    return parts.item("laptop", name)


def _table(rng: Random, style: Style, size: tuple[float, float], height: float) -> Item:
    width, depth = size
    tint, parts = style.wood(rng), Parts()
    thick = rng.uniform(0.025, 0.05)
    z = height - 0.5 * thick
    if rng.random() < 0.3:
        radius = rng.uniform(0.45, 0.6) * max(depth, 0.75)
        parts.cylinder((0, 0, z), radius, thick, tint.surface)
        foot = style.metal if rng.random() < 0.5 else tint.surface
        if rng.random() < 0.6:
            parts.cylinder((0, 0, 0.5 * height), 0.05, height - thick, foot)
            parts.cylinder((0, 0, 0.02), 0.55 * radius, 0.04, foot, top=0.8)
        else:
            parts.legs(1.3 * radius, 1.3 * radius, height - thick, 0.05, foot, round=True)
        reach = 0.66 * radius
        return parts.item("table", tint.name, (Surface(-reach, -reach, reach, reach, height),))
    parts.box((0, 0, z), (width, depth, thick), tint.surface)
    legs = style.metal if rng.random() < 0.3 else tint.surface
    leg = rng.uniform(0.04, 0.08)
    parts.legs(width - 0.03, depth - 0.03, height - thick, leg, legs, round=rng.random() < 0.35)
    if height > 0.6:
        for side in (-1, 1):
            y = side * (0.5 * depth - 0.06)
            parts.box((0, y, height - thick - 0.04), (width - 0.16, 0.02, 0.08), tint.surface)
    elif rng.random() < 0.5:
        parts.box((0, 0, 0.14), (width - 0.1, depth - 0.1, 0.02), tint.surface)
    x, y = 0.46 * width, 0.45 * depth
    return parts.item("table", tint.name, (Surface(-x, -y, x, y, height),))


def _screen(parts: Parts, rng: Random, width: float, height: float, z: float, case: Material) -> None:
    parts.box((0, 0, z), (width, 0.035, height), case)
    if rng.random() < 0.45:  # switched off
        parts.box((0, 0.015, z), (width - 0.03, 0.012, height - 0.03), material((0.05, 0.05, 0.07)))
        return
    parts.box((0, 0.015, z), (width - 0.03, 0.012, height - 0.03), _picture(rng))
    for _ in range(rng.randint(1, 3)):  # windows, or whatever is on
        w, h = rng.uniform(0.2, 0.5) * width, rng.uniform(0.2, 0.5) * height
        x, dz = rng.uniform(-0.4, 0.4) * (width - w), rng.uniform(-0.4, 0.4) * (height - h)
        parts.box((x, 0.0185, z + dz), (w, 0.009, h), _picture(rng))


def _picture(rng: Random) -> Material:
    return glow(named(rng, rng.choice(sorted(COLOURS)), 0.1), rng.uniform(0.35, 0.6))


def _case_name(case: Material) -> str:
    tone = case.first[1]
    return "black" if tone < 0.3 else "grey" if tone < 0.7 else "white"
