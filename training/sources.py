"""The registry of data sources: a name in the settings to something that makes batches by sample number.

A new source is one entry here and one file in ``training/data``. What it must offer is :class:`training.stream.Source`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from uniugg_core.config import ModelConfig
from uniugg_core.errors import ErrorCode, UniuggError

from .config import DataConfig
from .stream import Source

__all__ = ["SOURCES", "class_count", "open_source"]


def _rooms(data: DataConfig, model: ModelConfig, split: str) -> Source:
    from .data.rooms import RoomsConfig, RoomsDataset

    options = {"size": model.image_size, **data.options}
    # difficulty rises over training samples; what is measured does not move
    options |= {"curriculum": data.curriculum if split == "train" else 0, "easiest": data.easiest}
    return RoomsDataset(_configured(RoomsConfig, options), split, seed=data.seed)


def _bags(data: DataConfig, model: ModelConfig, split: str) -> Source:
    from .data.bags.dataset import BagsConfig, BagsDataset

    if not data.path:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"data.source {data.source!r} needs data.path, its folder")
    # null takes back an option of the file that a configuration is based on
    options = {name: value for name, value in data.options.items() if value is not None}
    config = _configured(BagsConfig, {"size": model.image_size, **options})
    return BagsDataset(data.path, config, split, data.seed)


def _configured(cls: type, options: dict[str, Any]) -> Any:
    known = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(options) - known)
    if unknown:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"data.options has no {unknown[0]!r}; there are {sorted(known)}")
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in options.items()})


SOURCES: dict[str, Callable[[DataConfig, ModelConfig, str], Source]] = {"rooms": _rooms, "bags": _bags}


def open_source(data: DataConfig, model: ModelConfig, split: str) -> Source:
    """The source that `data` names, for pictures of the model's size.

    Raises:
        UniuggError: REQUEST_INVALID if there is none of that name, or it refuses its options.
    """
    if data.source not in SOURCES:
        raise UniuggError(
            ErrorCode.REQUEST_INVALID, f"data.source is {data.source!r}, expected one of {sorted(SOURCES)}"
        )
    return SOURCES[data.source](data, model, split)


def class_count(data: DataConfig) -> int:
    """How many classes the class maps of a source have.

    Raises:
        UniuggError: REQUEST_INVALID if it has no class maps.
    """
    if data.source != "rooms":
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"data.source {data.source!r} has no class maps")
    from .data.world.classes import CLASSES

    return len(CLASSES)
