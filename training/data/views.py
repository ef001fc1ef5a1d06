"""The one sample type of training: a pair of views, whatever it was recorded or rendered from, and its batch.

Conventions: OpenCV cameras, pixel centres at integers, metres, ``target_from_source`` names. Shape letters of batches:
B pairs, 2 views (0 the reference, 1 the target), H W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uniugg_core.cameras import Camera, inverse_rigid, square_crop
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.pointmaps import inverse_transform, project, transform_points, unproject

from .covisibility import TOLERANCE
from .graph import SceneGraph

__all__ = ["BOX", "PairBatch", "View", "ViewPair"]

# Numbers of `PairBatch.boxes`: the middle of a thing's box in the view's own camera frame; width, depth and height; how
# far the ellipse in its footprint reaches to the camera's right, between that and ahead, ahead, and between that and
# the left. Metres.
BOX = 3 + 3 + 4


@dataclass(frozen=True)
class View:
    """One picture with its geometry. Immutable; :meth:`check` says what is wrong with a bad one."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    depth: np.ndarray  # (H, W) float32 metres along the optical axis; 0 where nothing is known
    intrinsics: np.ndarray  # (3, 3) float64 K in pixels of this image
    world_from_camera: np.ndarray  # (4, 4) float64
    instances: np.ndarray | None = None  # (H, W) uint8 object ids of the scene graph, 0 nothing
    classes: np.ndarray | None = None  # (H, W) uint8 class ids, see `training.data.world.classes`
    name: str = ""  # where it came from: "rooms/train/17/view 3", a bag and a stamp ...

    def check(self) -> View:
        """Returns itself if shapes, types and the pose are right.

        Raises:
            UniuggError: IMAGE_MALFORMED, CAMERA_INFO_INVALID or POSE_INVALID.
        """
        height, width = self.image.shape[:2]
        if self.image.dtype != np.uint8 or self.image.shape != (height, width, 3):
            raise UniuggError(ErrorCode.IMAGE_MALFORMED, f"{self.name}: image is {self.image.dtype} {self.image.shape}")
        for label, array in (("depth", self.depth), ("instances", self.instances), ("classes", self.classes)):
            if array is not None and array.shape != (height, width):
                raise UniuggError(
                    ErrorCode.IMAGE_MALFORMED, f"{self.name}: {label} is {array.shape}, the image {height} x {width}"
                )
        if not np.isfinite(self.depth).all() or (self.depth < 0).any():
            raise UniuggError(ErrorCode.IMAGE_MALFORMED, f"{self.name}: depth has negative or non-finite values")
        if self.intrinsics.shape != (3, 3) or not self.intrinsics[0, 0] > 0 or not self.intrinsics[1, 1] > 0:
            raise UniuggError(ErrorCode.CAMERA_INFO_INVALID, f"{self.name}: K is {self.intrinsics.tolist()}")
        turn = self.world_from_camera[:3, :3]
        if self.world_from_camera.shape != (4, 4) or not np.allclose(turn @ turn.T, np.eye(3), atol=1e-4):
            raise UniuggError(ErrorCode.POSE_INVALID, f"{self.name}: pose is {self.world_from_camera.tolist()}")
        return self

    def square(self, size: int) -> View:
        """The centre square at `size` pixels with its K; maps take the nearest pixel, pictures are antialiased."""
        height, width = self.image.shape[:2]
        if height == width == size:
            return self
        crop = square_crop(self.image, Camera(width, height, self.intrinsics), size)
        grid = np.arange(size)
        scale, shift = crop.full_from_crop[0, 0], crop.full_from_crop[:2, 2]
        u = np.clip(np.rint(scale * grid + shift[0]), 0, width - 1).astype(int)
        v = np.clip(np.rint(scale * grid + shift[1]), 0, height - 1).astype(int)
        pick = np.ix_(v, u)
        return replace(
            self,
            image=crop.image,
            depth=self.depth[pick],
            intrinsics=np.asarray(crop.camera.matrix, np.float64),
            instances=None if self.instances is None else self.instances[pick],
            classes=None if self.classes is None else self.classes[pick],
        )


@dataclass(frozen=True)
class ViewPair:
    """A reference view and a target view of one place."""

    reference: View
    target: View
    covisibility: tuple[float, float]  # share of the reference that the target sees, and the other way round
    source: str  # name in the registry of data sources
    index: int  # its number in the stream of its split
    graph: SceneGraph | None = None  # what is in the scene, where it is known

    @property
    def views(self) -> tuple[View, View]:
        """Reference and target."""
        return self.reference, self.target

    @property
    def target_from_reference(self) -> np.ndarray:
        """(4, 4) float64: takes points from the reference camera's frame to the target camera's."""
        return inverse_rigid(self.target.world_from_camera) @ self.reference.world_from_camera

    def swapped(self) -> ViewPair:
        """The same two views in the other order."""
        return replace(
            self,
            reference=self.target,
            target=self.reference,
            covisibility=(self.covisibility[1], self.covisibility[0]),
        )

    def square(self, size: int) -> ViewPair:
        """Both views as centre squares of `size` pixels."""
        return replace(self, reference=self.reference.square(size), target=self.target.square(size))


@dataclass(frozen=True)
class PairBatch:
    """B pairs as tensors. Poses are relative to the reference, so large world coordinates lose nothing in float32."""

    image: Tensor  # (B, 2, 3, H, W) uint8
    depth: Tensor  # (B, 2, H, W) float32 metres, 0 invalid
    intrinsics: Tensor  # (B, 2, 3, 3) float32
    reference_from_view: Tensor  # (B, 2, 4, 4) float32; the first of each pair is the identity
    covisibility: Tensor  # (B, 2) float32, as in ViewPair
    index: Tensor  # (B,) int64
    instances: Tensor | None = None  # (B, 2, H, W) uint8
    classes: Tensor | None = None  # (B, 2, H, W) uint8
    boxes: Tensor | None = None  # (B, 2, 256, BOX) float32, by number of the instance, 0 where none is

    @classmethod
    def collate(cls, pairs: Sequence[ViewPair]) -> PairBatch:
        """Stacks pairs of one picture size.

        Raises:
            UniuggError: IMAGE_MALFORMED if sizes differ; REQUEST_INVALID if there are none.
        """
        if not pairs:
            raise UniuggError(ErrorCode.REQUEST_INVALID, "a batch of no pairs")
        sizes = {view.image.shape for pair in pairs for view in pair.views}
        if len(sizes) != 1:
            raise UniuggError(ErrorCode.IMAGE_MALFORMED, f"pictures of different sizes in one batch: {sorted(sizes)}")

        def stacked(name: str) -> Tensor | None:
            arrays = [getattr(view, name) for pair in pairs for view in pair.views]
            if any(array is None for array in arrays):
                return None
            return torch.from_numpy(np.stack(arrays)).unflatten(0, (len(pairs), 2))

        poses = np.stack([np.stack([np.eye(4), inverse_rigid(pair.target_from_reference)]) for pair in pairs])
        image, depth, intrinsics = stacked("image"), stacked("depth"), stacked("intrinsics")
        return cls(
            image=image.permute(0, 1, 4, 2, 3).contiguous(),  # type: ignore[union-attr]
            depth=depth.float(),  # type: ignore[union-attr]
            intrinsics=intrinsics.float(),  # type: ignore[union-attr]
            reference_from_view=torch.from_numpy(poses).float(),
            covisibility=torch.tensor([pair.covisibility for pair in pairs], dtype=torch.float32),
            index=torch.tensor([pair.index for pair in pairs]),
            instances=stacked("instances"),
            classes=stacked("classes"),
            boxes=_boxes(pairs),
        )

    @classmethod
    def from_dict(cls, tensors: Mapping[str, Any]) -> PairBatch:
        """The inverse of :meth:`to_dict`; other entries are ignored."""
        return cls(**{f.name: tensors[f.name] for f in fields(cls) if f.name in tensors})

    def to_dict(self) -> dict[str, Tensor]:
        """Field names and tensors, for loaders that move plain dictionaries; missing maps are left out."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}

    def __len__(self) -> int:
        return len(self.image)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> PairBatch:
        """The batch on another device."""
        return PairBatch(**{name: t.to(device, non_blocking=non_blocking) for name, t in self.to_dict().items()})

    def pin_memory(self) -> PairBatch:
        """The batch in page-locked memory; torch's loader calls it."""
        return PairBatch(**{name: tensor.pin_memory() for name, tensor in self.to_dict().items()})

    @property
    def valid(self) -> Tensor:
        """(B, 2, H, W) bool: where depth is known."""
        return self.depth > 0

    @property
    def target_from_reference(self) -> Tensor:
        """(B, 4, 4): takes points from the reference camera's frame to the target camera's."""
        return inverse_transform(self.reference_from_view[:, 1])

    def image01(self) -> Tensor:
        """(B, 2, 3, H, W) float32 in [0, 1]."""
        return self.image.float() / 255

    def points(self) -> Tensor:
        """(B, 2, H, W, 3): every pixel's point in its own camera's frame; the origin where depth is unknown."""
        return unproject(self.depth.flatten(0, 1), self.intrinsics.flatten(0, 1)).unflatten(0, (len(self), 2))

    def points_in_reference(self) -> Tensor:
        """(B, 2, H, W, 3): every pixel's point in the reference camera's frame (meaningless where not `valid`)."""
        moved = transform_points(self.reference_from_view.flatten(0, 1), self.points().flatten(0, 1))
        return moved.unflatten(0, (len(self), 2))

    def seen(self, tolerance: tuple[float, float] = TOLERANCE) -> Tensor:
        """(B, 2, H, W) bool: which pixels show a surface that the other view sees too.

        Args:
            tolerance: relative and absolute (metres) difference of depth that still counts as the same surface.
        """
        other_from_view = torch.stack([self.target_from_reference, self.reference_from_view[:, 1]], 1).flatten(0, 1)
        points = transform_points(other_from_view, self.points().flatten(0, 1))
        other_depth, other_k = self.depth.flip(1).flatten(0, 1), self.intrinsics.flip(1).flatten(0, 1)
        pixel, z = project(points, other_k)
        height, width = self.depth.shape[-2:]
        u, v = pixel.round().unbind(-1)
        inside = (z > 1e-3) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
        flat = (v.clamp(0, height - 1) * width + u.clamp(0, width - 1)).long().flatten(1)
        there = other_depth.flatten(1).gather(1, flat).view_as(z)
        same = (there > 0) & ((there - z).abs() <= tolerance[0] * z + tolerance[1])
        return (inside & same).unflatten(0, (len(self), 2)) & self.valid

    def swapped(self) -> PairBatch:
        """The same pairs with reference and target exchanged."""
        flipped = {name: tensor.flip(1) for name, tensor in self.to_dict().items() if tensor.dim() > 1}
        identity = self.reference_from_view[:, :1]
        flipped["reference_from_view"] = torch.cat([identity, self.target_from_reference[:, None]], 1)
        return PairBatch(index=self.index, **flipped)

    def apart(self) -> PairBatch:
        """The same pictures, each in its own camera's frame: what both are by themselves."""
        own = torch.eye(4).to(self.reference_from_view).expand_as(self.reference_from_view)
        return replace(self, reference_from_view=own)

    def rows(self, chosen: slice) -> PairBatch:
        """Some of the pairs."""
        return PairBatch(**{name: tensor[chosen] for name, tensor in self.to_dict().items()})

    def symmetrised(self) -> PairBatch:
        """2 B pairs: these, then the same ones swapped."""
        mine, other = self.to_dict(), self.swapped().to_dict()
        return PairBatch(**{name: torch.cat([tensor, other[name]]) for name, tensor in mine.items()})


def _boxes(pairs: Sequence[ViewPair]) -> Tensor | None:
    """The boxes of a batch; None unless all its pairs have scene graphs."""
    graphs = [pair.graph for pair in pairs]
    if any(graph is None for graph in graphs):
        return None
    out_B2XB = np.zeros((len(pairs), 2, 256, BOX), np.float32)
    for row, (pair, graph) in enumerate(zip(pairs, graphs)):
        ids = [item.id for item in graph.objects]
        centers, sizes = (np.array([getattr(item, name) for item in graph.objects]) for name in ("center", "size"))
        yaws = np.array([item.yaw for item in graph.objects])
        for number, view in enumerate(pair.views):
            pose = view.world_from_camera
            right = np.arctan2(pose[1, 0], pose[0, 0])
            across = right + np.arange(4) * np.pi / 4 - yaws[:, None]
            reach = 0.5 * np.hypot(sizes[:, :1] * np.cos(across), sizes[:, 1:2] * np.sin(across))
            parts = [(centers - pose[:3, 3]) @ pose[:3, :3], sizes, reach]
            out_B2XB[row, number, ids] = np.concatenate(parts, axis=1)
    return torch.from_numpy(out_B2XB)
