"""The registry of data sources: a name in the settings to something that makes batches by sample number.

A new source is one entry here and one file in ``training/data``. What it must offer is :class:`training.stream.Source`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from uniugg_core.config import ModelConfig
from uniugg_core.errors import ErrorCode, UniuggError

from .config import DataConfig
from .stream import Source
from .typed import build

__all__ = ["KINDS", "SOURCES", "class_count", "open_source"]


def _rooms(data: DataConfig, model: ModelConfig, split: str) -> Source:
    from .data.rooms import RoomsConfig, RoomsDataset

    options = {"size": model.image_size, **data.options}
    # difficulty rises over training samples; what is measured does not move
    options |= {"curriculum": data.curriculum if split == "train" else 0, "easiest": data.easiest}
    return RoomsDataset(_configured(RoomsConfig, options), split, seed=data.seed)


def _arkitscenes(data: DataConfig, model: ModelConfig, split: str) -> Source:
    from .data import arkitscenes, processed

    return _recorded("arkitscenes", [processed.ARKITSCENES, arkitscenes.READER], data, model, split)


def _scannetpp(data: DataConfig, model: ModelConfig, split: str) -> Source:
    from .data import processed, scannetpp

    return _recorded("scannetpp", [processed.SCANNETPP, scannetpp.DSLR, scannetpp.IPHONE], data, model, split)


def _scannetpp_iphone(data: DataConfig, model: ModelConfig, split: str) -> Source:
    from .data import scannetpp

    return _recorded("scannetpp-iphone", [scannetpp.IPHONE], data, model, split)


def _recorded(name: str, readers: list[Any], data: DataConfig, model: ModelConfig, split: str) -> Source:
    from .data.posed_pairs import PosedConfig, PosedPairs

    config = _configured(PosedConfig, {"size": model.image_size, **data.options})
    return PosedPairs(name, readers, _folder(data), config, split, data.seed)


def _imagenet(data: DataConfig, model: ModelConfig, split: str) -> Source:
    from .data.images import FolderPictures
    from .data.single import SingleConfig, SinglePictures

    config = _configured(SingleConfig, {"size": model.image_size, **data.options})
    return SinglePictures(FolderPictures(_folder(data), split), config, split, data.seed)


def _laion(data: DataConfig, model: ModelConfig, split: str) -> Source:
    from .data.shards import ShardPictures
    from .data.single import SingleConfig, SinglePictures

    config = _configured(SingleConfig, {"size": model.image_size, **data.options})
    return SinglePictures(ShardPictures(_folder(data), split), config, split, data.seed)


def _llava(data: DataConfig, model: ModelConfig, split: str) -> Source:
    from .data.instructions import LlavaRecords, find_llava

    return _conversations("llava", find_llava, LlavaRecords, data, model, split)


def _spar(data: DataConfig, model: ModelConfig, split: str) -> Source:
    from .data.instructions import SparRecords, find_spar

    return _conversations("spar", find_spar, lambda files: SparRecords(files[0]), data, model, split)


def _conversations(
    name: str,
    find: Callable[[Path], list[Path]],
    read: Callable[..., Any],
    data: DataConfig,
    model: ModelConfig,
    split: str,
) -> Source:
    from .data.conversations import ConversationConfig, Conversations

    config = _configured(ConversationConfig, {"size": model.image_size, **data.options})
    files = find(_folder(data))
    if not files:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"data.path {data.path} holds no annotations in {name}'s format")
    return Conversations(name, read(files), config, split, data.seed)


def _mixture(data: DataConfig, model: ModelConfig, split: str) -> Source:
    from .data.mixture import Mixture, Part

    parts = []
    for number, given in enumerate(data.options.get("parts") or []):
        settings = dict(given)
        weight = float(settings.pop("weight", 1.0))
        kinds = settings.pop("kinds", None)
        own = build(DataConfig, {"seed": data.seed, **settings}, f"data.options.parts[{number}]")
        kinds = tuple(kinds or KINDS.get(own.source, ()))
        parts.append(Part(open_source(own, model, split), weight, kinds))
    return Mixture(parts, data.seed)


def _folder(data: DataConfig) -> Path:
    if not data.path:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"data.source {data.source!r} needs data.path, its folder")
    path = Path(data.path).expanduser()
    if not path.exists():
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"data.path {path} does not exist")
    return path


def _bags(data: DataConfig, model: ModelConfig, split: str) -> Source:
    from .data.bags.dataset import BagsConfig, BagsDataset

    # null takes back an option of the file that a configuration is based on
    options = {name: value for name, value in data.options.items() if value is not None}
    config = _configured(BagsConfig, {"size": model.image_size, **options})
    return BagsDataset(_folder(data), config, split, data.seed)


def _configured(cls: type, options: dict[str, Any]) -> Any:
    known = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(options) - known)
    if unknown:
        raise UniuggError(ErrorCode.REQUEST_INVALID, f"data.options has no {unknown[0]!r}; there are {sorted(known)}")
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in options.items()})


SOURCES: dict[str, Callable[[DataConfig, ModelConfig, str], Source]] = {
    "rooms": _rooms,
    "bags": _bags,
    "arkitscenes": _arkitscenes,
    "scannetpp": _scannetpp,
    "scannetpp-iphone": _scannetpp_iphone,
    "imagenet": _imagenet,
    "laion": _laion,
    "llava": _llava,
    "spar": _spar,
    "mixture": _mixture,
}

# what each serves in a mixture that does not say
KINDS: dict[str, tuple[str, ...]] = {
    "rooms": ("pair", "single", "question"),
    "bags": ("pair", "single", "question"),
    "arkitscenes": ("pair", "single"),
    "scannetpp": ("pair", "single"),
    "scannetpp-iphone": ("pair", "single"),
    "imagenet": ("single",),
    "laion": ("single",),
    "llava": ("question",),
    "spar": ("question",),
}


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
