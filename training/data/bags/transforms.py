"""A whole recording's transforms: who hangs on whom, and where at which time.

Unlike a robot's buffer this one knows the future: a pose is always interpolated between the sample before and the one
after, and refused where these lie too far apart. Names are ``target_from_source``; times are nanoseconds.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from uniugg_core.cameras import inverse_rigid, rigid
from uniugg_core.errors import ErrorCode, UniuggError

__all__ = ["SECOND", "TransformTree"]

SECOND = 1_000_000_000
_ROOTS = ("map", "world", "odom")  # which frame to call fixed, if it is among the ancestors


@dataclass
class _Link:
    """Samples of one frame against one parent."""

    stamps: list[int] = field(default_factory=list)
    samples: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)  # translation, unit quaternion
    static: bool = False

    def sort(self) -> None:
        """By time; of two samples of one time the later message holds."""
        by_time = dict(zip(self.stamps, self.samples))
        self.stamps = sorted(by_time)
        self.samples = [by_time[stamp] for stamp in self.stamps]


class TransformTree:
    """Collect with :meth:`add`, then ask with :meth:`lookup`."""

    def __init__(self) -> None:
        self.ignored = 0  # transforms that made no sense
        self._links: dict[str, dict[str, _Link]] = {}  # child -> parent -> samples
        self._parents: dict[str, str] | None = None

    def add(
        self,
        parent: str,
        child: str,
        stamp: int,
        translation: tuple[float, float, float],
        quaternion: tuple[float, float, float, float],
        *,
        static: bool = False,
    ) -> None:
        """Adds parent_from_child; nonsense (NaN, no unit quaternion, a frame on itself) is counted and left out."""
        parent, child = parent.strip().lstrip("/"), child.strip().lstrip("/")
        shift, turn = np.array(translation, float), np.array(quaternion, float)
        length = float(np.linalg.norm(turn))
        if not (parent and child and parent != child and np.isfinite(shift).all() and abs(length - 1) < 0.01):
            self.ignored += 1
            return
        link = self._links.setdefault(child, {}).setdefault(parent, _Link())
        link.stamps.append(stamp)
        link.samples.append((shift, turn / length))
        link.static |= static
        self._parents = None

    @property
    def frames(self) -> list[str]:
        """Every frame heard of."""
        return sorted(set(self._links) | {parent for parents in self._links.values() for parent in parents})

    def disputed(self) -> dict[str, list[str]]:
        """Frames that two parents were given for; the one with more samples is used."""
        return {child: sorted(parents) for child, parents in self._links.items() if len(parents) > 1}

    def ancestors(self, frame: str) -> list[str]:
        """`frame`, its parent, and so on to the root (a loop ends where it began)."""
        parents = self._settled()
        way = [frame.lstrip("/")]
        while (parent := parents.get(way[-1])) is not None and parent not in way:
            way.append(parent)
        return way

    def fixed_frame(self, camera: str) -> str | None:
        """What to call the world for a camera's frame: map, world or odom if above it, else the root; None: alone."""
        above = self.ancestors(camera)[1:]
        named = [frame for name in _ROOTS for frame in above if frame.rpartition("/")[2] == name]
        return (named or above[-1:] or [None])[0]

    def lookup(self, target: str, source: str, stamp: int, gap: int) -> np.ndarray:
        """target_from_source (4, 4) float64 at `stamp`.

        Args:
            gap: longest time between the samples that a moving link is interpolated from; before the first and after
                the last sample, half of it, and the nearest sample is taken.

        Raises:
            UniuggError: FRAME_UNKNOWN, or TRANSFORM_UNAVAILABLE.
        """
        target, source = target.lstrip("/"), source.lstrip("/")
        known = self.frames
        for frame in (target, source):
            if frame not in known and target != source:
                raise UniuggError(ErrorCode.FRAME_UNKNOWN, f"frame {frame!r} is in no transform of the recording")
        above_target, above_source = self.ancestors(target), self.ancestors(source)
        meeting = next((frame for frame in above_source if frame in above_target), None)
        if meeting is None:
            raise UniuggError(ErrorCode.TRANSFORM_UNAVAILABLE, f"no transforms connect {source!r} with {target!r}")
        return inverse_rigid(self._climb(above_target, meeting, stamp, gap)) @ self._climb(
            above_source, meeting, stamp, gap
        )

    def _climb(self, way: list[str], end: str, stamp: int, gap: int) -> np.ndarray:
        end_from_start = np.eye(4)
        for child, parent in zip(way[: way.index(end)], way[1:]):
            end_from_start = self._at(child, parent, stamp, gap) @ end_from_start
        return end_from_start

    def _at(self, child: str, parent: str, stamp: int, gap: int) -> np.ndarray:
        link = self._links[child][parent]
        if link.static:
            return rigid(link.samples[-1][1], link.samples[-1][0])
        after = bisect.bisect_left(link.stamps, stamp)
        if after < len(link.stamps) and link.stamps[after] == stamp:
            return rigid(link.samples[after][1], link.samples[after][0])
        if after in (0, len(link.stamps)):
            nearest = 0 if after == 0 else -1
            away = abs(link.stamps[nearest] - stamp)
            if away > gap // 2:
                raise _too_far(child, parent, away, gap // 2, "is outside of the recorded poses, by")
            return rigid(link.samples[nearest][1], link.samples[nearest][0])
        first, second = link.stamps[after - 1], link.stamps[after]
        if second - first > gap:
            raise _too_far(child, parent, second - first, gap, "falls into a gap of the poses, of")
        share = (stamp - first) / (second - first)
        (shift_a, turn_a), (shift_b, turn_b) = link.samples[after - 1], link.samples[after]
        return rigid(_slerp(turn_a, turn_b, share), shift_a + share * (shift_b - shift_a))

    def _settled(self) -> dict[str, str]:
        """child -> parent, once sorted."""
        if self._parents is None:
            for parents in self._links.values():
                for link in parents.values():
                    link.sort()
            counts = {c: Counter({p: len(link.stamps) for p, link in ps.items()}) for c, ps in self._links.items()}
            self._parents = {child: count.most_common(1)[0][0] for child, count in counts.items()}
        return self._parents


def _too_far(child: str, parent: str, away: int, limit: int, how: str) -> UniuggError:
    return UniuggError(
        ErrorCode.TRANSFORM_UNAVAILABLE,
        f"{parent!r} from {child!r} {how} {away / SECOND:.3f} s, the limit is {limit / SECOND:g} s",
    )


def _slerp(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    cosine = float(a @ b)
    if cosine < 0:  # the same rotation, the short way round
        b, cosine = -b, -cosine
    if cosine > 0.9995:
        mixed = a + share * (b - a)
    else:
        angle = math.acos(min(cosine, 1.0))
        mixed = (math.sin((1 - share) * angle) * a + math.sin(share * angle) * b) / math.sin(angle)
    return mixed / np.linalg.norm(mixed)
