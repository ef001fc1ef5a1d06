"""Pointmaps: pictures whose pixels hold points, how the heads parameterise them, and pinhole geometry on tensors.

Shapes: B batch, H W pixels, ... any further axes. Points are in metres; K is in pixels, pixel centres at integers.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import ErrorCode, UniuggError
from .precision import full_precision

__all__ = [
    "PATCH_POINTS",
    "PATCH_WAVES",
    "canonical_map",
    "compressed",
    "confidence",
    "decode_points",
    "encode_points",
    "inverse_transform",
    "mark_points",
    "on_rays",
    "patch_points",
    "patch_waves",
    "project",
    "quarters",
    "splat",
    "transform_points",
    "unproject",
]

PATCH_POINTS = 12  # numbers of patch_points: four quarters, three coordinates
PATCH_WAVES = 160  # numbers of patch_waves: four quarters, four lengths, five wavelengths, sine and cosine

_TINY = 1e-8
_NEAR = 0.05  # metres; what is nearer to a camera is not seen
_WAVELENGTHS = (1.0, 2.0, 4.0, 8.0, 16.0)  # metres
_SURFACE = 1.1  # times the nearest distance in a cell: still the same surface


def decode_points(raw: Tensor) -> Tensor:
    """Points (..., 3) of raw head outputs u (..., 3): ``u / |u| * (exp|u| - 1)``, in float32 at least.

    The direction is free and the distance grows exponentially (DUSt3R, arXiv 2312.14132, its "exp" depth mode).
    """
    raw = raw if raw.dtype == torch.float64 else raw.float()
    length = raw.norm(dim=-1, keepdim=True)
    safe = length.clamp(min=_TINY)
    return raw * (torch.expm1(safe) / safe)


def encode_points(points: Tensor) -> Tensor:
    """The inverse of :func:`decode_points`: raw head outputs (..., 3) of points (..., 3)."""
    points = points if points.dtype == torch.float64 else points.float()
    safe = points.norm(dim=-1, keepdim=True).clamp(min=_TINY)
    return points * (torch.log1p(safe) / safe)


def confidence(raw: Tensor) -> Tensor:
    """Confidences of raw head outputs, ``1 + exp(raw)``, above 1 (DUSt3R), in float32 at least."""
    return 1.0 + torch.exp(raw if raw.dtype == torch.float64 else raw.float())


@full_precision
def unproject(depth: Tensor, matrix: Tensor) -> Tensor:
    """Points (B, H, W, 3) in the camera frame of a depth map (B, H, W) along z, with pinhole K (B, 3, 3) or (3, 3)."""
    height, width = depth.shape[-2:]
    like = {"dtype": depth.dtype, "device": depth.device}
    v, u = torch.meshgrid(torch.arange(height, **like), torch.arange(width, **like), indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], dim=-1)
    inverse = torch.linalg.inv(matrix.to(**like)).expand(*depth.shape[:-2], 3, 3)
    return torch.einsum("...ij,hwj->...hwi", inverse, pixels) * depth[..., None]


@full_precision
def project(points: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels (B, ..., 2) and depths (B, ...) of camera-frame points (B, ..., 3) through K (B, 3, 3) or (3, 3).

    Points that are not in front (depth <= 0) get a depth that says so and a meaningless, finite pixel.
    """
    image = points @ _aligned(matrix.to(points), points).transpose(-1, -2)
    depth = points[..., 2]
    return image[..., :2] / depth.clamp(min=_TINY)[..., None], depth


@full_precision
def transform_points(target_from_source: Tensor, points: Tensor) -> Tensor:
    """Points (B, ..., 3) taken from the source to the target frame by (B, 4, 4) or (4, 4)."""
    transform = target_from_source.to(points)
    turn = _aligned(transform[..., :3, :3], points)
    shift = _aligned(transform[..., None, :3, 3], points)
    return points @ turn.transpose(-1, -2) + (shift if points.dim() > 1 else shift[..., 0, :])


@full_precision
def inverse_transform(target_from_source: Tensor) -> Tensor:
    """``source_from_target`` of rigid transforms (..., 4, 4)."""
    turn = target_from_source[..., :3, :3].transpose(-1, -2)
    shift = -turn @ target_from_source[..., :3, 3:]
    return torch.cat([torch.cat([turn, shift], dim=-1), target_from_source[..., 3:, :]], dim=-2)


@full_precision
def on_rays(points: Tensor, camera_from_points: Tensor, matrix: Tensor) -> Tensor:
    """Points (B, H, W, 3) moved onto the rays of the pixels they belong to, at their own distance from the camera.

    What a camera sees at a pixel lies on that pixel's ray. Where the camera is commanded, only the distance is open.

    Args:
        points: one a pixel, in any frame.
        camera_from_points: (B, 4, 4), to the frame of the camera whose pixels they are.
        matrix: (B, 3, 3) of that camera.
    """
    there = camera_from_points.to(points)
    distance = transform_points(there, points).norm(dim=-1)
    rays = unproject(torch.ones_like(distance), matrix.to(points))
    return transform_points(inverse_transform(there), rays / rays.norm(dim=-1, keepdim=True) * distance[..., None])


@full_precision
def splat(points: Tensor, values: Tensor, matrix: Tensor) -> Tensor:
    """What a picture's points carry, as another camera sees it on a coarse grid; the nearest surface hides others.

    Args:
        points: (B, H, W, 3) in that camera's frame.
        values: (B, C, h, w), of the cells of h x w that the H x W pixels fall into.
        matrix: (B, 3, 3) of that camera, for pictures of H x W.

    Returns:
        (B, C + 2, h, w): per cell of the camera's picture the mean value, the mean logarithm of the distance in metres,
        and the share of the cell that is covered. Cells that show nothing, share 0, have what the nearest one has that
        shows something: that surfaces go on is the best first guess. Zeros where the whole picture shows nothing.
    """
    (height, width), (rows, columns), batch = points.shape[1:3], values.shape[2:], len(points)
    pixel, depth = project(points.flatten(1, 2), matrix)
    u, v = ((pixel + 0.5) * pixel.new_tensor([columns / width, rows / height])).floor().unbind(-1)
    inside = (depth > _NEAR) & (u >= 0) & (u < columns) & (v >= 0) & (v < rows)
    cells, nowhere = rows * columns, batch * rows * columns
    first = torch.arange(batch, device=points.device)[:, None] * cells
    index = torch.where(inside, first + (v * columns + u).nan_to_num(0).clamp(0, cells - 1).long(), nowhere).flatten()
    distance = points.flatten(1, 2).norm(dim=-1).flatten()
    nearest = distance.new_full((nowhere + 1,), torch.inf).scatter_reduce(0, index, distance, "amin")
    shown = inside.flatten() & (distance <= nearest[index] * _SURFACE)
    index, distance = index[shown], distance[shown]
    vv = torch.arange(height, device=points.device) * rows // height
    uu = torch.arange(width, device=points.device) * columns // width
    source = (vv[:, None] * columns + uu).flatten().repeat(batch)[shown]
    carried = distance.new_zeros(nowhere * cells).index_put_(
        (index * cells + source,), torch.ones_like(distance), accumulate=True
    )
    count = distance.new_zeros(nowhere).index_put_((index,), torch.ones_like(distance), accumulate=True)
    logs = distance.new_zeros(nowhere).index_put_((index,), distance.log(), accumulate=True)
    total = (carried.view(batch, cells, cells) @ values.to(distance).flatten(2).transpose(1, 2)).transpose(1, 2)
    mean = torch.cat([total, logs.view(batch, 1, cells)], 1) / count.view(batch, 1, cells).clamp(min=1)
    covered = (count.view(batch, 1, cells) * cells / (height * width)).clamp(max=1)
    guess = mean.gather(2, _nearest(covered[:, 0] > 0, rows, columns)[:, None].expand_as(mean))
    return torch.cat([guess, covered], 1).unflatten(2, (rows, columns))


def _nearest(shown: Tensor, rows: int, columns: int) -> Tensor:
    """For each cell of a grid (B, rows columns) the number of the nearest one that is `shown`; its own if none is."""
    v, u = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    place = torch.stack([v, u], -1).flatten(0, 1).float().to(shown.device)
    away = torch.cdist(place, place).expand(len(shown), -1, -1).masked_fill(~shown[:, None, :], torch.inf)
    own = torch.arange(rows * columns, device=shown.device)
    return torch.where(shown.any(1, keepdim=True), away.argmin(-1), own)


def patch_points(points: Tensor, patch: int) -> Tensor:
    """What patches look like in space: (B, h w, 12) of a pointmap (B, h patch, w patch, 3).

    The mean points of each patch's four quarters, compressed as by :func:`encode_points`.
    """
    means = F.avg_pool2d(points.permute(0, 3, 1, 2), patch // 2).permute(0, 2, 3, 1)
    return F.pixel_unshuffle(encode_points(means).permute(0, 3, 1, 2), 2).flatten(2).transpose(1, 2)


def quarters(points: Tensor) -> Tensor:
    """The points (..., 4, 3) in metres that :func:`patch_points` (..., 12) are of."""
    return decode_points(points.unflatten(-1, (3, 4)).transpose(-1, -2))


def compressed(points: Tensor) -> Tensor:
    """The inverse of :func:`quarters`: (..., 4, 3) to (..., 12)."""
    return encode_points(points).transpose(-1, -2).flatten(-2)


def patch_waves(points: Tensor) -> Tensor:
    """What :func:`patch_points` (..., 12) give, as sines and cosines (..., 160).

    Of each quarter's x, y, z and distance in metres, at five wavelengths from 1 to 16 m (the positional encoding of
    NeRF, arXiv 2003.08934): a linear layer then tells 2.3 m from 2.4 m.
    """
    corners = quarters(points)
    metres = torch.cat([corners, corners.norm(dim=-1, keepdim=True)], dim=-1)
    phase = metres[..., None] * (2 * math.pi / metres.new_tensor(_WAVELENGTHS))
    return torch.cat([phase.sin(), phase.cos()], dim=-1).flatten(-3)


def mark_points(points: Tensor, picture: Tensor, places: Tensor) -> Tensor:
    """As :func:`patch_points`, of the smallest patches there are: (M, 12) of the 2 x 2 pixels at M places.

    Args:
        points: (B, H, W, 3).
        picture: (M,) which of the B each place is in.
        places: (M, 2), x and y from 0 (left, top) to 100.
    """
    height, width = points.shape[1:3]
    corner = (places.to(points) / 100 * points.new_tensor([width, height]) - 0.5).round().long()
    u, v = corner[:, 0].clamp(0, width - 2), corner[:, 1].clamp(0, height - 2)
    four = torch.stack([points[picture, v + down, u + right] for down in (0, 1) for right in (0, 1)], dim=-1)
    return compressed(four.transpose(1, 2))


@full_precision
def canonical_map(matrix: Tensor, size: tuple[int, int], fov: float) -> Tensor:
    """The linear map A (B, 3, 3) of the camera's frame after which a canonical camera sees the very same picture.

    A camera K sees the point X at the pixel of ``K X``; the canonical camera K_0 sees ``K_0^-1 K X`` there too, and
    everything on its ray. Of these, A X is the one that keeps sizes across the picture and changes depths, by f_0 / f:
    what looks like a chair is a chair's width, so a network that maps pictures to canonical points need not know which
    lens took them (the idea of Metric3D, ICCV 2023, for principal points and both axes as well).

    Args:
        matrix: (B, 3, 3) pinhole matrices.
        size: (H, W) of the picture.
        fov: horizontal field of view of the canonical camera in degrees; its principal point is the middle.
    """
    height, width = size
    focal = 0.5 * width / math.tan(math.radians(fov) / 2)
    canonical = matrix.new_tensor([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]])
    mapped = torch.linalg.inv(canonical) @ matrix
    return mapped / (mapped[:, 0, 0] * mapped[:, 1, 1]).sqrt()[:, None, None]


def _aligned(matrix: Tensor, points: Tensor) -> Tensor:
    """`matrix` (B, r, c) with axes put in so that it multiplies points (B, ..., n, 3); (r, c) stays as it is."""
    if matrix.dim() == 2:
        return matrix
    extra = points.dim() - matrix.dim()
    if extra < 0:
        raise UniuggError(
            ErrorCode.REQUEST_INVALID,
            f"points have shape {tuple(points.shape)}, expected an axis between the batch and the last one",
        )
    return matrix.reshape(matrix.shape[0], *[1] * extra, *matrix.shape[-2:])
