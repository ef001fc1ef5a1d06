"""Camera motions in words and numbers: "yaw right 40, forward 0.5" to a pose of the new view.

Signs, seen by the camera (x right, y down, z forward): **yaw** positive turns it to the right, **pitch** positive
turns it up, **roll** positive turns it clockwise (its right side goes down). Each is a right-handed rotation, about
y, x and z. The result is always ``target_from_reference``: it takes points from the reference camera's frame to that
of the moved camera, so its translation is not the shift itself.
"""

from __future__ import annotations

import math
import re

import numpy as np

from ..errors import ErrorCode, UniuggError
from .transforms import axis_rotation, check_rigid, inverse_rigid

__all__ = ["motion", "orbit", "parse_motion"]

DEFAULT_DEGREES = 20.0  # "yaw right" without a number
DEFAULT_METRES = 0.3  # "forward" without a number
DEFAULT_ORBIT_METRES = 1.5

_TURNS = {  # word and direction -> (argument of motion(), sign)
    ("yaw", "right"): ("yaw", 1),
    ("yaw", "left"): ("yaw", -1),
    ("pitch", "up"): ("pitch", 1),
    ("pitch", "down"): ("pitch", -1),
    ("roll", "right"): ("roll", 1),
    ("roll", "left"): ("roll", -1),
    ("roll", "clockwise"): ("roll", 1),
    ("roll", "counterclockwise"): ("roll", -1),
}
_TURNS.update({(word, side): _TURNS["yaw", side] for word in ("turn", "look") for side in ("left", "right")})
_TURNS.update({(word, side): _TURNS["pitch", side] for word in ("turn", "look") for side in ("up", "down")})
_TURNS.update({(word, ""): (word, 1) for word in ("yaw", "pitch", "roll")})
_SHIFTS = {
    "right": ("right", 1),
    "left": ("right", -1),
    "down": ("down", 1),
    "up": ("down", -1),
    "forward": ("forward", 1),
    "forwards": ("forward", 1),
    "back": ("forward", -1),
    "backward": ("forward", -1),
    "backwards": ("forward", -1),
}
_ITEM = re.compile(
    r"(?:(?P<word>[a-z]+)\s+)?(?P<side>[a-z]+)?"
    r"(?:\s*(?P<number>[-+]?(?:\d+\.?\d*|\.\d+))\s*(?P<unit>[a-z°]*))?"
    r"(?:\s+around\s+(?P<around>\d+\.?\d*|\.\d+)\s*m?)?"
)
_DEGREES = {"": 1.0, "deg": 1.0, "degree": 1.0, "degrees": 1.0, "°": 1.0, "rad": 180 / math.pi}
_METRES = {"": 1.0, "m": 1.0, "meter": 1.0, "meters": 1.0, "metre": 1.0, "metres": 1.0, "cm": 0.01, "mm": 0.001}
_MAX_TEXT = 500  # characters


def motion(
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    roll: float = 0.0,
    right: float = 0.0,
    down: float = 0.0,
    forward: float = 0.0,
) -> np.ndarray:
    """``target_from_reference`` (4, 4) of a camera that is shifted (metres), then turned by yaw, pitch, roll (radians).

    The angles are about the camera's own axes, in that order, so ``reference_from_target`` has the rotation
    ``R_y(yaw) R_x(pitch) R_z(roll)`` and the translation (right, down, forward).

    Raises:
        UniuggError: POSE_INVALID for NaN or infinity.
    """
    values = (yaw, pitch, roll, right, down, forward)
    if not all(math.isfinite(value) for value in values):
        raise UniuggError(ErrorCode.POSE_INVALID, f"motion holds NaN or infinity: {values}")
    reference_from_target = np.eye(4)
    reference_from_target[:3, :3] = axis_rotation(1, yaw) @ axis_rotation(0, pitch) @ axis_rotation(2, roll)
    reference_from_target[:3, 3] = right, down, forward
    return inverse_rigid(reference_from_target)


def orbit(angle: float, distance: float) -> np.ndarray:
    """``target_from_reference`` of a camera that moves on a level circle round the point `distance` metres ahead.

    Args:
        angle: radians; positive moves the camera to the right, where it turns left to keep the point in the middle.
        distance: radius of the circle in metres.
    """
    moved = motion(yaw=-angle, right=distance * math.sin(angle), forward=distance * (1.0 - math.cos(angle)))
    return check_rigid(moved)


def parse_motion(text: str) -> np.ndarray:
    """``target_from_reference`` (4, 4) of a motion in words.

    Parts are separated by commas, semicolons or "and", and are done one after the other, each seen from where the
    camera then is. Degrees and metres unless a unit follows (deg, rad, m, cm, mm):

    * ``yaw right 40``, ``turn left 15``, ``look up 10``, ``pitch down 5``, ``roll clockwise 3``, ``yaw -40``
    * ``forward 0.5``, ``back 20 cm``, ``left 0.3``, ``shift up 0.1``, ``move right 1``
    * ``orbit right 30 around 1.5``: round a point 1.5 m ahead
    * ``stay`` or nothing: the same view

    Without a number a turn is 20 degrees and a shift 0.3 m.

    Raises:
        UniuggError: POSE_INVALID, naming the part that was not understood.
    """
    if len(text) > _MAX_TEXT:
        raise UniuggError(ErrorCode.POSE_INVALID, f"motion text has {len(text)} characters, the limit is {_MAX_TEXT}")
    target_from_reference = np.eye(4)
    for part in re.split(r"[,;\n]|\band\b|\bthen\b", text.lower()):
        part = part.strip()
        if part and part not in ("stay", "identity"):
            target_from_reference = _one_motion(part) @ target_from_reference
    return check_rigid(target_from_reference, "motion")


def _one_motion(part: str) -> np.ndarray:
    found = _ITEM.fullmatch(part)
    if found is None:
        raise _not_understood(part)
    word, side, unit = found["word"] or "", found["side"] or "", found["unit"] or ""
    if not (word and side):
        only = word or side
        word, side = ("", only) if only in _SHIFTS else (only, "")
    if word == "orbit" and side in ("left", "right") and unit in _DEGREES:
        degrees = _amount(found["number"], DEFAULT_DEGREES) * _DEGREES[unit] * (1 if side == "right" else -1)
        return orbit(math.radians(degrees), _amount(found["around"], DEFAULT_ORBIT_METRES))
    if found["around"] is not None:
        raise _not_understood(part)
    if (word, side) in _TURNS and unit in _DEGREES:
        name, sign = _TURNS[word, side]
        return motion(**{name: math.radians(sign * _amount(found["number"], DEFAULT_DEGREES) * _DEGREES[unit])})
    if word in ("", "shift", "move", "go") and side in _SHIFTS and unit in _METRES:
        name, sign = _SHIFTS[side]
        return motion(**{name: sign * _amount(found["number"], DEFAULT_METRES) * _METRES[unit]})
    raise _not_understood(part)


def _amount(number: str | None, default: float) -> float:
    return default if number is None else float(number)


def _not_understood(part: str) -> UniuggError:
    return UniuggError(
        ErrorCode.POSE_INVALID,
        f"motion {part[:80]!r} was not understood; examples: 'yaw right 40', 'forward 0.5', 'left 20 cm', "
        "'orbit right 30 around 1.5'",
    )
