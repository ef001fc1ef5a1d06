"""View: what was predicted for the pixels of one picture; and the checks it shares with Scene. H W pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..cameras import Camera, check_rigid
from ..errors import ErrorCode, UniuggError

__all__ = ["IMAGINED", "OBSERVED", "View", "checked_array", "moved", "sample_spreads", "source_number"]

OBSERVED = 0
IMAGINED = 1
_SOURCES = {"observed": OBSERVED, "imagined": IMAGINED, OBSERVED: OBSERVED, IMAGINED: IMAGINED}


@dataclass(frozen=True, eq=False)
class View:
    """What was predicted for the pixels of one picture.

    Args:
        image: (H, W, 3) uint8, the input's own colours or predicted ones.
        points: (H, W, 3) float32, in the scene's frame, metres.
        confidence: (H, W) float32, above 1 as the network gives it.
        camera: pinhole camera of `image`.
        scene_from_camera: (4, 4), where the camera stands.
        source: OBSERVED or IMAGINED.
        sample: which of several imagined samples this is.
        descriptors: (H, W, D) float32 of unit length, for matching.
        descriptor_confidence: (H, W) float32.

    Raises:
        UniuggError: REQUEST_INVALID if shapes or values do not fit; POSE_INVALID.
    """

    image: np.ndarray
    points: np.ndarray
    confidence: np.ndarray
    camera: Camera
    scene_from_camera: np.ndarray
    source: int
    sample: int = 0
    descriptors: np.ndarray | None = None
    descriptor_confidence: np.ndarray | None = None

    def __post_init__(self) -> None:
        image = checked_array(self, "image", np.uint8, (None, None, 3))
        height, width = image.shape[:2]
        checked_array(self, "points", np.float32, (height, width, 3))
        checked_array(self, "confidence", np.float32, (height, width))
        if self.descriptors is not None:
            checked_array(self, "descriptors", np.float32, (height, width, None))
        if self.descriptor_confidence is not None:
            checked_array(self, "descriptor_confidence", np.float32, (height, width))
        if (self.camera.width, self.camera.height) != (width, height):
            raise UniuggError(
                ErrorCode.REQUEST_INVALID,
                f"view of {width} x {height} has a camera of {self.camera.width} x {self.camera.height}",
            )
        object.__setattr__(self, "scene_from_camera", check_rigid(self.scene_from_camera, "scene_from_camera"))
        object.__setattr__(self, "source", source_number(self.source))

    def transform(self, new_from_old: ArrayLike) -> View:
        """The same view with points and pose in another scene frame."""
        transform = check_rigid(new_from_old, "new_from_old")
        return dataclasses.replace(
            self,
            points=moved(self.points, transform),
            scene_from_camera=transform @ self.scene_from_camera,
        )


def checked_array(owner: object, name: str, kind: type, shape: tuple[int | None, ...]) -> np.ndarray:
    """The field `name` of a frozen dataclass as an array of `kind`, once it has the shape; it is put back as that.

    Raises:
        UniuggError: REQUEST_INVALID.
    """
    array = np.asarray(getattr(owner, name))
    good = len(array.shape) == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape))
    if not good or array.dtype.kind not in "buif":
        wanted = tuple("any" if side is None else side for side in shape)
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, f"{name} is {array.shape} of {array.dtype}, expected {wanted} of {kind.__name__}"
        )
    array = array.astype(kind, copy=False)
    object.__setattr__(owner, name, array)
    return array


def source_number(value: int | str) -> int:
    """OBSERVED or IMAGINED, of either or of its name.

    Raises:
        UniuggError: REQUEST_INVALID.
    """
    try:
        return _SOURCES[value]
    except (KeyError, TypeError):
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, f"source is {value!r}, expected 0 (observed) or 1 (imagined)"
        ) from None


def moved(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Points (..., 3) float32 through a transform (4, 4)."""
    # float64 inside: a map frame may lie kilometres from its origin.
    return (points.astype(np.float64) @ transform[:3, :3].T + transform[:3, 3]).astype(np.float32)


def sample_spreads(views: Sequence[View]) -> list[np.ndarray]:
    """(H, W) metres for each view: how far the samples of the same view lie from their mean."""
    groups: dict[tuple, list[View]] = {}
    keys = [(view.source, view.points.shape, view.scene_from_camera.tobytes()) for view in views]
    for key, view in zip(keys, views):
        groups.setdefault(key, []).append(view)
    spreads = {}
    for key, members in groups.items():
        stack = np.stack([view.points for view in members])
        spreads[key] = np.sqrt(((stack - stack.mean(axis=0)) ** 2).sum(axis=-1).mean(axis=0))
    return [spreads[key] for key in keys]
