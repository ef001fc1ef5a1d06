"""Which way is up in a frame, told from its name: REP-103 body and world frames are z up, optical frames y down."""

from __future__ import annotations

import numpy as np

__all__ = ["up_direction", "upright_from_frame"]

_Z_UP = ("map", "odom", "earth", "world", "base_link", "base_footprint", "base_stabilized")  # REP-105, REP-120


def up_direction(frame: str) -> np.ndarray:
    """Unit vector (3,) that points up in the frame; every name but the standard ones counts as optical (up is -y)."""
    last = frame.strip("/").rsplit("/", 1)[-1]
    return np.array([0.0, 0.0, 1.0]) if last in _Z_UP else np.array([0.0, -1.0, 0.0])


def upright_from_frame(frame: str) -> np.ndarray:
    """(4, 4) turn from the frame to axes as glTF and most viewers have them: x right, y up, z to the viewer."""
    turn = np.eye(4)
    if up_direction(frame)[2] > 0:
        turn[:3, :3] = [[0, -1, 0], [0, 0, 1], [-1, 0, 0]]  # looking along +x, as a robot does
    else:
        turn[:3, :3] = np.diag([1.0, -1.0, -1.0])  # looking along +z, as a camera does
    return turn
