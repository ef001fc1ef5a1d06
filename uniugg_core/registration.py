"""How two real pictures lie to each other: landmarks found in both, and the points that each picture shows there.

A small network tells roughly how far a camera turned. Where both pictures show the same corners, their pixels tell it
far better, and the points that the decoder sees in one of them say how far it went, in metres.

1. SIFT landmarks (Lowe 2004) of both, described by square roots of shares (Arandjelović and Zisserman 2012), matched
   where each is clearly the other's nearest.
2. Perspective-n-point with RANSAC, from the points of each picture to the pixels of the other; refined on what fits.
3. The two estimates must agree, and their mean is the answer. Without enough landmarks there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .cameras import inverse_rigid

__all__ = ["Sighted", "register"]

_SIDE = 256  # pixels; smaller pictures are enlarged, for their landmarks are finer than their pixels
_LANDMARKS = 500
_CONTRAST = 0.01
_CLEARLY = 0.8  # of the second nearest descriptor's distance: Lowe's ratio
_MISS = 2.0 / 128  # of a picture's width: a landmark that far from where it should be does not fit
_ITERATIONS = 300
_ROUNDS = 2  # of refining and looking again what fits
_FEWEST = 6  # landmarks that one estimate rests on
_ENOUGH = 12  # that both together do
_AGREE = np.radians(10.0)  # two estimates that differ by more are none
_NEAR = 0.05  # metres


@dataclass(frozen=True)
class Sighted:
    """One real picture and what it shows.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        points: (H, W, 3) metres in its camera's frame, the point seen at each pixel.
        matrix: (3, 3) its pinhole calibration in pixels.
    """

    image: np.ndarray
    points: np.ndarray
    matrix: np.ndarray


def register(first: Sighted, second: Sighted) -> np.ndarray | None:
    """The pose first_from_second (4, 4) of two pictures' cameras, or None where too little says it.

    The same pictures give the same pose. Distances are in the pictures' own metres: if these are off, so is the shift.
    """
    pixels_a, described_a = _landmarks(first.image)
    pixels_b, described_b = _landmarks(second.image)
    mine, theirs = _matched(described_a, described_b)
    pixels_a, pixels_b = pixels_a[mine], pixels_b[theirs]
    there, fit = _solved(first.points, pixels_a, pixels_b, second.matrix)
    back, fit_back = _solved(second.points, pixels_b, pixels_a, first.matrix)
    if there is None or back is None or fit + fit_back < _ENOUGH:
        return None
    pose = inverse_rigid(there)
    turn, _ = cv2.Rodrigues(pose[:3, :3].T @ back[:3, :3])
    if np.linalg.norm(turn) > _AGREE:
        return None
    share = fit_back / (fit + fit_back)
    mean = np.eye(4)
    mean[:3, :3] = pose[:3, :3] @ cv2.Rodrigues(turn * share)[0]
    mean[:3, 3] = (1 - share) * pose[:3, 3] + share * back[:3, 3]
    return mean


def _landmarks(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 2) of a picture's landmarks, and what they look like (n, 128), of unit length."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    up = max(1, round(_SIDE / max(grey.shape)))
    if up > 1:
        grey = cv2.resize(grey, None, fx=up, fy=up, interpolation=cv2.INTER_CUBIC)
    sift = cv2.SIFT_create(nfeatures=_LANDMARKS, contrastThreshold=_CONTRAST)
    found, described = sift.detectAndCompute(grey, None)
    if described is None:
        return np.zeros((0, 2)), np.zeros((0, 128), np.float32)
    pixels = (np.array([one.pt for one in found], np.float64) + 0.5) / up - 0.5
    return pixels, np.sqrt(described / np.maximum(described.sum(1, keepdims=True), 1e-6))


def _matched(mine: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the landmarks that are each other's nearest, and clearly so."""
    if len(mine) < 2 or len(theirs) < 2:
        return np.zeros(0, int), np.zeros(0, int)
    away = np.sqrt(np.maximum(2 - 2 * mine @ theirs.T, 0))
    own = np.arange(len(mine))
    nearest, next_one = np.argpartition(away, 1, axis=1)[:, :2].T
    good = (away[own, nearest] < _CLEARLY * away[own, next_one]) & (away.argmin(0)[nearest] == own)
    return own[good], nearest[good]


def _solved(
    points: np.ndarray, pixels: np.ndarray, others: np.ndarray, matrix: np.ndarray
) -> tuple[np.ndarray | None, int]:
    """The pose other_from_own (4, 4) in which a picture's points lie at the other's pixels, and how many do."""
    height, width = points.shape[:2]
    u, v = np.rint(pixels).astype(int).T.clip(0, [[width - 1], [height - 1]])
    world = points[v, u].astype(np.float64)
    known = np.isfinite(world).all(-1)
    world, others, matrix = world[known], others[known], np.asarray(matrix, np.float64)
    if len(world) < _FEWEST:
        return None, 0
    miss = _MISS * width
    try:
        found, rotation, translation, fits = cv2.solvePnPRansac(
            world,
            others,
            matrix,
            None,
            iterationsCount=_ITERATIONS,
            reprojectionError=miss,
            flags=cv2.SOLVEPNP_EPNP,
        )
        if not found or fits is None or len(fits) < _FEWEST:
            return None, 0
        fits = fits[:, 0]
        for _ in range(_ROUNDS):
            rotation, translation = cv2.solvePnPRefineLM(world[fits], others[fits], matrix, None, rotation, translation)
            seen = cv2.projectPoints(world, rotation, translation, matrix, None)[0][:, 0]
            ahead = (world @ cv2.Rodrigues(rotation)[0].T + translation.T)[:, 2] > _NEAR
            fits = np.flatnonzero((np.linalg.norm(seen - others, axis=1) < miss) & ahead)
            if len(fits) < _FEWEST:
                return None, 0
    except cv2.error:  # degenerate points are an error to OpenCV; to us they are an answer
        return None, 0
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(rotation)[0], translation[:, 0]
    return (pose, len(fits)) if np.isfinite(pose).all() else (None, 0)
