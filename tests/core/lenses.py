"""Cameras that the geometry tests share."""

from __future__ import annotations

import numpy as np

from uniugg_core.cameras import Camera


def _matrix(fx, fy, cx, cy):
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


PINHOLE = Camera(640, 480, _matrix(500.0, 510.0, 311.0, 247.0))
PLUMB_BOB = Camera(640, 480, _matrix(480.0, 478.0, 325.3, 236.1), (-0.31, 0.12, 0.0011, -0.0007, -0.02), "plumb_bob")
RATIONAL = Camera(
    1280,
    720,
    _matrix(605.0, 604.0, 641.0, 366.0),
    (0.51, -2.66, 0.0004, -0.0002, 1.52, 0.39, -2.48, 1.45),
    "rational_polynomial",
)
FISHEYE = Camera(848, 800, _matrix(286.0, 287.0, 419.0, 398.0), (-0.0084, 0.0427, -0.0402, 0.0073), "equidistant")

ALL = {"pinhole": PINHOLE, "plumb_bob": PLUMB_BOB, "rational": RATIONAL, "fisheye": FISHEYE}
BENT = {name: camera for name, camera in ALL.items() if camera.is_distorted}
