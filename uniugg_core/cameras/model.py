"""One calibrated camera: picture size, pinhole matrix, lens distortion; what crops and resizes do to them.

OpenCV's convention: x right, y down, z forward, and **pixel centres at integer coordinates**, so that the picture
spans -0.5 to width - 0.5. Scaling a picture by s therefore moves a coordinate u to ``(u + 0.5) s - 0.5``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ErrorCode, UniuggError
from . import lens
from .checks import coefficient_row, pinhole_matrix, side_length, sized_row, whole

__all__ = ["Camera"]

_COEFFICIENTS = {  # how many distortion coefficients each model may have
    "pinhole": (),
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}
_ROS_MODELS = {"": "pinhole", "none": "pinhole", "pinhole": "pinhole", "fisheye": "equidistant"}
_NEAR = 1e-9  # metres; nearer points and those behind have no picture


@dataclass(frozen=True, eq=False)
class Camera:
    """A calibrated camera; equal and hashable by value, checked when made.

    Args:
        width: picture width in pixels.
        height: picture height in pixels.
        matrix: (3, 3) pinhole matrix K in pixels; kept as a read-only float64 copy.
        distortion: OpenCV's coefficients in OpenCV's order, empty for none.
        model: "pinhole" (no distortion), "plumb_bob" (k1 k2 p1 p2 [k3]), "rational_polynomial" (8, 12 or 14) or
            "equidistant" (OpenCV's fisheye, k1 to k4; bent even when all are zero).

    Raises:
        UniuggError: CAMERA_INFO_INVALID (size, K or coefficients), CAMERA_MODEL_UNSUPPORTED (`model`).
    """

    width: int
    height: int
    matrix: np.ndarray
    distortion: tuple[float, ...] = ()
    model: str = "pinhole"

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            object.__setattr__(self, name, side_length(getattr(self, name), name))
        object.__setattr__(self, "matrix", pinhole_matrix(self.matrix))
        if self.model not in _COEFFICIENTS:
            raise UniuggError(
                ErrorCode.CAMERA_MODEL_UNSUPPORTED,
                f"distortion model is {self.model!r}, expected one of {sorted(_COEFFICIENTS)}",
            )
        coefficients = coefficient_row(self.distortion)
        allowed = _COEFFICIENTS[self.model]
        if self.model == "pinhole" and not any(coefficients):
            coefficients = ()
        elif self.model == "equidistant" and not coefficients:
            coefficients = (0.0,) * 4
        if coefficients and len(coefficients) not in allowed:
            raise UniuggError(
                ErrorCode.CAMERA_INFO_INVALID,
                f"{self.model} has {len(coefficients)} distortion coefficients, expected {allowed or 'none'}",
            )
        object.__setattr__(self, "distortion", coefficients)

    @classmethod
    def from_fov(cls, width: int, height: int, horizontal_fov: float) -> Camera:
        """A pinhole with square pixels and centred principal point, from its horizontal field of view in radians.

        Raises:
            UniuggError: CAMERA_INFO_INVALID.
        """
        if not 0.0 < horizontal_fov < math.pi:
            raise UniuggError(
                ErrorCode.CAMERA_INFO_INVALID, f"field of view is {horizontal_fov} rad, expected 0 to {math.pi:.4f}"
            )
        width, height = side_length(width, "width"), side_length(height, "height")
        focal = 0.5 * width / math.tan(0.5 * horizontal_fov)
        return cls(width, height, [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])

    @classmethod
    def from_ros(
        cls,
        width: int,
        height: int,
        distortion_model: str,
        d: Sequence[float],
        k: Sequence[float],
        r: Sequence[float] = (),
        p: Sequence[float] = (),
        binning_x: int = 0,
        binning_y: int = 0,
        roi: tuple[int, int, int, int] = (0, 0, 0, 0),
        *,
        rectified: bool = False,
    ) -> Camera:
        """The camera of the picture that travels with a ``sensor_msgs/CameraInfo`` of these plain values.

        A CameraInfo describes the full sensor; the picture is its region of interest, then binned. Binning averages
        pixels, so the principal point moves as in any resize.

        Args:
            r: not used: the picture stays in the camera's own optical frame. Taken so that a message's fields can be
                passed on as they are.
            p: the projection matrix (12,), used only for rectified pictures.
            roi: (x_offset, y_offset, width, height); all zero means the full sensor.
            rectified: the picture was already undistorted (``image_rect``): take P, ignore K and D.

        Raises:
            UniuggError: CAMERA_INFO_INVALID for an uncalibrated camera (K all zero) and for anything malformed;
                CAMERA_MODEL_UNSUPPORTED.
        """
        del r
        name = str(distortion_model).strip().lower()
        model = _ROS_MODELS.get(name, name)
        if rectified:
            k = sized_row(p, 12, "P").reshape(3, 4)[:, :3]
            d, model = (), "pinhole"
        k = sized_row(k, 9, "K")
        if not k.any():
            raise UniuggError(
                ErrorCode.CAMERA_INFO_INVALID, f"{'P' if rectified else 'K'} is all zero: the camera is not calibrated"
            )
        camera = cls(width, height, k.reshape(3, 3), tuple(d), model)
        x, y, roi_width, roi_height = (whole(value, "roi") for value in roi)
        if roi_width or roi_height:
            camera = camera.cropped(x, y, roi_width or camera.width - x, roi_height or camera.height - y)
        bin_x = max(whole(binning_x, "binning_x"), 1)
        bin_y = max(whole(binning_y, "binning_y"), 1)
        if bin_x == bin_y == 1:
            return camera
        if bin_x > camera.width or bin_y > camera.height:
            raise UniuggError(
                ErrorCode.CAMERA_INFO_INVALID,
                f"binning {bin_x} x {bin_y} of a {camera.width} x {camera.height} picture leaves nothing",
            )
        # A remainder that fills no bin is cut off, as sensors do.
        across, down = camera.width // bin_x, camera.height // bin_y
        return camera.cropped(0, 0, across * bin_x, down * bin_y).scaled(across, down)

    @property
    def is_distorted(self) -> bool:
        """Whether straight lines come out bent: :func:`undistort` has something to do."""
        return self.model == "equidistant" or any(self.distortion)

    @property
    def horizontal_fov(self) -> float:
        """Horizontal field of view in radians, of the pinhole matrix alone."""
        left, right = self.matrix[0, 2] + 0.5, self.width - 0.5 - self.matrix[0, 2]
        return math.atan2(left, self.matrix[0, 0]) + math.atan2(right, self.matrix[0, 0])

    @cached_property
    def inverse_matrix(self) -> np.ndarray:
        """K^-1 (3, 3), from its closed form."""
        (fx, skew, cx), (_, fy, cy) = self.matrix[0], self.matrix[1]
        inverse = np.array(
            [[1 / fx, -skew / (fx * fy), (skew * cy - fy * cx) / (fx * fy)], [0, 1 / fy, -cy / fy], [0, 0, 1.0]]
        )
        inverse.flags.writeable = False
        return inverse

    def cropped(self, x: int, y: int, width: int, height: int) -> Camera:
        """The camera of the picture cut out at column `x` and row `y`.

        Raises:
            UniuggError: CAMERA_INFO_INVALID if the cut leaves the picture.
        """
        x, y, width, height = whole(x, "x"), whole(y, "y"), side_length(width, "width"), side_length(height, "height")
        if x + width > self.width or y + height > self.height:
            raise UniuggError(
                ErrorCode.CAMERA_INFO_INVALID,
                f"a cut of {width} x {height} at ({x}, {y}) leaves the picture of {self.width} x {self.height}",
            )
        matrix = self.matrix.copy()
        matrix[:2, 2] -= (x, y)
        return Camera(width, height, matrix, self.distortion, self.model)

    def scaled(self, width: int, height: int) -> Camera:
        """The camera of the picture resized to `width` x `height`."""
        width, height = side_length(width, "width"), side_length(height, "height")
        sx, sy = width / self.width, height / self.height
        matrix = self.matrix.copy()
        matrix[0] *= sx
        matrix[1] *= sy
        matrix[:2, 2] += (0.5 * sx - 0.5, 0.5 * sy - 0.5)
        return Camera(width, height, matrix, self.distortion, self.model)

    def for_image(self, width: int, height: int, *, allow_scaling: bool = False) -> Camera:
        """This calibration for a picture that came with it.

        Args:
            allow_scaling: also take a picture that is a plain resize (same shape to within a pixel), as drivers make
                that publish the sensor's calibration beside a smaller picture.

        Raises:
            UniuggError: CAMERA_INFO_MISMATCH if the sizes do not fit.
        """
        if (width, height) == (self.width, self.height):
            return self
        if allow_scaling and width > 0 and height > 0:
            if abs(width * self.height - height * self.width) <= max(self.width, self.height):
                return self.scaled(width, height)
        raise UniuggError(
            ErrorCode.CAMERA_INFO_MISMATCH,
            f"the calibration is for {self.width} x {self.height}, the picture has {width} x {height}",
        )

    def project(self, points: ArrayLike) -> np.ndarray:
        """Pixels (..., 2) of points (..., 3) in the camera frame, distortion included; NaN for points not in front."""
        points = np.asarray(points, dtype=np.float64)
        flat = points.reshape(-1, 3)
        with np.errstate(divide="ignore", invalid="ignore"):
            plane = np.where(flat[:, 2:] > _NEAR, flat[:, :2] / flat[:, 2:], np.nan)
        if self.model == "equidistant":
            plane = lens.distort_fisheye(plane, self.distortion)
        elif self.is_distorted:
            plane = lens.distort(plane, self.distortion)
        (fx, skew, cx), (_, fy, cy) = self.matrix[0], self.matrix[1]
        x, y = plane[:, 0], plane[:, 1]
        pixels = np.stack([fx * x + skew * y + cx, fy * y + cy], axis=-1)
        return pixels.reshape(*points.shape[:-1], 2)

    def rays(self, pixels: ArrayLike | None = None) -> np.ndarray:
        """Directions (..., 3) with z = 1 seen at pixels (..., 2), distortion undone; every pixel (H, W, 3) by default.

        NaN where the distortion's polynomial never reaches, and more than 89 degrees off a fisheye's axis.
        """
        if pixels is None:
            columns, rows = np.meshgrid(np.arange(self.width, dtype=np.float64), np.arange(self.height))
            pixels = np.stack([columns, rows], axis=-1)
        pixels = np.asarray(pixels, dtype=np.float64)
        inverse = self.inverse_matrix
        plane = pixels.reshape(-1, 2) @ inverse[:2, :2].T + inverse[:2, 2]
        if self.model == "equidistant":
            plane = lens.undistort_fisheye(plane, self.distortion)
        elif self.is_distorted:
            plane = lens.undistort(plane, self.distortion)
        return np.concatenate([plane, np.ones((len(plane), 1))], axis=1).reshape(*pixels.shape[:-1], 3)

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Camera) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    @cached_property
    def _key(self) -> tuple:
        return self.width, self.height, self.model, self.distortion, self.matrix.tobytes()
