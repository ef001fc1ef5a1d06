"""How far predicted points lie from the true ones.

All figures compare, pixel by pixel of the target view, a predicted point q with the true point p; both in the target
camera's frame, whose origin is the target camera.

* **Relative point error** ``|q - p| / |p|``: the miss over the true distance from the target camera. Medians of it over
  pixels are the headline.
* **AbsRel** ``|q_z - p_z| / p_z``, mean over pixels; **delta** the share with ``max(q_z / p_z, p_z / q_z) < 1.25``.
* **F-score** at a distance d: harmonic mean of precision (share of predicted points with a true point within d) and
  recall (share of true points with a predicted one within d). Neighbours are looked for among all points of the view;
  those judged are the part's, at the picked pixels.

* **Chamfer distance**, metres: the mean distance from a predicted point to the nearest true one, and back, halved; a
  mean over scenes.
* **Pose by PnP**: where the camera would have to stand to see the predicted points at their pixels, against where it
  was commanded to: degrees and metres.

A pixel for which a method has no point counts as if its point were the camera itself: error 1, AbsRel 1, outside delta.
In the F-score it costs recall.

*Seen* pixels show a surface that the reference view sees too, by the true depths of both views
(:meth:`PairBatch.seen`: within 5 % + 3 cm of the reference's depth there); *unseen* are the other pixels with depth.

Shape letters: B batch, H W pixels, n chosen pixels, N M points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ..data.views import PairBatch

__all__ = [
    "F_DISTANCES",
    "PARTS",
    "MethodRecord",
    "SceneTruth",
    "chamfer_distance",
    "depth_errors",
    "f_score",
    "hits",
    "measure",
    "motion_size",
    "recovered_pose",
    "relative_errors",
    "scene_truths",
]

PARTS = ("seen", "unseen", "all")
F_DISTANCES = (0.05, 0.10)  # metres
DELTA = 1.25
_PICKED = 64  # pixels along a side whose errors are kept; more say nothing new


@dataclass(frozen=True)
class SceneTruth:
    """What is true of one pair's target view."""

    index: int  # of the pair in its stream
    points: np.ndarray  # (H, W, 3) float32, target camera's frame
    valid: np.ndarray  # (H, W) bool: depth is known
    seen: np.ndarray  # (H, W) bool: the reference sees it too
    angle: float  # degrees that the camera turned
    baseline: float  # metres that it moved

    @property
    def pick(self) -> np.ndarray:
        """(H, W) bool: the pixels whose errors are kept, an even grid of those with depth."""
        height, width = self.valid.shape
        stride = max(1, math.ceil(max(height, width) / _PICKED))
        grid = np.zeros_like(self.valid)
        grid[stride // 2 :: stride, stride // 2 :: stride] = True
        return grid & self.valid


@dataclass(frozen=True)
class MethodRecord:
    """How one method did in one scene, at the n picked pixels, in the order of the picture."""

    error: np.ndarray  # (n,) float32, relative point error
    depth: np.ndarray  # (n,) float32, AbsRel of each
    within: np.ndarray  # (n,) bool, delta
    known: np.ndarray  # (n,) bool, whether there was a point
    hits: dict[str, np.ndarray]  # part -> (distances, 4): precise, predicted, recalled, true; counts for the F-score
    chamfer: float = math.nan  # metres


def scene_truths(batch: PairBatch) -> list[SceneTruth]:
    """The truth about each pair of a batch."""
    points, valid, seen = batch.points()[:, 1], batch.valid[:, 1], batch.seen()[:, 1]
    motions = batch.target_from_reference.cpu().double()
    return [
        SceneTruth(
            int(batch.index[number]),
            points[number].cpu().numpy(),
            valid[number].cpu().numpy(),
            (seen[number] & valid[number]).cpu().numpy(),
            *motion_size(motions[number]),
        )
        for number in range(len(batch))
    ]


def motion_size(target_from_reference: Tensor) -> tuple[float, float]:
    """Degrees turned (about any axis) and metres moved by a rigid transform (4, 4)."""
    turn, shift = target_from_reference[:3, :3], target_from_reference[:3, 3]
    # the angle by both sine and cosine: arccos alone has no digits left near 0
    sine = torch.stack([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]).norm() / 2
    cosine = (turn.diagonal().sum() - 1) / 2
    return math.degrees(math.atan2(float(sine), float(cosine))), float(shift.norm())


def relative_errors(points: np.ndarray, true: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Relative point errors (...) of points (..., 3); 1 where nothing is `known`."""
    missed = np.linalg.norm(points - true, axis=-1) / np.maximum(np.linalg.norm(true, axis=-1), 1e-6)
    return np.where(known & np.isfinite(missed), missed, 1.0).astype(np.float32)


def depth_errors(depth: np.ndarray, true: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AbsRel of each pixel (...) and whether it is within delta (...)."""
    absolute = np.abs(depth - true) / np.maximum(true, 1e-6)
    safe = np.where(known & (depth > 0), depth, 1e-9)
    within = np.maximum(safe / true, true / safe) < DELTA
    return np.where(known & np.isfinite(absolute), absolute, 1.0).astype(np.float32), known & within


def hits(predicted: np.ndarray, true: np.ndarray, of_predicted: np.ndarray, of_true: np.ndarray) -> np.ndarray:
    """Counts for the F-score at :data:`F_DISTANCES`.

    Args:
        predicted: (N, 3), what true points may be found near.
        true: (M, 3), what predicted points may be found near.
        of_predicted: (n, 3), the predicted points that are judged.
        of_true: (m, 3), the true points that are to be found.

    Returns:
        (distances, 4): precise, n, recalled, m.
    """
    farthest = max(F_DISTANCES) * (1 + 1e-6)
    away = _nearest(true, of_predicted, farthest)
    missing = _nearest(predicted, of_true, farthest)
    return np.array(
        [[(away <= d).sum(), len(of_predicted), (missing <= d).sum(), len(of_true)] for d in F_DISTANCES], np.int64
    )


def f_score(counts: np.ndarray) -> float:
    """F of (precise, predicted, recalled, true); 0 where nothing was predicted, NaN where there was nothing to find."""
    precise, predicted, recalled, true = (float(count) for count in counts)
    if not true:
        return math.nan
    precision, recall = precise / predicted if predicted else 0.0, recalled / true
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def measure(points: np.ndarray, known: np.ndarray, truth: SceneTruth, *, clouds: bool = True) -> MethodRecord:
    """All figures of one method in one scene.

    Args:
        points: (H, W, 3), target camera's frame.
        known: (H, W) bool, where the method has a point.
        truth: of the scene.
        clouds: whether to look for neighbours (F-score), which takes nearly all of the time.
    """
    known = known & np.isfinite(points).all(-1)
    pick = truth.pick
    at, true, there = points[pick], truth.points[pick], known[pick]
    depth, within = depth_errors(at[:, 2], true[:, 2], there)
    counts: dict[str, np.ndarray] = {}
    chamfer = math.nan
    if clouds:
        cloud, surface = points[known & truth.valid], truth.points[truth.valid]
        masks = {"seen": truth.seen, "unseen": truth.valid & ~truth.seen}
        for part, mask in masks.items():
            counts[part] = hits(cloud, surface, points[pick & mask & known], truth.points[pick & mask])
        counts["all"] = counts["seen"] + counts["unseen"]
        chamfer = chamfer_distance(at[there], true, cloud, surface)
    return MethodRecord(relative_errors(at, true, there), depth, within, there, counts, chamfer)


def chamfer_distance(
    of_predicted: np.ndarray, of_true: np.ndarray, predicted: np.ndarray | None = None, true: np.ndarray | None = None
) -> float:
    """Mean distance of predicted points (n, 3) to their nearest true ones and of true ones to predicted ones, halved.

    Args:
        of_predicted, of_true: the points that are judged.
        predicted, true: the clouds that the nearest are looked for in; None: the same points.
    """
    if not len(of_predicted) or not len(of_true):
        return math.nan
    there = cKDTree(of_true if true is None else true).query(of_predicted)[0].mean()
    back = cKDTree(of_predicted if predicted is None else predicted).query(of_true)[0].mean()
    return float(there + back) / 2


def recovered_pose(
    points: np.ndarray, intrinsics: np.ndarray, *, stride: int = 4, tolerance: float = 0.02
) -> tuple[float, float] | None:
    """How far the camera that sees points at their pixels is from the one it should be, by PnP with RANSAC.

    Args:
        points: (H, W, 3) in the frame of the camera as it was commanded.
        intrinsics: (3, 3).
        stride: every how many pixels are used.
        tolerance: of an inlier, as a share of the picture's width.

    Returns:
        degrees and metres; None if no pose explains the points.
    """
    height, width = points.shape[:2]
    v, u = np.mgrid[stride // 2 : height : stride, stride // 2 : width : stride]
    chosen, pixels = points[v, u].reshape(-1, 3), np.stack([u, v], -1).reshape(-1, 2).astype(np.float64)
    good = np.isfinite(chosen).all(-1)
    if good.sum() < 6:
        return None
    found, turn, shift, _ = cv2.solvePnPRansac(
        chosen[good].astype(np.float64),
        pixels[good],
        np.asarray(intrinsics, np.float64),
        None,
        iterationsCount=200,
        reprojectionError=tolerance * width,
        flags=cv2.SOLVEPNP_SQPNP,
    )
    if not found:
        return None
    rotation, _ = cv2.Rodrigues(turn)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3], pose[:3, 3] = torch.from_numpy(rotation), torch.from_numpy(shift.ravel())
    return motion_size(pose)


def _nearest(cloud: np.ndarray, queries: np.ndarray, farthest: float) -> np.ndarray:
    if not len(cloud) or not len(queries):
        return np.full(len(queries), np.inf)
    return cKDTree(cloud).query(queries, distance_upper_bound=farthest)[0]
