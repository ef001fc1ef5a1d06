"""What the viewer knows and can do, without any browser: pictures, saved scenes, and a model that imagines and answers.

One request at a time: the pipeline is meant for one thread. The model is loaded with the first request that needs it,
so that saved scenes show at once.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uniugg_core.cameras import motion
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.outputs import Answer, Callback, Observation
from uniugg_core.scene import Scene

from ..demo.recorded import Picture

if TYPE_CHECKING:
    from uniugg_core.pipeline import UniUGGPipeline

__all__ = ["Look", "ViewSession"]


@dataclass(frozen=True)
class Look:
    """Where to look from, as the sliders say it: degrees and metres, as seen by the camera."""

    yaw: float = 0.0  # to the right
    pitch: float = 0.0  # up
    forward: float = 0.0
    right: float = 0.0
    up: float = 0.0

    @property
    def target_from_reference(self) -> np.ndarray:
        """The pose (4, 4)."""
        return motion(
            yaw=math.radians(self.yaw),
            pitch=math.radians(self.pitch),
            forward=self.forward,
            right=self.right,
            down=-self.up,
        )


class ViewSession:
    """Pictures to look at and a model to ask.

    Args:
        pictures: to choose from.
        scenes: files of saved scenes, by the name they are shown under.
        load: makes the pipeline; called once, with the first request.
    """

    def __init__(
        self, pictures: list[Picture], scenes: dict[str, Path], load: Callable[[], UniUGGPipeline] | None = None
    ) -> None:
        self.pictures, self.scenes = pictures, scenes
        self._load, self._pipeline = load, None
        self._busy = threading.Lock()

    @property
    def can_ask(self) -> bool:
        """Whether there is a model (or one can be loaded) and a picture."""
        return bool(self.pictures) and self._load is not None

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._busy.locked()

    @property
    def trained(self) -> bool | None:
        """Whether the model is trained; None while none is loaded."""
        return None if self._pipeline is None else self._pipeline.trained

    def saved(self, name: str) -> Scene:
        """The saved scene called `name`.

        Raises:
            UniuggError: REQUEST_INVALID.
        """
        return Scene.load(self.scenes[name])

    def imagine(
        self,
        picture: int,
        look: Look,
        *,
        samples: int = 1,
        steps: int | None = None,
        seed: int | None = None,
        callback: Callback | None = None,
    ) -> Scene:
        """The scene of a picture and of the view imagined from `look`.

        Raises:
            UniuggError: BUSY, or why it could not be done.
        """
        with self._only() as pipeline:
            return pipeline.imagine(
                self._observation(picture),
                look.target_from_reference,
                samples=samples,
                steps=steps,
                seed=seed,
                callback=callback,
            )

    def ask(self, picture: int, question: str, on_text: Callable[[str], None] | None = None) -> Answer:
        """The answer to a question about a picture; `on_text` gets what there is of it, again and again.

        Raises:
            UniuggError: BUSY, QUESTION_EMPTY, QUESTION_TOO_LONG, ...
        """
        with self._only() as pipeline:
            stream = pipeline.stream([self._observation(picture)], question)
            text = ""
            for token in stream:
                text += token.text
                if on_text is not None:
                    on_text(text)
            return stream.answer

    def _observation(self, number: int) -> Observation:
        picture = self.pictures[number]
        return Observation(picture.image, picture.camera, picture.frame, picture.stamp)

    @contextmanager
    def _only(self) -> Iterator[UniUGGPipeline]:
        """Holds the model for one request; refuses instead of waiting."""
        if self._load is None:
            raise UniuggError(ErrorCode.CHECKPOINT_MISSING, "there is no model in this viewer")
        if not self._busy.acquire(blocking=False):
            raise UniuggError(ErrorCode.BUSY, "another request is under way")
        try:
            if self._pipeline is None:
                self._pipeline = self._load()
            yield self._pipeline
        finally:
            self._busy.release()
