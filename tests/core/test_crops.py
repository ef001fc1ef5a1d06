"""Undistortion and the square crop: a point in space must show the same content in every version of a picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lenses import ALL, BENT, FISHEYE, PINHOLE, PLUMB_BOB

from uniugg_core.cameras import Camera, crops, ideal_camera, resize, square_crop, undistort
from uniugg_core.errors import ErrorCode, UniuggError


def blob(camera, point, sigma=6.0):
    """The picture a camera takes of one bright ball, and where its centre is."""
    pixel = camera.project(point)
    v, u = np.mgrid[: camera.height, : camera.width]
    bright = 255 * np.exp(-((u - pixel[0]) ** 2 + (v - pixel[1]) ** 2) / (2 * sigma**2))
    return np.repeat(np.rint(bright)[..., None], 3, axis=2).astype(np.uint8), pixel


def centre_of(image):
    weight = image[..., 0].astype(np.float64) ** 2
    v, u = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(u * weight).sum(), (v * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("size", [112, 224, 500])
def test_the_ball_is_where_the_crop_camera_says(name, size):
    camera = ALL[name]
    point = np.array([0.12, -0.08, 1.0])
    image, pixel = blob(camera, point)
    crop = square_crop(image, camera, size)
    assert crop.image.shape == (size, size, 3) and crop.image.flags.c_contiguous
    assert not crop.camera.is_distorted
    # Seen in the picture itself, not only in the formulas; a tenth of a source pixel, for balls are bent a little.
    tolerance = 0.15 * max(size / min(camera.width, camera.height), 1.0)
    assert np.abs(centre_of(crop.image) - crop.camera.project(point)).max() < tolerance
    assert np.allclose(crop.source_pixels(crop.camera.project(point)), pixel, atol=1e-3)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(sorted(ALL)), st.integers(1, 700), st.integers(0, 1000))
def test_crop_pixels_map_back_to_the_source(name, size, seed):
    camera = ALL[name]
    crop = square_crop(np.zeros((camera.height, camera.width, 3), np.uint8), camera, size)
    points = np.random.default_rng(seed).uniform((-0.3, -0.3, 1.0), (0.3, 0.3, 5.0), (20, 3))
    pixels = crop.camera.project(points)
    assert np.allclose(crop.source_pixels(pixels), camera.project(points), atol=1e-3)
    homogeneous = np.concatenate([pixels, np.ones((20, 1))], axis=1) @ crop.full_from_crop.T
    assert np.allclose(homogeneous[:, :2], crop.flat_camera.project(points), atol=1e-6)


@pytest.mark.parametrize("name", sorted(BENT))
def test_undistorted_pictures_have_no_empty_corners(name):
    camera = BENT[name]
    flat, flat_camera = undistort(np.full((camera.height, camera.width, 3), 200, np.uint8), camera)
    assert (flat == 200).all()
    assert flat_camera == ideal_camera(camera) and not flat_camera.is_distorted
    assert flat_camera.matrix[1, 1] / flat_camera.matrix[0, 0] == pytest.approx(
        camera.matrix[1, 1] / camera.matrix[0, 0]
    )
    v, u = np.mgrid[: camera.height : 40, : camera.width : 40]
    source = camera.project(flat_camera.rays(np.stack([u, v], axis=-1)))
    assert (source > -0.51).all() and (source < (camera.width - 0.49, camera.height - 0.49)).all()


def test_undistort_agrees_with_opencvs_maps():
    flat_camera = ideal_camera(PLUMB_BOB)
    theirs, _ = cv2.initUndistortRectifyMap(
        PLUMB_BOB.matrix, np.array(PLUMB_BOB.distortion), None, flat_camera.matrix, (640, 480), cv2.CV_32FC2
    )
    assert np.abs(PLUMB_BOB.project(flat_camera.rays()) - theirs).max() < 1e-3


def test_fisheye_undistort_agrees_with_opencvs_maps():
    flat_camera = ideal_camera(FISHEYE)
    theirs, _ = cv2.fisheye.initUndistortRectifyMap(
        FISHEYE.matrix, np.array(FISHEYE.distortion), np.eye(3), flat_camera.matrix, (848, 800), cv2.CV_32FC1
    )
    assert np.abs(FISHEYE.project(flat_camera.rays())[..., 0] - theirs).max() < 1e-3


def test_undistort_straightens_a_line():
    """Points of a straight edge in space land on one line of the flat picture, and do not in the bent one."""
    edge = np.stack([np.linspace(-0.4, 0.4, 30), np.full(30, 0.3), np.ones(30)], axis=1)

    def bow(camera):
        pixels = camera.project(edge)
        return np.abs(np.polyval(np.polyfit(pixels[:, 0], pixels[:, 1], 1), pixels[:, 0]) - pixels[:, 1]).max()

    assert bow(PLUMB_BOB) > 2.0
    assert bow(ideal_camera(PLUMB_BOB)) < 1e-6


def test_without_distortion_nothing_is_copied():
    image = np.zeros((480, 640, 3), np.uint8)
    flat, camera = undistort(image, PINHOLE)
    assert flat is image and camera is PINHOLE


def test_maps_are_cached():
    image = np.zeros((720, 1280, 3), np.uint8)
    camera = ALL["rational"]
    undistort(image, camera)
    twin = Camera(camera.width, camera.height, camera.matrix.copy(), camera.distortion, camera.model)
    before = crops._undistort_maps.cache_info()
    undistort(image, twin)
    after = crops._undistort_maps.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


def test_folded_calibration():
    with pytest.raises(UniuggError) as caught:
        ideal_camera(Camera(640, 480, PINHOLE.matrix, (-1e6, 0.0, 0.0, 0.0), "plumb_bob"))
    assert caught.value.code is ErrorCode.CAMERA_INFO_INVALID
    # A calibration that folds only far outside its picture's middle still gives a usable picture.
    strong = Camera(640, 480, [[300, 0, 320], [0, 310, 240], [0, 0, 1]], (-0.4, 0.2, 0.001, 0.002, -0.05), "plumb_bob")
    assert ideal_camera(strong).horizontal_fov > 1.0


class TestResize:
    def test_averages_areas(self):
        image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        small, camera = resize(image, PINHOLE, 160, 120)
        assert np.abs(small - image.reshape(120, 4, 160, 4, 3).mean(axis=(1, 3))).max() <= 0.5
        assert camera == PINHOLE.scaled(160, 120)

    def test_fine_stripes_do_not_alias(self):
        image = np.zeros((480, 640, 3), np.uint8)
        image[:, ::2] = 255
        small, _ = resize(image, PINHOLE, 213, 160)
        assert small.min() > 60 and small.max() < 195

    @pytest.mark.parametrize("size", [(640, 480), (1, 1), (900, 100), (100, 900), (640, 100), (1300, 960)])
    def test_any_size_keeps_a_flat_picture_flat(self, size):
        resized, camera = resize(np.full((480, 640, 3), 77, np.uint8), PINHOLE, *size)
        assert resized.shape == (size[1], size[0], 3) and (resized == 77).all()
        assert (camera.width, camera.height) == size

    def test_the_input_is_never_handed_out(self):
        image = np.zeros((480, 640, 3), np.uint8)
        same, _ = resize(image, PINHOLE, 640, 480)
        assert not np.shares_memory(image, same)


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (np.zeros((480, 640, 3), np.float32), ErrorCode.IMAGE_MALFORMED),
        (np.zeros((480, 640), np.uint8), ErrorCode.IMAGE_MALFORMED),
        (np.zeros((480, 640, 4), np.uint8), ErrorCode.IMAGE_MALFORMED),
        (None, ErrorCode.IMAGE_MALFORMED),
        (np.zeros((240, 320, 3), np.uint8), ErrorCode.CAMERA_INFO_MISMATCH),
    ],
)
def test_wrong_pictures(image, code):
    for function in (lambda: square_crop(image, PINHOLE, 112), lambda: undistort(image, PLUMB_BOB)):
        with pytest.raises(UniuggError) as caught:
            function()
        assert caught.value.code is code


def test_crop_of_nothing():
    with pytest.raises(UniuggError) as caught:
        square_crop(np.zeros((480, 640, 3), np.uint8), PINHOLE, 0)
    assert caught.value.code is ErrorCode.CAMERA_INFO_INVALID


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 3)])
def test_tiny_pictures(shape):
    camera = Camera.from_fov(shape[1], shape[0], 1.0)
    assert square_crop(np.full((*shape, 3), 9, np.uint8), camera, 16).image.mean() == 9
