"""UniUGG's core: the model and what it says, without ROS and without training.

>>> from uniugg_core import Observation, UniUGGPipeline, parse_motion  # doctest: +SKIP
>>> pipeline = UniUGGPipeline.default()  # doctest: +SKIP
>>> scene = pipeline.imagine(Observation(image), parse_motion("yaw right 40"), seed=0)  # doctest: +SKIP

Importing the package is cheap; torch is loaded when a name that needs it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import ErrorCode, UniuggError

if TYPE_CHECKING:
    from .cameras import Camera, parse_motion
    from .config import ModelConfig, preset
    from .outputs import Answer, AnswerToken, Evidence, Observation, Progress, Turn
    from .pipeline import AnswerStream, UniUGGPipeline
    from .scene import IMAGINED, OBSERVED, Scene, View

__all__ = [
    "IMAGINED",
    "OBSERVED",
    "Answer",
    "AnswerStream",
    "AnswerToken",
    "Camera",
    "ErrorCode",
    "Evidence",
    "ModelConfig",
    "Observation",
    "Progress",
    "Scene",
    "Turn",
    "UniUGGPipeline",
    "UniuggError",
    "View",
    "parse_motion",
    "preset",
]

_HOMES = {
    "cameras": ("Camera", "parse_motion"),
    "config": ("ModelConfig", "preset"),
    "outputs": ("Answer", "AnswerToken", "Evidence", "Observation", "Progress", "Turn"),
    "pipeline": ("AnswerStream", "UniUGGPipeline"),
    "scene": ("IMAGINED", "OBSERVED", "Scene", "View"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
