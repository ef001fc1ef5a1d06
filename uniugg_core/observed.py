"""What was observed stays where it was seen, also in a view from elsewhere.

An imagined view shows much that the reference picture shows too. There the reference's points, colours and confidences
are kept, so that the two views of one surface coincide in the cloud; only stray points join their neighbours, and where
the network, or the room's layout, has the surface at about the same distance, it has a say in it: of several guesses
the mean is the better one.
What is imagined beside it is fitted to it: its distances are scaled, and its colours shifted, by what they were off by
where both are known, so that a floor or a wall goes on across the seam without a step, and less so the farther away
that is. What is then at about the distance of one of the room's surfaces (:mod:`~uniugg_core.layout`) is taken most of
the way to it: a network that paints a wall knows that it is one, and where that is less well than the wall that goes
on, but not so badly that it has nothing to say.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch

from .cameras import Camera, inverse_rigid
from .models.decoder import ViewOutput
from .render import Rendering, render_points

__all__ = ["keep_observed", "moved_cloud"]

_CRACKS = 2  # pixels; thinner gaps are between the points of a surface, not beside it
_ALIKE = 5  # pixels; a point stands at the median depth of those around it, so that a stray one is none
_AGREE = 0.2  # natural logarithm of two distances' ratio up to which they are of one surface
_IMAGINED = 0.15  # share that the imagined distance has in what is kept there
_FLAT = 0.2  # share that a surface of the room has in it
_THERE = 0.3  # natural logarithm of two distances' ratio over which that loses its say
_REACH = 0.1  # of the picture's width: over how much the misfit is averaged
_LARGEST = 0.7  # natural logarithm of a distance's correction; more is a mistake, not a misfit
_PRIOR = 1e-3  # weight of the misfit of the whole picture, which counts where nothing else is near
_FADES = 0.32  # of the picture's width: over how much the fit fades
_SNAPS = 0.3  # natural logarithm of two distances' ratio up to which a surface of the room is what was imagined there
_SURELY = 0.8  # share that the surface has in where that is then
_FEW = 20  # pixels; with fewer there is nothing to fit to


def moved_cloud(points: np.ndarray, colors: np.ndarray, target_from_reference: np.ndarray, camera: Camera) -> Rendering:
    """A picture's points as another camera sees them: each in the nearest pixel, the nearest wins, cracks are closed.

    Args:
        points: (H, W, 3) in the reference camera's frame; NaN or infinite where there is none.
        colors: (H, W, 3) uint8.
        target_from_reference: (4, 4).
        camera: the other one.
    """
    pose = inverse_rigid(np.asarray(target_from_reference, np.float64))
    flat = points.reshape(-1, 3), colors.reshape(-1, 3)
    return render_points(*flat, camera, pose, splat=1, fill_holes=_CRACKS)


def keep_observed(
    imagined: ViewOutput,
    observed: ViewOutput,
    image: np.ndarray,
    target_from_reference: np.ndarray,
    camera: Camera,
    surfaces: np.ndarray | None = None,
) -> ViewOutput:
    """The imagined view, with what it sees of the observed points in their place, and the rest fitted to them.

    Args:
        imagined: of one view, its points on its pixels' rays, in the reference camera's frame.
        observed: of the reference, in the same frame.
        image: (H, W, 3) uint8, the reference picture.
        target_from_reference: (4, 4).
        camera: of the imagined view; its pictures are H x W as well.
        surfaces: (H, W) metres from that camera to the room's surfaces, infinite where there is none; None: they are
            left out of it.
    """
    colors, pose = image.reshape(-1, 3), np.asarray(target_from_reference, np.float64)
    drawn = moved_cloud(observed.points[0].float().cpu().numpy(), image, pose, camera)
    kept = drawn.index >= 0
    index = drawn.index[kept]
    device, center = imagined.points.device, inverse_rigid(pose)[:3, 3]
    away = imagined.points[0].float().cpu().numpy() - center
    depth = np.maximum(away @ pose[2, :3], 1e-6)
    scale, nearest, fits = np.ones(kept.shape), drawn.depth, len(index) >= _FEW
    if fits:
        nearest, gap = _continued(drawn.depth, kept)
        nearest = cv2.medianBlur(nearest.astype(np.float32), _ALIKE)
    off = np.log(np.maximum(nearest[kept], 1e-6) / depth[kept])
    scale[kept] = np.exp(off * (1 - _IMAGINED * np.exp(-np.square(off / _AGREE))))
    if fits:
        fades = np.exp(-(gap - 1) / (_FADES * gap.shape[1]))
        scale[~kept] = np.exp(fades * _misfit(np.log(np.maximum(scale, 1e-6)), kept))[~kept]
    if surfaces is not None:
        off = np.log(np.maximum(surfaces, 1e-6) / np.maximum(np.linalg.norm(away, axis=-1) * scale, 1e-6))
        off = np.where(np.isfinite(off), off, 0.0)
        say = np.where(kept, _FLAT * np.exp(-np.square(off / _THERE)), _SURELY * np.exp(-np.power(off / _SNAPS, 4)))
        scale *= np.exp(off * say)
    mine = center + away * scale[..., None]
    confidence = imagined.confidence.clone()
    mask = torch.from_numpy(kept).to(device)
    confidence[0, mask] = observed.confidence[0].flatten()[torch.from_numpy(index.astype(np.int64)).to(device)]
    shown = imagined.colors
    if shown is not None:
        painted = shown[0].float().cpu().numpy()
        wrong = np.zeros_like(painted)
        wrong[kept] = colors[index].astype(np.float32) / 255 - painted[kept]
        if fits:
            shifts = np.stack([fades * _misfit(channel, kept) for channel in np.moveaxis(wrong, -1, 0)], axis=-1)
            wrong[~kept] = shifts[~kept]
        shown = torch.from_numpy((painted + wrong).clip(0, 1))[None].to(shown)
    return replace(
        imagined, points=torch.from_numpy(mine[None].astype(np.float32)).to(device), confidence=confidence, colors=shown
    )


def _continued(depth: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depths (H, W), those of the nearest pixels where they are not `known`, and how many pixels away those are."""
    gap, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.ones(labels.max() + 1)
    of_label[labels[known]] = depth[known]
    return of_label[labels], gap


def _misfit(errors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What errors (H, W) are on average near each pixel where they are `known`, and overall far from those."""
    reach = _REACH * errors.shape[1]
    weight = known.astype(np.float64)
    near = cv2.GaussianBlur(weight, (0, 0), reach, borderType=cv2.BORDER_REPLICATE)
    total = cv2.GaussianBlur(errors * weight, (0, 0), reach, borderType=cv2.BORDER_REPLICATE)
    mean = (total + _PRIOR * np.median(errors[known])) / (near + _PRIOR)
    return mean.clip(-_LARGEST, _LARGEST)
