"""Makes ``import transformers`` and ``import diffusers`` work beside a torchvision that was built for another torch.

A CPU build of torch next to PyPI's torchvision (built for CUDA) is a common accident: torchvision's compiled operators
do not load, ``import torchvision`` raises, and with it every library that looks for it. Declaring the two operators it
stumbles over lets the Python part load; this project uses none of its operators.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

__all__ = ["ensure_torchvision"]

_state: str | None = None
_library: Any = None  # torch.library.Library; its definitions live as long as the object


def ensure_torchvision() -> str:
    """Called before importing transformers, diffusers or lpips. Repeated calls are free.

    Returns:
        "absent" (not installed), "native" (works) or "python-only" (its Python part works, its operators do not).
    """
    global _state
    if _state is None:
        _state = _ensure()
    return _state


def _ensure() -> str:
    global _library
    if importlib.util.find_spec("torchvision") is None:
        return "absent"
    try:
        importlib.import_module("torchvision")
        extension = importlib.import_module("torchvision.extension")
        return "native" if extension._has_ops() else "python-only"
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    import torch

    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        _library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    importlib.import_module("torchvision")
    return "python-only"
