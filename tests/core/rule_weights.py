"""Made-up weights by one rule per name, and the reference numbers computed with them.

The public reference networks were run once on weights that follow from nothing but each tensor's name and shape. Any
implementation that reads the public layout and computes the same function gives the same numbers, and no weights need
to be downloaded to prove it.

``golden/layout_*.json`` lists a layout's tensors, runs of numbers written as ``{0..23}``; ``golden/image*.npz`` and
``golden/reference_*.npz`` hold the inputs and a subset of the outputs. The whole outputs are compared if the
environment variable ``UNIUGG_PARITY_DIR`` names a folder with ``manifest_{layout}.json`` (a list of [name, shape]) and
``{layout}_224x224.npz``.
"""

from __future__ import annotations

import json
import math
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SECOND_NAME = re.compile(r"scratch\.layer_rn\.(\d)\.weight$")


class RuleWeights(Mapping[str, Tensor]):
    """A state dict whose tensors are made when asked for, so that a file's worth of them is never held twice."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._shapes = dict(shapes)

    def __getitem__(self, key: str) -> Tensor:
        return rule_weight(key, self._shapes[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def rule_weight(key: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor that goes by the public name `key`."""
    if key.endswith("summary_idxs"):
        return torch.arange(shape[0])
    key = _SECOND_NAME.sub(lambda match: f"scratch.layer{int(match[1]) + 1}_rn.weight", key)
    values = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(size=shape, dtype=np.float32)
    if key.endswith("bias"):
        values *= np.float32(0.02)
    elif key.endswith(("pos_embed", "cls_token.token", "mask_token")):
        values *= np.float32(0.2)
    elif len(shape) == 1:
        values = 1 + np.float32(0.1) * values
    else:
        values /= np.float32(math.sqrt(math.prod(shape[1:])))
        if key.endswith("dpt.head.4.weight"):
            values *= np.float32(0.02)
    return torch.from_numpy(values)


def parity_dir() -> Path | None:
    """The folder of the whole reference outputs, if one was named."""
    folder = os.environ.get("UNIUGG_PARITY_DIR")
    return Path(folder) if folder else None


def layout_shapes(layout: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in a public file of `layout` ("uniugg" or "mast3r")."""
    if folder := parity_dir():
        pairs = json.loads((folder / f"manifest_{layout}.json").read_text())
    else:
        compact = json.loads((GOLDEN / f"layout_{layout}.json").read_text())
        pairs = [(name, shape) for pattern, shape in compact.items() for name in expand(pattern)]
    return {name: tuple(shape) for name, shape in pairs}


def expand(pattern: str) -> list[str]:
    """Every name that a pattern with ranges stands for.

    >>> expand("a{0..1}.b{1..2}")
    ['a0.b1', 'a0.b2', 'a1.b1', 'a1.b2']
    """
    match = _RANGE.search(pattern)
    if match is None:
        return [pattern]
    before, after = pattern[: match.start()], pattern[match.end() :]
    return [name for i in range(int(match[1]), int(match[2]) + 1) for name in expand(f"{before}{i}{after}")]


def compact(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, list[int]]:
    """The inverse of expanding: names that differ in their first number only become one pattern (any order)."""
    groups: dict[tuple, list[tuple[int, str]]] = {}
    for name, shape in shapes.items():
        match = re.search(r"\d+", name)
        template = (name[: match.start()], name[match.end() :]) if match else (name, None)
        groups.setdefault((template, tuple(shape)), []).append((int(match[0]) if match else 0, name))
    found: dict[str, list[int]] = {}
    for ((before, after), shape), members in groups.items():
        numbers = sorted(number for number, _ in members)
        if after is not None and len(members) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1)):
            found[f"{before}{{{numbers[0]}..{numbers[-1]}}}{after}"] = list(shape)
        else:
            found |= {name: list(shape) for _, name in members}
    return found


def images() -> list[np.ndarray]:
    """The two input pictures, (224, 224, 3) float32 in [0, 1]."""
    return [np.load(GOLDEN / f"image{i}.npz")["image"] for i in (1, 2)]


#: Per output, how densely the committed subset samples the network's own arrays, and the whole reference samples them.
STRIDES = {
    "features": (slice(None), slice(None, None, 7)),
    "summary": (),
    "pts3d": (slice(None, None, 8),) * 2,
    "conf": (slice(None, None, 8),) * 2,
    "rgb": (slice(None, None, 8),) * 2,
    "desc": (slice(None, None, 16),) * 2,
    "desc_conf": (slice(None, None, 8),) * 2,
}
WHOLE_STRIDES = {
    "features": (),
    "summary": (),
    "pts3d": (slice(None, None, 2),) * 2,
    "conf": (slice(None, None, 2),) * 2,
    "rgb": (slice(None, None, 2),) * 2,
    "desc": (slice(None, None, 8),) * 2,
    "desc_conf": (slice(None, None, 4),) * 2,
}


def reference(layout: str) -> tuple[dict[str, np.ndarray], dict[str, tuple]]:
    """The reference outputs of `layout`, and how each samples the network's own (see :data:`STRIDES`)."""
    if folder := parity_dir():
        with np.load(folder / f"{layout}_224x224.npz") as file:
            return {key: file[key] for key in file if not key.startswith("image")}, WHOLE_STRIDES
    with np.load(GOLDEN / f"reference_{layout}.npz") as file:
        return {key: file[key] for key in file}, STRIDES
