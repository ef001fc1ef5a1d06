"""Rendering of clouds: the nearest point wins, splats and holes of known size, overview pictures of anything."""

from __future__ import annotations

import numpy as np
import pytest
from clouds import made, refused, view
from lenses import BENT

from uniugg_core.cameras import Camera, inverse_rigid, motion
from uniugg_core.errors import ErrorCode
from uniugg_core.render import IMAGINED_TINT, render_points, scene_picture
from uniugg_core.scene import IMAGINED, OBSERVED, Scene

CAMERA = Camera(64, 48, [[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])
RED, GREEN = (255, 0, 0), (0, 255, 0)


def at(column, row, depth=1.0):
    return (np.array([column - 32.0, row - 24.0, 50.0]) / 50.0 * depth).tolist()


def render(points, colors=None, **options):
    points = np.array(points, np.float64).reshape(-1, 3)
    colors = np.full((len(points), 3), 200, np.uint8) if colors is None else np.array(colors, np.uint8)
    return render_points(points, colors, CAMERA, **options)


class TestSplats:
    @pytest.mark.parametrize(
        ("splat", "column", "row", "columns", "rows"),
        [
            (1, 10, 20, range(10, 11), range(20, 21)),
            (1, 10.4, 19.6, range(10, 11), range(20, 21)),
            (2, 10.5, 20.5, range(10, 12), range(20, 22)),
            (3, 10, 20, range(9, 12), range(19, 22)),
            (4, 10.5, 20.5, range(9, 13), range(19, 23)),
        ],
    )
    def test_which_pixels_a_point_covers(self, splat, column, row, columns, rows):
        drawn = render([at(column, row)], splat=splat, fill_holes=0)
        expected = np.zeros((48, 64), bool)
        expected[np.ix_(rows, columns)] = True
        assert np.array_equal(drawn.depth > 0, expected)
        assert np.array_equal((drawn.rgb == 200).all(axis=2), expected)
        assert drawn.hole_fraction == pytest.approx(1 - expected.mean())

    def test_the_nearest_wins_in_any_order(self):
        points, colors = [at(10, 20, 2.0), at(10, 20, 1.0)], [RED, GREEN]
        for order in ([0, 1], [1, 0]):
            drawn = render([points[i] for i in order], [colors[i] for i in order])
            assert drawn.rgb[20, 10].tolist() == list(GREEN) and drawn.depth[20, 10] == 1.0
            assert drawn.index[20, 10] == order.index(1)

    def test_borders_cut_splats(self):
        drawn = render([at(0, 0), at(63, 47), at(-1, 10), at(64, 10), at(-2, 30)], splat=3, fill_holes=0)
        assert (drawn.depth[:2, :2] > 0).all() and (drawn.depth[46:, 62:] > 0).all()
        assert (drawn.depth[9:12, 0] > 0).all() and (drawn.depth[9:12, 63] > 0).all()
        assert (drawn.depth[25:40] == 0).all()

    def test_what_cannot_be_drawn_is_not(self):
        points = [
            at(10, 20, -1.0),
            [0, 0, 0],
            [np.nan, 0, 1],
            [np.inf, 0, 1],
            [0, 0, np.inf],
            [1e30, 0, 1],
            [0, 0, 1e-5],
        ]
        drawn = render(points, background=(1, 2, 3))
        assert drawn.hole_fraction == 1.0 and (drawn.rgb == (1, 2, 3)).all()

    def test_nothing_to_draw(self):
        assert render([]).hole_fraction == 1.0

    def test_nonsense(self):
        for options in ({"splat": 0}, {"splat": 1000}, {"fill_holes": -1}):
            refused(ErrorCode.REQUEST_INVALID, render, [at(1, 1)], **options)
        refused(ErrorCode.REQUEST_INVALID, render, [at(1, 1)], [RED, GREEN])


class TestHoles:
    @pytest.mark.parametrize("widest", [1, 2, 3, 4])
    def test_gaps_up_to_the_limit_are_filled_and_wider_ones_stay(self, widest):
        for gap in range(1, 6):
            columns = [c for c in range(64) if not 20 <= c < 20 + gap]
            points = [at(c, r) for r in range(48) for c in columns]
            drawn = render(points, splat=1, fill_holes=widest)
            assert (drawn.hole_fraction == 0.0) == (gap <= widest), (widest, gap)

    @pytest.mark.parametrize("widest", [1, 2, 3])
    def test_shapes_do_not_grow(self, widest):
        block = [at(c, r) for r in range(10, 30) for c in range(20, 40)]
        assert np.array_equal(
            render(block, splat=1, fill_holes=widest).depth > 0, render(block, splat=1, fill_holes=0).depth > 0
        )

    def test_a_hole_takes_what_is_behind(self):
        near = [at(c, r, 1.0) for r in range(48) for c in range(20)]
        far = [at(c, r, 3.0) for r in range(48) for c in range(21, 64)]
        drawn = render(near + far, [RED] * len(near) + [GREEN] * len(far), splat=1)
        assert drawn.rgb[24, 20].tolist() == list(GREEN) and drawn.depth[24, 20] == 3.0


class TestGeometry:
    @pytest.mark.parametrize("name", ["pinhole", *sorted(BENT)])
    def test_a_cloud_seen_by_the_camera_it_came_from_is_its_picture(self, name):
        camera = Camera.from_fov(160, 120, 1.0) if name == "pinhole" else BENT[name].scaled(160, 120)
        image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        depth = np.random.default_rng(1).uniform(1, 5, (120, 160))
        depth[~np.isfinite(camera.rays()).all(axis=2)] = 0
        pose = motion(yaw=0.7, right=3.0, forward=-1.0)
        scene = Scene.from_depth(depth, image, camera, pose)
        drawn = render_points(scene.points, scene.colors, camera, pose, splat=1, fill_holes=0)
        measured = depth > 0
        assert np.array_equal(drawn.rgb[measured], image[measured])
        assert np.allclose(drawn.depth[measured], depth[measured], atol=1e-4)

    def test_far_from_the_origin_nothing_is_lost(self):
        pose = motion(right=50_000.0)
        away = inverse_rigid(pose)
        points = np.array([at(10, 20), at(11, 20)]) + away[:3, 3]
        drawn = render_points(points, np.array([RED, GREEN], np.uint8), CAMERA, away, splat=1, fill_holes=0)
        assert drawn.rgb[20, 10].tolist() == list(RED) and drawn.rgb[20, 11].tolist() == list(GREEN)


class TestPictures:
    def test_sizes(self):
        scene = made(500)
        assert scene_picture(scene).shape == (360, 964, 3)
        assert scene_picture(scene, 200).shape[0] == 200
        assert scene_picture(scene, (720, 300)).shape == (300, 720, 3)
        for size in (10, 5000, (100, 300)):
            refused(ErrorCode.REQUEST_INVALID, scene_picture, scene, size)

    @pytest.mark.parametrize(
        "scene",
        [
            Scene.empty(),
            Scene.from_arrays([[0, 0, 1]]),
            Scene.from_arrays([[5, 5, 5]] * 100),
            Scene.from_arrays([[np.nan, 0, 0]]),
            Scene.from_arrays([[0, 0, z] for z in range(50)], frame="map"),
            Scene.from_arrays(np.random.default_rng(0).normal(0, 1e6, (50, 3))),
            made(50, views=tuple(view(seed=n, pose=motion(yaw=n, pitch=1.57)) for n in range(30))),
        ],
        ids=["empty", "one", "coincident", "nan", "line", "huge", "many cameras, looking up"],
    )
    def test_any_scene(self, scene):
        picture = scene_picture(scene, 120)
        assert picture.dtype == np.uint8 and picture.std() > 0

    def test_the_bulk_fills_the_frame_despite_strays(self):
        rng = np.random.default_rng(0)
        room = rng.uniform((-1, -1, 2), (1, 1, 4), (20_000, 3))
        strays = rng.normal(0, 300, (200, 3))
        clean, stray = (
            scene_picture(Scene.from_arrays(points, np.zeros((len(points), 3))))
            for points in (room, np.concatenate([room, strays]))
        )
        covered = [(picture.max(axis=2) < 60).mean() for picture in (clean, stray)]
        assert covered[0] > 0.25 and covered[1] > 0.8 * covered[0]

    def test_imagined_points_are_told_apart(self):
        points = np.random.default_rng(0).uniform((-1, -1, 2), (1, 1, 4), (20_000, 3))
        tint = np.array(IMAGINED_TINT, float) - np.mean(IMAGINED_TINT)

        def tinted(source):
            picture = scene_picture(Scene.from_arrays(points, np.full((20_000, 3), 128), source=source), 240)
            return float(((picture.astype(float) - picture.mean(axis=2, keepdims=True)) @ tint).mean())

        assert tinted(IMAGINED) > 20 * abs(tinted(OBSERVED)) + 100

    def test_the_first_panel_looks_from_behind_left(self):
        """A red thing ahead left and a green one ahead right, blue above: so they appear in the left panel."""
        ball = np.random.default_rng(0).normal(0, 0.1, (3000, 3))
        points = np.concatenate([ball + (-1, 0, 3), ball + (1, 0, 3), ball + (0, -1.5, 3)])
        colors = np.repeat([[255, 0, 0], [0, 255, 0], [0, 0, 255]], 3000, axis=0)
        picture = scene_picture(Scene.from_arrays(points, colors))[:, :480].astype(int)
        places = []
        for channel in range(3):
            rows, columns = np.nonzero(picture[..., channel] - np.delete(picture, channel, 2).max(axis=2) > 60)
            places.append((columns.mean(), rows.mean()))
        assert places[0][0] < places[2][0] < places[1][0]
        assert places[2][1] < min(places[0][1], places[1][1])
