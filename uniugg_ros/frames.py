"""Transforms between frames by time: tf2 where it is installed, otherwise a buffer of our own.

:class:`TransformBuffer` keeps what ``/tf`` and ``/tf_static`` say for a bounded time, interpolates between samples
(linear translation, spherical rotation) and never extrapolates: a time outside of what is known is an error, unless it
is within the caller's tolerance. Transforms are named ``target_from_source``:
``p_target = target_from_source @ p_source``.
"""

from __future__ import annotations

import bisect
import math
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from uniugg_core.cameras import inverse_rigid, rigid
from uniugg_core.errors import ErrorCode, UniuggError

__all__ = ["SECOND", "TransformBuffer", "take_transforms"]

SECOND = 1_000_000_000
JUMP = 2 * SECOND  # a stamp this far behind the newest of its frame means that time was set back
MAX_SAMPLES = 5000  # of one frame
MAX_FRAMES = 4096
MAX_DEPTH = 256  # of the tree, so that a loop in it ends


def _slerp(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    cosine = float(a @ b)
    if cosine < 0:  # the same rotation the short way round
        b, cosine = -b, -cosine
    if cosine > 0.9995:
        mixed = a + share * (b - a)
    else:
        angle = math.acos(min(cosine, 1.0))
        mixed = (math.sin((1 - share) * angle) * a + math.sin(share * angle) * b) / math.sin(angle)
    return mixed / np.linalg.norm(mixed)


@dataclass
class _Track:
    """The samples of one child frame against its parent, oldest first."""

    parent: str
    static: bool
    stamps: list[int] = field(default_factory=list)
    samples: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)  # translation, quaternion

    def at(self, stamp: int) -> np.ndarray:
        """parent_from_child at `stamp`, which lies between the first and the last sample."""
        if self.static:
            return rigid(self.samples[-1][1], self.samples[-1][0])
        after = bisect.bisect_left(self.stamps, stamp)
        if self.stamps[after] == stamp:
            return rigid(self.samples[after][1], self.samples[after][0])
        (position_a, rotation_a), (position_b, rotation_b) = self.samples[after - 1], self.samples[after]
        share = (stamp - self.stamps[after - 1]) / (self.stamps[after] - self.stamps[after - 1])
        return rigid(_slerp(rotation_a, rotation_b, share), position_a + share * (position_b - position_a))


class TransformBuffer:
    """Frames, their parents, and where they were.

    Args:
        cache: seconds that samples are kept, counted back from the newest of the same frame.
    """

    def __init__(self, cache: float = 10.0) -> None:
        self.cache = int(cache * SECOND)
        self.ignored = 0  # transforms that made no sense
        self.jumps = 0  # times that the stamps went backwards
        self._tracks: dict[str, _Track] = {}
        self._lock = threading.Lock()

    def insert(
        self,
        parent: str,
        child: str,
        stamp: int,
        translation: tuple[float, float, float],
        quaternion: tuple[float, float, float, float],
        *,
        static: bool = False,
    ) -> bool:
        """Adds parent_from_child at `stamp` (ns); False (and counted) if it makes no sense.

        A stamp more than two seconds behind the frame's newest means that time was set back (a bag began again): all
        that was known of moving frames is forgotten.
        """
        parent, child = parent.lstrip("/"), child.lstrip("/")
        position, rotation = np.array(translation, float), np.array(quaternion, float)
        length = float(np.linalg.norm(rotation))
        good = parent and child and parent != child and np.isfinite(position).all() and abs(length - 1) < 0.01
        with self._lock:
            if not good or (child not in self._tracks and len(self._tracks) >= MAX_FRAMES):
                self.ignored += 1
                return False
            track = self._tracks.get(child)
            if track is not None and not track.static and track.stamps and stamp < track.stamps[-1] - JUMP:
                self.jumps += 1
                self._forget_moving()
                track = None
            if track is None or track.parent != parent or track.static != static:
                track = self._tracks[child] = _Track(parent, static)
            sample = (position, rotation / length)
            if static:
                track.stamps, track.samples = [stamp], [sample]
            else:
                self._add(track, stamp, sample)
        return True

    def _add(self, track: _Track, stamp: int, sample: tuple[np.ndarray, np.ndarray]) -> None:
        where = bisect.bisect_left(track.stamps, stamp)
        if where < len(track.stamps) and track.stamps[where] == stamp:
            track.samples[where] = sample
            return
        track.stamps.insert(where, stamp)
        track.samples.insert(where, sample)
        old = bisect.bisect_left(track.stamps, track.stamps[-1] - self.cache)
        old = max(old, len(track.stamps) - MAX_SAMPLES)
        if old > 0:
            del track.stamps[:old], track.samples[:old]

    def _forget_moving(self) -> None:
        self._tracks = {child: track for child, track in self._tracks.items() if track.static}

    def clear(self) -> None:
        """Forgets moving frames (fixed ones are latched and would not come again)."""
        with self._lock:
            self._forget_moving()

    def frames(self) -> list[str]:
        """Every frame heard of, sorted."""
        with self._lock:
            return sorted(set(self._tracks) | {track.parent for track in self._tracks.values()})

    def lookup(self, target: str, source: str, stamp: int, tolerance: int = 0) -> np.ndarray:
        """target_from_source (4,4) at `stamp`.

        Args:
            stamp: nanoseconds; 0: the newest time that all frames on the way have.
            tolerance: nanoseconds that the time may lie outside of what is known; the nearest known time is used.

        Raises:
            UniuggError: FRAME_UNKNOWN, or TRANSFORM_UNAVAILABLE when the frames are not connected or not at that time.
        """
        target, source = target.lstrip("/"), source.lstrip("/")
        with self._lock:
            parents = {track.parent for track in self._tracks.values()}
            for frame in (target, source):
                if frame not in self._tracks and frame not in parents:
                    raise UniuggError(ErrorCode.FRAME_UNKNOWN, f"frame {frame!r} is not known to TF")
            up, down = self._way(source, target)
            moving = [self._tracks[child] for child in up + down if not self._tracks[child].static]
            if moving:
                stamp = _time_within(
                    max(track.stamps[0] for track in moving),
                    min(track.stamps[-1] for track in moving),
                    stamp,
                    tolerance,
                    f"from {source!r} to {target!r}",
                )
            common_from_source, common_from_target = np.eye(4), np.eye(4)
            for child in up:
                common_from_source = self._tracks[child].at(stamp) @ common_from_source
            for child in down:
                common_from_target = self._tracks[child].at(stamp) @ common_from_target
        return inverse_rigid(common_from_target) @ common_from_source

    def _way(self, source: str, target: str) -> tuple[list[str], list[str]]:
        """The frames whose transforms lead from `source` and from `target` up to their nearest common ancestor."""
        above_source, above_target = self._ancestors(source), self._ancestors(target)
        meeting = next((frame for frame in above_source if frame in set(above_target)), None)
        if meeting is None:
            raise UniuggError(ErrorCode.TRANSFORM_UNAVAILABLE, f"TF does not connect {source!r} with {target!r}")
        return above_source[: above_source.index(meeting)], above_target[: above_target.index(meeting)]

    def _ancestors(self, frame: str) -> list[str]:
        way = [frame]
        while way[-1] in self._tracks and len(way) <= MAX_DEPTH:
            way.append(self._tracks[way[-1]].parent)
        return way


def _time_within(oldest: int, newest: int, stamp: int, tolerance: int, what: str) -> int:
    """`stamp` moved into [oldest, newest], if that takes no more than `tolerance`; 0 stands for the newest."""
    if oldest > newest:
        raise UniuggError(ErrorCode.TRANSFORM_UNAVAILABLE, f"no time has all transforms {what}")
    if stamp == 0:
        return newest
    nearest = min(max(stamp, oldest), newest)
    if abs(nearest - stamp) > tolerance:
        side = "newest" if stamp > newest else "oldest"
        raise UniuggError(
            ErrorCode.TRANSFORM_UNAVAILABLE,
            f"the {side} transform {what} is {abs(nearest - stamp) / SECOND:.3f} s from the picture's stamp, "
            f"the tolerance is {tolerance / SECOND:g} s",
        )
    return nearest


def take_transforms(buffer: TransformBuffer, message: Any, *, static: bool) -> None:
    """Puts the transforms of a ``TFMessage``, from DDS or from a bag, into a buffer."""
    for item in message.transforms:
        move, turn = item.transform.translation, item.transform.rotation
        buffer.insert(
            item.header.frame_id,
            item.child_frame_id,
            item.header.stamp.sec * SECOND + item.header.stamp.nanosec,
            (move.x, move.y, move.z),
            (turn.x, turn.y, turn.z, turn.w),
            static=static,
        )
