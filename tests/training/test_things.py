"""Which things the reference picture shows too near or too far away."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.data.world.classes import CLASS_ID
from training.evaluation.tables import _things
from training.evaluation.things import SeenThing, seen_things, thing_figures


def wall(height: int = 20, width: int = 40, away: float = 4.0) -> np.ndarray:
    """(H, W, 3): points all equally far away."""
    v, u = np.meshgrid(np.linspace(-0.3, 0.3, height), np.linspace(-0.5, 0.5, width), indexing="ij")
    rays = np.stack([u, v, np.ones_like(u)], -1)
    return away * rays / np.linalg.norm(rays, axis=-1, keepdims=True)


class TestSeenThings:
    def test_each_by_its_own_pixels(self) -> None:
        instances = np.zeros((20, 40), np.uint8)
        instances[:, :20], instances[5:9, 25:30], instances[0, 39] = 1, 2, 3  # the last one is too small to count
        classes = np.zeros_like(instances)
        for number, name in ((1, "wall"), (2, "chair"), (3, "lamp")):
            classes[instances == number] = CLASS_ID[name]
        truth = wall()
        truth[instances == 2] *= 0.5
        seen = truth.copy()
        seen[instances == 1] *= 1.1
        seen[instances == 2] *= 1.5
        seen[5, 25] = 100.0  # one stray point changes no median
        one, two = seen_things(seen, truth, np.ones_like(instances, bool), instances, classes)
        assert (one.name, two.name) == ("wall", "chair")
        assert (one.distance, one.ratio) == pytest.approx((4.0, 1.1))
        assert (two.distance, two.ratio) == pytest.approx((2.0, 1.5))

    def test_where_the_truth_is_unknown_nothing_is_judged(self) -> None:
        instances = np.ones((20, 40), np.uint8)
        classes = np.full_like(instances, CLASS_ID["wall"])
        known = np.zeros_like(instances, bool)
        assert seen_things(wall(), wall(), known, instances, classes) == []
        known[:, :10] = True
        seen = wall()
        seen[:, 10:] = np.nan
        (only,) = seen_things(seen, wall(), known, instances, classes)
        assert only.ratio == pytest.approx(1)


class TestFigures:
    THINGS = (
        *(SeenThing("chair", distance, ratio) for distance, ratio in ((0.5, 1.4), (1.5, 1.2), (2.5, 1.1))),
        *(SeenThing("wall", 4.0 + 0.5 * n, ratio) for n, ratio in enumerate((0.96, 0.98, 1.0, 1.02, 1.04))),
    )

    def test_by_class_and_by_distance(self) -> None:
        figures = thing_figures(self.THINGS)
        assert figures["things"] == 8
        chair, walls = figures["by_class"]["chair"], figures["by_class"]["wall"]
        assert (chair["things"], chair["error"], chair["bias"]) == pytest.approx((3, 0.2, 0.2))
        assert (walls["things"], walls["error"], walls["bias"]) == pytest.approx((5, 0.02, 0.0), abs=1e-9)
        rows = figures["by_distance"]
        assert [(row["from"], row["to"], row["things"]) for row in rows] == [
            (0.0, 1.0, 1),
            (1.0, 2.0, 1),
            (2.0, 3.0, 1),
            (3.0, 4.5, 1),
            (4.5, None, 4),
        ]
        assert sum(row["things"] for row in rows) == figures["things"]

    def test_ranges_without_things_have_no_row(self) -> None:
        (row,) = thing_figures([SeenThing("bed", 2.2, 1.0)])["by_distance"]
        assert (row["from"], row["to"]) == (2.0, 3.0) and math.isclose(row["error"], 0)

    def test_none_without_things(self) -> None:
        assert thing_figures([]) is None

    def test_the_table_has_common_classes_the_worst_first(self) -> None:
        more = [SeenThing("table", 2.0, 1.3)] * 6
        text = _things(thing_figures([*self.THINGS, *more]))
        lines = [line.split() for line in text.splitlines()]
        names = [line[0] for line in lines]
        assert names.index("table") < names.index("wall") and "chair" not in names, "three chairs are too few"
        assert lines[names.index("table")][1:] == ["6", "30.0", "%", "30.0", "%"]
