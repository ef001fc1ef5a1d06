"""Scene: what is known of a place as coloured points, each marked observed or imagined; one type for everybody.

N points, H W pixels of a view. Points are in metres in the frame called `Scene.frame`, which is the optical frame of
the reference camera (x right, y down, z forward) unless the scene was transformed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ..cameras import Camera, check_rigid
from ..errors import ErrorCode, UniuggError
from .view import IMAGINED, OBSERVED, View, checked_array, moved, sample_spreads, source_number
from .voxels import voxel_groups

__all__ = ["Scene"]


@dataclass(frozen=True, eq=False)
class Scene:
    """A cloud of coloured points with their confidence and origin, and the views it came from.

    Args:
        points: (N, 3) float32 metres.
        colors: (N, 3) uint8 RGB.
        confidence: (N,) float32.
        source: (N,) uint8, OBSERVED or IMAGINED.
        spread: (N,) float32, metres: how far several samples disagree about the point; 0 for one sample.
        frame: name of the frame the points are in.
        stamp: nanoseconds of the reference picture, None if unknown.
        views: the per-pixel predictions behind the points.
        timings: milliseconds of each stage.
        seed: what the imagined part was drawn with.

    Raises:
        UniuggError: REQUEST_INVALID if shapes or values do not fit.
    """

    points: np.ndarray
    colors: np.ndarray
    confidence: np.ndarray
    source: np.ndarray
    spread: np.ndarray
    frame: str
    stamp: int | None = None
    views: tuple[View, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    seed: int | None = None

    def __post_init__(self) -> None:
        count = len(checked_array(self, "points", np.float32, (None, 3)))
        checked_array(self, "colors", np.uint8, (count, 3))
        checked_array(self, "confidence", np.float32, (count,))
        source = checked_array(self, "source", np.uint8, (count,))
        checked_array(self, "spread", np.float32, (count,))
        if count and source.max() > IMAGINED:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"source holds {int(source.max())}, expected 0 or 1")
        if not isinstance(self.frame, str):
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"frame is {self.frame!r}, expected a name")
        object.__setattr__(self, "views", tuple(self.views))

    @classmethod
    def empty(cls, frame: str = "camera", stamp: int | None = None) -> Scene:
        """A scene of no points."""
        return cls.from_arrays(np.zeros((0, 3)), frame=frame, stamp=stamp)

    @classmethod
    def from_arrays(
        cls,
        points: ArrayLike,
        colors: ArrayLike | None = None,
        *,
        confidence: ArrayLike = 1.0,
        source: ArrayLike = OBSERVED,
        spread: ArrayLike = 0.0,
        frame: str = "camera",
        stamp: int | None = None,
        seed: int | None = None,
    ) -> Scene:
        """A scene of points (N, 3); single values are repeated, missing colours are grey."""
        points = np.asarray(points, dtype=np.float32)
        count = len(points)
        return cls(
            points=points,
            colors=np.full((count, 3), 128, np.uint8) if colors is None else np.asarray(colors, np.uint8),
            confidence=np.array(np.broadcast_to(np.asarray(confidence, np.float32), (count,))),
            source=np.array(np.broadcast_to(np.asarray(source, np.uint8), (count,))),
            spread=np.array(np.broadcast_to(np.asarray(spread, np.float32), (count,))),
            frame=frame,
            stamp=stamp,
            seed=seed,
        )

    @classmethod
    def from_depth(
        cls,
        depth: np.ndarray,
        image: np.ndarray,
        camera: Camera,
        scene_from_camera: ArrayLike | None = None,
        *,
        frame: str = "camera",
        stamp: int | None = None,
    ) -> Scene:
        """The observed scene of a depth map (H, W), metres along z, and its picture (H, W, 3); depth 0 is left out."""
        depth = np.asarray(depth, dtype=np.float32)
        if depth.shape != (camera.height, camera.width) or image.shape != (*depth.shape, 3):
            raise UniuggError(
                ErrorCode.REQUEST_INVALID,
                f"depth is {depth.shape} and picture {image.shape} for a camera of {camera.width} x {camera.height}",
            )
        measured = np.isfinite(depth) & (depth > 0)
        points = camera.rays()[measured] * depth[measured][:, None]
        if scene_from_camera is not None:
            points = moved(points, check_rigid(scene_from_camera, "scene_from_camera"))
        return cls.from_arrays(points, image[measured], frame=frame, stamp=stamp)

    @classmethod
    def from_views(
        cls,
        views: Sequence[View],
        *,
        frame: str = "camera",
        stamp: int | None = None,
        drop_quantile: float = 0.0,
        timings: Mapping[str, float] | None = None,
        seed: int | None = None,
    ) -> Scene:
        """The points of all views in one cloud.

        Args:
            views: at least one.
            drop_quantile: points below this quantile of their own view's confidence are left out, as are points that
                are not finite.

        Several samples of one view (same source and pose) give each of their points a `spread`: the root mean square
        distance of the samples' points at that pixel from their mean.
        """
        if not 0.0 <= drop_quantile < 1.0:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"drop_quantile is {drop_quantile}, expected 0 to below 1")
        clouds = [
            cls.from_arrays(
                view.points.reshape(-1, 3),
                view.image.reshape(-1, 3),
                confidence=view.confidence.reshape(-1),
                source=view.source,
                spread=spread.reshape(-1),
                frame=frame,
                stamp=stamp,
            ).filter(quantile=drop_quantile or None)
            for view, spread in zip(views, sample_spreads(views))
        ]
        merged = cls.empty(frame, stamp).merge(*clouds)
        return dataclasses.replace(merged, views=tuple(views), timings=dict(timings or {}), seed=seed)

    def __len__(self) -> int:
        return len(self.points)

    def merge(self, *others: Scene) -> Scene:
        """This scene and `others`, which must be in the same frame, as one; ``Scene.merge(a, b, c)`` reads well too.

        The stamp is the newest known, timings are added up, the seed stays if all agree.

        Raises:
            UniuggError: REQUEST_INVALID for different frames.
        """
        scenes = (self, *others)
        frames = sorted({scene.frame for scene in scenes})
        if len(frames) > 1:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"scenes in {frames} cannot be merged; transform first")
        timings: dict[str, float] = {}
        for scene in scenes:
            for stage, milliseconds in scene.timings.items():
                timings[stage] = timings.get(stage, 0.0) + milliseconds
        seeds = {scene.seed for scene in scenes if scene.seed is not None}
        return Scene(
            **{name: np.concatenate([getattr(scene, name) for scene in scenes]) for name in _PER_POINT},
            frame=self.frame,
            stamp=max((scene.stamp for scene in scenes if scene.stamp is not None), default=None),
            views=tuple(view for scene in scenes for view in scene.views),
            timings=timings,
            seed=seeds.pop() if len(seeds) == 1 else None,
        )

    def filter(
        self,
        *,
        min_confidence: float | None = None,
        quantile: float | None = None,
        source: int | str | None = None,
        box: ArrayLike | None = None,
        finite: bool = True,
    ) -> Scene:
        """The points that pass every given test; views are kept as they are.

        Args:
            min_confidence: at least this confident.
            quantile: at least at this quantile, 0 to 1, of the confidences of the same source; observed and imagined
                points are ranked apart, for their confidences mean different things.
            source: OBSERVED, IMAGINED, "observed" or "imagined".
            box: (2, 3), the least and greatest corner, metres, both inclusive.
            finite: drop points with NaN or infinity in position or confidence.

        Raises:
            UniuggError: REQUEST_INVALID.
        """
        keep = np.ones(len(self), dtype=bool)
        if finite:
            keep &= np.isfinite(self.points).all(axis=1) & np.isfinite(self.confidence)
        if min_confidence is not None:
            keep &= self.confidence >= min_confidence
        if source is not None:
            keep &= self.source == source_number(source)
        if box is not None:
            corners = np.asarray(box, dtype=np.float64)
            if corners.shape != (2, 3) or not (corners[0] <= corners[1]).all():
                raise UniuggError(ErrorCode.REQUEST_INVALID, f"box is {corners.tolist()}, expected two corners (2, 3)")
            keep &= ((self.points >= corners[0]) & (self.points <= corners[1])).all(axis=1)
        if quantile is not None:
            if not 0.0 <= quantile <= 1.0:
                raise UniuggError(ErrorCode.REQUEST_INVALID, f"quantile is {quantile}, expected 0 to 1")
            for kind in (OBSERVED, IMAGINED):
                ranked = keep & (self.source == kind)
                if ranked.any():
                    keep &= ~ranked | (self.confidence >= np.quantile(self.confidence[ranked], quantile))
        return self.select(keep)

    def select(self, keep: np.ndarray) -> Scene:
        """The points of a mask (N,) or of indices; everything else stays."""
        return dataclasses.replace(self, **{name: getattr(self, name)[keep] for name in _PER_POINT})

    def transform(self, new_from_old: ArrayLike, frame: str) -> Scene:
        """The scene, views included, in another frame.

        Raises:
            UniuggError: POSE_INVALID.
        """
        transform = check_rigid(new_from_old, "new_from_old")
        return dataclasses.replace(
            self,
            points=moved(self.points, transform),
            views=tuple(view.transform(transform) for view in self.views),
            frame=frame,
        )

    def voxel_downsample(self, size: float) -> Scene:
        """One point for each cube of side `size` metres and source: the mean of what was in it, its best confidence.

        Observed and imagined points are never mixed; points that are not finite are dropped.

        Raises:
            UniuggError: REQUEST_INVALID if `size` is not positive, or so small that the cubes cannot be numbered.
        """
        if not (np.isfinite(size) and size > 0):
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"voxel size is {size}, expected more than 0")
        cloud = self.filter()
        if not len(cloud):
            return cloud
        order, starts = voxel_groups(cloud.points, cloud.source, size)
        counts = np.diff(np.append(starts, len(order)))

        def mean(values: np.ndarray) -> np.ndarray:
            sums = np.add.reduceat(values[order].astype(np.float64), starts, axis=0)
            return sums / counts.reshape(-1, *[1] * (values.ndim - 1))

        return dataclasses.replace(
            cloud,
            points=mean(cloud.points).astype(np.float32),
            colors=np.rint(mean(cloud.colors)).astype(np.uint8),
            confidence=np.maximum.reduceat(cloud.confidence[order], starts),
            source=cloud.source[order][starts],
            spread=mean(cloud.spread).astype(np.float32),
        )

    def save(self, path: str | Path) -> Path:
        """Writes the scene; the ending decides: ``.ply`` and ``.glb`` for viewers, ``.npz`` with the views as well.

        Raises:
            UniuggError: REQUEST_INVALID for another ending, INTERNAL if the file cannot be written.
        """
        from .files import save_scene

        return save_scene(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Scene:
        """Reads what :meth:`save` wrote, and PLY clouds of other programs.

        Raises:
            UniuggError: REQUEST_INVALID if the file is missing or is not such a file.
        """
        from .files import load_scene

        return load_scene(Path(path))


_PER_POINT = ("points", "colors", "confidence", "source", "spread")
