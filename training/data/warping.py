"""One view seen from another: the test that shows a wrong convention at a glance, and says which one is right.

Every pixel of the reference with depth is looked up in the target. If depth, K and poses are right, the target's
colours arrive where the reference has the same, and the target's own depth agrees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from uniugg_core.cameras import inverse_rigid

from .covisibility import TOLERANCE, lift
from .views import View

__all__ = ["CONVENTIONS", "Warp", "agreement", "warp"]


def _flipped(pose: np.ndarray) -> np.ndarray:
    return pose @ np.diag([1.0, -1.0, -1.0, 1.0])


# What poses might have been instead of camera-to-world with OpenCV's axes. How the world is turned cannot be told from
# two views: nerfstudio's files of ScanNet++, permuted world included, look like flipped ones.
CONVENTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as read": lambda pose: pose,
    "inverted": inverse_rigid,
    "y and z flipped (OpenGL, nerfstudio)": _flipped,
    "inverted, then flipped": lambda pose: _flipped(inverse_rigid(pose)),
}


@dataclass(frozen=True)
class Warp:
    """The target as seen from the reference."""

    image: np.ndarray  # (H, W, 3) uint8 in the reference's pixels; black where `seen` is false
    inside: np.ndarray  # (H, W) bool: the surface lies in front of the target, within its picture, where it has depth
    seen: np.ndarray  # (H, W) bool: and the target's depth says it sees that surface
    colour: float  # mean difference of colours where seen, in [0, 1]; NaN where nothing is

    @property
    def agreement(self) -> float:
        """Share of `inside` that is `seen`; NaN where too little is inside to say."""
        return float(self.seen.sum() / self.inside.sum()) if self.inside.sum() >= 0.02 * self.inside.size else np.nan


def warp(reference: View, target: View) -> Warp:
    """Looks every pixel of `reference` up in `target`."""
    points = lift(reference.depth, reference.intrinsics, reference.world_from_camera)
    camera = inverse_rigid(target.world_from_camera)
    local = points @ camera[:3, :3].T.astype(np.float32) + camera[:3, 3].astype(np.float32)
    z = np.nan_to_num(local[..., 2], nan=-1.0)
    k, far = target.intrinsics, np.maximum(z, 1e-3)
    x, y = np.nan_to_num(local[..., 0]) / far, np.nan_to_num(local[..., 1]) / far
    u = (k[0, 0] * x + k[0, 1] * y + k[0, 2]).astype(np.float32)
    v = (k[1, 1] * y + k[1, 2]).astype(np.float32)
    height, width = target.depth.shape
    inside = (z > 1e-3) & (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
    column, row = (np.where(inside, np.rint(at), 0).astype(np.intp) for at in (u, v))
    there = target.depth[row, column]
    inside &= there > 0
    seen = inside & (np.abs(there - z) <= TOLERANCE[0] * z + TOLERANCE[1])
    u, v = (np.where(inside, at, -10.0).astype(np.float32) for at in (u, v))
    image = cv2.remap(target.image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    image[~seen] = 0
    difference = np.abs(image[seen].astype(np.float32) - reference.image[seen]).mean() / 255 if seen.any() else np.nan
    return Warp(image, inside, seen, float(difference))


def agreement(pairs: list[tuple[View, View]], convention: str = "as read") -> tuple[float, float]:
    """How well pairs agree if their poses were of a convention.

    Returns:
        Share of looked-up surfaces that are where they should be, and mean difference of colours there; NaN where
        nothing can be looked up. Surfaces that are really hidden lower the share a little.
    """
    change = CONVENTIONS[convention]
    inside = seen = 0
    colours: list[float] = []
    for first, second in pairs:
        views = [replace(view, world_from_camera=change(view.world_from_camera)) for view in (first, second)]
        for reference, target in (views, views[::-1]):
            found = warp(reference, target)
            inside += int(found.inside.sum())
            seen += int(found.seen.sum())
            if found.seen.any():
                colours.append(found.colour)
    total = sum(int((view.depth > 0).sum()) for pair in pairs for view in pair)
    if inside < 0.02 * max(total, 1):
        return float("nan"), float("nan")
    return seen / inside, float(np.mean(colours)) if colours else float("nan")
