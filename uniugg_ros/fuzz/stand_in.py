"""A pipeline that answers at once with known numbers, in place of the model; and a node process that uses it.

``python -m uniugg_ros.fuzz.stand_in --ros-args ...`` is ``uniugg_node`` with this model: for fuzzing the node, for its
tests, and for trying a robot's wiring without a model's load. The variables ``STUB_STEP`` (seconds a step takes) and
``STUB_LONG_STEP`` (seconds of the first step) make it slow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from uniugg_core.cameras import Camera
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.outputs import Answer, AnswerToken, Evidence, Progress
from uniugg_core.scene import IMAGINED, OBSERVED, Scene, View

from ..parameters import Settings

__all__ = ["StubPipeline", "stub_factory"]

SIDE = 8


class StubPipeline:
    """Has the methods of ``UniUGGPipeline`` that the node calls."""

    trained = False

    def __init__(self, step: float = 0.0, long_step: float = 0.0, steps: int = 5, *, keep_calls: bool = True) -> None:
        self.config = SimpleNamespace(image_size=SIDE, name="stub")
        self.step, self.long_step, self.steps = step, long_step, steps
        self.calls: list[tuple] | None = [] if keep_calls else None
        self.fail_with: Exception | None = None

    def _called(self, *what: Any) -> None:
        if self.calls is not None:
            self.calls.append(what)
        if self.fail_with is not None:
            raise self.fail_with

    def _go(self, stage: str, count: int, callback: Any, sample: int = 0) -> None:
        for number in range(1, count + 1):
            if callback is not None and callback(Progress(stage, sample, number, count)) is False:
                raise UniuggError(ErrorCode.CANCELLED, "cancelled by the callback")
            time.sleep(self.long_step if number == 1 and self.long_step else self.step)

    def imagine(
        self,
        observation: Any,
        target_from_reference: np.ndarray,
        *,
        steps: int | None = None,
        scheduler: str | None = None,
        guidance: float | None = None,
        samples: int = 1,
        generator: Any = None,
        seed: int | None = None,
        drop_quantile: float | None = None,
        callback: Any = None,
    ) -> Scene:
        """A plane two metres away as observed, one four metres away in the picture's first colour as imagined."""
        self._called("imagine", target_from_reference, steps, scheduler, guidance, samples, seed, drop_quantile)
        for sample in range(samples):
            self._go("denoise", steps or self.steps, callback, sample)
        camera = (observation.camera or Camera.from_fov(SIDE, SIDE, 1.0)).scaled(SIDE, SIDE)
        rays = camera.rays().astype(np.float32)
        views = [
            View(
                image=np.full((SIDE, SIDE, 3), (200, 100, 50), np.uint8),
                points=rays * 2,
                confidence=np.full((SIDE, SIDE), 3.0, np.float32),
                camera=camera,
                scene_from_camera=np.eye(4),
                source=OBSERVED,
            ),
            View(
                image=observation.image[:1, :1].repeat(SIDE, 0).repeat(SIDE, 1).copy(),
                points=rays * 4,
                confidence=np.full((SIDE, SIDE), 2.0, np.float32),
                camera=camera,
                scene_from_camera=np.linalg.inv(target_from_reference),
                source=IMAGINED,
            ),
        ]
        return Scene.from_views(
            views,
            frame=observation.frame,
            stamp=observation.stamp,
            timings={"denoise": 1.0},
            seed=1234 if seed is None else seed,
        )

    def answer(self, observations: Any, question: str, history: Sequence[Any] = (), **options: Any) -> Answer:
        """The answer of :meth:`stream`."""
        stream = self.stream(observations, question, history, **options)
        for _ in stream:
            pass
        return stream.answer

    def stream(
        self,
        observations: Any,
        question: str,
        history: Sequence[Any] = (),
        *,
        max_new_tokens: int | None = None,
        with_evidence: bool = False,
        imagine_from: np.ndarray | None = None,
        seed: int | None = None,
        callback: Any = None,
    ) -> StubStream:
        """An answer that counts the rounds so far."""
        self._called("ask", [o.image.shape for o in observations], question, tuple(history), imagine_from)
        return StubStream(self, question, history, max_new_tokens, with_evidence, callback)


class StubStream:
    """ "It is 2.5 m away, turn N", one word a token; a question of words only is repeated that many times."""

    def __init__(
        self,
        pipeline: StubPipeline,
        question: str,
        history: Sequence[Any],
        limit: int | None,
        with_evidence: bool,
        callback: Any,
    ) -> None:
        self.pipeline, self.callback = pipeline, callback
        words = f"It is 2.5 m away, turn {len(history)}".split()
        if question == "long":
            words = ["word"] * 400
        self.truncated = limit is not None and len(words) > limit
        self.words = words[:limit]
        self.evidence = (
            (Evidence(0, 1.0, 2.0, 0.5, (0.1, 0.2, 0.3)), Evidence(0, 3.0, 4.0, 0.25)) if with_evidence else ()
        )
        self.at = 0

    def __iter__(self) -> StubStream:
        return self

    def __next__(self) -> AnswerToken:
        if self.at >= len(self.words):
            raise StopIteration
        self.pipeline._go("generate", 1, self.callback)
        self.at += 1
        return AnswerToken(("" if self.at == 1 else " ") + self.words[self.at - 1], self.at, -0.1)

    @property
    def answer(self) -> Answer:
        """What has been said by now."""
        text = " ".join(self.words)
        return Answer(
            text=text,
            confidence=0.9,
            value=2.5 if "2.5" in text else None,
            unit="m" if "2.5" in text else "",
            tokens=len(self.words),
            truncated=self.truncated,
            evidence=self.evidence,
            timings={"generate": 1.0},
        )

    def close(self) -> None:
        """Nothing to end."""


def stub_factory(settings: Settings) -> StubPipeline:
    """A pipeline factory; the model called "broken" cannot be loaded, "slow" takes two seconds."""
    if settings.model == "broken":
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, "model.safetensors is broken on purpose")
    if settings.model == "slow":
        time.sleep(2.0)
    return StubPipeline(
        step=float(os.environ.get("STUB_STEP", "0")), long_step=float(os.environ.get("STUB_LONG_STEP", "0"))
    )


if __name__ == "__main__":
    import sys

    from uniugg_ros.node import UniuggNode
    from uniugg_ros.process import run

    sys.exit(run(lambda: UniuggNode(pipeline_factory=stub_factory)))
