"""What can be seen in a pair, and how to speak of it without doubt."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import cached_property

import numpy as np

from ..graph import SceneGraph, SceneObject
from ..views import ViewPair
from ..world.classes import PLURAL
from .types import Question

__all__ = ["CLEAR", "TRACE", "Sight", "plural", "spoken_name"]

CLEAR = 0.004  # share of the picture from which a thing is plainly visible
TRACE = 0.0002  # ... and below which nobody would notice it

_SPOKEN = {"tv": "TV", "books": "set of books"}


class Sight:
    """Objects visible in the chosen views of a pair.

    Args:
        pair: with instance maps and a scene graph.
        views: which of its views are shown.
    """

    def __init__(self, pair: ViewPair, views: tuple[int, ...]) -> None:
        self.pair, self.views = pair, views
        self.graph: SceneGraph = pair.graph  # type: ignore[assignment]
        self._share: dict[int, np.ndarray] = {}
        self._ranges: dict[int, np.ndarray] = {}

    def share(self, view: int) -> np.ndarray:
        """(256,) share of a view's pixels that belong to each object."""
        if view not in self._share:
            ids = self.pair.views[view].instances
            self._share[view] = np.bincount(ids.ravel(), minlength=256) / ids.size  # type: ignore[union-attr]
        return self._share[view]

    def clear_in(self, object_id: int, view: int) -> bool:
        """Whether a thing is plainly visible in one view."""
        return bool(self.share(view)[object_id] >= CLEAR)

    @cached_property
    def clear(self) -> list[SceneObject]:
        """Things (no walls, floor, ceiling) that are plainly visible in at least one of the views."""
        most = np.max([self.share(view) for view in self.views], axis=0)
        return [item for item in self.graph.objects if not item.structural and most[item.id] >= CLEAR]

    @cached_property
    def traces(self) -> list[SceneObject]:
        """Things of which at least something can be seen."""
        most = np.max([self.share(view) for view in self.views], axis=0)
        return [item for item in self.graph.objects if not item.structural and most[item.id] >= TRACE]

    @cached_property
    def spoken(self) -> dict[int, str]:
        """ "the chair" or "the red chair" for every plainly visible thing that can be named without doubt."""
        by_name = Counter(item.name for item in self.traces)
        by_colour = Counter((item.colour, item.name) for item in self.traces)
        found = {}
        for item in self.clear:
            if by_name[item.name] == 1:
                found[item.id] = spoken_name(item.name)
            elif item.colour and by_colour[item.colour, item.name] == 1:
                found[item.id] = spoken_name(item.name, item.colour)
        return found

    @cached_property
    def named(self) -> list[SceneObject]:
        """Plainly visible things that have a name of their own in `spoken`."""
        return [item for item in self.clear if item.id in self.spoken]

    def counted(self) -> dict[str, tuple[SceneObject, ...]]:
        """Visible things by class, only classes of which every visible member is plainly visible."""
        clear = {item.id for item in self.clear}
        doubtful = {item.name for item in self.traces if item.id not in clear}
        groups: dict[str, list[SceneObject]] = {}
        for item in self.clear:
            if item.name not in doubtful:
                groups.setdefault(item.name, []).append(item)
        return {name: tuple(items) for name, items in groups.items()}

    def mentioned(self, question: Question) -> Question:
        """The question with the names of visible things in its text, and with what each of them names."""
        mentions = tuple((*match.span(), self._ids[match[0].lower()]) for match in self._names.finditer(question.text))
        things = tuple(self.graph[ids[0]] if len(ids) == 1 else None for *_, ids in mentions)
        return replace(question, mentions=mentions, things=things)

    @cached_property
    def _ids(self) -> dict[str, tuple[int, ...]]:
        """Ids by name, in small letters, of one thing or of all of a class."""
        groups: dict[str, list[int]] = {}
        for item in self.traces:
            groups.setdefault(plural(item.name).lower(), []).append(item.id)
        single = {name.lower(): (number,) for number, name in self.spoken.items()}
        return {name: tuple(ids) for name, ids in groups.items()} | single

    @cached_property
    def _names(self) -> re.Pattern[str]:
        longest = sorted(self._ids, key=len, reverse=True)
        return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest)) or '(?!)'})\b", re.IGNORECASE)

    def mask(self, object_id: int, view: int) -> np.ndarray:
        """(H, W) bool: the pixels of a thing in a view."""
        return self.pair.views[view].instances == object_id

    def distance(self, object_id: int, view: int) -> float:
        """Metres from a view's camera to the nearest visible point of a thing (its nearest 2 % left out as noise)."""
        if view not in self._ranges:
            shot = self.pair.views[view]
            height, width = shot.depth.shape
            k = shot.intrinsics
            x = (np.arange(width) - k[0, 2]) / k[0, 0]
            y = (np.arange(height) - k[1, 2]) / k[1, 1]
            self._ranges[view] = shot.depth * np.sqrt(1 + x[None, :] ** 2 + y[:, None] ** 2)
        return float(np.quantile(self._ranges[view][self.mask(object_id, view)], 0.02))

    def middle(self, object_id: int, view: int) -> tuple[float, float]:
        """Mean position of a thing's pixels, shares of width and height."""
        rows, columns = np.nonzero(self.mask(object_id, view))
        height, width = self.pair.views[view].depth.shape
        return float(columns.mean() + 0.5) / width, float(rows.mean() + 0.5) / height

    def whole(self, item: SceneObject, view: int) -> bool:
        """Whether a thing is seen nearly whole: its visible outline fills the outline of its box."""
        shot = self.pair.views[view]
        rows, columns = np.nonzero(self.mask(item.id, view))
        if not len(rows):
            return False
        corners = item.corners() - shot.world_from_camera[:3, 3]
        local = corners @ shot.world_from_camera[:3, :3]
        if (local[:, 2] < 0.1).any():
            return False
        pixel = local @ shot.intrinsics.T
        pixel = pixel[:, :2] / pixel[:, 2:]
        low, high = pixel.min(0), pixel.max(0)
        height, width = shot.depth.shape
        if (low < 0).any() or high[0] > width - 1 or high[1] > height - 1:
            return False
        seen = np.array([columns.max() - columns.min() + 1, rows.max() - rows.min() + 1])
        return bool((seen > 0.8 * (high - low)).all())


def spoken_name(name: str, colour: str = "") -> str:
    """A thing of a class as questions name it: "the chair", "the red chair"."""
    return " ".join(word for word in ("the", colour, _SPOKEN.get(name, name)) if word)


def plural(name: str) -> str:
    """Class name for several."""
    return {"tv": "TVs"}.get(name, PLURAL[name])
