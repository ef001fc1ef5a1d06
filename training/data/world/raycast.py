"""Rays against the same primitives in torch: the fallback without OpenGL, the oracle for it, and a renderer for GPUs.

R rooms with V views each are traced at once:

1. every view is cut into square tiles; a tile's rays lie in a cone;
2. each cone is tested against the bounding spheres of all primitives, which leaves a short list per tile;
3. the k-th primitives of all lists are intersected with all rays at once, for k up to the longest list of a group of
   tiles with lists of similar length;
4. what the rays hit is shaded once.

R rooms, V views, P primitives (padded), B tiles, T rays of a tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .room import Room
from .shading import Surface, shade

__all__ = ["RoomBatch", "raycast"]

NEAR_PLANE = 0.03
_GROUPS = 6  # tiles are handled in this many groups of similar list length
_BOX = 0


@dataclass(frozen=True)
class RoomBatch:
    """Rooms as padded tensors on one device; make it with :meth:`pack`."""

    kind: torch.Tensor  # (R, P) long; -1 pads
    world_from_unit: torch.Tensor  # (R, P, 3, 4)
    unit_from_world: torch.Tensor  # (R, P, 3, 4)
    half: torch.Tensor  # (R, P, 3)
    taper: torch.Tensor  # (R, P)
    radius: torch.Tensor  # (R, P) of the bounding sphere
    look: torch.Tensor  # (R, P, 11): first 3, second 3, layer, repeat, shift 2, emission
    instance: torch.Tensor  # (R, P) uint8
    size: torch.Tensor  # (R, 3) of the room's box
    solid: torch.Tensor  # (R, D, H, W) in [0, 1]
    light_at: torch.Tensor  # (R, L, 3)
    light_colour: torch.Tensor  # (R, L, 3)
    light_fade: torch.Tensor  # (R, L)
    ambient: torch.Tensor  # (R, 3)

    @classmethod
    def pack(cls, rooms: Sequence[Room], device: torch.device | str = "cpu") -> RoomBatch:
        """Pads and stacks rooms."""
        longest = max(len(room.primitives) for room in rooms)

        def stacked(name: str, pad: float = 0.0) -> torch.Tensor:
            arrays = [getattr(room.primitives, name) for room in rooms]
            out = np.full((len(rooms), longest, *arrays[0].shape[1:]), pad, arrays[0].dtype)
            for row, array in zip(out, arrays):
                row[: len(array)] = array
            return torch.from_numpy(out)

        rotation, half, center = stacked("rotation"), stacked("half", 1.0), stacked("center")
        inverse = rotation.transpose(-1, -2) / half[..., None]
        look = [stacked("first"), stacked("second"), stacked("layer")[..., None], stacked("repeat", 1.0)[..., None]]
        look += [stacked("shift"), stacked("emission")[..., None]]
        fields = dict(
            kind=stacked("kind", -1).long(),
            world_from_unit=torch.cat([rotation * half[..., None, :], center[..., None]], -1),
            unit_from_world=torch.cat([inverse, -inverse @ center[..., None]], -1),
            half=half,
            taper=stacked("taper", 1.0),
            radius=half.norm(dim=-1),
            look=torch.cat(look, -1),
            instance=stacked("instance").to(torch.uint8),
            size=torch.tensor([[r.plan.width, r.plan.depth, r.plan.height] for r in rooms], dtype=torch.float32),
            solid=torch.from_numpy(np.stack([r.occlusion for r in rooms])).float() / 255,
            light_at=torch.from_numpy(np.stack([r.lights.position for r in rooms])),
            light_colour=torch.from_numpy(np.stack([r.lights.colour for r in rooms])),
            light_fade=torch.from_numpy(np.stack([r.lights.fade for r in rooms])),
            ambient=torch.from_numpy(np.stack([r.lights.ambient for r in rooms])),
        )
        return cls(**{name: value.to(device) for name, value in fields.items()})


@torch.no_grad()
def raycast(
    rooms: RoomBatch,
    intrinsics: torch.Tensor,
    world_from_camera: torch.Tensor,
    height: int,
    width: int,
    *,
    tile: int = 16,
    colour: bool = True,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Renders V views of each of R rooms on the device of `rooms`.

    Args:
        rooms: the packed rooms.
        intrinsics: (R, V, 3, 3) K in pixels, pixel centres at integers.
        world_from_camera: (R, V, 4, 4) OpenCV camera poses.
        height: rows of a view.
        width: columns of a view.
        tile: side of the square tiles in pixels.
        colour: False leaves the pictures black and saves their cost.

    Returns:
        Colour (R, V, H, W, 3) uint8, view depth (R, V, H, W) float32 metres with 0 where nothing is hit, and instance
        ids (R, V, H, W) uint8.
    """
    device = rooms.kind.device
    k, pose = intrinsics.to(device, torch.float32), world_from_camera.to(device, torch.float32)
    room_count, views = k.shape[:2]
    down, across = -(-height // tile), -(-width // tile)
    rays = _rays(k, pose, down * tile, across * tile)
    rays = rays.reshape(room_count, views, down, tile, across, tile, 3).transpose(3, 4)
    rays = rays.reshape(room_count * views * down * across, tile * tile, 3)
    per_view = down * across
    room_of = torch.arange(room_count, device=device).repeat_interleave(views * per_view)
    eye = pose[..., :3, 3].reshape(-1, 3).repeat_interleave(per_view, 0)

    depth = torch.full(rays.shape[:2], torch.inf, device=device)
    owner = torch.full(rays.shape[:2], -1, dtype=torch.long, device=device)
    for curved in (False, True):
        _trace(rooms, room_of, eye, rays, depth, owner, curved)

    def picture(values: torch.Tensor) -> torch.Tensor:
        tail = values.shape[2:]
        out = values.reshape(room_count, views, down, across, tile, tile, *tail).transpose(3, 4)
        return out.reshape(room_count, views, down * tile, across * tile, *tail)[:, :, :height, :width].contiguous()

    hit = owner >= 0
    ids = torch.where(hit, rooms.instance[room_of[:, None], owner.clamp_min(0)], 0).to(torch.uint8)
    if colour:
        pixel = (1.0 / k[..., 0, 0]).reshape(-1).repeat_interleave(per_view)
        rgb = _coloured(rooms, eye, rays, depth, owner, pixel)
        rgb = torch.where(hit[..., None], rgb * 255, 0.0).round().to(torch.uint8)
    else:
        rgb = torch.zeros((*hit.shape, 3), dtype=torch.uint8, device=device)
    return picture(rgb), picture(torch.where(hit, depth, 0.0)), picture(ids)


def _rays(k: torch.Tensor, pose: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """World directions (R, V, H, W, 3) of unit view depth, so that a ray's parameter is its depth."""
    v, u = torch.meshgrid(
        torch.arange(height, device=k.device, dtype=k.dtype),
        torch.arange(width, device=k.device, dtype=k.dtype),
        indexing="ij",
    )
    y = (v - k[..., 1, 2, None, None]) / k[..., 1, 1, None, None]
    x = (u - k[..., 0, 2, None, None] - k[..., 0, 1, None, None] * y) / k[..., 0, 0, None, None]
    camera = torch.stack([x, y, torch.ones_like(x)], -1)
    return _turned(pose[:, :, None, None, :3, :3], camera)


def _trace(
    rooms: RoomBatch,
    room_of: torch.Tensor,
    eye: torch.Tensor,
    rays: torch.Tensor,
    depth: torch.Tensor,
    owner: torch.Tensor,
    curved: bool,
) -> None:
    """Intersects all tiles with their short lists of boxes or of curved primitives; updates `depth` and `owner`."""
    touched = _cones_touch(rooms, room_of, eye, rays)
    touched &= (rooms.kind > _BOX if curved else rooms.kind == _BOX)[room_of]
    counts, order = touched.sum(1).sort(descending=True)
    listed = touched.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    meet = _meet_curved if curved else _meet_box
    step = max(1, -(-len(order) // _GROUPS))
    longest = counts[::step].tolist()  # one wait for the device
    for group, length in enumerate(longest):
        tiles = order[group * step : (group + 1) * step]
        room, origin, direction = room_of[tiles], eye[tiles], [axis.contiguous() for axis in rays[tiles].unbind(-1)]
        near, best = depth[tiles], owner[tiles]
        for n in range(int(length)):
            primitive = listed[tiles, n]
            valid = touched[tiles, primitive]
            matrix = rooms.unit_from_world[room, primitive][:, None]  # over the T rays
            o = [a + shift for a, shift in zip(_rows(matrix, origin[:, None].unbind(-1)), matrix[..., 3].unbind(-1))]
            t = meet(o, _rows(matrix, direction), rooms.kind[room, primitive], rooms.taper[room, primitive])
            closer = (t < near) & valid[:, None]
            near = torch.where(closer, t, near)
            best = torch.where(closer, primitive[:, None], best)
        depth[tiles], owner[tiles] = near, best


def _cones_touch(rooms: RoomBatch, room_of: torch.Tensor, eye: torch.Tensor, rays: torch.Tensor) -> torch.Tensor:
    """(B, P): whether a tile's cone of rays meets a primitive's bounding sphere (conservative)."""
    unit = torch.nn.functional.normalize(rays, dim=-1)
    axis = torch.nn.functional.normalize(unit.mean(1), dim=-1)
    spread = (unit * axis[:, None]).sum(-1).amin(1).clamp(-1, 1).acos() + 1e-3
    away = rooms.world_from_unit[..., 3][room_of] - eye[:, None]
    distance = away.norm(dim=-1).clamp_min(1e-6)
    angle = ((away * axis[:, None]).sum(-1) / distance).clamp(-1, 1).acos()
    radius = rooms.radius[room_of]
    reach = (radius / distance).clamp(max=1.0).asin()
    return (angle <= spread[:, None] + reach) | (distance <= radius)


def _meet_box(o: list[torch.Tensor], d: list[torch.Tensor], kind: torch.Tensor, taper: torch.Tensor) -> torch.Tensor:
    """Depths (B, T) at which rays o + t d enter the unit cube from outside, inf for a miss.

    Args:
        o: x, y and z of the eye in unit coordinates, each (B, 1).
        d: x, y and z of the rays' directions, each (B, T).
        kind: (B,) of the primitives.
        taper: (B,).
    """
    enter, leave = None, None
    for start, step in zip(o, d):
        inverse = 1.0 / torch.where(step.abs() < 1e-12, 1e-12, step)
        a, b = (-1.0 - start) * inverse, (1.0 - start) * inverse
        low, high = torch.minimum(a, b), torch.maximum(a, b)
        enter = low if enter is None else torch.maximum(enter, low)
        leave = high if leave is None else torch.minimum(leave, high)
    return torch.where((enter <= leave) & (enter > NEAR_PLANE), enter, torch.inf)


def _meet_curved(o: list[torch.Tensor], d: list[torch.Tensor], kind: torch.Tensor, taper: torch.Tensor) -> torch.Tensor:
    """The same for cone frusta (kind 1) and unit balls (kind 2)."""
    (ox, oy, oz), (dx, dy, dz) = o, d
    dd = (dx * dx + dy * dy + dz * dz).clamp_min(1e-20)
    middle = -(ox * dx + oy * dy + oz * dz) / dd
    qx, qy, qz = ox + middle * dx, oy + middle * dy, oz + middle * dz  # nearest to the centre: keeps the numbers small
    inf = torch.inf

    disc = -dd * (qx * qx + qy * qy + qz * qz - 1.0)
    root = disc.clamp_min(0).sqrt() / dd
    ball = torch.where(middle - root > 0, middle - root, middle + root)
    ball = torch.where((disc >= 0) & (ball > NEAR_PLANE), ball, inf)

    slope, mean = 0.5 * (taper - 1.0)[:, None], 0.5 * (taper + 1.0)[:, None]
    radius = mean + slope * qz
    qa = dx * dx + dy * dy - (slope * dz) ** 2
    qb = qx * dx + qy * dy - slope * dz * radius
    qc = qx * qx + qy * qy - radius**2
    disc = qb * qb - qa * qc
    qa = torch.where(qa.abs() < 1e-9, 1e-9, qa)
    root = disc.clamp_min(0).sqrt()
    tube = torch.full_like(ball, inf)
    for sign in (-1.0, 1.0):
        s = (-qb + sign * root) / qa
        z, t = qz + s * dz, s + middle
        good = (disc >= 0) & (t > NEAR_PLANE) & (z.abs() <= 1) & (mean + slope * z >= 0)
        tube = torch.where(good & (t < tube), t, tube)
    dz = torch.where(dz.abs() < 1e-12, 1e-12, dz)
    for cap in (-1.0, 1.0):
        t = (cap - oz) / dz
        x, y = ox + t * dx, oy + t * dy
        good = (t > NEAR_PLANE) & (x * x + y * y <= (mean + slope * cap) ** 2)
        tube = torch.where(good & (t < tube), t, tube)
    return torch.where(kind[:, None] == 2, ball, tube)


def _coloured(
    rooms: RoomBatch,
    eye: torch.Tensor,
    rays: torch.Tensor,
    depth: torch.Tensor,
    owner: torch.Tensor,
    pixel: torch.Tensor,
) -> torch.Tensor:
    """Display colours (B, T, 3) of all hits."""
    room_count = len(rooms.kind)
    tiles, per_tile = depth.shape

    def by_room(values: torch.Tensor) -> torch.Tensor:
        return values.reshape(room_count, -1, *values.shape[2:])

    row = torch.arange(room_count, device=depth.device)[:, None]
    chosen = by_room(owner.clamp_min(0))
    t = by_room(torch.where(owner >= 0, depth, 1.0))
    origin = by_room(eye[:, None].expand(-1, per_tile, -1))
    point = origin + t[..., None] * by_room(rays)
    matrix, back = rooms.unit_from_world[row, chosen], rooms.world_from_unit[row, chosen]
    unit = _turned(matrix, point) + matrix[..., 3]
    kind, half = rooms.kind[row, chosen], rooms.half[row, chosen]
    normal, uv = _normal_and_map(unit, kind, half, rooms.taper[row, chosen])
    normal = _turned(back, normal / half**2)
    look = rooms.look[row, chosen]
    surface = Surface(
        point=point,
        normal=torch.nn.functional.normalize(normal, dim=-1),
        uv=uv,
        first=look[..., 0:3],
        second=look[..., 3:6],
        layer=look[..., 6],
        repeat=look[..., 7],
        shift=look[..., 8:10],
        emission=look[..., 10],
    )
    rgb = shade(
        surface,
        origin,
        by_room(pixel[:, None].expand(-1, per_tile)),
        rooms.size,
        rooms.solid,
        rooms.light_at,
        rooms.light_colour,
        rooms.light_fade,
        rooms.ambient,
    )
    return rgb.reshape(tiles, per_tile, 3)


def _normal_and_map(
    unit: torch.Tensor, kind: torch.Tensor, half: torch.Tensor, taper: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normals in unit coordinates (not yet scaled) and surface coordinates in metres, (R, N, 3) and (R, N, 2)."""
    metres = unit * half
    face = unit.abs().argmax(-1)
    box_normal = torch.nn.functional.one_hot(face, 3) * unit.sign()
    mx, my, mz = metres.unbind(-1)
    box_map = torch.stack([torch.where(face == 0, my, mx), torch.where(face == 2, my, mz)], -1)

    slope, mean = 0.5 * (taper - 1.0), 0.5 * (taper + 1.0)
    side_radius = mean + slope * unit[..., 2]
    cap = (unit[..., 2].abs() >= 1 - 1e-4) & ((unit[..., :2] ** 2).sum(-1) < (side_radius * (1 - 1e-4)) ** 2)
    tube_normal = torch.stack([unit[..., 0], unit[..., 1], -slope * side_radius], -1)
    up = torch.zeros_like(unit)
    up[..., 2] = unit[..., 2].sign()
    tube_normal = torch.where(cap[..., None], up, tube_normal)
    wrapped = torch.stack([torch.atan2(unit[..., 1], unit[..., 0]) * half[..., 0], mz], -1)
    curved_map = torch.where((cap & (kind == 1))[..., None], metres[..., :2], wrapped)

    normal = torch.where((kind == 2)[..., None], unit, tube_normal)
    normal = torch.where((kind == _BOX)[..., None], box_normal * half, normal)  # divided by half^2 later
    return normal, torch.where((kind == _BOX)[..., None], box_map, curved_map)


def _turned(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """The first three columns of `matrix` (..., 3, 3 or 4) times `vector` (..., 3)."""
    return torch.stack(_rows(matrix, vector.unbind(-1)), -1)


def _rows(matrix: torch.Tensor, vector: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The same on x, y and z apart.

    Written out, because a matrix product may run in TF32 on a GPU and in another order for another batch.
    """
    x, y, z = vector
    return [matrix[..., i, 0] * x + matrix[..., i, 1] * y + matrix[..., i, 2] * z for i in range(3)]
