"""Single pictures as a source of the trainer, wherever they lie: what ImageNet folders and shards share."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import torch

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.images import decode_compressed

__all__ = ["Pictures", "SingleConfig", "SinglePictures", "square"]

_LOG = logging.getLogger(__name__)
_TRIES = 50


class Pictures(Protocol):
    """Encoded pictures by epoch and position; must survive pickling."""

    def __len__(self) -> int:
        """Pictures of an epoch."""
        ...

    def read(self, seed: int, epoch: int, position: int) -> bytes:
        """The encoded picture at a position of an epoch's order.

        Raises:
            UniuggError: IMAGE_MISSING or IMAGE_UNDECODABLE.
        """
        ...


@dataclass(frozen=True)
class SingleConfig:
    """How single pictures are cut."""

    size: int = 128  # side of the square pictures
    crop: tuple[float, float] = (0.5, 1.0)  # side of the random square, as a share of the shorter side
    mirror: bool = True  # half of the pictures are mirrored
    least: int = 64  # pictures with a shorter side are left out

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"data.options are out of range: {self}")


class SinglePictures:
    """Batches of kind "single"; damaged pictures are skipped and counted in `skipped`.

    Args:
        pictures: where they are.
        config: how they are cut.
        split: "train"; other splits are cut in the middle and never mirrored.
        seed: of order and cuts.
    """

    def __init__(self, pictures: Pictures, config: SingleConfig, split: str = "train", seed: int = 0) -> None:
        if not len(pictures):
            raise UniuggError(ErrorCode.IMAGE_MISSING, "there are no pictures")
        self.pictures, self.config, self.split, self.seed = pictures, config, split, seed
        self.skipped: Counter[str] = Counter()

    def __len__(self) -> int:
        """Pictures of an epoch."""
        return len(self.pictures)

    def image(self, index: int) -> np.ndarray:
        """Picture number `index` (size, size, 3); a damaged one is replaced by the next that is whole.

        Raises:
            UniuggError: IMAGE_UNDECODABLE if too many in a row are damaged.
        """
        epoch, position = divmod(index, len(self))
        for step in range(min(_TRIES, len(self))):
            try:
                image = decode_compressed(
                    self.pictures.read(self.seed, epoch, (position + step) % len(self)), upright=True
                )
                if min(image.shape[:2]) < self.config.least:
                    raise UniuggError(ErrorCode.IMAGE_MALFORMED, f"picture of {image.shape[1]} x {image.shape[0]}")
                return self._cut(image, index)
            except UniuggError as error:
                if not self.skipped[error.code.name]:
                    _LOG.warning("a picture is left out: %s", error)
                self.skipped[error.code.name] += 1
        raise UniuggError(ErrorCode.IMAGE_UNDECODABLE, f"{_TRIES} damaged pictures in a row; see `uniugg data check`")

    def batch(self, kind: str, indices: Sequence[int]) -> dict[str, Any]:
        """Pictures number `indices`: "image" (B, 3, H, W) uint8 and "index".

        Raises:
            UniuggError: REQUEST_INVALID for a kind other than "single".
        """
        if kind != "single":
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"single pictures have no {kind!r} batches")
        images = np.stack([self.image(index) for index in indices])
        return {
            "image": torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
            "index": torch.tensor(list(indices)),
        }

    def _cut(self, image: np.ndarray, index: int) -> np.ndarray:
        if self.split != "train":
            return square(image, self.config.size)
        rng = np.random.default_rng([self.seed, index])
        share, x, y, flip = rng.random(4)
        side = max(1, round(min(image.shape[:2]) * (self.config.crop[0] + share * np.ptp(self.config.crop))))
        left, top = (int(at * (length - side + 1)) for at, length in ((x, image.shape[1]), (y, image.shape[0])))
        cut = square(image[top : top + side, left : left + side], self.config.size)
        return np.ascontiguousarray(cut[:, ::-1]) if self.config.mirror and flip < 0.5 else cut


def square(image: np.ndarray, size: int) -> np.ndarray:
    """The centre square of a picture at `size` pixels, antialiased."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    method = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    return cv2.resize(image[top : top + side, left : left + side], (size, size), interpolation=method)
