"""Contact sheets of recorded data: pairs with one view warped into the other, and pictures with their texts."""

from __future__ import annotations

import textwrap

import cv2
import numpy as np

from .single import square
from .views import View
from .warping import warp

__all__ = ["pair_rows", "picture_rows"]

_SIDE = 224
_GAP = 4
_TITLES = ("reference", "target", "target seen from the reference", "difference", "depth", "target's depth")


def pair_rows(pairs: list[tuple[View, View]]) -> list[np.ndarray]:
    """A row a pair: both views, the second warped into the first, their difference, both depths; (h, W, 3) each."""
    rows = []
    for pair in pairs:
        reference, target = (view.square(_SIDE) for view in pair)
        found = warp(reference, target)
        grey = np.repeat(reference.image.mean(-1, keepdims=True) * 0.25, 3, -1).astype(np.uint8)
        warped = np.where(found.seen[..., None], found.image, grey)
        # red: the target's depth contradicts; black to white: colours differ
        apart = np.abs(found.image.astype(np.int16) - reference.image).max(-1).astype(np.uint8)
        difference = np.repeat(np.where(found.seen, apart, 0)[..., None], 3, -1)
        difference[found.inside & ~found.seen] = (170, 40, 40)
        cells = [
            reference.image,
            target.image,
            warped,
            difference,
            *_depths(reference, target),
        ]
        share = f"{found.agreement:.0%}" if np.isfinite(found.agreement) else "nothing in view"
        title = f"{reference.name} | {target.name}   in place: {share}, colours differ by {found.colour:.3f}"
        rows.append(_titled(_row(cells), title))
    if rows:
        rows.insert(0, _row([_label(title, _SIDE) for title in _TITLES]))
    return rows


def picture_rows(shown: list[tuple[np.ndarray, str]], columns: int = 6) -> np.ndarray:
    """Pictures with their texts below, `columns` a row; (H, W, 3)."""
    cells = []
    for image, text in shown:
        lines = textwrap.wrap(text.encode("ascii", "replace").decode(), 36)[:4]
        words = np.concatenate([_label(line, _SIDE) for line in (lines + [""] * 4)[:4]])
        cells.append(np.concatenate([square(image, _SIDE), words]))
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (-len(cells) % columns)
    return np.concatenate([_row(cells[at : at + columns]) for at in range(0, len(cells), columns)])


def _depths(*views: View) -> list[np.ndarray]:
    """Depth in colours that span what these views have: near is yellow, far is dark, unknown is black."""
    known = np.concatenate([view.depth[view.depth > 0] for view in views])
    near, far = np.log(np.percentile(known, (1, 99))) if len(known) else (0.0, 1.0)
    out = []
    for view in views:
        share = (far - np.log(np.maximum(view.depth, 1e-3))) / max(far - near, 1e-6)
        level = np.rint(np.clip(share, 0.0, 1.0) * 215 + 40).astype(np.uint8)
        colours = cv2.cvtColor(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
        out.append(np.where(view.depth[..., None] > 0, colours, 0).astype(np.uint8))
    return out


def _row(cells: list[np.ndarray]) -> np.ndarray:
    gap = np.full((cells[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([part for cell in cells for part in (cell, gap)][:-1], 1)


def _titled(row: np.ndarray, title: str) -> np.ndarray:
    return np.concatenate([_label(title, row.shape[1]), row])


def _label(text: str, width: int) -> np.ndarray:
    out = np.full((18, width, 3), 255, np.uint8)
    text = text.encode("ascii", "replace").decode()
    return cv2.putText(out, text, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (30, 30, 30), 1, cv2.LINE_AA)
