"""The two renderers of a room: against known answers, and against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from training.data.world.lights import MAX_LIGHTS, VOLUME, Lights
from training.data.world.paths import pose_from_look
from training.data.world.plan import Plan
from training.data.world.primitives import Primitives
from training.data.world.raycast import RoomBatch, raycast
from training.data.world.room import make_room
from uniugg_core.errors import UniuggError

SIZE = 48


def camera(size=SIZE, fov=60.0, shift=0.0):
    focal = 0.5 * size / math.tan(math.radians(fov) / 2)
    return np.array([[focal, 0, (size - 1) / 2 + shift], [0, 1.02 * focal, (size - 1) / 2 - shift], [0, 0, 1.0]])


def scene(*solids):
    """A room of nothing but the given (kind, center, half, taper, rotation) solids; ids count from 1."""
    count = len(solids)
    ones = np.ones(count, np.float32)
    primitives = Primitives(
        kind=np.array([s[0] for s in solids], np.int32),
        rotation=np.array([np.eye(3) if s[4] is None else s[4] for s in solids], np.float32),
        center=np.array([s[1] for s in solids], np.float32),
        half=np.array([s[2] for s in solids], np.float32),
        taper=np.array([s[3] for s in solids], np.float32),
        first=np.full((count, 3), 0.5, np.float32),
        second=np.full((count, 3), 0.5, np.float32),
        layer=0 * ones,
        repeat=ones,
        shift=np.zeros((count, 2), np.float32),
        emission=0 * ones,
        instance=np.arange(1, count + 1, dtype=np.int32),
    )
    room = make_room(0)
    dark = np.zeros((MAX_LIGHTS, 3), np.float32)
    lights = Lights(dark, dark, np.ones(MAX_LIGHTS, np.float32), np.full(3, 0.9, np.float32))
    plan = Plan(4.0, 4.0, 3.0, None, room.plan.walls)
    return type(room)(0, room.graph, primitives, lights, np.zeros(VOLUME, np.uint8), plan, (), room.class_of)


def cast(room, k, pose, size=SIZE, **options):
    packed = RoomBatch.pack([room])
    out = raycast(packed, torch.from_numpy(k)[None, None], torch.from_numpy(pose)[None, None], size, size, **options)
    return [tensor[0, 0].numpy() for tensor in out]


EYE = pose_from_look(0.0, 2.0, 1.0, 0.0, 0.0)  # looks along world x


class TestKnownAnswers:
    def test_a_wall_ahead_has_one_depth(self):
        room = scene((0, (3.1, 2.0, 1.0), (0.1, 9.0, 9.0), 1.0, None))
        _, depth, ids = cast(room, camera(), EYE)
        np.testing.assert_allclose(depth, 3.0, atol=1e-5)
        assert (ids == 1).all()

    def test_a_slanted_floor_follows_the_rays(self):
        """Pixel centres at integers: the row's depth is height / tan of its own ray."""
        k = camera(shift=0.7)
        room = scene((0, (0.0, 2.0, -0.1), (99.0, 99.0, 0.1), 1.0, None))
        _, depth, _ = cast(room, k, EYE)
        rows = np.arange(SIZE)
        slope = (rows - k[1, 2]) / k[1, 1]
        expected = np.where(slope > 1e-9, 1.0 / np.where(slope > 1e-9, slope, 1.0), 0.0)
        good = (expected < 50) & (expected > 0)
        np.testing.assert_allclose(depth[good], np.broadcast_to(expected[good, None], (good.sum(), SIZE)), rtol=1e-4)
        assert (depth[slope < 0] == 0).all()

    def test_a_ball(self):
        room = scene((2, (3.0, 2.0, 1.0), (0.5, 0.5, 0.5), 1.0, None))
        k = camera(SIZE + 1)  # an odd size has a pixel on the axis
        _, depth, ids = cast(room, k, EYE, SIZE + 1)
        assert depth[SIZE // 2, SIZE // 2] == pytest.approx(2.5, abs=1e-5)
        rays = (np.arange(SIZE + 1) - SIZE / 2) / k[0, 0]
        inside = np.abs(rays) < 0.5 / math.sqrt(9 - 0.25)  # tangent of the ball's outline
        np.testing.assert_array_equal(ids[SIZE // 2] == 1, inside)

    def test_an_ellipsoid_is_a_stretched_ball(self):
        turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
        room = scene((2, (3.0, 2.0, 1.0), (0.3, 0.8, 0.5), 1.0, turn))  # turned: 0.8 along the view
        _, depth, _ = cast(room, camera(SIZE + 1), EYE, SIZE + 1)
        assert depth[SIZE // 2, SIZE // 2] == pytest.approx(2.2, abs=1e-5)

    def test_a_cone_and_a_frustum(self):
        for taper in (0.0, 0.5, 1.0):
            room = scene((1, (3.0, 2.0, 1.0), (0.5, 0.5, 0.5), taper, None))
            _, depth, _ = cast(room, camera(SIZE + 1), EYE, SIZE + 1)
            radius = 0.5 * (0.5 + 0.5 * taper)  # half way up
            assert depth[SIZE // 2, SIZE // 2] == pytest.approx(3.0 - radius, abs=1e-4)

    def test_a_cylinder_has_a_lid(self):
        room = scene((1, (0.0, 2.0, 0.0), (0.5, 0.5, 0.5), 1.0, None))
        above = pose_from_look(0.0, 2.0, 3.0, 0.0, -0.5 * math.pi + 1e-6)
        _, depth, _ = cast(room, camera(SIZE + 1), above, SIZE + 1)
        assert depth[SIZE // 2, SIZE // 2] == pytest.approx(2.5, abs=1e-4)

    def test_nearer_things_hide_others(self):
        near, far = (0, (2.0, 2.0, 1.0), (0.1, 0.2, 0.2), 1.0, None), (0, (3.0, 2.0, 1.0), (0.1, 0.9, 0.9), 1.0, None)
        for order in ((near, far), (far, near)):
            _, depth, ids = cast(scene(*order), camera(), EYE)
            middle = ids[SIZE // 2, SIZE // 2]
            assert order[middle - 1] is near
            assert depth[SIZE // 2, SIZE // 2] == pytest.approx(1.9, abs=1e-5)

    def test_what_lies_behind_is_not_seen(self):
        _, depth, ids = cast(scene((2, (-2.0, 2.0, 1.0), (0.5, 0.5, 0.5), 1.0, None)), camera(), EYE)
        assert not depth.any() and not ids.any()

    def test_tiles_do_not_matter(self):
        room, pose = make_room(5), pose_from_look(1.3, 1.3, 1.2, 0.7, -0.1)
        whole = cast(room, camera(), pose, tile=SIZE)
        for tile in (7, 16):
            for a, b in zip(whole, cast(room, camera(), pose, tile=tile)):
                np.testing.assert_allclose(a.astype(float), b.astype(float), atol=1.0 if a.dtype == np.uint8 else 1e-5)

    def test_brute_force(self):
        """Depth of a furnished room against one ray at a time and plain formulas for boxes."""
        room, k = make_room(11), camera(24)
        pose = pose_from_look(0.5 * room.plan.width, 0.5 * room.plan.depth, 1.5, 0.4, -0.2)
        p, boxes = room.primitives, room.primitives.kind == 0
        only = scene(*[(0, p.center[i], p.half[i], 1.0, p.rotation[i]) for i in np.flatnonzero(boxes)])
        _, depth, _ = cast(only, k, pose, 24)
        for row in range(0, 24, 5):
            for column in range(0, 24, 5):
                d = pose[:3, :3] @ np.array([(column - k[0, 2]) / k[0, 0], (row - k[1, 2]) / k[1, 1], 1.0])
                best = math.inf
                for i in np.flatnonzero(boxes):
                    o, v = p.rotation[i].T @ (pose[:3, 3] - p.center[i]), p.rotation[i].T @ d
                    with np.errstate(divide="ignore"):
                        a, b = np.sort(np.stack([(-p.half[i] - o) / v, (p.half[i] - o) / v]), axis=0)
                    if a.max() <= b.min() and a.max() > 0.03:
                        best = min(best, a.max())
                assert depth[row, column] == pytest.approx(best, rel=1e-4)


@pytest.fixture(scope="module")
def renderer():
    pytest.importorskip("moderngl")
    from training.data.world.render_gl import GLRenderer

    try:
        made = GLRenderer(64, 64)
    except UniuggError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def views(room, count, seed):
    rng = np.random.default_rng(seed)
    width, depth = room.plan.width, room.plan.depth
    return np.stack(
        [
            pose_from_look(
                width * rng.uniform(0.2, 0.8),
                depth * rng.uniform(0.2, 0.8),
                rng.uniform(0.5, 1.7),
                rng.uniform(-3, 3),
                rng.uniform(-0.4, 0.2),
                rng.uniform(-0.1, 0.1),
            )
            for _ in range(count)
        ]
    )


class TestRasteriser:
    def test_agrees_with_the_caster(self, renderer):
        for seed in (1, 2, 23):
            room = make_room(seed, clutter=1.0)
            poses = views(room, 5, seed)
            k = np.repeat(camera(64, 70.0, 1.3)[None], 5, 0)
            colour, depth, ids = renderer.render(room, k, poses)
            cast_out = raycast(RoomBatch.pack([room]), torch.from_numpy(k)[None], torch.from_numpy(poses)[None], 64, 64)
            colour2, depth2, ids2 = (tensor[0].numpy() for tensor in cast_out)
            difference = np.abs(depth - depth2)
            assert np.median(difference) < 1e-4
            assert np.quantile(difference, 0.98) < 1e-3
            assert (ids == ids2).mean() > 0.985
            assert np.abs(colour.astype(int) - colour2.astype(int)).mean() < 2.0

    def test_rooms_are_closed(self, renderer):
        for seed in range(8):
            room = make_room(seed, l_shaped=1.0)
            poses = views(room, 4, seed)
            if room.plan.cut:  # stay out of the part that is not there
                x = 0.5 * room.plan.cut.x0 if room.plan.cut.x0 > 0 else 0.5 * (room.plan.cut.x1 + room.plan.width)
                poses[:, 0, 3] = x
            _, depth, ids = renderer.render(room, np.repeat(camera(64)[None], 4, 0), poses)
            assert (depth > 0).all() and (ids > 0).all()

    def test_repeats_exactly(self, renderer):
        room = make_room(3)
        poses, k = views(room, 4, 0), np.repeat(camera(64)[None], 4, 0)
        first = renderer.render(room, k, poses)
        renderer.render(make_room(4), k, poses)
        for a, b in zip(first, renderer.render(room, k, poses)):
            np.testing.assert_array_equal(a, b)

    def test_a_view_does_not_depend_on_its_neighbours(self, renderer):
        room = make_room(3)
        poses, k = views(room, 5, 0), np.repeat(camera(64)[None], 5, 0)
        together = renderer.render(room, k, poses)
        alone = renderer.render(room, k[3:4], poses[3:4])
        np.testing.assert_allclose(together[1][3], alone[1][0], rtol=1e-5)
        assert (together[0][3] == alone[0][0]).mean() > 0.99  # rounding at another place of the sheet
        assert (together[2][3] == alone[2][0]).mean() > 0.999

    def test_supersampling_smooths_and_keeps_geometry(self, renderer):
        from training.data.world.render_gl import GLRenderer

        room = make_room(9)
        poses, k = views(room, 2, 1), np.repeat(camera(64)[None], 2, 0)
        fine = GLRenderer(64, 64, supersample=2)
        plain, smooth = renderer.render(room, k, poses), fine.render(room, k, poses)
        again = renderer.render(room, k, poses)
        fine.close()
        np.testing.assert_array_equal(plain[0], again[0])  # two contexts in one process keep out of each other's way
        np.testing.assert_array_equal(plain[1], smooth[1])
        np.testing.assert_array_equal(plain[2], smooth[2])

        def roughness(picture):
            return np.abs(np.diff(picture.astype(float), axis=2)).mean()

        assert roughness(smooth[0]) < roughness(plain[0])
        assert np.abs(smooth[0].astype(float).mean() - plain[0].astype(float).mean()) < 2.0
