"""Several sources as one: each kind of batch drawn from those that serve it, in given shares.

    data:
      source: mixture
      options:
        parts:
          - {source: scannetpp, path: /data/scannetpp, weight: 1.0, kinds: [pair]}
          - {source: arkitscenes, path: /data/arkitscenes, weight: 1.0, kinds: [pair]}
          - {source: laion, path: /data/laion400m, weight: 0.8, kinds: [single]}
          - {source: imagenet, path: /data/imagenet, weight: 0.2, kinds: [single]}

A sample belongs to one part; the parts alternate within blocks of fixed composition, so that every part counts its own
samples without gaps and a resumed run goes on exactly where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from uniugg_core.errors import ErrorCode, UniuggError

from ..stream import Batch, Source

__all__ = ["Mixture", "Part"]

_BLOCK = 1000  # samples in which every part has its exact share


@dataclass(frozen=True)
class Part:
    """A source with its share of each kind it serves."""

    source: Source
    weight: float
    kinds: tuple[str, ...]


class Mixture:
    """See the module.

    Args:
        parts: the sources.
        seed: of the order in which they alternate.

    Raises:
        UniuggError: REQUEST_INVALID if there are none or weights are not above 0.
    """

    def __init__(self, parts: Sequence[Part], seed: int = 0) -> None:
        if not parts or not all(part.weight > 0 for part in parts):
            raise UniuggError(ErrorCode.REQUEST_INVALID, "a mixture needs parts, each with a weight above 0")
        self.parts, self.seed = tuple(parts), seed
        self._blocks: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def place(self, kind: str, index: int) -> tuple[int, int]:
        """Which part sample number `index` of a kind is from, and its number there."""
        block, position = divmod(index, _BLOCK)
        part, rank = self._block(kind)
        mine = int(part[position])
        return mine, block * int((part == mine).sum()) + int(rank[position])

    def batch(self, kind: str, indices: Sequence[int]) -> Batch:
        """Samples number `indices`; each part makes its own together, and they return to their order."""
        places = [self.place(kind, index) for index in indices]
        made: list[Mapping[str, Any] | None] = [None] * len(indices)
        for number in sorted({part for part, _ in places}):
            rows = [row for row, (part, _) in enumerate(places) if part == number]
            batch = self.parts[number].source.batch(kind, [places[row][1] for row in rows])
            for at, row in enumerate(rows):
                made[row] = {key: value[at : at + 1] for key, value in batch.items() if key != "kind"}
        joined = _joined(made)  # type: ignore[arg-type]
        return {**joined, "index": torch.tensor(list(indices))}

    def _block(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        if kind not in self._blocks:
            able = [number for number, part in enumerate(self.parts) if kind in part.kinds]
            if not able:
                raise UniuggError(ErrorCode.REQUEST_INVALID, f"no part of the mixture serves {kind!r} batches")
            weights = np.array([self.parts[number].weight for number in able])
            exact = weights / weights.sum() * _BLOCK
            counts = np.floor(exact).astype(int)
            counts[np.argsort(counts - exact, kind="stable")[: _BLOCK - counts.sum()]] += 1
            # evenly spread: the k-th of c samples of a part wants to stand at (k + 1/2) / c
            wanted = [((np.arange(count) + 0.5) / max(count, 1), number) for number, count in zip(able, counts)]
            where = np.concatenate([at for at, _ in wanted])
            part = np.concatenate([np.full(len(at), number) for at, number in wanted])
            tie = np.random.default_rng(self.seed).random(len(where)) * 1e-6
            part = part[np.argsort(where + tie, kind="stable")]
            rank = np.zeros(len(part), int)
            for number in able:
                rank[part == number] = np.arange((part == number).sum())
            self._blocks[kind] = part, rank
        return self._blocks[kind]


def _joined(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of one sample each, stacked; what only some parts have (instances, classes) is left out."""
    names = [name for name in rows[0] if all(name in row for row in rows)]
    out: dict[str, Any] = {}
    for name in names:
        values = [row[name] for row in rows]
        if isinstance(values[0], tuple):
            out[name] = tuple(entry for value in values for entry in value)
            continue
        views = {value.shape[1] if value.dim() > 2 else 0 for value in values}
        if name in ("image", "depth", "intrinsics", "reference_from_view") and len(views) > 1:
            most = max(views)  # conversations with several pictures beside pairs
            values = [torch.cat([value, *[value[:, -1:]] * (most - value.shape[1])], 1) for value in values]
        out[name] = torch.cat(values)
    return out
