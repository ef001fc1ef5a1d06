"""The conventions against the world: two real depth frames must agree through K and the poses, and not otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from uniugg_core.cameras import Camera, baseline, inverse_rigid
from uniugg_core.images import decode_compressed_depth, load_image
from uniugg_core.render import render_points
from uniugg_core.scene import Scene

PAIR = Path(__file__).resolve().parent.parent / "data" / "real_pair"


@pytest.fixture(scope="module")
def pair():
    about = json.loads((PAIR / "cameras.json").read_text())
    images = [load_image(PAIR / f"{name}.jpg") for name in about["frames"]]
    depths = [decode_compressed_depth((PAIR / f"{name}_depth.png").read_bytes()) for name in about["frames"]]
    camera = Camera(depths[0].shape[1], depths[0].shape[0], about["matrix"])
    world_from_reference, world_from_target = (np.array(pose) for pose in about["world_from_camera"])
    reference_from_target = inverse_rigid(world_from_reference) @ world_from_target
    return images, depths, camera, reference_from_target


def disagreement(pair, reference_from_target):
    """Median metres between the target's own depth and the reference's points moved into it, and the share compared."""
    images, depths, camera, _ = pair
    points = (
        Scene.from_depth(depths[0], images[0], camera).transform(inverse_rigid(reference_from_target), "target").points
    )
    pixels = np.rint(camera.project(points))
    seen = ((pixels >= 0) & (pixels < (camera.width, camera.height))).all(axis=1)
    columns, rows = pixels[seen].astype(int).T
    own = depths[1][rows, columns]
    return float(np.median(np.abs(own - points[seen, 2])[own > 0])), float((own > 0).sum() / own.size)


def test_depth_warped_by_the_pose_agrees_to_millimetres(pair):
    error, share = disagreement(pair, pair[3])
    assert baseline(pair[3]) > 0.4 and share > 0.5
    assert error < 0.008


def test_the_inverse_pose_and_no_pose_do_not(pair):
    for wrong in (inverse_rigid(pair[3]), np.eye(4)):
        assert disagreement(pair, wrong)[0] > 0.2


def test_depth_rendered_through_the_pose_agrees(pair):
    images, depths, camera, reference_from_target = pair
    scene = Scene.from_depth(depths[0], images[0], camera)
    drawn = render_points(scene.points, scene.colors, camera, reference_from_target)
    both = (drawn.depth > 0) & (depths[1] > 0)
    assert both.mean() > 0.25
    assert np.median(np.abs(drawn.depth - depths[1])[both]) < 0.015  # splats widen every point by half a pixel


def test_the_rendered_picture_resembles_the_target(pair):
    images, depths, camera, reference_from_target = pair
    scene = Scene.from_depth(depths[0], images[0], camera)

    def difference(pose):
        drawn = render_points(scene.points, scene.colors, camera, pose)
        seen = drawn.depth > 0
        return np.abs(drawn.rgb[seen].astype(float) - images[1][seen]).mean()

    assert difference(reference_from_target) < 0.5 * difference(inverse_rigid(reference_from_target))
