"""A room as arrays: what both renderers read.

P primitives, each an affine picture of a unit solid: the cube [-1, 1]^3, the cone frustum x^2 + y^2 <= (a + b z)^2
with |z| <= 1, or the unit ball.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .parts import Part
from .plan import Placed

__all__ = ["Primitives", "primitives_from"]


@dataclass(frozen=True)
class Primitives:
    """P primitives in world metres. All arrays are float32 unless said otherwise."""

    kind: np.ndarray  # (P,) int32: BOX, CYLINDER or ELLIPSOID of `parts`
    rotation: np.ndarray  # (P, 3, 3) world from the primitive's axes
    center: np.ndarray  # (P, 3)
    half: np.ndarray  # (P, 3) half extents along its own axes
    taper: np.ndarray  # (P,) upper over lower radius, in [0, 1]
    first: np.ndarray  # (P, 3) linear colour where the pattern is 0
    second: np.ndarray  # (P, 3) linear colour where it is 1
    layer: np.ndarray  # (P,) pattern number
    repeat: np.ndarray  # (P,) metres per repetition of the pattern
    shift: np.ndarray  # (P, 2) offset of the pattern, in repetitions
    emission: np.ndarray  # (P,)
    instance: np.ndarray  # (P,) int32 object id, 1 to 254

    def __len__(self) -> int:
        return len(self.kind)

    def reach(self) -> np.ndarray:
        """Half extents of the axis-aligned world boxes around the primitives, (P, 3) (cylinders: taper ignored)."""
        scaled = self.rotation * self.half[:, None, :]
        box = np.abs(scaled).sum(-1)
        ball = np.sqrt((scaled**2).sum(-1))
        tube = np.sqrt((scaled[..., :2] ** 2).sum(-1)) + np.abs(scaled[..., 2])
        return np.where(self.kind[:, None] == 0, box, np.where(self.kind[:, None] == 1, tube, ball))


def primitives_from(placed: Sequence[Placed], ids: Sequence[int], seed: int) -> Primitives:
    """Brings placed items into the world.

    Args:
        placed: items with their poses.
        ids: instance id of each.
        seed: chooses the pattern offsets.
    """
    parts: list[Part] = []
    owner: list[int] = []
    for index, thing in enumerate(placed):
        parts.extend(thing.item.parts)
        owner.extend([index] * len(thing.item.parts))
    of = np.asarray(owner)
    pose = np.array([(p.x, p.y, p.z, p.yaw) for p in placed])[of]
    local = np.array([part.center for part in parts])
    turn = np.array([(part.yaw, part.tilt) for part in parts])
    cz, sz = np.cos(pose[:, 3]), np.sin(pose[:, 3])
    center = pose[:, :3] + np.stack(
        [cz * local[:, 0] - sz * local[:, 1], sz * local[:, 0] + cz * local[:, 1], local[:, 2]], -1
    )
    look = np.array(
        [
            (*m.first, *m.second, m.layer, m.repeat, m.emission, part.kind, part.taper)
            for part in parts
            for m in (part.material,)
        ]
    )
    shift = np.random.default_rng([seed & 0xFFFFFFFF, seed >> 32]).random((len(parts), 2))
    return Primitives(
        kind=look[:, 9].astype(np.int32),
        rotation=_turned(pose[:, 3] + turn[:, 0], turn[:, 1]).astype(np.float32),
        center=center.astype(np.float32),
        half=np.array([part.half for part in parts], np.float32),
        taper=look[:, 10].astype(np.float32),
        first=(look[:, 0:3] ** 2).astype(np.float32),  # gamma 2: cheap, and close to sRGB
        second=(look[:, 3:6] ** 2).astype(np.float32),
        layer=look[:, 6].astype(np.float32),
        repeat=look[:, 7].astype(np.float32),
        shift=shift.astype(np.float32),
        emission=look[:, 8].astype(np.float32),
        instance=np.asarray(ids, np.int32)[of],
    )


def _turned(yaw: np.ndarray, tilt: np.ndarray) -> np.ndarray:
    """Rz(yaw) @ Rx(tilt), (P, 3, 3)."""
    cy, sy, ct, st = np.cos(yaw), np.sin(yaw), np.cos(tilt), np.sin(tilt)
    zero = np.zeros_like(cy)
    return np.stack([cy, -sy * ct, sy * st, sy, cy * ct, -cy * st, zero, st, ct], -1).reshape(-1, 3, 3)
