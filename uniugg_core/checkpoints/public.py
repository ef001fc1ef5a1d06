"""Public checkpoint layouts by name, and the one way to read any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ..errors import ErrorCode, UniuggError
from . import mast3r, radio, uniugg
from .mapping import PublicCheckpoint
from .unpickle import read_file

__all__ = ["LAYOUTS", "detect_layout", "load_public"]

#: Public layouts by name; each module has ``matches(state)`` and ``read(state, ...)``.
LAYOUTS = {"uniugg": uniugg, "mast3r": mast3r, "radio": radio}


def detect_layout(state: Mapping[str, Tensor]) -> str:
    """The layout whose names these are.

    Raises:
        UniuggError: CHECKPOINT_INVALID if they are of none, quoting some of them.
    """
    for name, module in LAYOUTS.items():
        if module.matches(state):
            return name
    some = ", ".join(list(state)[:4])
    raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"of none of the layouts {sorted(LAYOUTS)}; it holds {some}, ...")


def load_public(
    path: str | Path, layout: str = "auto", *, head_width: int = 64, inert: Sequence[str] = ()
) -> PublicCheckpoint:
    """Reads a public checkpoint: RADIOv2.5, MASt3R (metric), or the released UniUGG encoder.

    Args:
        path: ``.safetensors``, torch's zip format, or a folder with ``model.safetensors``.
        layout: "radio", "mast3r", "uniugg", or "auto" to tell by the names.
        head_width: width of an attention head, which no shape tells; 64 in every published model.
        inert: see :func:`~uniugg_core.checkpoints.unpickle.read_torch`.

    Returns:
        Tensors under our names, and the sizes read off them.

    Raises:
        UniuggError: CHECKPOINT_MISSING, CHECKPOINT_INVALID, CHECKPOINT_UNSAFE or CHECKPOINT_MISMATCH.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"no layout {layout!r}; there are {sorted(LAYOUTS)} and 'auto'")
    state = read_file(path, inert=inert)
    name = detect_layout(state) if layout == "auto" else layout
    return LAYOUTS[name].read(state, head_width=head_width)
