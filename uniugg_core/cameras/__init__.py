"""Cameras, rigid transforms, crops that keep K right, and Plücker raymaps.

OpenCV's convention throughout: x right, y down, z forward, pixel centres at integer coordinates.
"""

from __future__ import annotations

from typing import Any

from .crops import CropResult, ideal_camera, resize, square_crop, undistort
from .model import Camera
from .motion import motion, orbit, parse_motion
from .transforms import (
    axis_rotation,
    baseline,
    check_reach,
    check_rigid,
    inverse_rigid,
    matrix_from_quaternion,
    quaternion_from_matrix,
    rigid,
    rotation_angle,
)

__all__ = [
    "Camera",
    "CropResult",
    "axis_rotation",
    "baseline",
    "check_reach",
    "check_rigid",
    "ideal_camera",
    "inverse_rigid",
    "matrix_from_quaternion",
    "motion",
    "orbit",
    "parse_motion",
    "plucker_raymap",
    "quaternion_from_matrix",
    "resize",
    "rigid",
    "rotation_angle",
    "square_crop",
    "undistort",
]


def __getattr__(name: str) -> Any:
    # The ray map alone needs torch; whoever only converts messages or reads files should not wait for it.
    if name == "plucker_raymap":
        from .rays import plucker_raymap

        return plucker_raymap
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
