"""Light: a few lamps, ambient light, and how much of it reaches each corner.

The occlusion volume is a coarse map of the room: 0 in the open, towards 1 where solid matter is near. Looking it up a
little way off a surface darkens corners, the floor below tables and the inside of shelves, at the cost of one texture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np

from .plan import Placed, Plan
from .primitives import Primitives

__all__ = ["MAX_LIGHTS", "VOLUME", "Lights", "draw_lights", "occlusion"]

MAX_LIGHTS = 3
VOLUME = (16, 32, 32)  # voxels along z, y, x


@dataclass(frozen=True)
class Lights:
    """Up to MAX_LIGHTS point lights and the ambient light, linear colours."""

    position: np.ndarray  # (MAX_LIGHTS, 3) world metres
    colour: np.ndarray  # (MAX_LIGHTS, 3); zero for lights that are not there
    fade: np.ndarray  # (MAX_LIGHTS,) 1 / r^2 of the distance r at which a light has half its strength
    ambient: np.ndarray  # (3,)


def draw_lights(plan: Plan, placed: Sequence[Placed], rng: Random) -> Lights:
    """Lights where the ceiling lights, windows and shining lamps are, brought to one overall brightness."""
    found: list[tuple[tuple[float, float, float], tuple[float, float, float], float]] = []
    day = rng.random() < 0.75
    evening = not day or rng.random() < 0.4
    for thing in placed:
        name = thing.item.name
        nx, ny = -math.sin(thing.yaw), math.cos(thing.yaw)
        if name == "ceiling light" and evening:
            power = rng.uniform(0.8, 1.2)
            found.append(((thing.x, thing.y, thing.z - 0.1), (power, 0.93 * power, 0.8 * power), rng.uniform(2.5, 4.0)))
        elif name == "window" and day:
            power = rng.uniform(0.7, 1.3)
            place = (thing.x + 0.5 * nx, thing.y + 0.5 * ny, thing.z + 0.6 * thing.item.size[2])
            found.append((place, (0.9 * power, 0.96 * power, 1.05 * power), rng.uniform(2.5, 4.5)))
        elif name == "lamp" and evening:
            power = rng.uniform(0.2, 0.5)
            found.append(
                ((thing.x, thing.y, thing.z + thing.item.size[2] + 0.1), (power, 0.8 * power, 0.5 * power), 1.2)
            )
    if not found:
        found.append(((0.5 * plan.width, 0.5 * plan.depth, plan.height - 0.3), (1.0, 0.95, 0.85), 3.5))
    found = sorted(found, key=lambda light: -sum(light[1]) * light[2])[:MAX_LIGHTS]
    position, colour, fade = np.zeros((MAX_LIGHTS, 3)), np.zeros((MAX_LIGHTS, 3)), np.ones(MAX_LIGHTS)
    for k, (place, strength, radius) in enumerate(found):
        position[k], colour[k], fade[k] = place, strength, 1.0 / radius**2
    warm = rng.uniform(-0.06, 0.06)
    ambient = np.array([1.0 + warm, 1.0, 1.0 - warm]) * rng.uniform(0.35, 0.6)
    # One photographer, many rooms: the mean of a few points in the room gets the wanted brightness.
    probes = np.array([(fx * plan.width, fy * plan.depth, 1.0) for fx in (0.25, 0.5, 0.75) for fy in (0.25, 0.5, 0.75)])
    distance2 = ((probes[:, None] - position) ** 2).sum(-1)
    direct = (colour.mean(-1) * 0.6 / (1.0 + distance2 * fade)).sum(-1).mean()
    gain = rng.uniform(1.0, 1.6) / (direct + 0.85 * ambient.mean())
    return Lights(
        position.astype(np.float32),
        (colour * gain).astype(np.float32),
        fade.astype(np.float32),
        (ambient * gain).astype(np.float32),
    )


def occlusion(plan: Plan, solids: Primitives) -> np.ndarray:
    """Share of solid matter around each voxel of the room's box, VOLUME uint8 (255: all solid)."""
    size = (plan.height, plan.depth, plan.width)
    low, high = solids.center - solids.reach(), solids.center + solids.reach()
    overlap = []
    for axis, cells in zip((2, 1, 0), VOLUME):
        step = size[2 - axis] / cells
        edge = np.arange(cells, dtype=np.float32) * step
        inside = np.minimum(high[:, axis, None], edge + step) - np.maximum(low[:, axis, None], edge)
        overlap.append(np.clip(inside, 0.0, None) / step)
    layer = (overlap[1][:, :, None] * overlap[2][:, None, :]).reshape(len(solids), -1)
    filled = np.minimum((overlap[0].T @ layer).reshape(VOLUME), 1.0)
    if plan.cut is not None:
        y, x = (
            (np.arange(VOLUME[1]) + 0.5) * plan.depth / VOLUME[1],
            (np.arange(VOLUME[2]) + 0.5) * plan.width / VOLUME[2],
        )
        rows = (y > plan.cut.y0) & (y < plan.cut.y1)
        columns = (x > plan.cut.x0) & (x < plan.cut.x1)
        filled[:, rows[:, None] & columns[None, :]] = 1.0
    for axis in range(3):
        cells = VOLUME[axis]
        spread, wall = _blur(cells, max(1, round(0.24 * cells / size[axis])))
        shape = [1, 1, 1]
        shape[axis] = cells
        filled = np.moveaxis(np.tensordot(spread, filled, (1, axis)), 0, axis) + wall.reshape(shape)
    return np.round(filled * 255).astype(np.uint8)


@lru_cache(maxsize=64)
def _blur(cells: int, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Twice a running mean over 2 radius + 1 cells: matrix (cells, cells) and what the solid outside adds (cells,)."""
    wide = cells + 4 * radius
    distance = np.abs(np.arange(wide)[:, None] - np.arange(wide)[None])
    once = (distance <= radius) / (2 * radius + 1)
    inside = slice(2 * radius, 2 * radius + cells)
    twice = (once @ once)[inside].astype(np.float32)
    outside = np.ones(wide, np.float32)
    outside[inside] = 0.0
    return twice[:, inside], twice @ outside
