"""The stages of training: ``teacher`` (for `tiny`), ``encoder``, ``vae``, ``unified``; each is a :class:`base.Stage`.

The classes are imported when a stage is built, so that listing them costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config import TrainConfig
    from .base import Stage

__all__ = ["build_stage"]

_STAGES = {
    "teacher": ("teacher", "TeacherStage"),
    "encoder": ("encoder", "EncoderStage"),
    "vae": ("spatial_vae", "VAEStage"),
    "unified": ("unified", "UnifiedStage"),
}


def build_stage(config: TrainConfig) -> Stage:
    """The stage that `config` names, with its model built, its start weights loaded and its frozen parts frozen.

    Raises:
        UniuggError: REQUEST_INVALID or CHECKPOINT_*.
    """
    module, name = _STAGES[config.stage]
    return getattr(importlib.import_module(f".{module}", __name__), name)(config)
