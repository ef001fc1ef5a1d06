"""Colours with names, so that "the red chair" means something, and materials: two colours and a pattern."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from .textures import LAYER

__all__ = ["COLOURS", "WOODS", "Material", "darker", "glow", "material", "named", "shade"]

Colour = tuple[float, float, float]

# Display colours in [0, 1]; apart enough to be told from each other under warm and cold light.
COLOURS: dict[str, Colour] = {
    "white": (0.92, 0.91, 0.88),
    "grey": (0.52, 0.53, 0.55),
    "black": (0.11, 0.11, 0.12),
    "red": (0.76, 0.13, 0.12),
    "orange": (0.92, 0.48, 0.10),
    "yellow": (0.93, 0.80, 0.20),
    "green": (0.22, 0.52, 0.24),
    "blue": (0.15, 0.32, 0.70),
    "purple": (0.46, 0.22, 0.55),
    "pink": (0.90, 0.52, 0.62),
    "brown": (0.45, 0.28, 0.15),
    "beige": (0.82, 0.72, 0.56),
}

# Wood tones and the colour name people would give them.
WOODS: tuple[tuple[Colour, str], ...] = (
    ((0.78, 0.60, 0.38), "beige"),
    ((0.62, 0.42, 0.22), "brown"),
    ((0.48, 0.30, 0.16), "brown"),
    ((0.34, 0.20, 0.12), "brown"),
    ((0.86, 0.76, 0.60), "beige"),
    ((0.88, 0.87, 0.84), "white"),
    ((0.20, 0.18, 0.17), "black"),
)


class Material(NamedTuple):
    """How a surface looks: a pattern that blends two display colours; `emission` adds light of its own."""

    first: Colour
    second: Colour
    layer: int  # pattern, index into the texture atlas
    repeat: float  # metres after which the pattern repeats
    emission: float = 0.0


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made darker (factor < 1) or lighter (> 1), at most 1."""
    red, green, blue = colour
    return min(1.0, red * factor), min(1.0, green * factor), min(1.0, blue * factor)


def darker(surface: Material, factor: float = 0.7) -> Material:
    """The same material in a darker (or, above 1, lighter) tone."""
    return surface._replace(first=shade(surface.first, factor), second=shade(surface.second, factor))


def named(rng: Random, name: str, spread: float = 0.04) -> Colour:
    """A colour that people would call `name`, a little different every time."""
    tone, around, twice = 0.88 + 0.24 * rng.random(), rng.random, 2 * spread
    red, green, blue = (channel * tone - spread + twice * around() for channel in COLOURS[name])
    return min(1.0, max(0.0, red)), min(1.0, max(0.0, green)), min(1.0, max(0.0, blue))


def material(colour: Colour, pattern: str = "plain", repeat: float = 0.5, contrast: float = 0.72) -> Material:
    """A material from one display colour; the pattern's dark parts are the colour times `contrast`."""
    return Material(colour, shade(colour, contrast), LAYER[pattern], repeat)


def glow(colour: Colour, emission: float = 0.8) -> Material:
    """A surface that shines by itself: a lamp shade, a screen, the sky behind a window."""
    return Material(colour, colour, LAYER["plain"], 1.0, emission)
