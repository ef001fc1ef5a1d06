"""Turn a public checkpoint into a folder that UniUGG loads.

Takes .pth, .tar, .safetensors or a folder, once and offline. The file is read with an allow-list unpickler: nothing in
it is executed. Run time takes safetensors only.
"""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg convert``."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the public checkpoint")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write")
    parser.add_argument("--layout", default="auto", help="where it comes from (default: found from its names)")


def run(args: argparse.Namespace) -> int:
    """Converts and says what was written."""
    from ..checkpoints import convert

    convert(args.file, args.out, args.layout)
    print(f"wrote {args.out}")
    return 0
