"""Grouping points by the cube of space they lie in."""

from __future__ import annotations

import numpy as np

from ..errors import ErrorCode, UniuggError

__all__ = ["voxel_groups"]


def voxel_groups(points: np.ndarray, source: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """An order that puts points of one voxel and source side by side, and where each group starts.

    Raises:
        UniuggError: REQUEST_INVALID if there are too many cubes to number.
    """
    cells = np.floor(points.astype(np.float64) / size)
    cells -= cells.min(axis=0)
    spans = cells.max(axis=0) + 1
    if not 2.0 * spans.prod() < 2.0**62:
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, f"voxel size {size} is too small for a scene {(spans * size).max():.4g} m long"
        )
    x, y, z = cells.astype(np.int64).T
    _, span_y, span_z = (int(span) for span in spans)
    keys = ((x * span_y + y) * span_z + z) * 2 + source
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    return order, np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
