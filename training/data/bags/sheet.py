"""The contact sheet: pairs with the reference warped into the target, so that a wrong convention is seen at once."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from uniugg_core.cameras import Camera
from uniugg_core.render import render_points

from ..covisibility import lift
from ..views import View

__all__ = ["contact_sheet", "warped"]

_GAP, _TITLE = 6, 22
_COLUMNS = ("reference", "target", "reference moved to the target", "target with the moved one in stripes")


def warped(reference: View, target: View) -> np.ndarray:
    """What the reference's picture, depth and pose say that the target camera sees; (H, W, 3) uint8, holes black."""
    points = lift(reference.depth, reference.intrinsics, reference.world_from_camera)
    height, width = target.image.shape[:2]
    known = np.isfinite(points[..., 2])
    drawn = render_points(
        points[known],
        reference.image[known],
        Camera(width, height, target.intrinsics),
        target.world_from_camera,
        splat=2,
        fill_holes=0,
    )
    return drawn.rgb


def contact_sheet(pairs: Sequence[tuple[View, View, str]], side: int = 240) -> np.ndarray:
    """One row a pair: reference, target, the reference moved into the target, and the two in alternating stripes.

    Args:
        pairs: reference, target and what to write above the row.
        side: height of a picture in pixels.

    Returns:
        (H, W, 3) uint8. Where poses, calibration and depth are right, the last two pictures continue each other.
    """
    rows = []
    for reference, target, title in pairs:
        moved = warped(reference, target)
        hit = moved.any(-1)
        stripes = target.image.copy()
        odd = (np.arange(stripes.shape[1]) // max(8, stripes.shape[1] // 12)) % 2 == 1
        mask = hit & odd[None, :]
        stripes[mask] = moved[mask]
        tiles = [_tile(image, side) for image in (reference.image, target.image, moved, stripes)]
        rows.append(_titled(np.concatenate([_padded(tile) for tile in tiles], axis=1), tiles, title))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])


def _tile(image: np.ndarray, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    method = cv2.INTER_AREA if height > side else cv2.INTER_LINEAR
    return cv2.resize(image, (max(1, round(width * side / height)), side), interpolation=method)


def _padded(tile: np.ndarray) -> np.ndarray:
    return np.pad(tile, ((_TITLE, _GAP), (0, _GAP), (0, 0)), constant_values=24)


def _titled(row: np.ndarray, tiles: Sequence[np.ndarray], title: str) -> np.ndarray:
    row, x = np.ascontiguousarray(row), 0
    for text, tile in zip((f"{_COLUMNS[0]}: {title}", *_COLUMNS[1:]), tiles):
        room = tile.shape[1] // 7  # a letter is about seven pixels wide at this size
        cv2.putText(row, text[:room], (x + 4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (220, 220, 220), 1, cv2.LINE_AA)
        x += tile.shape[1] + _GAP
    return row
