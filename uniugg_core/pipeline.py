"""The public way in: :class:`UniUGGPipeline` imagines scenes, reconstructs them and answers questions about them.

One resident model does all three (spec: image -> encoder -> language model -> condition -> denoiser -> latent -> VAE ->
spatial decoder). The pipeline is meant for one worker thread; it never touches global random state.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .config import ModelConfig
from .outputs import Answer, AnswerToken, Callback, Observation, Turn

if TYPE_CHECKING:
    import torch

    from .scene import Scene

__all__ = ["AnswerStream", "UniUGGPipeline"]


class AnswerStream:
    """An answer in the making: iterate for :class:`AnswerToken`, then read :attr:`answer`.

    Work happens while iterating, in the iterating thread. :attr:`answer` runs what is left. A cancelled or closed
    stream has no answer.
    """

    def __iter__(self) -> AnswerStream:
        raise NotImplementedError

    def __next__(self) -> AnswerToken:
        raise NotImplementedError

    @property
    def answer(self) -> Answer:
        """The whole answer; finishes the iteration if that has not happened."""
        raise NotImplementedError

    def close(self) -> None:
        """Stops early and frees the attention cache."""
        raise NotImplementedError


class UniUGGPipeline:
    """imagine(), reconstruct() and answer() over one model."""

    config: ModelConfig

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, device: str = "cpu", dtype: str = "float32", verify: bool = True
    ) -> UniUGGPipeline:
        """The model in a checkpoint folder."""
        raise NotImplementedError

    @classmethod
    def from_preset(cls, name: str, *, seed: int = 0, device: str = "cpu", dtype: str = "float32") -> UniUGGPipeline:
        """An untrained model of the preset's sizes, the same for the same seed."""
        raise NotImplementedError

    @classmethod
    def default(cls, *, device: str = "cpu", dtype: str = "float32") -> UniUGGPipeline:
        """The model that ships with the package; the untrained ``tiny`` where none ships."""
        raise NotImplementedError

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes the checkpoint folder."""
        raise NotImplementedError

    @property
    def trained(self) -> bool:
        """Whether the weights come from training."""
        raise NotImplementedError

    def imagine(
        self,
        observation: Observation,
        target_from_reference: np.ndarray,
        *,
        steps: int | None = None,
        scheduler: str | None = None,
        guidance: float | None = None,
        samples: int = 1,
        generator: torch.Generator | None = None,
        seed: int | None = None,
        drop_quantile: float | None = None,
        callback: Callback | None = None,
    ) -> Scene:
        """The scene as seen from the observation and, imagined, from the target pose."""
        raise NotImplementedError

    def reconstruct(self, a: Observation, b: Observation, *, callback: Callback | None = None) -> Scene:
        """The scene that two real pictures show, in the camera frame of `a`."""
        raise NotImplementedError

    def answer(
        self,
        observations: Sequence[Observation],
        question: str,
        history: Sequence[Turn] = (),
        *,
        max_new_tokens: int | None = None,
        with_evidence: bool = False,
        imagine_from: np.ndarray | None = None,
        seed: int | None = None,
        callback: Callback | None = None,
    ) -> Answer:
        """The answer to a question about the pictures."""
        raise NotImplementedError

    def stream(
        self,
        observations: Sequence[Observation],
        question: str,
        history: Sequence[Turn] = (),
        *,
        max_new_tokens: int | None = None,
        with_evidence: bool = False,
        imagine_from: np.ndarray | None = None,
        seed: int | None = None,
        callback: Callback | None = None,
    ) -> AnswerStream:
        """As :meth:`answer`, token by token. Input is checked here, work begins with the first token asked for."""
        raise NotImplementedError
