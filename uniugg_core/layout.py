"""How a room goes on outside of a picture: its walls, floor and ceiling, from the points that the picture shows.

Rooms are boxes, mostly (the "Manhattan world" of Coughlan and Yuille 1999): surfaces are level, or upright and at right
angles. Where a wall leaves the picture it goes on, until it meets the next one; so its plane says where another camera
would see it. Furniture stands before that, and what no part was seen of stays unknown: a hint, not an answer.

1. Normals of the points, at two sizes; those that are nearly vertical say which way is down, the others how the walls
   are turned.
2. Edges in the picture say it better (Coughlan and Yuille): most run along one of the three axes, so these are turned
   until they do.
3. Of the planes across each of the six directions, the one that most points lie on and hardly any behind.
4. A ray ends at the nearest of these planes before it.

Shape letters: B pictures, M places with a normal, N points, E edge pixels, A three axes, h w cells of a picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .pointmaps import inverse_transform
from .precision import full_precision

__all__ = ["SURFACES", "Layout", "room_layout", "square_normals", "surfaces_ahead"]

SURFACES = 6
"""Floor, ceiling, and four walls."""

_SIZES = (8, 16)  # pixels of 128 over which points are averaged before normals are taken
_POINTS = 8  # ... before they are counted
_UPRIGHT = (0.8, 0.9, 0.95, 0.95)  # cosines: what counts as level, ever more strictly
_LEVEL = 0.35  # cosine below which a surface is a wall
_TURNED = 0.5  # cosine of four times the angle that a wall may be off
_ROUNDS = 4
_ACROSS = 0.8  # cosine up to which a surface is one of the direction
_ON = 0.04  # of a point's distance from the camera: so near to a plane it lies on it
_BEHIND = 0.06  # ... so far behind it contradicts it
_LEAST = 0.03  # share of all points that lie on a surface
_MOST = 0.05  # share of all points that may lie behind
_TINY = 1e-6
_EDGES = 64  # cells along a side in which edges are looked for
_STRONG = 0.5  # share of the cells that are taken, the strongest edges
_GLARING = 3.0  # times the weakest of these counts no more
_NEAR_POINT = 0.05  # so near its vanishing point an axis runs nowhere
_STEPS = 10
_LOOSE, _TIGHT = math.radians(10), math.radians(2)  # how well edges are to run along an axis, at first and at last
_STRAY = 0.03  # how likely an edge is to run along none
_HOLD = 0.02  # how strongly the points' directions hold the axes, beside all edges
_STIFF = 1e-4
_STRIDE = 0.1  # radians that one step turns at most


@dataclass(frozen=True)
class Layout:
    """Planes ``normal . x = offset`` around a camera, in its frame.

    Attributes:
        normal: (B, 6, 3) unit vectors that point out of the room: down, up, and the walls'.
        offset: (B, 6) metres.
        there: (B, 6) bool, whether such a surface was seen.
    """

    normal: Tensor
    offset: Tensor
    there: Tensor


@torch.no_grad()
@full_precision
def room_layout(points: Tensor, image01: Tensor | None = None, matrix: Tensor | None = None) -> Layout:
    """The surfaces around the camera that sees `points`, which is held about level, as robots' are.

    Args:
        points: (B, H, W, 3).
        image01: (B, 3, H, W) the pictures in [0, 1]; None: the points alone say how the room is turned.
        matrix: (B, 3, 3) the pictures' calibrations.
    """
    height = points.shape[1]
    squares = [square_normals(points, max(2, size * height // 128)) for size in _SIZES]
    normal_BM3, place_BM3 = (torch.cat([part.flatten(1, 2) for part in parts], 1) for parts in zip(*squares))
    seen_BN3 = _means(points, max(1, _POINTS * height // 128)).flatten(1, 2)
    away_BN = seen_BN3.norm(dim=-1)
    axes_BA3 = _axes(normal_BM3)
    if image01 is not None and matrix is not None:
        axes_BA3 = _along_edges(axes_BA3, image01.float(), matrix.to(axes_BA3))
    directions_B63 = torch.stack([axes_BA3, -axes_BA3], 2).flatten(1, 2)
    normals, offsets, there = [], [], []
    for number in range(SURFACES):
        way_B3 = directions_B63[:, number]
        along_BN, offset_BM = (torch.einsum("bnk,bk->bn", some, way_B3) for some in (seen_BN3, place_BM3))
        for _ in range(2):
            on = ((along_BN[:, None] - offset_BM[..., None]).abs() < _ON * away_BN[:, None]).to(along_BN)
            mean_BM = (on @ along_BN[..., None])[..., 0] / on.sum(-1).clamp(min=1)
            offset_BM = torch.where(on.any(-1), mean_BM, offset_BM)
        gap_BMN = along_BN[:, None] - offset_BM[..., None]
        share_BM = (gap_BMN.abs() < _ON * away_BN[:, None]).float().mean(-1)
        behind_BM = (gap_BMN > _BEHIND * away_BN[:, None]).float().mean(-1)
        across_BM = torch.einsum("bmk,bk->bm", normal_BM3, way_B3) > _ACROSS
        good_BM = across_BM & (share_BM > _LEAST) & (behind_BM < _MOST)
        best_B1 = torch.where(good_BM, share_BM, -1).argmax(-1, keepdim=True)
        normals.append(way_B3)
        offsets.append(offset_BM.gather(1, best_B1)[:, 0])
        there.append(good_BM.gather(1, best_B1)[:, 0])
    return Layout(torch.stack(normals, 1), torch.stack(offsets, 1), torch.stack(there, 1))


@torch.no_grad()
@full_precision
def surfaces_ahead(
    layout: Layout, target_from_layout: Tensor, matrix: Tensor, size: tuple[int, int], grid: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """What a camera at another pose would see of the surfaces, if nothing stood before them.

    Args:
        layout: of B pictures.
        target_from_layout: (B, 4, 4), to the other cameras' frames.
        matrix: (B, 3, 3) their calibrations, for pictures of `size`.
        size: (H, W).
        grid: (h, w) cells, of which the middles are looked through.

    Returns:
        distance (B, h, w) in metres, infinite where there is none, and the number (B, h, w) of the surface.
    """
    (height, width), (rows, columns) = size, grid
    like = {"dtype": torch.float32, "device": layout.normal.device}
    v = (torch.arange(rows, **like) + 0.5) * height / rows - 0.5
    u = (torch.arange(columns, **like) + 0.5) * width / columns - 0.5
    pixels = torch.stack([*torch.meshgrid(v, u, indexing="ij")[::-1], torch.ones(rows, columns, **like)], -1)
    rays = F.normalize(torch.einsum("bij,hwj->bhwi", torch.linalg.inv(matrix.to(**like)), pixels), dim=-1)
    back = inverse_transform(target_from_layout.to(**like))
    rays, start_B3 = torch.einsum("bij,bhwj->bhwi", back[:, :3, :3], rays), back[:, :3, 3]
    room = layout.offset - torch.einsum("bsk,bk->bs", layout.normal, start_B3)
    speed = torch.einsum("bsk,bhwk->bshw", layout.normal, rays)
    ends = room[..., None, None] / speed.clamp(min=_TINY)
    ahead = (speed > 1e-3) & (room > 0)[..., None, None] & layout.there[..., None, None]
    distance, number = torch.where(ahead, ends, torch.inf).min(1)
    return distance, number


def square_normals(points: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Unit normals (B, h, w, 3) of the surface between squares of `side` pixels, and the mean points there.

    Args:
        points: (B, H, W, 3); h is H / side - 1. Normals point away from the camera that took the picture.
        side: in pixels.
    """
    means = _means(points, side)
    right, down = means[:, :-1, 1:] - means[:, :-1, :-1], means[:, 1:, :-1] - means[:, :-1, :-1]
    normal = F.normalize(torch.linalg.cross(right, down), dim=-1)
    return normal, 0.5 * (means[:, :-1, :-1] + means[:, 1:, 1:])


def _means(points: Tensor, side: int) -> Tensor:
    """The mean points (B, h, w, 3) of squares of `side` pixels."""
    return F.avg_pool2d(points.float().permute(0, 3, 1, 2), side).permute(0, 2, 3, 1)


def _axes(normal_BM3: Tensor) -> Tensor:
    """Down and the two ways across walls (B, 3, 3) that most normals agree on; the camera's own axes where few do."""
    batch = len(normal_BM3)
    down_B3 = normal_BM3.new_tensor([0.0, 1.0, 0.0]).expand(batch, 3)
    for cosine in _UPRIGHT:
        along_BM = torch.einsum("bmk,bk->bm", normal_BM3, down_B3)
        level_BM = (along_BM.abs() > cosine).float()
        mean_B3 = (normal_BM3 * (level_BM * along_BM.sign())[..., None]).sum(1)
        down_B3 = torch.where(level_BM.sum(1, keepdim=True) > 2, F.normalize(mean_B3, dim=-1), down_B3)
    right_B3 = F.normalize(torch.linalg.cross(down_B3, normal_BM3.new_tensor([0.0, 0.0, 1.0]).expand(batch, 3)), dim=-1)
    ahead_B3 = torch.linalg.cross(right_B3, down_B3)
    along_BM, x_BM, z_BM = (torch.einsum("bmk,bk->bm", normal_BM3, way) for way in (down_B3, right_B3, ahead_B3))
    angle_BM = 4 * torch.atan2(z_BM, x_BM)  # the same for all walls of a room
    around_BM2 = torch.stack([angle_BM.cos(), angle_BM.sin()], -1)
    wall_BM1 = (along_BM.abs() < _LEVEL).float()[..., None]
    turn_B2 = F.normalize((wall_BM1 * around_BM2).sum(1), dim=-1)
    for _ in range(_ROUNDS):
        alike_BM1 = wall_BM1 * ((around_BM2 * turn_B2[:, None]).sum(-1, keepdim=True) > _TURNED)
        better_B2 = F.normalize((alike_BM1 * around_BM2).sum(1), dim=-1)
        turn_B2 = torch.where(alike_BM1.sum(1) > 2, better_B2, turn_B2)
    angle_B1 = torch.atan2(turn_B2[:, 1:], turn_B2[:, :1]) / 4
    one_B3 = angle_B1.cos() * right_B3 + angle_B1.sin() * ahead_B3
    return torch.stack([down_B3, one_B3, torch.linalg.cross(one_B3, down_B3)], 1)


def _along_edges(axes_BA3: Tensor, image_B3HW: Tensor, matrix_B33: Tensor) -> Tensor:
    """The axes (B, 3, 3), turned so that the pictures' edges run along them, those that do so at all."""
    across_BE2, place_BE2, weight_BE = _edges(image_B3HW, matrix_B33)
    # an edge and the camera span a plane, whose normal is square to everything that runs along the edge
    normal_BE3 = torch.cat([across_BE2, -(across_BE2 * place_BE2).sum(-1, keepdim=True)], -1)
    squares_BE9 = (normal_BE3[..., :, None] * normal_BE3[..., None, :]).flatten(2)
    total_B1 = weight_BE.sum(1, keepdim=True).clamp(min=_TINY)
    still, first_BA3 = torch.eye(3, device=axes_BA3.device), axes_BA3
    for step in range(_STEPS):
        width = _LOOSE * (_TIGHT / _LOOSE) ** (step / (_STEPS - 1))
        # how the axis runs in the picture there: towards its vanishing point
        run_BEA2 = axes_BA3[:, None, :, :2] - place_BE2[:, :, None] * axes_BA3[:, None, :, 2:]
        size_BEA = run_BEA2.norm(dim=-1).clamp(min=_NEAR_POINT)
        off_BEA = (normal_BE3 @ axes_BA3.transpose(1, 2)) / size_BEA
        likely_BEA = torch.exp(-0.5 * (off_BEA / width).square())
        share_BEA = weight_BE[..., None] * likely_BEA / (likely_BEA.sum(-1, keepdim=True) + _STRAY)
        # Gauss-Newton: a turn by w moves an axis a by w x a, and what is off by w . (a x n)
        crossed = torch.linalg.cross(axes_BA3[:, :, None].expand(-1, -1, 3, -1), still.expand(*axes_BA3.shape, 3))
        spread = ((share_BEA / size_BEA.square()).transpose(1, 2) @ squares_BE9).unflatten(2, (3, 3))
        curve = (crossed.transpose(2, 3) @ spread @ crossed).sum(1) + (_HOLD + _STIFF) * total_B1[..., None] * still
        missed_BA3 = (share_BEA * off_BEA / size_BEA).transpose(1, 2) @ normal_BE3
        back_B3 = torch.linalg.cross(axes_BA3, first_BA3, dim=-1).sum(1) / 2
        pull_B3 = torch.linalg.cross(axes_BA3, missed_BA3, dim=-1).sum(1) - _HOLD * total_B1 * back_B3
        turn_B3 = -torch.linalg.solve(curve, pull_B3)
        turn_B3 = turn_B3 * (_STRIDE / turn_B3.norm(dim=-1, keepdim=True).clamp(min=_TINY)).clamp(max=1)
        u, _, vt = torch.linalg.svd(axes_BA3 + torch.linalg.cross(turn_B3[:, None].expand(-1, 3, -1), axes_BA3, dim=-1))
        axes_BA3 = torch.where((total_B1 > _TINY)[..., None], u @ vt, axes_BA3)
    return axes_BA3


def _edges(image_B3HW: Tensor, matrix_B33: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unit vectors across the edges (B, E, 2), where they are (B, E, 2), both on the plane z = 1, and weights (B, E).

    From the structure tensor (Förstner and Gülch 1987) of cells: how strong the edge is there, and how much it is one.
    """
    height, width = image_B3HW.shape[2:]
    grey = F.pad(image_B3HW.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    smooth, difference = grey.new_tensor([1.0, 2.0, 1.0]) / 4, grey.new_tensor([-0.5, 0.0, 0.5])
    x = F.conv2d(grey, (smooth[:, None] * difference)[None, None])
    y = F.conv2d(grey, (difference[:, None] * smooth)[None, None])
    cell = max(1, height // _EDGES)
    tensor = F.avg_pool2d(torch.cat([x * x, x * y, y * y], 1), 2 * cell, cell)
    xx, xy, yy = tensor.unbind(1)
    angle, strength = torch.atan2(2 * xy, xx - yy) / 2, xx + yy
    clear = ((xx - yy).square() + 4 * xy.square()).sqrt() / (strength + 1e-6)
    v, u = ((torch.arange(n, device=grey.device, dtype=grey.dtype) + 1) * cell - 0.5 for n in tensor.shape[2:])
    v, u = torch.meshgrid(v, u, indexing="ij")
    focal, middle = matrix_B33[:, [0, 1], [0, 1]][:, None], matrix_B33[:, :2, 2][:, None]
    place_BE2 = (torch.stack([u, v], -1).flatten(0, 1) - middle) / focal
    across_BE2 = F.normalize(torch.stack([angle.cos(), angle.sin()], -1).flatten(1, 2) * focal, dim=-1)
    strength_BE = strength.flatten(1).clamp(min=0).sqrt()
    strength_BE, taken_BE = strength_BE.topk(int(_STRONG * strength_BE.shape[1]))
    weight_BE = (
        torch.minimum(strength_BE, _GLARING * strength_BE[:, -1:]) * clear.flatten(1).gather(1, taken_BE).square()
    )
    both_BE2 = taken_BE[..., None].expand(-1, -1, 2)
    return across_BE2.gather(1, both_BE2), place_BE2.gather(1, both_BE2), weight_BE
