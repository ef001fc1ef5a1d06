"""What was observed stays where it was seen, also in a view from elsewhere.

An imagined view shows much that the reference picture shows too. There the reference's points, colours and confidences
are better than any imagination, and the two views of one surface coincide in the cloud.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from .cameras import Camera, inverse_rigid
from .models.decoder import ViewOutput
from .render import render_points

__all__ = ["keep_observed"]

_CRACKS = 2  # pixels; thinner gaps are between the points of a surface, not beside it


def keep_observed(
    imagined: ViewOutput, observed: ViewOutput, image: np.ndarray, target_from_reference: np.ndarray, camera: Camera
) -> ViewOutput:
    """The imagined view, with what it sees of the observed points in place of what was imagined there.

    Args:
        imagined: of one view, its points on its pixels' rays, in the reference camera's frame.
        observed: of the reference, in the same frame.
        image: (H, W, 3) uint8, the reference picture.
        target_from_reference: (4, 4).
        camera: of the imagined view; its pictures are H x W as well.
    """
    scene_from_target = inverse_rigid(np.asarray(target_from_reference, np.float64))
    points = observed.points[0].float().cpu().numpy().reshape(-1, 3)
    colors = image.reshape(-1, 3)
    drawn = render_points(points, colors, camera, scene_from_target, splat=1, fill_holes=_CRACKS)
    kept = drawn.index >= 0
    index = drawn.index[kept]
    device, center = imagined.points.device, scene_from_target[:3, 3]
    mine = imagined.points[0].float().cpu().numpy().copy()
    away = mine - center
    distance = np.linalg.norm(points[index] - center, axis=-1)
    scale = distance / np.maximum(np.linalg.norm(away[kept], axis=-1), 1e-6)
    mine[kept] = center + away[kept] * scale[:, None]
    confidence = imagined.confidence.clone()
    mask = torch.from_numpy(kept).to(device)
    confidence[0, mask] = observed.confidence[0].flatten()[torch.from_numpy(index.astype(np.int64)).to(device)]
    shown = imagined.colors
    if shown is not None:
        shown = shown.clone()
        shown[0, mask] = torch.from_numpy(colors[index].astype(np.float32) / 255).to(shown)
    return replace(imagined, points=torch.from_numpy(mine)[None].to(device), confidence=confidence, colors=shown)
