"""The model as a thing that is loaded, used and freed; every method but :attr:`state` runs on the worker's thread.

Torch is imported with the first load, not before, so that the node answers within a second of its start.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uniugg_core.config import PRESETS, ModelConfig
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.outputs import Observation

from .parameters import Settings
from .worker import coded

if TYPE_CHECKING:
    from uniugg_core.pipeline import UniUGGPipeline

__all__ = ["Engine", "EngineState", "PipelineFactory", "load_pipeline"]

PipelineFactory = Callable[[Settings], "UniUGGPipeline"]


class EngineState(Enum):
    """What there is of the model."""

    EMPTY = "not loaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


def load_pipeline(settings: Settings) -> UniUGGPipeline:
    """The pipeline that `model`, `device` and `dtype` name.

    Raises:
        UniuggError: CHECKPOINT_*; REQUEST_INVALID for a device that is not there.
    """
    import torch

    from uniugg_core.pipeline import UniUGGPipeline

    if settings.threads:
        torch.set_num_threads(settings.threads)
    where = {"device": _device(settings.device), "dtype": settings.dtype}
    if not settings.model:
        return UniUGGPipeline.default(**where)
    if settings.model in PRESETS:
        return UniUGGPipeline.from_preset(settings.model, **where)
    return UniUGGPipeline.from_pretrained(Path(settings.model).expanduser(), **where)


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, f"device is {name!r}, expected cpu, cuda, cuda:N or auto"
        ) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, f"device is {name!r}, torch sees {torch.cuda.device_count()} of them"
        )
    return name


class Engine:
    """Holds the pipeline while the node is active.

    Args:
        factory: makes a pipeline from settings; another one than :func:`load_pipeline` in tests.
    """

    def __init__(self, factory: PipelineFactory = load_pipeline) -> None:
        self._factory = factory
        self._pipeline: UniUGGPipeline | None = None
        self.state = EngineState.EMPTY
        self.failure: UniuggError | None = None  # of the last load
        self.description = ""  # of the loaded model, for people
        self.load_seconds = 0.0

    def check(self, settings: Settings) -> None:
        """A quick look at the model's files, without loading them.

        Raises:
            UniuggError: CHECKPOINT_MISSING or CHECKPOINT_INVALID; also kept as :attr:`failure`.
        """
        self.failure = None
        if not settings.model or settings.model in PRESETS or self._factory is not load_pipeline:
            return
        folder = Path(settings.model).expanduser()
        try:
            if not folder.is_dir():
                raise UniuggError(
                    ErrorCode.CHECKPOINT_MISSING,
                    f"model is {settings.model!r}, neither a folder nor one of the presets {sorted(PRESETS)}",
                )
            ModelConfig.load(folder / "config.json")
        except UniuggError as error:
            self.state, self.failure = EngineState.FAILED, error
            raise

    def load(self, settings: Settings) -> None:
        """Loads the model and, if asked to, runs it once.

        Raises:
            UniuggError: why it could not be loaded; also kept as :attr:`failure`.
        """
        self.unload()
        self.state, self.failure = EngineState.LOADING, None
        began = time.monotonic()
        try:
            pipeline = self._factory(settings)
            if settings.warmup:
                _warm_up(pipeline)
        except Exception as error:
            self.state, self.failure = EngineState.FAILED, coded(error)
            self._free()
            raise self.failure from error
        self.load_seconds = time.monotonic() - began
        training = "trained" if pipeline.trained else "untrained, its output is noise"
        self.description = f"{pipeline.config.name} ({training}) on {settings.device} in {settings.dtype}"
        self._pipeline, self.state = pipeline, EngineState.READY

    def unload(self) -> None:
        """Frees the model."""
        if self._pipeline is not None:
            self._pipeline = None
            self.state = EngineState.EMPTY
        self._free()

    def _free(self) -> None:
        gc.collect()
        try:
            ctypes.CDLL(None).malloc_trim(0)  # glibc keeps freed weights for itself otherwise
        except (OSError, AttributeError):  # another C library
            pass
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def refusal(self) -> UniuggError | None:
        """Why requests cannot be answered now; None if they can."""
        if self.failure is not None:
            return self.failure
        if self._pipeline is None:
            return UniuggError(ErrorCode.NOT_ACTIVE, f"the node is not active, its model is {self.state.value}")
        return None

    @property
    def pipeline(self) -> UniUGGPipeline:
        """The loaded pipeline.

        Raises:
            UniuggError: NOT_ACTIVE, or the code of the failed load.
        """
        pipeline, problem = self._pipeline, self.refusal()
        if pipeline is None or problem is not None:
            raise problem or UniuggError(ErrorCode.NOT_ACTIVE, "the node is not active")
        return pipeline

    def recover(self, error: UniuggError) -> None:
        """After a failed request: gives back what an out-of-memory error left behind."""
        if error.code is ErrorCode.OUT_OF_MEMORY:
            self._free()


def _warm_up(pipeline: UniUGGPipeline) -> None:
    side = pipeline.config.image_size
    grey = Observation(np.full((side, side, 3), 128, np.uint8))
    step = np.eye(4)
    step[0, 3] = 0.1
    pipeline.imagine(grey, step, steps=2, seed=0)
    pipeline.answer([grey], "ready?", max_new_tokens=2)
