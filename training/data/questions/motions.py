"""Camera motions between two views in numbers and in words that `uniugg_core.cameras.parse_motion` understands."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from uniugg_core.cameras import motion

__all__ = ["Motion", "motion_between"]


@dataclass(frozen=True)
class Motion:
    """How a camera moved, seen by itself before it did: shifts in metres, then turns in degrees."""

    yaw: float  # positive turns right
    pitch: float  # positive turns up
    roll: float  # positive turns clockwise
    right: float
    down: float
    forward: float

    @property
    def distance(self) -> float:
        """Metres moved."""
        return math.hypot(self.right, self.down, self.forward)

    def matrix(self) -> np.ndarray:
        """``target_from_reference`` (4, 4)."""
        angles = {name: math.radians(getattr(self, name)) for name in ("yaw", "pitch", "roll")}
        return motion(**angles, right=self.right, down=self.down, forward=self.forward)

    def rounded(self) -> Motion:
        """To 5 degrees and 0.1 m, as people say it; the roll is left out."""
        turned = (5.0 * round(self.yaw / 5), 5.0 * round(self.pitch / 5), 0.0)
        return Motion(*turned, round(self.right, 1), round(self.down, 1), round(self.forward, 1))

    def words(self) -> str:
        """The motion as a command, shifts before turns as in :meth:`matrix`; "stay" if there is none.

        >>> Motion(40.0, 0.0, 0.0, 0.0, 0.0, 0.5).words()
        'forward 0.5 m, turn right 40 degrees'
        """
        said = []
        for value, (plus, minus) in (
            (self.forward, ("forward", "backward")),
            (self.right, ("right", "left")),
            (self.down, ("down", "up")),
        ):
            if abs(value) >= 0.05:
                said.append(f"{plus if value > 0 else minus} {abs(value):.1f} m")
        for value, (plus, minus) in ((self.yaw, ("turn right", "turn left")), (self.pitch, ("look up", "look down"))):
            if round(abs(value)) > 0:
                said.append(f"{plus if value > 0 else minus} {abs(value):.0f} degrees")
        return ", ".join(said) or "stay"


def motion_between(target_from_reference: np.ndarray) -> Motion:
    """The motion that a relative pose (4, 4) stands for."""
    reference_from_target = np.linalg.inv(target_from_reference)
    r, t = reference_from_target[:3, :3], reference_from_target[:3, 3]
    yaw, pitch = math.atan2(r[0, 2], r[2, 2]), math.asin(min(1.0, max(-1.0, -r[1, 2])))
    c, s = math.cos(yaw), math.sin(yaw)
    level = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) @ r  # yaw undone
    roll = math.atan2(level[1, 0] * math.cos(pitch) + level[2, 0] * math.sin(pitch), level[0, 0])
    return Motion(math.degrees(yaw), math.degrees(pitch), math.degrees(roll), *(float(x) for x in t))
