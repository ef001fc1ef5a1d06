"""Typed settings from YAML: strict names, values that must have the declared type, files that change other files."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from pathlib import Path
from typing import Any

import yaml

from uniugg_core.errors import ErrorCode, UniuggError

__all__ = ["build", "merged", "parse_change", "read_nested", "refuse"]


def refuse(message: str) -> UniuggError:
    """The error that a wrong setting raises."""
    return UniuggError(ErrorCode.REQUEST_INVALID, message)


def read_nested(path: Path, chain: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The nested settings of a YAML file, on top of those of the file that its ``base`` names (relative to it).

    Raises:
        UniuggError: REQUEST_INVALID, naming the file.
    """
    if path.resolve() in chain:
        raise refuse(f"{path}: `base` leads back to itself")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise refuse(f"{path} is no training configuration: {error}") from error
    if not isinstance(data, dict):
        raise refuse(f"{path} holds a {type(data).__name__}, expected named settings")
    base = data.pop("base", None)
    if base is None:
        return data
    return merged(read_nested(path.parent / str(base), (*chain, path.resolve())), data)


def parse_change(text: str) -> dict[str, Any]:
    """``a.b=value`` as nested settings; the value is read as YAML.

    Raises:
        UniuggError: REQUEST_INVALID.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise refuse(f"--set {text!r}: expected NAME=VALUE, e.g. optimizer.lr=1e-4")
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise refuse(f"--set {text!r}: {error}") from error
    for part in reversed(name.split(".")):
        nested = {part: nested}
    return nested


def merged(below: dict[str, Any], above: dict[str, Any], *, emptying: bool = False) -> dict[str, Any]:
    """`above` laid over `below`, name by name at every depth.

    Args:
        below: nested settings.
        above: those that win.
        emptying: whether ``{}`` above empties what is below; else it changes nothing.
    """
    result = dict(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(result.get(name), dict) and (value or not emptying)
        result[name] = merged(result[name], value, emptying=emptying) if both else value
    return result


def build(cls: type, data: Any, where: str) -> Any:
    """A dataclass, with the dataclasses in its fields, from nested settings.

    Args:
        cls: the dataclass; its annotations say what is allowed: int, float, bool, str, tuples, dicts, optional ones.
        data: nested settings.
        where: what to call it in a refusal.

    Raises:
        UniuggError: REQUEST_INVALID for an unknown name or a value of the wrong type.
    """
    if not isinstance(data, dict):
        raise refuse(f"{where} is {data!r}, expected named settings")
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(map(str, data)) - set(hints))
    if unknown:
        raise refuse(f"{where} has no setting {unknown[0]!r}; there are {sorted(hints)}")
    return cls(**{name: _convert(hints[name], value, f"{where}.{name}") for name, value in data.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _convert(next(kind for kind in inner if kind is not type(None)), value, where)
    if origin is tuple and inner == (str, ...) and isinstance(value, str):
        return (value,)
    if origin is tuple and isinstance(value, (list, tuple)):
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) != len(value):
            raise refuse(f"{where} has {len(value)} entries, expected {len(kinds)}")
        return tuple(_convert(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value)))
    if origin is dict and isinstance(value, dict):
        return {
            str(key): item if inner[1] is Any else _convert(inner[1], item, f"{where}.{key}")
            for key, item in value.items()
        }
    if hint is float and not isinstance(value, bool):
        # YAML 1.1 reads 1e-4, without a dot, as text
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            return number
    elif hint in (int, bool, str) and type(value) is hint:
        return value
    raise refuse(f"{where} is {value!r}, expected {getattr(hint, '__name__', hint)}")
