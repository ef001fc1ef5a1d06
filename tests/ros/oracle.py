"""A stand-in for the pipeline that knows the depth of recorded pictures: fast, and its scenes look like the room."""

from __future__ import annotations

import dataclasses

import numpy as np

from uniugg_core.cameras import inverse_rigid, square_crop
from uniugg_core.outputs import Answer, AnswerToken, Progress
from uniugg_core.scene import IMAGINED, Scene, View

__all__ = ["Oracle"]

SIDE = 128


class Oracle:
    """Answers as the pipeline does; the new view shows the input's own points."""

    trained = False

    def __init__(self, pictures: list) -> None:
        self.pictures = {picture.stamp: picture for picture in pictures}
        self.calls: list[tuple] = []

    def imagine(self, observation, target_from_reference, *, samples=1, steps=None, seed=None, callback=None, **_):
        """Observed: the measured points; imagined: every fourth of them, a little off."""
        self.calls.append(("imagine", observation.stamp, target_from_reference, samples, steps))
        picture = self.pictures[observation.stamp]
        for step in range(1, 4):
            if callback is not None:
                callback(Progress("denoise", 0, step, 3))
        observed = Scene.from_depth(picture.depth, picture.image, picture.camera)
        imagined = dataclasses.replace(observed.select(np.arange(0, len(observed), 4)), views=())
        imagined = dataclasses.replace(imagined, source=np.full(len(imagined), IMAGINED, np.uint8))
        crop = square_crop(picture.image, picture.camera, SIDE)
        empty = np.ones((SIDE, SIDE), np.float32)
        poses = ((np.eye(4), 0), (inverse_rigid(target_from_reference), IMAGINED))
        views = tuple(
            View(crop.image, np.zeros((SIDE, SIDE, 3), np.float32), empty, crop.camera, pose, source)
            for pose, source in poses
        )
        scene = Scene.merge(dataclasses.replace(observed, views=()), imagined)
        return dataclasses.replace(scene, views=views, seed=seed if seed is not None else 7, timings={"total": 1.0})

    def stream(self, observations, question, **_):
        """Three tokens and the answer."""
        self.calls.append(("stream", observations[0].stamp, question))
        return _Stream()


class _Stream:
    answer = Answer("1.8 m away.", 0.5, value=1.8, unit="m", tokens=3)

    def __iter__(self):
        return iter([AnswerToken(text, 0, -0.7) for text in ("1.8", " m", " away.")])
