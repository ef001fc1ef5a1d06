"""What belongs to the building: door, window, curtain, radiator, ceiling light."""

from __future__ import annotations

from random import Random

from .palette import darker, glow, material, named
from .parts import Item, Parts
from .style import Style

__all__ = ["ceiling_light", "curtain", "door", "radiator", "window"]


def door(rng: Random, style: Style) -> Item:
    """A closed door in its frame; its back is at the wall."""
    width, height = rng.uniform(0.85, 1.05), rng.uniform(1.98, 2.08)
    tint = style.wood(rng, 1.2) if rng.random() < 0.7 else style.paint(rng)
    frame = material(named(rng, "white")) if rng.random() < 0.5 else darker(tint.surface, 0.7)
    parts = Parts()
    for side in (-1, 1):
        parts.box((side * (0.5 * width - 0.04), 0, 0.5 * height), (0.08, 0.07, height), frame)
    parts.box((0, 0, height - 0.04), (width, 0.07, 0.08), frame)
    leaf = width - 0.16
    parts.box((0, -0.01, 0.5 * (height - 0.08)), (leaf, 0.04, height - 0.08), tint.surface)
    for z, tall in ((0.3 * height, 0.4 * height), (0.72 * height, 0.32 * height))[: rng.choice((0, 2, 2))]:
        parts.box((0, 0.012, z), (0.68 * leaf, 0.012, tall), darker(tint.surface, 0.8))
    side = rng.choice((-1, 1))
    parts.cylinder((side * 0.4 * leaf, 0.04, 1.0), 0.022, 0.06, style.metal, tilt=1.5708)
    parts.box((side * (0.4 * leaf - 0.05 * 1), 0.06, 1.0), (0.12, 0.02, 0.022), style.metal)
    return parts.item("door", tint.name)


def window(rng: Random, style: Style, width: float = 1.2, height: float = 1.2) -> Item:
    """A window with a view: bright sky above, something darker below."""
    tint = style.wood(rng) if rng.random() < 0.4 else None
    name = tint.name if tint else "white"
    frame = tint.surface if tint else material(named(rng, "white"))
    parts = Parts()
    horizon = rng.uniform(0.15, 0.45) * height
    sky = glow((rng.uniform(0.6, 0.8), rng.uniform(0.75, 0.88), rng.uniform(0.88, 1.0)), 0.95)
    land = glow(rng.choice(((0.35, 0.45, 0.3), (0.5, 0.5, 0.5), (0.55, 0.5, 0.42))), 0.7)
    parts.box((0, -0.01, 0.5 * (horizon + height)), (width, 0.02, height - horizon), sky)
    parts.box((0, -0.01, 0.5 * horizon), (width, 0.02, horizon), land)
    bar = 0.06
    for side in (-1, 1):
        parts.box((side * 0.5 * (width - bar), 0.01, 0.5 * height), (bar, 0.06, height), frame)
    for z in (0.5 * bar, height - 0.5 * bar):
        parts.box((0, 0.01, z), (width, 0.06, bar), frame)
    for k in range(1, 1 + round(width / 0.7)):
        parts.box((k * width / (1 + round(width / 0.7)) - 0.5 * width, 0.01, 0.5 * height), (0.04, 0.04, height), frame)
    if rng.random() < 0.4:
        parts.box((0, 0.01, 0.62 * height), (width, 0.04, 0.04), frame)
    parts.box((0, 0.06, -0.015), (width + 0.1, 0.16, 0.03), frame)
    return parts.item("window", name)


def curtain(rng: Random, style: Style, height: float = 2.0) -> Item:
    """One hanging panel in folds."""
    tint, parts = style.textile(rng), Parts()
    folds = rng.randint(4, 7)
    for k in range(folds):
        parts.cylinder((0.07 * k, 0, 0.5 * height), 0.045, height, darker(tint.surface, 0.9 + 0.2 * (k % 2)))
    return parts.item("curtain", tint.name)


def radiator(rng: Random, style: Style) -> Item:
    """A ribbed radiator for below a window."""
    ribs, height = rng.randint(9, 15), rng.uniform(0.5, 0.62)
    white, parts = material(named(rng, "white")), Parts()
    for k in range(ribs):
        parts.box((0.075 * k, 0, 0.12 + 0.5 * height), (0.055, 0.09, height), white)
    middle = 0.0375 * (ribs - 1)
    for z in (0.2, 0.04 + height):
        parts.box((middle, 0, z), (0.075 * ribs, 0.05, 0.05), white)
    for k in (1, ribs - 2):
        parts.box((0.075 * k, 0, 0.07), (0.03, 0.05, 0.14), white)
    return parts.item("radiator", "white")


def ceiling_light(rng: Random, style: Style) -> Item:
    """A lamp under the ceiling: a bowl, a panel or a pendant; it hangs from its top."""
    parts, bright = Parts(), glow((1.0, 0.96, 0.88), 1.0)
    kind = rng.choice(("bowl", "panel", "pendant"))
    if kind == "bowl":
        parts.cylinder((0, 0, 0.11), 0.2, 0.02, style.metal)
        parts.ellipsoid((0, 0, 0.1), (0.36, 0.36, 0.2), bright)
    elif kind == "panel":
        parts.box((0, 0, 0.03), (0.62, 0.62, 0.06), style.metal)
        parts.box((0, 0, 0.0), (0.56, 0.56, 0.02), bright)
    else:
        parts.cylinder((0, 0, 0.42), 0.008, 0.24, style.metal)
        parts.cylinder((0, 0, 0.22), 0.2, 0.18, style.paint(rng).surface, top=0.35)
        parts.ellipsoid((0, 0, 0.14), (0.15, 0.15, 0.12), bright)
    return parts.item("ceiling light", "white")
