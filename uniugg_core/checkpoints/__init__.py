"""Readers of public checkpoint layouts, and conversion of their files into this project's own.

A public file is converted once, offline (:func:`convert`); from then on only safetensors are read
(:func:`load_encoder`, :func:`load_spatial`, or the whole pipeline's ``from_pretrained``).
"""

from __future__ import annotations

from .convert import Conversion, convert
from .mapping import PublicCheckpoint, load_into
from .parts import load_encoder, load_spatial
from .public import LAYOUTS, detect_layout, load_public

__all__ = [
    "LAYOUTS",
    "Conversion",
    "PublicCheckpoint",
    "convert",
    "detect_layout",
    "load_encoder",
    "load_into",
    "load_public",
    "load_spatial",
]
