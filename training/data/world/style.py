"""The taste of a room: materials that its furniture shares."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .palette import COLOURS, WOODS, Material, material, named

__all__ = ["Style", "Tint"]


@dataclass(frozen=True)
class Tint:
    """A material together with the colour name people would give it."""

    surface: Material
    name: str


class Style:
    """Draws materials for one room; woods and metals repeat, textiles vary."""

    def __init__(self, rng: Random) -> None:
        self._woods = rng.sample(WOODS, 2)
        self._accents = rng.sample(sorted(COLOURS), 4)
        tone = rng.choice((0.12, 0.55, 0.8))
        self.metal = material((tone, tone, tone * 1.02), "plain")

    def wood(self, rng: Random, repeat: float = 0.6) -> Tint:
        """Wood for furniture; mostly one of the room's two kinds."""
        colour, name = rng.choice(self._woods) if rng.random() < 0.8 else rng.choice(WOODS)
        painted = name in ("white", "black")
        return Tint(material(colour, "plain" if painted else "wood", repeat, 0.68), name)

    def textile(self, rng: Random) -> Tint:
        """Cloth of a sofa, a cushion, a blanket."""
        name = rng.choice(self._accents) if rng.random() < 0.5 else rng.choice(sorted(COLOURS))
        pattern = rng.choices(("fabric", "stripes", "plaid", "dots", "checker"), (8, 2, 1, 1, 0.5))[0]
        contrast = 0.72 if pattern == "fabric" else rng.choice((0.45, 0.6, 1.5))
        return Tint(material(named(rng, name), pattern, rng.uniform(0.15, 0.5), contrast), name)

    def paint(self, rng: Random) -> Tint:
        """Lacquer or plastic in any colour."""
        name = rng.choice(self._accents) if rng.random() < 0.5 else rng.choice(sorted(COLOURS))
        return Tint(material(named(rng, name), "plain"), name)

    def furniture(self, rng: Random) -> Tint:
        """Wood three times in four, else paint."""
        return self.wood(rng) if rng.random() < 0.75 else self.paint(rng)
