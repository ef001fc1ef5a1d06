"""Things to sit and lie on: chair, armchair, sofa, stool, bed, cushion."""

from __future__ import annotations

import math
from random import Random

from .palette import COLOURS, darker, material, named
from .parts import Item, Parts, Surface
from .style import Style

__all__ = ["armchair", "bed", "chair", "cushion", "sofa", "stool"]


def chair(rng: Random, style: Style) -> Item:
    """A dining chair with a solid, slatted or barred back, or an office chair on a star base."""
    width, depth, seat = rng.uniform(0.40, 0.48), rng.uniform(0.40, 0.47), rng.uniform(0.43, 0.48)
    top = seat + rng.uniform(0.38, 0.52)
    tint = style.furniture(rng)
    parts = Parts()
    if rng.random() < 0.25:
        _star_base(parts, seat, style)
        tint = style.textile(rng)
        parts.box((0, 0, seat), (width + 0.04, depth, 0.09), tint.surface)
        parts.box((0, -0.5 * depth + 0.02, seat + 0.12), (0.06, 0.03, 0.25), style.metal)
        parts.box((0, -0.5 * depth, 0.5 * (seat + 0.17 + top)), (width, 0.07, top - seat - 0.17), tint.surface)
        if rng.random() < 0.5:
            for side in (-1, 1):
                parts.box((side * (0.5 * width + 0.05), 0, seat + 0.2), (0.05, 0.28, 0.03), style.metal)
                parts.box((side * (0.5 * width + 0.05), 0, seat + 0.09), (0.03, 0.05, 0.2), style.metal)
        return parts.item("chair", tint.name)

    leg = rng.uniform(0.03, 0.05)
    frame = tint.surface if rng.random() < 0.7 else style.metal
    parts.legs(width, depth, seat, leg, frame, round=rng.random() < 0.4)
    cloth = style.textile(rng) if rng.random() < 0.35 else tint
    parts.box((0, 0, seat), (width, depth, 0.05), cloth.surface)
    y = -0.5 * (depth - leg)
    for side in (-1, 1):
        parts.box((side * 0.5 * (width - leg), y, 0.5 * (seat + top)), (leg, leg, top - seat), frame)
    kind = rng.choice(("solid", "slats", "bars"))
    if kind == "solid":
        parts.box((0, y, 0.5 * (seat + top) + 0.07), (width, 0.03, top - seat - 0.14), cloth.surface)
    elif kind == "slats":
        for k in range(3):
            parts.box((0, y, top - 0.05 - 0.13 * k), (width, 0.025, 0.07), tint.surface)
    else:
        parts.box((0, y, top - 0.03), (width, 0.035, 0.07), tint.surface)
        for k in range(-2, 3):
            parts.box((k * width / 6, y, 0.5 * (seat + top)), (0.022, 0.022, top - seat), frame)
    return parts.item("chair", cloth.name if kind == "solid" else tint.name)


def stool(rng: Random, style: Style) -> Item:
    """A seat without a back: three or four legs, or one column."""
    height, radius = rng.uniform(0.43, 0.72), rng.uniform(0.15, 0.19)
    tint, parts = style.furniture(rng), Parts()
    seat = height - 0.025
    if rng.random() < 0.3:
        parts.cylinder((0, 0, 0.02), radius * 1.05, 0.04, style.metal)
        parts.cylinder((0, 0, 0.5 * seat), 0.025, seat, style.metal)
    else:
        count = rng.choice((3, 4))
        for k in range(count):
            angle = 2 * math.pi * (k + 0.5) / count
            x, y = 0.8 * radius * math.cos(angle), 0.8 * radius * math.sin(angle)
            parts.cylinder((x, y, 0.5 * seat), 0.018, seat, tint.surface if rng.random() < 0.8 else style.metal)
    if rng.random() < 0.7:
        parts.cylinder((0, 0, seat), radius, 0.05, tint.surface)
    else:
        parts.box((0, 0, seat), (1.8 * radius, 1.8 * radius, 0.05), tint.surface)
    return parts.item("stool", tint.name)


def armchair(rng: Random, style: Style) -> Item:
    """A padded chair with armrests."""
    return _couch(rng, style, seats=1, width=rng.uniform(0.78, 0.95)).renamed("armchair")


def sofa(rng: Random, style: Style) -> Item:
    """A couch for two or three."""
    seats = rng.choice((2, 3))
    return _couch(rng, style, seats=seats, width=rng.uniform(0.62, 0.72) * seats + 0.3)


def cushion(rng: Random, style: Style) -> Item:
    """A small pillow, leaning."""
    tint, side, parts = style.textile(rng), rng.uniform(0.30, 0.42), Parts()
    parts.ellipsoid((0, 0, 0.5 * side), (side, 0.17, side), tint.surface, tilt=rng.uniform(0.2, 0.35))
    return parts.item("cushion", tint.name)


def bed(rng: Random, style: Style) -> Item:
    """A bed with frame, mattress, blanket and pillows; the head is at the back."""
    width, length = rng.choice((0.9, 1.2, 1.4, 1.6, 1.8)), rng.uniform(1.95, 2.1)
    frame, blanket = style.wood(rng), style.textile(rng)
    top = rng.uniform(0.42, 0.58)
    parts = Parts()
    parts.legs(width, length, 0.14, 0.07, frame.surface, round=False)
    parts.box((0, 0, 0.5 * (top - 0.05)), (width + 0.04, length + 0.04, top - 0.27), frame.surface)
    sheet = material(named(rng, rng.choice(("white", "white", "grey", "beige"))), "fabric", 0.3, 0.92)
    parts.box((0, 0, top - 0.09), (width - 0.02, length - 0.02, 0.18), sheet)
    cover = rng.uniform(0.6, 0.75) * length
    parts.box((0, 0.5 * (length - cover) + 0.01, top - 0.07), (width + 0.05, cover, 0.19), blanket.surface)
    parts.box((0, 0.5 * length - cover + 0.09, top + 0.03), (width + 0.055, 0.2, 0.03), darker(blanket.surface, 1.25))
    head = top + rng.uniform(0.25, 0.55)
    parts.box((0, -0.5 * length - 0.03, 0.5 * head), (width + 0.06, 0.06, head), frame.surface)
    pillow = material(named(rng, rng.choice(("white", "white", "blue", "pink", "beige"))), "fabric", 0.3, 0.92)
    count = 1 if width < 1.25 else 2
    for k in range(count):
        x = (k - 0.5 * (count - 1)) * width / count
        parts.ellipsoid((x, -0.5 * length + 0.3, top + 0.06), (0.85 * width / count, 0.42, 0.18), pillow)
    surface = Surface(-0.45 * width, -0.1, 0.45 * width, 0.4 * length, top + 0.025)
    return parts.item("bed", blanket.name, (surface,))


def _couch(rng: Random, style: Style, *, seats: int, width: float) -> Item:
    tint = style.textile(rng)
    cloth, parts = tint.surface, Parts()
    depth, seat, back = rng.uniform(0.80, 0.95), rng.uniform(0.40, 0.46), rng.uniform(0.75, 0.92)
    arm = rng.uniform(0.12, 0.2)
    arm_height = seat + rng.uniform(0.12, 0.22)
    foot = rng.choice((0.04, 0.1, 0.14))
    parts.legs(width - 0.04, depth - 0.04, foot, 0.05, style.wood(rng).surface, round=rng.random() < 0.5)
    base = darker(cloth, 0.88)
    parts.box((0, 0, 0.5 * (foot + seat - 0.13)), (width, depth, seat - 0.13 - foot), base)
    inner = width - 2 * arm
    for k in range(seats):
        x = (k - 0.5 * (seats - 1)) * inner / seats
        parts.box((x, 0.06, seat - 0.065), (inner / seats - 0.015, depth - 0.2, 0.13), cloth)
        parts.box(
            (x, -0.5 * depth + 0.24, 0.5 * (seat + back) + 0.02),
            (inner / seats - 0.02, 0.15, back - seat + 0.02),
            cloth,
            tilt=0.16,
        )
    parts.box((0, -0.5 * depth + 0.07, 0.5 * (foot + back)), (width, 0.14, back - foot), base)
    for side in (-1, 1):
        x = side * 0.5 * (width - arm)
        if rng.random() < 0.3:
            parts.cylinder((x, 0, arm_height - 0.05), 0.5 * arm + 0.01, depth, cloth, tilt=0.5 * math.pi)
            parts.box((x, 0, 0.5 * (foot + arm_height - 0.06)), (arm, depth, arm_height - 0.06 - foot), base)
        else:
            parts.box((x, 0, 0.5 * (foot + arm_height)), (arm, depth, arm_height - foot), cloth)
    half = 0.5 * inner
    surface = Surface(-half, -0.5 * depth + 0.32, half, 0.5 * depth - 0.14, seat, 0.6)
    return parts.item("sofa", tint.name, (surface,))


def _star_base(parts: Parts, seat: float, style: Style) -> None:
    """The five-armed foot of an office chair."""
    for k in range(5):
        angle = 2 * math.pi * k / 5
        x, y = math.cos(angle), math.sin(angle)
        parts.box((0.13 * x, 0.13 * y, 0.08), (0.26, 0.045, 0.03), style.metal, yaw=angle)
        parts.ellipsoid((0.25 * x, 0.25 * y, 0.03), (0.06, 0.06, 0.06), material(COLOURS["black"]))
    parts.cylinder((0, 0, 0.5 * seat), 0.03, seat - 0.1, style.metal)
