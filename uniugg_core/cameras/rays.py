"""The ray map that tells the model where to look from: one Plücker ray for each patch of the target view.

Shapes: B batch, gh gw patch grid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..pointmaps import inverse_transform
from ..precision import full_precision

__all__ = ["plucker_raymap"]


@full_precision
def plucker_raymap(
    target_from_reference: Tensor,
    matrix: Tensor,
    grid_h: int,
    grid_w: int,
    patch: int,
    translation_scale: float = 1.0,
    linear_map: Tensor | None = None,
) -> Tensor:
    """Plücker coordinates [direction, moment] of the rays through the target view's patch centres.

    With ``reference_from_target = [R | t]``, the inverse of what is given, the patch at row r and column c has its
    centre at pixel ``((c + 0.5) patch - 0.5, (r + 0.5) patch - 0.5)``, the direction is the unit vector along
    ``R K^-1 [u, v, 1]`` and the moment is ``t x direction``: all in the reference camera's frame, the moment in metres.
    (UniUGG section 3.3 gives the size of the map, 6 numbers a patch; the order and the normalisation are ours.)

    Args:
        target_from_reference: (B, 4, 4) rigid transforms, metres.
        matrix: (B, 3, 3) pinhole matrices of the target view, in pixels of the picture the patches divide.
        grid_h: patches down.
        grid_w: patches across.
        patch: side of a patch in pixels.
        translation_scale: factor on the moments, for scenes that are not metric.
        linear_map: (B, 3, 3) of the reference frame in which rays are wanted, see :func:`canonical_map`; None: none.

    Returns:
        (B, grid_h, grid_w, 6), of the transforms' type.
    """
    reference_from_target = inverse_transform(target_from_reference)
    like = {"dtype": target_from_reference.dtype, "device": target_from_reference.device}
    columns = (torch.arange(grid_w, **like) + 0.5) * patch - 0.5
    rows = (torch.arange(grid_h, **like) + 0.5) * patch - 0.5
    v, u = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], dim=-1)  # (gh, gw, 3)
    pixel_to_reference = reference_from_target[:, :3, :3] @ torch.linalg.inv(matrix.to(**like))
    directions = torch.einsum("bij,hwj->bhwi", pixel_to_reference, pixels)
    origin = reference_from_target[:, :3, 3] * translation_scale
    if linear_map is not None:
        linear_map = linear_map.to(**like)
        directions = torch.einsum("bij,bhwj->bhwi", linear_map, directions)
        origin = torch.einsum("bij,bj->bi", linear_map, origin)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    origins = origin[:, None, None].expand_as(directions)
    return torch.cat([directions, torch.linalg.cross(origins, directions)], dim=-1)
