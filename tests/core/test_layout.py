"""Walls, floor and ceiling of a box, from what a picture shows of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from box_room import CAMERA, HIGH, LOW, camera_at, exits, tiled_view, view

from uniugg_core.cameras import axis_rotation, inverse_rigid, parse_motion
from uniugg_core.layout import SURFACES, room_layout, surfaces_ahead

MOTIONS = ["yaw right 10", "yaw right 35, pitch down 10", "yaw left 40, left 0.3", "pitch down 15, roll left 3"]
MATRIX = torch.from_numpy(np.array(CAMERA.matrix)).float()[None]


def pictures(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None] / 255


def points_of(*motions: str) -> torch.Tensor:
    return torch.from_numpy(np.stack([view(camera_at(parse_motion(motion)))[1] for motion in motions])).float()


@pytest.mark.parametrize("motion", MOTIONS)
def test_surfaces_of_a_box(motion):
    pose = camera_at(parse_motion(motion))
    layout = room_layout(points_of(motion))
    normals = layout.normal[0].numpy() @ pose[:3, :3].T  # in the room's frame
    for number in range(SURFACES):
        axis, sign = int(np.abs(normals[number]).argmax()), np.sign(normals[number][np.abs(normals[number]).argmax()])
        assert abs(normals[number][axis]) > np.cos(np.radians(2))
        if layout.there[0, number]:
            wall = (HIGH if sign > 0 else LOW)[axis] - pose[axis, 3]
            assert float(layout.offset[0, number]) == pytest.approx(abs(wall), abs=0.12)
    assert (normals[0] @ [0, 1, 0]) > 0.99 and (normals[1] @ [0, 1, 0]) < -0.99
    assert layout.there.sum() >= 3


def test_another_camera_sees_them_go_on():
    """Looking elsewhere: exact where the wall was seen, nothing where there is none."""
    first, motion = "yaw right 35, pitch down 10", "yaw right 40, forward 0.4"
    layout = room_layout(points_of(first))
    move = torch.from_numpy(parse_motion(motion)).float()[None]
    distance, number = surfaces_ahead(layout, move, MATRIX, (128, 128), (16, 16))
    assert distance.shape == number.shape == (1, 16, 16)
    room = camera_at(parse_motion(first)) @ inverse_rigid(parse_motion(motion))
    own = CAMERA.rays().reshape(128, 128, 3)
    rays = (own[3::8, 3::8] + own[4::8, 4::8]) @ room[:3, :3].T
    true, wall = exits(room[:3, 3], rays / np.linalg.norm(rays, axis=-1, keepdims=True))
    normals = layout.normal[0].numpy() @ camera_at(parse_motion(first))[:3, :3].T
    mine = {int(np.abs(n).argmax() + 3 * (n[np.abs(n).argmax()] > 0)) for n, t in zip(normals, layout.there[0]) if t}
    seen = np.isin(wall, sorted(mine))
    assert 0.3 < seen.mean()
    np.testing.assert_allclose(distance[0].numpy()[seen], true[seen], rtol=0.06)
    assert (distance[0].numpy()[~seen] > 0.97 * true[~seen]).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("motion", MOTIONS)
def test_edges_say_how_the_room_is_turned(motion, axis):
    """Points that are turned by six degrees mislead by as much; the picture's edges set that right."""
    pose = camera_at(parse_motion(motion))
    turned = view(pose)[1] @ axis_rotation(axis, np.radians(6)).T

    def off(*more: torch.Tensor) -> float:
        normals = room_layout(torch.from_numpy(turned)[None].float(), *more).normal[0].numpy() @ pose[:3, :3].T
        return float(np.degrees(np.arccos(np.abs(normals).max(1).clip(0, 1))).max())

    assert 4 < off() < 8
    assert off(pictures(tiled_view(pose)), MATRIX) < 2


def test_pictures_without_edges_leave_it_to_the_points():
    points = points_of(MOTIONS[0])
    plain, blank = room_layout(points), room_layout(points, torch.full((1, 3, 128, 128), 0.5), MATRIX)
    torch.testing.assert_close(blank.normal, plain.normal, atol=1e-3, rtol=0)


def test_pictures_do_not_mix():
    images = torch.cat([pictures(tiled_view(camera_at(parse_motion(motion)))) for motion in MOTIONS[:2]])
    both = room_layout(points_of(*MOTIONS[:2]), images, MATRIX.expand(2, 3, 3))
    alone = room_layout(points_of(MOTIONS[1]), images[1:], MATRIX)
    torch.testing.assert_close(both.offset[1:], alone.offset)
    assert torch.equal(both.there[1:], alone.there)


@pytest.mark.parametrize("points", [torch.zeros(1, 32, 32, 3), torch.randn(1, 32, 32, 3, generator=torch.Generator())])
def test_clouds_without_surfaces(points):
    layout = room_layout(points)
    distance, _ = surfaces_ahead(layout, torch.eye(4)[None], torch.eye(3)[None], (32, 32), (4, 4))
    assert layout.normal.isfinite().all() and layout.offset.isfinite().all() and not distance.isnan().any()


def test_any_picture_size():
    large = room_layout(points_of(MOTIONS[0]).repeat_interleave(2, 1).repeat_interleave(2, 2))
    small = room_layout(points_of(MOTIONS[0]))
    assert torch.equal(large.there, small.there)
    torch.testing.assert_close(large.offset, small.offset, atol=0.02, rtol=0.02)
