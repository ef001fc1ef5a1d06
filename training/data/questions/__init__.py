"""Questions with true answers about pairs of views, in the families of VSI-Bench and SPAR-Bench.

`scene` and `commanded` need a scene graph; `points` needs depth and poses only. :class:`QuestionMaker` draws from all
that a pair allows. `drills`, `exhibits` and `viewpoints` are exercises: they need no pictures at all.
"""

from __future__ import annotations

from random import Random

from ..views import ViewPair
from . import commanded, points, scene
from .sight import Sight
from .types import Question

__all__ = ["FAMILIES", "LESSONS", "Question", "QuestionMaker", "roll_call"]

# How often a family is tried, relative to the others.
FAMILIES: dict[str, float] = {
    "count": 2.0,
    "object_distance": 2.0,
    "camera_distance": 2.0,
    "relative_distance": 2.0,
    "object_size": 1.5,
    "room_size": 2.0,
    "relative_direction": 2.0,
    "image_side": 1.0,
    "depth_order": 1.5,
    "on_top": 1.0,
    "appearance": 1.0,
    "commanded_view": 1.5,
    "commanded_side": 1.0,
    "commanded_distance": 1.0,
    "point_depth": 1.5,
    "region_depth": 0.7,
    "point_order": 1.5,
    "point_distance": 1.0,
    "camera_motion": 2.0,
    "view_change": 1.0,
    "visible": 1.0,
    "match": 1.0,
    "nearer_camera": 0.7,
    "commanded_point": 1.0,
}

# What is taught: also what has no single right answer to be judged by, and more of what is hard to learn.
LESSONS: dict[str, float] = {**FAMILIES, "inventory": 4.0, "nearer_camera": 2.0}

_BOTH_ONLY = frozenset({"appearance", "camera_motion", "view_change", "visible", "match", "nearer_camera"})
_REFERENCE_ONLY = frozenset({"commanded_view", "commanded_side", "commanded_distance", "commanded_point"})


class QuestionMaker:
    """Draws questions about pairs.

    Args:
        families: names and weights, a part of :data:`LESSONS`; None takes :data:`FAMILIES`.
        two_views: share of questions about both views among those that could be about one.
    """

    def __init__(self, families: dict[str, float] | None = None, two_views: float = 0.3) -> None:
        chosen = FAMILIES if families is None else families
        unknown = sorted(set(chosen) - set(LESSONS))
        if unknown:
            raise KeyError(f"no such question families: {unknown}")
        self._weights, self._two_views = dict(chosen), two_views

    def ask(self, pair: ViewPair, count: int, rng: Random) -> tuple[Question, ...]:
        """Up to `count` different questions, of different families as long as there are any; at least one.

        Args:
            pair: without a scene graph only `points` are asked about.
            count: how many.
            rng: source of randomness.
        """
        found = self._draw(pair, count, self._weights, None, rng)
        return found or (_always(pair, rng),)

    def ask_together(self, pair: ViewPair, count: int, rng: Random) -> tuple[Question, ...]:
        """As :meth:`ask`, all about the same views (reference, target or both), as often as :meth:`ask` has each."""
        by_views = {views: self._share(views) for views in ((0, 1), (0,), (1,))}
        totals = [sum(shares.values()) for shares in by_views.values()]
        views = rng.choices(list(by_views), totals)[0]
        found = self._draw(pair, count, by_views[views], views, rng)
        return found or self.ask(pair, 1, rng)

    def _share(self, views: tuple[int, ...]) -> dict[str, float]:
        """How often each family is about these views."""
        both, shares = len(views) == 2, {}
        for name, weight in self._weights.items():
            if name in _BOTH_ONLY:
                share = 1.0 if both else 0.0
            elif name in _REFERENCE_ONLY:
                share = 1.0 if views == (0,) else 0.0
            else:
                share = self._two_views if both else (1 - self._two_views) / 2
            if share:
                shares[name] = weight * share
        return shares

    def _draw(
        self, pair: ViewPair, count: int, shares: dict[str, float], views: tuple[int, ...] | None, rng: Random
    ) -> tuple[Question, ...]:
        sights: dict[tuple[int, ...], Sight] = {}
        found: list[Question] = []
        texts: set[str] = set()
        weights = {name: w for name, w in shares.items() if pair.graph is not None or name in points.MAKERS}
        for _ in range(4):
            names = sorted(weights, key=lambda name: rng.random() ** (1.0 / weights[name]), reverse=True)
            for name in names:
                if len(found) == count:
                    return tuple(found)
                question = self._make(name, pair, views or self._views(name, rng), sights, rng)
                if question is not None and question.text not in texts:
                    found.append(question)
                    texts.add(question.text)
        return tuple(found)

    def _views(self, name: str, rng: Random) -> tuple[int, ...]:
        if name in _BOTH_ONLY:
            return (0, 1)
        if name in _REFERENCE_ONLY:
            return (0,)
        return (0, 1) if rng.random() < self._two_views else (rng.choice((0, 1)),)

    def _make(
        self,
        name: str,
        pair: ViewPair,
        views: tuple[int, ...],
        sights: dict[tuple[int, ...], Sight],
        rng: Random,
    ) -> Question | None:
        if name in points.MAKERS:
            return points.MAKERS[name](pair, views, rng)
        if views not in sights:
            sights[views] = Sight(pair, views)
        maker = scene.MAKERS.get(name) or commanded.MAKERS[name]
        question = maker(sights[views], rng)
        return None if question is None else sights[views].mentioned(question)


def roll_call(pair: ViewPair, rng: Random) -> tuple[Question, Question]:
    """For each of the two views of a pair with a scene graph where everything is in it."""
    one, other = (Sight(pair, (view,)) for view in (0, 1))
    return one.mentioned(scene.roll_call(one, rng)), other.mentioned(scene.roll_call(other, rng))


def _always(pair: ViewPair, rng: Random) -> Question:
    """A question that every pair has an answer to."""
    from .types import choice
    from .wording import phrase

    right = pair.reference.world_from_camera[:3, 0] @ (
        pair.target.world_from_camera[:3, 3] - pair.reference.world_from_camera[:3, 3]
    )
    return choice("camera_motion", phrase(rng, "other_camera"), ("left", "right"), int(right > 0), (0, 1))
