"""Message types for bags: definitions from the store of rosbags, and from installed interface packages for the rest.

A bag carries the definition of every type in it, so that any reader can decode it. The rosbags library knows the common
packages; those it does not know (ours) are read from where ROS installs them, ``share/PACKAGE/msg/*.msg``.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

__all__ = ["bag_types", "message_class"]


def bag_types(msgtypes: list[str]) -> Typestore:
    """A type store that knows all of `msgtypes` (such as ``sensor_msgs/msg/Image``) and what they are made of.

    Raises:
        LookupError: naming a type that is neither known nor installed.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    for package in sorted({name.split("/")[0] for name in msgtypes if name not in store.fielddefs}):
        store.register(_package_types(package, store))
    missing = [name for name in msgtypes if name not in store.fielddefs]
    if missing:
        raise LookupError(f"no definition of {missing[0]} is installed")
    return store


@lru_cache(maxsize=256)
def message_class(msgtype: str) -> Any:
    """The rclpy class of ``package/msg/Name``.

    Raises:
        LookupError: if it is not a plain message (topics of actions carry other types), or is not installed.
    """
    package, kind, name = msgtype.split("/")
    if kind != "msg":
        raise LookupError(f"{msgtype} belongs to an action or a service, bags hold messages")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"{msgtype} is not installed here: {error}") from error


def _package_types(package: str, store: Typestore) -> dict[str, Any]:
    """Every message of an installed interface package that the store does not know."""
    types: dict[str, Any] = {}
    for path in sorted(_share_folder(package).glob("msg/*.msg")):
        types.update(get_types_from_msg(path.read_text(), f"{package}/msg/{path.stem}"))
    return {name: fields for name, fields in types.items() if name not in store.fielddefs}


def _share_folder(package: str) -> Path:
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    for prefix in prefixes:
        folder = Path(prefix) / "share" / package
        if folder.is_dir():
            return folder
    raise LookupError(f"the package {package} is not installed in {prefixes}")
