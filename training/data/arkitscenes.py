"""ARKitScenes, raw and 3dod (github.com/apple/ARKitScenes): what a tablet recorded, with depth of its scanner.

Layout: ``<Training|Validation>/<video>/{lowres_wide,lowres_depth,confidence,vga_wide,...}/<video>_<time>.png``, in 3dod
one folder deeper under ``<video>_frames``. Things that must be known:

* ``lowres_wide.traj`` holds *world-to-camera* rotations (axis and angle) and shifts, about ten a second; the world's z
  axis is up. Poses of pictures between them are interpolated.
* ``.pincam`` files (``w h fx fy cx cy``) may be named a millisecond off; a picture may lack depth or lie outside the
  trajectory.
* Pictures are always landscape, whichever way the tablet was held: the scene may lie on its side.

Options: ``pictures`` ("vga_wide" or "lowres_wide"; default the larger one there is), ``confidence`` (0 to 2, least of
the depth kept; default 1), ``upright`` (default true), ``interpolate`` (default true; else a pose within 5 ms).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from uniugg_core.cameras import Camera, inverse_rigid, rigid
from uniugg_core.errors import ErrorCode, UniuggError

from .posed import Frame, PngDepth, Reader, Recording, folders_with, quarter_turns

__all__ = ["READER", "Trajectory", "find", "open_scene", "read_pincam"]

_OFF = 0.0015  # seconds by which two names of one moment may differ
_APPLE = 0.005  # seconds by which a pose may be off without interpolation
_GAP = 0.25  # seconds between two poses beyond which nothing is interpolated
_TRAJECTORY = "lowres_wide.traj"


class Trajectory:
    """Poses over time: a ``.traj`` file, inverted to camera-to-world.

    Raises:
        UniuggError: REQUEST_INVALID if no line of `text` is a pose.
    """

    def __init__(self, text: str, name: str = _TRAJECTORY) -> None:
        rows, self.damaged = [], 0
        for line in text.splitlines():
            try:
                row = [float(word) for word in line.split()]
            except ValueError:
                row = []
            if len(row) == 7 and np.isfinite(row).all():
                rows.append(row)
            elif line.strip():
                self.damaged += 1
        if not rows:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"{name} holds no line of seven numbers")
        table = np.array(sorted(rows))
        self.times = table[:, 0]
        self._poses = [inverse_rigid(rigid(cv2.Rodrigues(row[1:4])[0], row[4:7])) for row in table]

    def at(self, time: float, *, interpolate: bool = True) -> np.ndarray | None:
        """World from camera (4, 4) at `time` in seconds; None where no pose is near enough."""
        after = int(np.searchsorted(self.times, time))
        near = min((n for n in (after - 1, after) if 0 <= n < len(self.times)), key=lambda n: abs(self.times[n] - time))
        off = abs(self.times[near] - time)
        if off <= 0.0005 or (off <= _APPLE and not interpolate):
            return self._poses[near]
        if not interpolate or not 0 < after < len(self.times):
            return self._poses[near] if off <= _APPLE else None
        first, second = self._poses[after - 1], self._poses[after]
        span = self.times[after] - self.times[after - 1]
        if span > _GAP:
            return self._poses[near] if off <= _APPLE else None
        share = (time - self.times[after - 1]) / span
        turn = cv2.Rodrigues(np.ascontiguousarray(first[:3, :3].T @ second[:3, :3]))[0]
        middle = np.eye(4)
        middle[:3, :3] = first[:3, :3] @ cv2.Rodrigues(turn * share)[0]
        middle[:3, 3] = (1 - share) * first[:3, 3] + share * second[:3, 3]
        return middle


def read_pincam(path: Path) -> Camera:
    """The camera of a ``.pincam`` file; pixel centres at integers, as ARKit counts.

    Raises:
        UniuggError: CAMERA_INFO_INVALID.
    """
    try:
        width, height, fx, fy, cx, cy = (float(word) for word in path.read_text().split())
    except (OSError, ValueError) as error:
        raise UniuggError(ErrorCode.CAMERA_INFO_INVALID, f"{path} is no `w h fx fy cx cy`: {error}") from None
    return Camera(int(width), int(height), np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]))


def find(root: Path) -> dict[str, Path]:
    """Scenes below a folder: those that hold a trajectory."""
    return folders_with(root, (_TRAJECTORY,))


def open_scene(name: str, folder: Path, options: Mapping[str, object]) -> Recording:
    """One video.

    Raises:
        UniuggError: REQUEST_INVALID if there are no pictures or no trajectory.
    """
    problems: Counter[str] = Counter()
    kind = options.get("pictures") or next((k for k in ("vga_wide", "lowres_wide") if (folder / k).is_dir()), None)
    pictures = _by_time(folder / str(kind)) if kind else {}
    if not pictures:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{folder} has no pictures in {kind or 'vga_wide or lowres_wide'}")
    try:
        trajectory = Trajectory((folder / _TRAJECTORY).read_text(), str(folder / _TRAJECTORY))
    except OSError as error:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"{folder / _TRAJECTORY}: {error.strerror}") from None
    if trajectory.damaged:
        problems["damaged lines in the trajectory"] = trajectory.damaged
    cameras = _Nearest(_by_time(folder / f"{kind}_intrinsics") or _by_time(folder / "lowres_wide_intrinsics"))
    depths, sure = _Nearest(_by_time(folder / "lowres_depth")), _Nearest(_by_time(folder / "confidence"))
    frames, poses, only = [], [], options.get("only")
    for time, picture in pictures.items():
        pose = trajectory.at(time, interpolate=bool(options.get("interpolate", True)))
        if pose is None:
            problems["pictures without a pose"] += 1
            continue
        poses.append(pose)
        if only is not None and picture.name not in only:  # type: ignore[operator]
            continue
        pincam, depth = cameras.at(time), depths.at(time)
        if pincam is None:
            problems["pictures without a calibration"] += 1
            continue
        try:
            camera = read_pincam(pincam)
        except UniuggError:
            problems["damaged calibrations"] += 1
            continue
        if depth is None:
            problems["pictures without depth"] += 1
        least = int(options.get("confidence", 1))  # type: ignore[call-overload]
        stored = None if depth is None else PngDepth(depth, sure.at(time), least)
        frames.append(Frame(picture.name, picture, camera, pose, stored))
    turns = quarter_turns(np.stack(poses)) if poses and options.get("upright", True) else 0
    return Recording(name, tuple(frames), turns, problems=dict(problems))


class _Nearest:
    """Files by time, found although their names may be off by a millisecond."""

    def __init__(self, files: dict[float, Path]) -> None:
        self._times, self._files = np.array(list(files)), list(files.values())

    def at(self, time: float) -> Path | None:
        if not len(self._times):
            return None
        near = int(np.abs(self._times - time).argmin()) if len(self._times) < 8 else self._closest(time)
        return self._files[near] if abs(self._times[near] - time) <= _OFF else None

    def _closest(self, time: float) -> int:
        after = int(np.clip(np.searchsorted(self._times, time), 1, len(self._times) - 1))
        return after if self._times[after] - time < time - self._times[after - 1] else after - 1


def _by_time(folder: Path) -> dict[float, Path]:
    """Files ``<video>_<time>.<ending>`` of a folder, in the order of time; empty if there is none."""
    found = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            found[float(path.stem.rpartition("_")[2])] = path
        except ValueError:
            continue
    return dict(sorted(found.items()))


READER = Reader("ARKitScenes, raw or 3dod", find, open_scene)
