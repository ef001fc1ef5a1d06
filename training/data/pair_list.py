"""Lists of pairs: which two frames of which scene are trained on together. Frames are named, not numbered."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.scene.files import DAMAGED_NPZ

__all__ = ["DEFAULT_NAME", "PairList"]

DEFAULT_NAME = "uniugg_pairs.npz"  # where `uniugg data pairs` writes, and readers look, inside a data folder


@dataclass(frozen=True)
class PairList:
    """M pairs in S scenes."""

    layout: str  # of the reader that the names are of
    scenes: tuple[str, ...]
    scene: np.ndarray  # (M,) int32 into `scenes`
    reference: np.ndarray  # (M,) names
    target: np.ndarray  # (M,) names
    covisibility: np.ndarray  # (M, 2) float32: share of the reference that the target sees, and the other way round

    def __len__(self) -> int:
        return len(self.scene)

    @classmethod
    def collect(cls, layout: str, scenes: Iterable[tuple[str, Iterable[tuple[str, str, float, float]]]]) -> PairList:
        """From rows (reference, target, share, share) of each scene; scenes without rows are left out."""
        names, numbers, references, targets, shares = [], [], [], [], []
        for name, rows in scenes:
            rows = list(rows)
            if not rows:
                continue
            numbers += [len(names)] * len(rows)
            names.append(name)
            references += [row[0] for row in rows]
            targets += [row[1] for row in rows]
            shares += [row[2:4] for row in rows]
        return cls(
            layout,
            tuple(names),
            np.array(numbers, np.int32),
            np.array(references, str),
            np.array(targets, str),
            np.array(shares, np.float32).reshape(-1, 2),
        )

    def save(self, path: Path) -> None:
        """Writes ``.npz``, or ``.json`` for people.

        Raises:
            UniuggError: REQUEST_INVALID for another ending; INTERNAL if it cannot be written.
        """
        try:
            if path.suffix == ".npz":
                with path.open("wb") as file:
                    np.savez_compressed(
                        file,
                        layout=np.array(self.layout),
                        scenes=np.array(self.scenes, str),
                        scene=self.scene,
                        reference=self.reference,
                        target=self.target,
                        covisibility=self.covisibility,
                    )
            elif path.suffix == ".json":
                rows = zip(self.scene.tolist(), self.reference.tolist(), self.target.tolist(), self.covisibility)
                pairs = [[self.scenes[n], a, b, *(round(float(c), 4) for c in share)] for n, a, b, share in rows]
                path.write_text(json.dumps({"layout": self.layout, "pairs": pairs}, indent=1) + "\n")
            else:
                raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path.name} ends neither in .npz nor in .json")
        except OSError as error:
            raise UniuggError(ErrorCode.INTERNAL, f"{path} cannot be written: {error.strerror}") from error

    @classmethod
    def load(cls, path: Path) -> PairList:
        """The inverse of :meth:`save`.

        Raises:
            UniuggError: REQUEST_INVALID.
        """
        try:
            if path.suffix == ".json":
                data = json.loads(path.read_text())
                scenes: dict[str, list[tuple[str, str, float, float]]] = {}
                for scene, *row in data["pairs"]:
                    scenes.setdefault(scene, []).append((row[0], row[1], row[2], row[3]))
                return cls.collect(str(data["layout"]), scenes.items())
            with np.load(path, allow_pickle=False) as file:
                return cls(
                    str(file["layout"]),
                    tuple(file["scenes"].tolist()),
                    file["scene"],
                    file["reference"],
                    file["target"],
                    file["covisibility"],
                )
        except (OSError, ValueError, KeyError, IndexError, TypeError, *DAMAGED_NPZ) as error:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"{path} is no list of pairs: {error!r}") from None
