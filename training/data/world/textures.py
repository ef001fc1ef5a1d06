"""Procedural patterns: one small grey picture a pattern, tileable, shared by both renderers.

A pattern value p blends a material's two colours as ``(1 - p) * first + p * second``. Patterns are made once a
process from a fixed seed and carry their mip pyramid, so that far tiles turn to a mean colour and do not flicker.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["LAYER", "PATTERNS", "SIDE", "atlas", "pyramid"]

SIDE = 128  # texels along a side, a power of two

PATTERNS: tuple[str, ...] = (
    "plain",
    "plaster",
    "speckle",
    "carpet",
    "wood",
    "planks",
    "parquet",
    "tiles",
    "checker",
    "stripes",
    "fabric",
    "bricks",
    "dots",
    "plaid",
    "marble",
    "rings",
)

LAYER: dict[str, int] = {name: number for number, name in enumerate(PATTERNS)}


@lru_cache(maxsize=1)
def atlas() -> np.ndarray:
    """All patterns, (len(PATTERNS), SIDE, SIDE) float32 in [0, 1]; row index runs along v, column along u."""
    rng = np.random.default_rng(20240811)
    makers = {
        "plain": lambda: np.zeros((SIDE, SIDE)),
        "plaster": lambda: 0.5 * _noise(rng, 4, 4, 4),
        "speckle": lambda: _speckle(rng),
        "carpet": lambda: np.clip(0.55 * rng.random((SIDE, SIDE)) + 0.45 * _noise(rng, 8, 8, 3), 0, 1),
        "wood": lambda: _wood(rng),
        "planks": lambda: _planks(rng),
        "parquet": lambda: _parquet(rng),
        "tiles": lambda: _tiles(rng),
        "checker": lambda: np.kron([[0.0, 1.0], [1.0, 0.0]], np.ones((SIDE // 2, SIDE // 2))),
        "stripes": lambda: np.broadcast_to(_bands(4), (SIDE, SIDE)),
        "fabric": lambda: _fabric(rng),
        "bricks": lambda: _bricks(rng),
        "dots": lambda: _dots(),
        "plaid": lambda: 0.5 * (_bands(2)[None, :] + _bands(2)[:, None]),
        "marble": lambda: _marble(rng),
        "rings": lambda: _rings(),
    }
    return np.stack([np.clip(makers[name](), 0, 1) for name in PATTERNS]).astype(np.float32)


@lru_cache(maxsize=1)
def pyramid() -> tuple[np.ndarray, ...]:
    """The atlas and its halvings down to one texel, each (layers, side, side) float32."""
    levels = [np.round(atlas() * 255) / 255]  # the graphics card keeps eight bits
    while levels[-1].shape[1] > 1:
        layers, side, _ = levels[-1].shape
        levels.append(levels[-1].reshape(layers, side // 2, 2, side // 2, 2).mean((2, 4)))
    return tuple(level.astype(np.float32) for level in levels)


def _noise(rng: np.random.Generator, cells_v: int, cells_u: int, octaves: int) -> np.ndarray:
    """Smooth tileable noise in [0, 1], coarse cells first."""
    total, weight, norm = np.zeros((SIDE, SIDE)), 1.0, 0.0
    for octave in range(octaves):
        nv, nu = min(SIDE, cells_v << octave), min(SIDE, cells_u << octave)
        lattice = rng.random((nv, nu))
        total += weight * _stretch(_stretch(lattice, 0), 1)
        norm, weight = norm + weight, weight * 0.5
    total /= norm
    low, high = np.quantile(total, [0.02, 0.98])
    return np.clip((total - low) / (high - low), 0, 1)


def _stretch(lattice: np.ndarray, axis: int) -> np.ndarray:
    """Smooth periodic interpolation of a lattice to SIDE samples along one axis."""
    cells = lattice.shape[axis]
    position = np.arange(SIDE) * cells / SIDE
    left = position.astype(int)
    t = position - left
    t = t * t * (3 - 2 * t)
    shape = [1, 1]
    shape[axis] = SIDE
    t = t.reshape(shape)
    return np.take(lattice, left % cells, axis) * (1 - t) + np.take(lattice, (left + 1) % cells, axis) * t


def _bands(count: int) -> np.ndarray:
    """`count` equal on-off periods across the side."""
    return ((np.arange(SIDE) * count * 2 // SIDE) % 2).astype(float)


def _speckle(rng: np.random.Generator) -> np.ndarray:
    """Terrazzo: separate chips on a calm ground."""
    ground = np.zeros((SIDE, SIDE))
    v, u = np.mgrid[:SIDE, :SIDE]
    for _ in range(90):
        cv, cu, radius = rng.integers(SIDE), rng.integers(SIDE), rng.uniform(1.2, 4.0)
        dv = (v - cv + SIDE // 2) % SIDE - SIDE // 2
        du = (u - cu + SIDE // 2) % SIDE - SIDE // 2
        ground[dv * dv * rng.uniform(0.6, 1.6) + du * du < radius * radius] = rng.uniform(0.4, 1.0)
    return ground


def _wood(rng: np.random.Generator) -> np.ndarray:
    """Grain along v: fine in u, long in v, with slow waves."""
    grain = 0.6 * _noise(rng, 2, 32, 2) + 0.4 * _noise(rng, 2, 6, 2)
    return 0.85 * grain


def _planks(rng: np.random.Generator) -> np.ndarray:
    """Four floor boards across u with their own tones, joints at different heights, dark gaps."""
    board = SIDE // 4
    out = 0.45 * _wood(rng)
    for k in range(4):
        columns = slice(k * board, (k + 1) * board)
        joint = int(rng.integers(SIDE))
        tones = rng.uniform(0.0, 0.4, 2)
        rows = (np.arange(SIDE) - joint) % SIDE
        out[:, columns] += np.where(rows < SIDE // 2, tones[0], tones[1])[:, None]
        out[:, k * board] = 1.0
        out[(joint + np.array([0, SIDE // 2])) % SIDE, columns] = 1.0
    return out


def _parquet(rng: np.random.Generator) -> np.ndarray:
    """Squares of parallel strips, turned by a quarter from square to square."""
    half, strip = SIDE // 2, SIDE // 8
    out = np.zeros((SIDE, SIDE))
    for row in range(2):
        for column in range(2):
            block = np.repeat(rng.uniform(0.0, 0.5, 4), strip)[None, :] * np.ones((half, 1))
            block = block + 0.25 * _noise(rng, 2, 32, 1)[:half, :half]
            block[:, ::strip] = 1.0
            block[0] = 1.0
            out[row * half : (row + 1) * half, column * half : (column + 1) * half] = (
                block if (row + column) % 2 else block.T
            )
    return out


def _tiles(rng: np.random.Generator) -> np.ndarray:
    """Four by four tiles with joints, each of a slightly different tone."""
    tile = SIDE // 4
    out = np.kron(rng.uniform(0.0, 0.35, (4, 4)), np.ones((tile, tile)))
    lines = np.arange(SIDE) % tile < 2
    out[lines] = 1.0
    out[:, lines] = 1.0
    return out


def _fabric(rng: np.random.Generator) -> np.ndarray:
    """A coarse weave."""
    v, u = np.mgrid[:SIDE, :SIDE]
    weave = ((u // 4 + v // 4) % 2) * 0.35
    return weave + 0.4 * rng.random((SIDE, SIDE)) + 0.15 * _noise(rng, 4, 4, 2)


def _bricks(rng: np.random.Generator) -> np.ndarray:
    """Running bond, eight courses."""
    course, brick = SIDE // 8, SIDE // 4
    out = np.zeros((SIDE, SIDE))
    for row in range(8):
        tones = np.repeat(rng.uniform(0.0, 0.45, 4), brick)
        tones[::brick] = 1.0
        tones[1::brick] = 1.0
        out[row * course : (row + 1) * course] = np.roll(tones, (row % 2) * brick // 2)
        out[row * course : row * course + 2] = 1.0
    return out


def _dots() -> np.ndarray:
    """Dots on a square lattice, every second row shifted."""
    v, u = np.mgrid[:SIDE, :SIDE]
    cell = SIDE // 4
    shifted = (u + (v // cell % 2) * cell // 2) % cell
    return ((shifted - cell / 2) ** 2 + (v % cell - cell / 2) ** 2 < (0.27 * cell) ** 2).astype(float)


def _marble(rng: np.random.Generator) -> np.ndarray:
    """Veins: a folded, warped noise."""
    return np.clip(1 - 6 * np.abs(_noise(rng, 3, 3, 5) - 0.5), 0, 1) * 0.8 + 0.2 * _noise(rng, 4, 4, 3)


def _rings() -> np.ndarray:
    """Concentric squares, for rugs."""
    line = np.abs(np.arange(SIDE) - (SIDE - 1) / 2)
    distance = np.maximum(line[:, None], line[None, :])
    return (distance // (SIDE // 10) % 2).astype(float)
