"""The camera type: what it takes and refuses, crops and resizes, ROS calibrations, projection both ways."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lenses import ALL, BENT, FISHEYE, PINHOLE, PLUMB_BOB, RATIONAL

from uniugg_core.cameras import Camera
from uniugg_core.cameras.lens import distort, fold_radius, undistort
from uniugg_core.errors import ErrorCode, UniuggError

K = PINHOLE.matrix
EYE9 = [500.0, 0, 320, 0, 500, 240, 0, 0, 1]


def refused(code, function, *args, **kwargs):
    with pytest.raises(UniuggError) as caught:
        function(*args, **kwargs)
    assert caught.value.code is code, caught.value
    return str(caught.value)


class TestConstruction:
    def test_is_a_value(self):
        same = Camera(640, 480, K.tolist())
        assert same == PINHOLE and hash(same) == hash(PINHOLE) and same != PLUMB_BOB and same != "camera"

    def test_cannot_be_changed_through_its_matrix(self):
        mine = np.array(K)
        camera = Camera(640, 480, mine)
        mine[0, 0] = 1.0
        assert camera.matrix[0, 0] == 500.0
        with pytest.raises(ValueError):
            camera.matrix[0, 0] = 1.0

    def test_is_distorted(self):
        assert not PINHOLE.is_distorted and PLUMB_BOB.is_distorted
        assert not Camera(640, 480, K, (0.0,) * 5, "plumb_bob").is_distorted
        assert Camera(640, 480, K, (), "equidistant").is_distorted  # bent even with zero coefficients

    @pytest.mark.parametrize("side", [0, -1, 1 << 20, 640.0, True, None, "640", math.nan])
    def test_bad_sizes(self, side):
        refused(ErrorCode.CAMERA_INFO_INVALID, Camera, side, 480, K)
        refused(ErrorCode.CAMERA_INFO_INVALID, Camera, 640, side, K)

    @pytest.mark.parametrize(
        "matrix",
        [
            np.zeros((3, 3)),
            np.eye(4),
            np.full((3, 3), np.nan),
            [[500, 0, 320], [0, np.inf, 240], [0, 0, 1]],
            [[-500, 0, 320], [0, 500, 240], [0, 0, 1]],
            [[1e-300, 0, 320], [0, 500, 240], [0, 0, 1]],
            [[500, 0, 1e300], [0, 500, 240], [0, 0, 1]],
            [[500, 0, 320], [0, 500, 240], [0, 0, 2]],
            [[500, 0, 320], [1, 500, 240], [0, 0, 1]],
            "K",
        ],
    )
    def test_bad_matrices(self, matrix):
        refused(ErrorCode.CAMERA_INFO_INVALID, Camera, 640, 480, matrix)

    @pytest.mark.parametrize(
        ("distortion", "model", "code"),
        [
            ((0.1,), "pinhole", ErrorCode.CAMERA_INFO_INVALID),
            ((0.1,) * 3, "plumb_bob", ErrorCode.CAMERA_INFO_INVALID),
            ((0.1,) * 5, "rational_polynomial", ErrorCode.CAMERA_INFO_INVALID),
            ((0.1,) * 5, "equidistant", ErrorCode.CAMERA_INFO_INVALID),
            ((math.nan,) * 5, "plumb_bob", ErrorCode.CAMERA_INFO_INVALID),
            (((0.1, 0.1),), "plumb_bob", ErrorCode.CAMERA_INFO_INVALID),
            (("k1",) * 5, "plumb_bob", ErrorCode.CAMERA_INFO_INVALID),
            ((0.1,) * 5, "omnidirectional", ErrorCode.CAMERA_MODEL_UNSUPPORTED),
        ],
    )
    def test_bad_distortion(self, distortion, model, code):
        refused(code, Camera, 640, 480, K, distortion, model)

    @pytest.mark.parametrize("degrees", [30, 60, 90, 120])
    def test_field_of_view(self, degrees):
        camera = Camera.from_fov(640, 480, math.radians(degrees))
        assert math.isclose(camera.horizontal_fov, math.radians(degrees))
        # The picture's outer edge, half a pixel beyond the last centre, is seen at half the angle.
        edge = camera.rays(np.array([639.5, 239.5]))
        assert math.isclose(math.atan2(edge[0], edge[2]), math.radians(degrees) / 2)
        assert abs(edge[1]) < 1e-15

    @pytest.mark.parametrize("angle", [0.0, -1.0, math.pi, math.nan])
    def test_bad_field_of_view(self, angle):
        refused(ErrorCode.CAMERA_INFO_INVALID, Camera.from_fov, 640, 480, angle)


class TestCropAndScale:
    @settings(deadline=None, max_examples=40)
    @given(st.sampled_from(sorted(ALL)), st.data())
    def test_pixels_agree_through_the_same_lens(self, name, data):
        camera = ALL[name]
        x = data.draw(st.integers(0, camera.width - 2))
        y = data.draw(st.integers(0, camera.height - 2))
        width = data.draw(st.integers(1, camera.width - x))
        height = data.draw(st.integers(1, camera.height - y))
        new_width, new_height = data.draw(st.integers(1, 2000)), data.draw(st.integers(1, 2000))
        points = np.random.default_rng(0).uniform((-0.5, -0.5, 1.0), (0.5, 0.5, 4.0), (50, 3))
        full = camera.project(points)
        cropped = camera.cropped(x, y, width, height)
        assert np.allclose(cropped.project(points), full - (x, y), atol=1e-9)
        scaled = cropped.scaled(new_width, new_height)
        ratio = np.array([new_width / width, new_height / height])
        assert np.allclose(scaled.project(points), (full - (x, y) + 0.5) * ratio - 0.5, atol=1e-6)

    def test_scale_known_answer(self):
        half = PINHOLE.scaled(320, 240)
        assert half.matrix[0, 0] == 250.0 and half.matrix[0, 2] == (311.0 + 0.5) / 2 - 0.5

    def test_scaling_there_and_back(self):
        assert np.allclose(RATIONAL.scaled(333, 77).scaled(1280, 720).matrix, RATIONAL.matrix)

    @pytest.mark.parametrize(
        "cut", [(0, 0, 641, 480), (600, 0, 41, 480), (-1, 0, 10, 10), (0, 0, 0, 10), (0.5, 0, 9, 9)]
    )
    def test_cuts_outside(self, cut):
        refused(ErrorCode.CAMERA_INFO_INVALID, PINHOLE.cropped, *cut)

    def test_for_image(self):
        assert PINHOLE.for_image(640, 480) is PINHOLE
        refused(ErrorCode.CAMERA_INFO_MISMATCH, PINHOLE.for_image, 320, 240)
        assert PINHOLE.for_image(320, 240, allow_scaling=True) == PINHOLE.scaled(320, 240)
        assert PINHOLE.for_image(427, 320, allow_scaling=True).width == 427  # rounded by the driver
        for size in ((640, 360), (480, 640), (0, 0), (320, 480)):
            refused(ErrorCode.CAMERA_INFO_MISMATCH, PINHOLE.for_image, *size, allow_scaling=True)


class TestFromRos:
    def test_plain(self):
        camera = Camera.from_ros(640, 480, "plumb_bob", [0.1, 0, 0, 0, 0], EYE9, [], [0.0] * 12)
        assert camera.model == "plumb_bob" and camera.is_distorted and camera.matrix[0, 2] == 320

    @pytest.mark.parametrize("model", ["plumb_bob", "PLUMB_BOB ", "", "none"])
    def test_no_coefficients(self, model):
        assert not Camera.from_ros(640, 480, model, [], EYE9).is_distorted

    def test_uncalibrated(self):
        assert "not calibrated" in refused(
            ErrorCode.CAMERA_INFO_INVALID, Camera.from_ros, 640, 480, "plumb_bob", [], [0.0] * 9
        )

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"distortion_model": "omni"}, ErrorCode.CAMERA_MODEL_UNSUPPORTED),
            ({"distortion_model": "", "d": [0.1]}, ErrorCode.CAMERA_INFO_INVALID),
            ({"d": [math.nan] * 5}, ErrorCode.CAMERA_INFO_INVALID),
            ({"k": [math.nan] * 9}, ErrorCode.CAMERA_INFO_INVALID),
            ({"k": EYE9[:8]}, ErrorCode.CAMERA_INFO_INVALID),
            ({"width": 0}, ErrorCode.CAMERA_INFO_INVALID),
            ({"roi": (600, 0, 100, 480)}, ErrorCode.CAMERA_INFO_INVALID),
            ({"roi": (640, 0, 0, 480)}, ErrorCode.CAMERA_INFO_INVALID),
            ({"binning_x": 1000}, ErrorCode.CAMERA_INFO_INVALID),
            ({"rectified": True}, ErrorCode.CAMERA_INFO_INVALID),
            ({"rectified": True, "p": [0.0] * 12}, ErrorCode.CAMERA_INFO_INVALID),
        ],
    )
    def test_malformed(self, change, code):
        good = {"width": 640, "height": 480, "distortion_model": "plumb_bob", "d": [0.0] * 5, "k": EYE9}
        Camera.from_ros(**good)
        refused(code, Camera.from_ros, **(good | change))

    def test_region_then_binning(self):
        camera = Camera.from_ros(640, 480, "plumb_bob", [], EYE9, binning_x=2, binning_y=4, roi=(100, 50, 201, 400))
        assert (camera.width, camera.height) == (100, 100)
        # A point at full-sensor pixel u is at (u - offset + 0.5) / binning - 0.5 of the picture.
        point = np.array([0.1, 0.2, 2.0])
        full = Camera(640, 480, np.reshape(EYE9, (3, 3))).project(point)
        assert np.allclose(camera.project(point), ((full - (100, 50)) + 0.5) / (2, 4) - 0.5)

    def test_rectified_takes_p(self):
        p = [400.0, 0, 300, -40, 0, 410, 200, 0, 0, 0, 1, 0]
        camera = Camera.from_ros(640, 480, "plumb_bob", [0.3] * 5, EYE9, p=p, rectified=True)
        assert not camera.is_distorted
        assert camera.matrix.tolist() == [[400, 0, 300], [0, 410, 200], [0, 0, 1]]

    def test_numpy_integers_are_whole_numbers(self):
        assert Camera.from_ros(np.uint32(640), np.uint32(480), "", [], EYE9, roi=(np.uint32(0),) * 4).width == 640


class TestProjection:
    def test_pinhole_known_answer(self):
        assert np.allclose(PINHOLE.project([1.0, 2.0, 4.0]), [500 / 4 + 311, 510 / 2 + 247])
        assert np.allclose(PINHOLE.rays(np.array([311.0, 247.0])), [0, 0, 1])

    def test_behind_and_at_the_camera_is_nan(self):
        for camera in ALL.values():
            assert np.isnan(camera.project([[0.1, 0, -1], [0.1, 0, 0], [np.nan, np.nan, 1]])).all()

    @pytest.mark.parametrize("name", ["plumb_bob", "rational"])
    def test_agrees_with_opencv(self, name):
        camera = BENT[name]
        points = np.random.default_rng(1).uniform((-0.6, -0.5, 1.0), (0.6, 0.5, 3.0), (200, 3))
        theirs, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera.matrix, np.array(camera.distortion))
        assert np.allclose(camera.project(points), theirs[:, 0], atol=1e-8)

    def test_fisheye_agrees_with_opencv(self):
        points = np.random.default_rng(1).uniform((-3, -3, 1.0), (3, 3, 3.0), (200, 1, 3))
        coefficients = np.array(FISHEYE.distortion)
        theirs, _ = cv2.fisheye.projectPoints(points, np.zeros(3), np.zeros(3), FISHEYE.matrix, coefficients)
        assert np.allclose(FISHEYE.project(points), theirs, atol=1e-8)

    @pytest.mark.parametrize("name", sorted(ALL))
    def test_rays_and_projection_are_inverse(self, name):
        camera = ALL[name]
        pixels = np.random.default_rng(2).uniform((0, 0), (camera.width - 1, camera.height - 1), (500, 2))
        back = camera.project(camera.rays(pixels) * 3.0)
        good = np.isfinite(back).all(axis=1)
        assert good.mean() > (0.7 if name == "fisheye" else 0.999)  # a fisheye's corners see beyond the plane
        assert np.abs(back - pixels)[good].max() < 1e-3
        if name == "fisheye":
            off_axis = np.hypot(*(pixels[~good] - camera.matrix[:2, 2]).T)
            assert len(off_axis) and off_axis.min() > 400  # where 89 degrees land

    def test_all_pixels(self):
        small = PINHOLE.scaled(8, 6)
        rays = small.rays()
        assert rays.shape == (6, 8, 3)
        assert np.allclose(rays[4, 7], small.rays(np.array([7.0, 4.0])))

    def test_skew(self):
        camera = Camera(640, 480, [[500, 3, 320], [0, 400, 240], [0, 0, 1]])
        assert np.allclose(camera.inverse_matrix @ camera.matrix, np.eye(3))
        assert np.allclose(camera.rays(camera.project([[0.2, 0.3, 1.0]])), [[0.2, 0.3, 1.0]])

    @settings(deadline=None, max_examples=30)
    @given(st.sampled_from([4, 5, 8, 12, 14]), st.integers(0, 10_000))
    def test_every_polynomial_model_agrees_with_opencv_and_inverts(self, count, seed):
        rng = np.random.default_rng(seed)
        coefficients = tuple(rng.normal(0, 0.02, count))
        plane = rng.uniform(-0.6, 0.6, (100, 2))
        rays = np.concatenate([plane, np.ones((100, 1))], axis=1)
        theirs, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), np.eye(3), np.array(coefficients))
        bent = distort(plane, coefficients)
        assert np.allclose(bent, theirs[:, 0], atol=1e-12)
        if fold_radius(coefficients) > 1.5:
            assert np.allclose(undistort(bent, coefficients), plane, atol=1e-7)

    def test_pixels_beyond_a_fold_are_nan_not_wrong(self):
        coefficients = (-0.6, 0.0, 0.0, 0.0)
        fold = fold_radius(coefficients)
        assert math.isclose(fold, math.sqrt(1 / 1.8), abs_tol=2e-3)  # where 1 - 3 * 0.6 r^2 = 0
        reach = fold * (1 - 0.6 * fold**2)
        inside, outside = undistort(np.array([[0.9 * reach, 0.0], [1.1 * reach, 0.0]]), coefficients)
        assert np.isfinite(inside).all() and inside[0] < fold
        assert np.isnan(outside).all()
