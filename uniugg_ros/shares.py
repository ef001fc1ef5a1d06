"""Where the files beside the code are (DDS profile, sample bag): in a checkout, or in a pip or colcon installation."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["share"]

PACKAGE = "uniugg_ros"


def share(name: str) -> Path:
    """The path of `name`, e.g. ``config/fastdds.xml``: in the source tree, else in an installed ``share/uniugg_ros``.

    The path of the source tree is returned where there is no such file at all.
    """
    source = Path(__file__).resolve().parents[1] / name
    prefixes = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    places = [source, *(Path(prefix) / "share" / PACKAGE / name for prefix in (*prefixes, sys.prefix))]
    return next((place for place in places if place.exists()), source)
