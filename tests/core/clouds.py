"""Made-up scenes and views, and what the scene tests compare."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from uniugg_core.cameras import Camera
from uniugg_core.errors import UniuggError
from uniugg_core.scene import OBSERVED, Scene, View

ARRAYS = ("points", "colors", "confidence", "source", "spread")
CAMERA = Camera.from_fov(8, 6, 1.0)


def refused(code, function, *args, **kwargs):
    with pytest.raises(UniuggError) as caught:
        function(*args, **kwargs)
    assert caught.value.code is code, caught.value


def made(count, draw=0, **changes):
    """A scene of `count` made-up points; `changes` are fields."""
    rng = np.random.default_rng(draw)
    return dataclasses.replace(
        Scene.from_arrays(
            rng.normal(0, 2, (count, 3)),
            rng.integers(0, 256, (count, 3)),
            confidence=rng.uniform(1, 5, count),
            source=rng.integers(0, 2, count),
            spread=rng.uniform(0, 0.1, count),
        ),
        **changes,
    )


def same(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name), equal_nan=name != "source") for name in ARRAYS)


def view(source=OBSERVED, seed=0, sample=0, pose=None):
    rng = np.random.default_rng(seed)
    return View(
        image=rng.integers(0, 256, (6, 8, 3), dtype=np.uint8),
        points=rng.normal(0, 1, (6, 8, 3)),
        confidence=rng.uniform(1, 5, (6, 8)),
        camera=CAMERA,
        scene_from_camera=np.eye(4) if pose is None else pose,
        source=source,
        sample=sample,
    )
