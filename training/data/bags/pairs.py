"""Which two frames of a recording make a pair: enough in common to be about one place, enough apart to be a question.

Candidates come from poses alone; how much each view sees of the other is then measured from depth. Small depth maps do:
48 rows say as much about overlap as 480.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from uniugg_core.cameras import Camera, inverse_rigid

from ..covisibility import TOLERANCE, covisibility, lift

__all__ = ["PairLimits", "PoseCheck", "candidates", "check_poses", "choose", "confirmed", "measure", "shrink"]

SMALL = 64  # pixels of the longer side of a small depth map
_CHUNK = 256  # pairs measured in one piece


@dataclass(frozen=True)
class PairLimits:
    """What counts as a pair. Lengths in metres, angles in degrees, overlaps as shares of the pixels with depth."""

    min_overlap: float = 0.15  # the smaller of the two directions
    max_overlap: float = 0.95  # the larger of the two; more is the same picture again
    min_baseline: float = 0.05  # together with `min_angle`: one of them must be reached
    min_angle: float = 3.0
    max_baseline: float = 4.0
    max_angle: float = 90.0
    tries: int = 40  # candidates of each frame that are measured
    per_frame: int = 8  # pairs kept of each frame, spread over the overlaps


@dataclass(frozen=True)
class PoseCheck:
    """How well depth and poses agree, read in the ways that recordings get wrong: mean overlap of near frames."""

    pairs: int
    as_given: float
    inverted: float  # the matrices are world-to-camera
    body_axes: float  # x forward, y left, z up: a body frame taken for an optical frame

    @property
    def suspicion(self) -> str | None:
        """What is probably wrong, in words; None if nothing is."""
        wrong = {
            "the poses look like world-to-camera matrices": self.inverted,
            "the poses look like a body frame's (x forward); name the optical one with --camera-frame": self.body_axes,
        }
        text, best = max(wrong.items(), key=lambda item: item[1])
        if self.pairs and best > self.as_given + 0.1:
            return f"{text} (near frames then overlap by {best:.0%}, as given by {self.as_given:.0%})"
        if self.pairs and self.as_given < 0.2:
            return f"frames near in time overlap by {self.as_given:.0%} only: poses, calibration or depth may be wrong"
        return None


def shrink(depth: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """A small depth map (h, w) of every so-manieth pixel, and its K (3, 3)."""
    height, width = depth.shape
    scale = max(1.0, max(height, width) / SMALL)
    h, w = max(1, round(height / scale)), max(1, round(width / scale))
    rows = np.rint((np.arange(h) + 0.5) * height / h - 0.5).astype(int)
    columns = np.rint((np.arange(w) + 0.5) * width / w - 0.5).astype(int)
    return depth[np.ix_(rows, columns)], camera.scaled(w, h).matrix


def candidates(poses: np.ndarray, segments: np.ndarray, limits: PairLimits, seed: int = 0) -> np.ndarray:
    """(M, 4): i < j, baseline and angle of pairs that the limits on motion allow; at most `tries` for each i.

    Args:
        poses: (N, 4, 4) world_from_camera.
        segments: (N,); frames of different ones make no pair.
    """
    found, rng = [], np.random.default_rng(seed)
    for i in range(len(poses) - 1):
        rest = slice(i + 1, None)
        apart = np.linalg.norm(poses[rest, :3, 3] - poses[i, :3, 3], axis=-1)
        trace = np.einsum("nij,ij->n", poses[rest, :3, :3], poses[i, :3, :3])
        angle = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
        good = (apart <= limits.max_baseline) & (angle <= limits.max_angle) & (segments[rest] == segments[i])
        good &= (apart >= limits.min_baseline) | (angle >= limits.min_angle)
        js = np.flatnonzero(good)
        if len(js) > limits.tries:
            js = np.sort(rng.choice(js, limits.tries, replace=False))
        found.append(np.stack([np.full(len(js), i), js + i + 1, apart[js], angle[js]], axis=-1))
    return np.concatenate(found) if found else np.zeros((0, 4))


def measure(
    depth: np.ndarray,
    intrinsics: np.ndarray,
    poses: np.ndarray,
    pairs: np.ndarray,
    pool: Executor | None = None,
    progress: Callable[[int], object] = lambda done: None,
) -> np.ndarray:
    """(M, 2): what each of pairs (M, 2) sees of the other, in both directions.

    Args:
        depth: (N, h, w) small depth maps.
        intrinsics: (N, 3, 3) of the small maps.
        poses: (N, 4, 4) world_from_camera.
        pool: processes to share the work; None does it here.
        progress: told how many pairs are done.
    """
    jobs = []
    for start in range(0, len(pairs), _CHUNK):
        part = pairs[start : start + _CHUNK].astype(np.int64)
        used, local = np.unique(part, return_inverse=True)
        local = local.reshape(part.shape)
        jobs.append((depth[used], intrinsics[used], poses[used], local))
    results, done = [], 0
    for result in pool.map(_both_ways, jobs) if pool else map(_both_ways, jobs):
        results.append(result)
        done += len(result)
        progress(done)
    return np.concatenate(results) if results else np.zeros((0, 2), np.float32)


def choose(pairs: np.ndarray, overlaps: np.ndarray, limits: PairLimits, seed: int = 0) -> np.ndarray:
    """Numbers of the pairs to keep: within the limits, `per_frame` for each first frame, from little to much overlap.

    Args:
        pairs: (M, 2).
        overlaps: (M, 2).
    """
    low, high = overlaps.min(-1), overlaps.max(-1)
    good = np.flatnonzero((low >= limits.min_overlap) & (high <= limits.max_overlap))
    rng = np.random.default_rng(seed)
    kept = []
    for first in np.unique(pairs[good, 0]):
        mine = good[pairs[good, 0] == first]
        if len(mine) > limits.per_frame:
            mine = mine[np.argsort(low[mine], kind="stable")]
            # one from each of equally many neighbours in the order of overlap
            edges = np.linspace(0, len(mine), limits.per_frame + 1).astype(int)
            mine = np.array([mine[rng.integers(a, b)] for a, b in zip(edges, edges[1:])])
        kept.append(np.sort(mine))
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)


def check_poses(
    depth: np.ndarray, intrinsics: np.ndarray, poses: np.ndarray, segments: np.ndarray, most: int = 60
) -> PoseCheck:
    """Compares readings of the poses on frames near in time that have moved enough to tell them apart."""
    near = []
    for i in range(len(poses) - 1):
        for j in range(i + 1, min(i + 30, len(poses))):
            move = inverse_rigid(poses[i]) @ poses[j]
            angle = np.degrees(np.arccos(np.clip((np.trace(move[:3, :3]) - 1) / 2, -1, 1)))
            shift = np.linalg.norm(move[:3, 3])
            if segments[i] != segments[j] or angle > 30 or shift > 0.8:
                break
            if shift > 0.15 or angle > 8:
                near.append((i, j))
                break
    if not near:
        return PoseCheck(0, 0.0, 0.0, 0.0)
    pairs = np.array(near)[np.linspace(0, len(near) - 1, min(most, len(near))).astype(int)]
    body = np.eye(4)
    body[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]  # body_from_optical: what should have been multiplied on
    readings = (poses, inverse_rigid(poses), poses @ body)
    means = [float(np.mean(covisibility(depth, intrinsics, reading, pairs, stride=2))) for reading in readings]
    return PoseCheck(len(pairs), *means)


def confirmed(depth: np.ndarray, intrinsics: np.ndarray, poses: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """The segments (N,) joined where depth says that a fast step was a motion and no jump.

    It was a motion if, both ways, the frames share surfaces and hardly any point of one hangs in the air before what
    the other sees there. (A point behind what the other sees may be hidden and says nothing.)
    """
    joined = np.zeros(len(segments), np.int64)
    for i in np.flatnonzero(np.diff(segments) != 0):
        views = [(depth[n], intrinsics[n], poses[n]) for n in (i, i + 1)]
        both = [_agreement(*views), _agreement(*views[::-1])]
        joined[i + 1] = not all(same >= 0.15 and floating <= 0.25 * same for same, floating in both)
    return np.cumsum(joined)


_View = tuple[np.ndarray, np.ndarray, np.ndarray]  # small depth map, its K, its pose


def _agreement(view: _View, other: _View) -> tuple[float, float]:
    """Shares of a view's points that lie on what another view sees, and that hang before it."""
    points = lift(*view).reshape(-1, 3)
    points = points[np.isfinite(points[:, 2])]
    depth, k, pose = other
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    ahead = local[:, 2] > 1e-3
    pixels = np.rint(local[ahead, :2] / local[ahead, 2:] * k[[0, 1], [0, 1]] + k[:2, 2]).astype(np.int64)
    inside = ((pixels >= 0) & (pixels < depth.shape[::-1])).all(-1)
    there, z = depth[pixels[inside, 1], pixels[inside, 0]], local[ahead, 2][inside]
    slack = TOLERANCE[0] * z + TOLERANCE[1]
    same = (there > 0) & (np.abs(there - z) <= slack)
    return float(same.sum() / max(len(points), 1)), float((there - z > slack).sum() / max(len(points), 1))


def _both_ways(job: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    depth, intrinsics, poses, pairs = job
    forth = covisibility(depth, intrinsics, poses, pairs, stride=2)
    back = covisibility(depth, intrinsics, poses, pairs[:, ::-1], stride=2)
    return np.stack([forth, back], -1)
