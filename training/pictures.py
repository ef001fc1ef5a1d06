"""Contact sheets of what a model predicts, for eyes and TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from uniugg_core.models.decoder import ViewOutput

from .data.views import PairBatch

__all__ = ["class_sheet", "depth_colors", "pair_sheet", "tile"]

_ROWS = 6


def tile(rows: Sequence[Sequence[Tensor]]) -> np.ndarray:
    """Pictures (3, H, W) in [0, 1] of equal size, row by row, to one (H', W', 3) uint8."""
    whole = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    return (whole.clamp(0, 1) * 255).round().byte().movedim(0, -1).cpu().numpy()


def depth_colors(depth_HW: Tensor, near: float, far: float) -> Tensor:
    """Depth as (3, H, W): near is warm, far is blue, unknown black; the logarithm of the distance runs evenly."""
    known = torch.isfinite(depth_HW) & (depth_HW > 0)
    share = (depth_HW.clamp(min=1e-6).log() - np.log(near)) / max(np.log(far) - np.log(near), 1e-6)
    x = share.clamp(0, 1)
    # three overlapping bumps: red, green, blue
    bumps = [(1.5 - (4 * x - center).abs()).clamp(0, 1) for center in (1.0, 2.0, 3.0)]
    return torch.where(known, torch.stack(bumps), torch.zeros(()).to(x))


def pair_sheet(images_B23HW: Tensor, outputs: tuple[ViewOutput, ViewOutput], truth: PairBatch) -> np.ndarray:
    """One row a pair: pictures, predicted colours, true and predicted distance in the reference camera, confidence."""
    rows, points, valid = [], truth.points_in_reference(), truth.valid
    for number in range(min(_ROWS, len(images_B23HW))):
        true = points[number].norm(dim=-1)
        known = true[valid[number]]
        near, far = (float(known.quantile(q)) for q in (0.02, 0.98)) if known.numel() else (0.1, 10.0)
        row: list[Tensor] = list(images_B23HW[number])
        row += [view.colors[number].movedim(-1, 0) for view in outputs if view.colors is not None]
        for view, output in enumerate(outputs):
            row.append(depth_colors(true[view] * valid[number, view], near, far))
            row.append(depth_colors(output.points[number].norm(dim=-1), near, far))
        sure = 1 - 1 / outputs[1].confidence[number]
        row.append(sure.expand(3, -1, -1))
        rows.append([part.float().cpu() for part in row])
    return tile(rows)


def class_sheet(images_B3HW: Tensor, classes_BHW: Tensor, named_Bhw: Tensor) -> np.ndarray:
    """One row a picture: it, its true classes, and the classes named for its tokens; a colour for each class."""
    rows = []
    palette = torch.rand(256, 3, generator=torch.Generator().manual_seed(1))
    scale = classes_BHW.shape[-1] // named_Bhw.shape[-1]
    for number in range(min(_ROWS, len(images_B3HW))):
        named = named_Bhw[number].repeat_interleave(scale, 0).repeat_interleave(scale, 1)
        maps = [palette[part.long().cpu()].movedim(-1, 0) for part in (classes_BHW[number], named)]
        rows.append([images_B3HW[number].float().cpu(), *maps])
    return tile(rows)
