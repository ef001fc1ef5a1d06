"""Distances between two sets of feature vectors: Frechet's, and the kernel distance.

With the features of Inception-v3 these are FID (Heusel et al. 2017) and KID (Binkowski et al. 2018); with any others
they have other names. All in double precision.

The Frechet distance needs the trace of the square root of a product of covariances. Written as C = A^T A with the
centred, scaled features A (or the triangle of their QR decomposition), that trace is the sum of the singular values of
A_1 A_2^T. This needs no root of a matrix: covariances without full rank (fewer vectors than dimensions, constant or
repeated features) cost no accuracy, where roots of eigenvalues that should be 0 would.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError

__all__ = ["KernelDistance", "frechet_distance", "kernel_distance", "load_features", "polynomial_mmd"]

SUBSET_SIZE, SUBSETS = 1000, 100  # of KID as it is commonly reported


@dataclass(frozen=True)
class KernelDistance:
    """The kernel distance: unbiased, so that it may be slightly below 0 for equal distributions; it is not clipped.

    Args:
        mean: over the subsets.
        std: over the subsets (divided by their number, as torchmetrics and torch-fidelity do).
        whole: of all vectors at once, in which nothing is random.
        subsets: their number.
        subset_size: vectors of each set in a subset.
    """

    mean: float
    std: float
    whole: float
    subsets: int
    subset_size: int


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The squared Frechet distance of two normal distributions fitted to the vectors.

    Args:
        first: (n, d), n at least 2.
        second: (m, d), m at least 2.

    Returns:
        ``|mu_1 - mu_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2))`` with covariances divided by n - 1.

    Raises:
        UniuggError: REQUEST_INVALID for other shapes, NON_FINITE.
    """
    first, second = _checked(first, second)
    root_1, root_2 = _factor(first), _factor(second)
    difference = first.mean(axis=0) - second.mean(axis=0)
    common = np.linalg.svd(root_1 @ root_2.T, compute_uv=False).sum()
    return float(difference @ difference + np.square(root_1).sum() + np.square(root_2).sum() - 2 * common)


def kernel_distance(
    first: np.ndarray,
    second: np.ndarray,
    *,
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = 0,
) -> KernelDistance:
    """Mean and spread of the unbiased kernel distance over random subsets, drawn without replacement.

    Args:
        first: (n, d).
        second: (m, d).
        subsets: how many.
        subset_size: vectors of each set; at most the smaller set.
        seed: of the draws.

    Raises:
        UniuggError: REQUEST_INVALID, NON_FINITE.
    """
    first, second = _checked(first, second)
    size = min(subset_size, len(first), len(second))
    if subsets < 1 or size < 2:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{subsets} subsets of {size}: at least 1 of 2 are needed")
    generator = np.random.default_rng(seed)
    # Small sets: every pair's kernel once, and subsets picked from the table. Large ones would not fit in memory.
    table = _Table(first, second) if max(len(first), len(second)) <= _TABLE else None
    values = []
    for _ in range(subsets):
        chosen = [generator.choice(len(vectors), size, replace=False) for vectors in (first, second)]
        values.append(table.mmd(*chosen) if table else polynomial_mmd(first[chosen[0]], second[chosen[1]]))
    return KernelDistance(
        mean=float(np.mean(values)),
        std=float(np.std(values)),
        whole=polynomial_mmd(first, second),
        subsets=subsets,
        subset_size=size,
    )


def polynomial_mmd(first: np.ndarray, second: np.ndarray) -> float:
    """The unbiased squared maximum mean discrepancy with kernel ``(x.y / d + 1)^3``; the sets may differ in size."""
    first, second = _checked(first, second)
    return float(_within(first) + _within(second) - 2 * _kernel_sum(first, second) / (len(first) * len(second)))


def load_features(path: Path) -> np.ndarray:
    """(n, d) float64 of a ``.npy`` file; more dimensions behind the first are laid out in a row.

    Raises:
        UniuggError: REQUEST_INVALID.
    """
    try:
        features = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path}: no array of numbers ({error})") from None
    if not isinstance(features, np.ndarray) or features.ndim < 2 or features.dtype.kind not in "fiu":
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path}: not an array (n, d) of numbers")
    return features.reshape(len(features), -1).astype(np.float64)


_ROWS = 2048  # of a kernel matrix in memory at once
_TABLE = 4096  # vectors of a set whose whole kernel matrices are kept: 128 MiB each


class _Table:
    """The kernel of every pair."""

    def __init__(self, first: np.ndarray, second: np.ndarray) -> None:
        pairs = ((first, first), (second, second), (first, second))
        self.first, self.second, self.across = ((a @ b.T / a.shape[1] + 1.0) ** 3 for a, b in pairs)

    def mmd(self, chosen_1: np.ndarray, chosen_2: np.ndarray) -> float:
        """As :func:`polynomial_mmd` of the chosen vectors."""
        within = 0.0
        for kernel, chosen in ((self.first, chosen_1), (self.second, chosen_2)):
            part = kernel[np.ix_(chosen, chosen)]
            within += (part.sum() - np.trace(part)) / (len(chosen) * (len(chosen) - 1))
        return float(within - 2 * self.across[np.ix_(chosen_1, chosen_2)].mean())


def _kernel_sum(first: np.ndarray, second: np.ndarray) -> float:
    width = first.shape[1]
    parts = (first[start : start + _ROWS] for start in range(0, len(first), _ROWS))
    return float(sum(((part @ second.T / width + 1.0) ** 3).sum() for part in parts))


def _within(vectors: np.ndarray) -> float:
    diagonal = ((np.square(vectors).sum(axis=1) / vectors.shape[1] + 1.0) ** 3).sum()
    return (_kernel_sum(vectors, vectors) - float(diagonal)) / (len(vectors) * (len(vectors) - 1))


def _factor(vectors: np.ndarray) -> np.ndarray:
    """A with A^T A the covariance, with as few rows as there are."""
    centred = (vectors - vectors.mean(axis=0)) / np.sqrt(len(vectors) - 1)
    return np.linalg.qr(centred, mode="r") if len(centred) > centred.shape[1] else centred


def _checked(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    arrays = tuple(np.asarray(vectors, dtype=np.float64) for vectors in (first, second))
    shapes = " and ".join(str(array.shape) for array in arrays)
    if any(array.ndim != 2 for array in arrays) or arrays[0].shape[1:] != arrays[1].shape[1:]:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"features of shapes {shapes}; both must be (n, d) with one d")
    if min(map(len, arrays)) < 2 or arrays[0].shape[1] < 1:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"features of shapes {shapes}; at least two vectors of each")
    if not all(np.isfinite(array).all() for array in arrays):
        raise UniuggError(ErrorCode.NON_FINITE, "features with NaN or infinity in them")
    return arrays[0], arrays[1]
