"""Things that keep things: cabinet, nightstand, wardrobe, shelf, fridge, box, bin, suitcase, books."""

from __future__ import annotations

from random import Random

from .palette import COLOURS, Material, darker, material, named
from .parts import Item, Parts, Surface
from .style import Style

__all__ = ["bin_", "book_row", "book_stack", "box", "cabinet", "fridge", "nightstand", "shelf", "suitcase", "wardrobe"]


def cabinet(rng: Random, style: Style) -> Item:
    """A sideboard with doors or drawers."""
    size = rng.uniform(0.7, 1.6), rng.uniform(0.38, 0.5), rng.uniform(0.5, 0.95)
    return _case(rng, style, size, columns=max(2, round(size[0] / 0.5)), rows=rng.choice((1, 1, 2, 3)))


def nightstand(rng: Random, style: Style) -> Item:
    """A small cabinet for the side of a bed."""
    size = rng.uniform(0.4, 0.52), rng.uniform(0.36, 0.44), rng.uniform(0.42, 0.58)
    return _case(rng, style, size, columns=1, rows=rng.choice((1, 2))).renamed("nightstand")


def wardrobe(rng: Random, style: Style) -> Item:
    """A tall cupboard for clothes."""
    size = rng.uniform(0.9, 1.9), rng.uniform(0.55, 0.62), rng.uniform(1.85, 2.2)
    return _case(rng, style, size, columns=max(2, round(size[0] / 0.5)), rows=1).renamed("wardrobe")


def shelf(rng: Random, style: Style) -> Item:
    """An open bookcase; every board can carry things."""
    width, depth, height = rng.uniform(0.6, 1.2), rng.uniform(0.28, 0.36), rng.uniform(0.9, 2.0)
    tint, parts = style.furniture(rng), Parts()
    board, boards = 0.025, max(3, round(height / 0.38))
    for side in (-1, 1):
        parts.box((side * 0.5 * (width - board), 0, 0.5 * height), (board, depth, height), tint.surface)
    if rng.random() < 0.7:
        parts.box(
            (0, -0.5 * depth + 0.008, 0.5 * height), (width - 0.01, 0.015, height - 0.02), darker(tint.surface, 0.8)
        )
    surfaces = []
    pitch = (height - board - 0.05) / (boards - 1)
    for k in range(boards):
        z = 0.05 + k * pitch
        parts.box((0, 0, z + 0.5 * board), (width - 2 * board, depth, board), tint.surface)
        clearance = pitch - board if k < boards - 1 else 0.5
        x = 0.5 * width - board - 0.01
        surfaces.append(Surface(-x, -0.5 * depth + 0.02, x, 0.5 * depth - 0.01, z + board, clearance - 0.02))
    return parts.item("shelf", tint.name, tuple(surfaces))


def fridge(rng: Random, style: Style) -> Item:
    """A refrigerator with one or two doors."""
    width, depth, height = rng.uniform(0.55, 0.7), rng.uniform(0.58, 0.66), rng.uniform(1.4, 1.9)
    name = rng.choice(("white", "white", "grey", "red", "black"))
    case, parts = material(named(rng, name)), Parts()
    parts.box((0, -0.03, 0.5 * height), (width, depth - 0.06, height), darker(case, 0.85))
    split = rng.choice((0.35, 0.68, 0.0)) * height
    for low, high in ((0.04, split), (split, height)) if split else ((0.04, height),):
        parts.box((0, 0.5 * depth - 0.03, 0.5 * (low + high)), (width, 0.06, high - low - 0.012), case)
        z = high - 0.2 if low < 0.5 else low + 0.2
        parts.box((-0.4 * width, 0.5 * depth + 0.02, z), (0.03, 0.04, 0.28), style.metal)
    surface = Surface(-0.4 * width, -0.4 * depth, 0.4 * width, 0.35 * depth, height)
    return parts.item("fridge", name, (surface,))


def box(rng: Random, style: Style) -> Item:
    """A cardboard or plastic box with tape or a lid."""
    width, depth, height = rng.uniform(0.22, 0.55), rng.uniform(0.2, 0.45), rng.uniform(0.15, 0.45)
    parts = Parts()
    if rng.random() < 0.6:
        card = material(
            (rng.uniform(0.6, 0.74), rng.uniform(0.44, 0.54), rng.uniform(0.27, 0.34)), "plaster", 0.4, 0.85
        )
        parts.box((0, 0, 0.5 * height), (width, depth, height), card)
        tape = material((0.86, 0.78, 0.6))
        parts.box((0, 0, height), (width + 0.004, 0.06, 0.004), tape)
        for side in (-1, 1):
            parts.box((side * 0.5 * width, 0, height - 0.05), (0.004, 0.06, 0.1), tape)
        return parts.item("box", "brown", (Surface(-0.4 * width, -0.4 * depth, 0.4 * width, 0.4 * depth, height),))
    tint = style.paint(rng)
    parts.box((0, 0, 0.45 * height), (0.94 * width, 0.94 * depth, 0.9 * height), tint.surface)
    parts.box((0, 0, 0.94 * height), (width, depth, 0.12 * height), darker(tint.surface, 1.3))
    return parts.item("box", tint.name, (Surface(-0.4 * width, -0.4 * depth, 0.4 * width, 0.4 * depth, height),))


def bin_(rng: Random, style: Style) -> Item:
    """A waste bin, wider at the top."""
    tint, parts = style.paint(rng), Parts()
    radius, height = rng.uniform(0.10, 0.16), rng.uniform(0.26, 0.42)
    parts.cylinder((0, 0, 0.5 * height), radius, height, tint.surface, top=1.25)
    parts.cylinder((0, 0, height), 1.17 * radius, 0.008, material((0.04, 0.04, 0.045)))
    parts.cylinder((0, 0, height - 0.02), 1.29 * radius, 0.03, darker(tint.surface, 1.3))
    return parts.item("bin", tint.name)


def suitcase(rng: Random, style: Style) -> Item:
    """A trolley case standing upright."""
    tint, parts = style.paint(rng), Parts()
    width, depth, height = rng.uniform(0.36, 0.5), rng.uniform(0.22, 0.3), rng.uniform(0.52, 0.7)
    parts.box((0, 0, 0.05 + 0.5 * height), (width, depth, height), tint.surface)
    for k in range(4):
        x = (k - 1.5) * width / 4.4
        parts.box((x, 0, 0.05 + 0.5 * height), (0.03, depth + 0.02, height - 0.08), darker(tint.surface, 0.8))
    for side in (-1, 1):
        parts.box((side * 0.09, -0.3 * depth, height + 0.16), (0.02, 0.02, 0.26), style.metal)
        parts.cylinder((side * 0.4 * width, 0, 0.03), 0.03, 0.8 * depth, material(COLOURS["black"]), tilt=1.5708)
    parts.box((0, -0.3 * depth, height + 0.29), (0.22, 0.03, 0.03), material(COLOURS["black"]))
    return parts.item("suitcase", tint.name)


def book_row(rng: Random, style: Style, width: float = 0.3, height: float = 0.3) -> Item:
    """Books side by side, as on a shelf, at most `height` tall."""
    parts, x = Parts(), 0.0
    deep = rng.uniform(0.16, 0.2)
    while x < width - 0.02:
        thick, tall = rng.uniform(0.025, 0.06), min(height, rng.uniform(0.19, 0.3))
        cover = _cover(rng)
        parts.box((x + 0.5 * thick, 0, 0.5 * tall), (thick - 0.003, deep * rng.uniform(0.85, 1.0), tall), cover)
        x += thick
    return parts.item("books", "")


def book_stack(rng: Random, style: Style) -> Item:
    """Books on top of each other."""
    parts, z = Parts(), 0.0
    for _ in range(rng.randint(2, 5)):
        thick = rng.uniform(0.025, 0.05)
        size = rng.uniform(0.2, 0.27), rng.uniform(0.15, 0.2), thick
        parts.box((0, 0, z + 0.5 * thick), size, _cover(rng), yaw=rng.uniform(-0.3, 0.3))
        z += thick
    return parts.item("books", "")


def _cover(rng: Random) -> Material:
    return material(named(rng, rng.choice(sorted(COLOURS)), 0.08))


def _case(rng: Random, style: Style, size: tuple[float, float, float], *, columns: int, rows: int) -> Item:
    """A closed body with a grid of fronts and handles."""
    width, depth, height = size
    tint, parts = style.furniture(rng), Parts()
    foot = rng.choice((0.0, 0.05, 0.12)) if height < 1.2 else 0.06
    if foot:
        parts.legs(
            width - 0.04, depth - 0.06, foot, 0.05, style.metal if rng.random() < 0.5 else tint.surface, round=False
        )
    body = darker(tint.surface, 0.82)
    parts.box((0, -0.01, 0.5 * (foot + height) - 0.01), (width, depth - 0.02, height - foot - 0.02), body)
    front = tint.surface if rng.random() < 0.7 else style.paint(rng).surface
    parts.box((0, 0, height - 0.0125), (width + 0.02, depth + 0.01, 0.025), tint.surface)
    gap, w, h = 0.014, width / columns, (height - foot - 0.03) / rows
    knob = rng.random() < 0.5
    for column in range(columns):
        for row in range(rows):
            x, z = (column + 0.5) * w - 0.5 * width, foot + (row + 0.5) * h
            parts.box((x, 0.5 * depth - 0.015, z), (w - gap, 0.03, h - gap), front)
            hx = x + (0.35 * w if column % 2 == 0 else -0.35 * w) if h > 0.45 or columns == 1 else x
            if knob:
                parts.ellipsoid((hx, 0.5 * depth + 0.012, z + 0.1 * h), (0.035, 0.035, 0.035), style.metal)
            else:
                tall = h > 0.45
                parts.box(
                    (hx, 0.5 * depth + 0.01, z), (0.018 if tall else 0.14, 0.025, 0.16 if tall else 0.018), style.metal
                )
    surface = Surface(-0.47 * width, -0.45 * depth, 0.47 * width, 0.45 * depth, height)
    return parts.item("cabinet", tint.name, (surface,))
