"""Say what a data folder is, what is missing in it, and whether its geometry agrees with itself.

examples:
  uniugg data check /data/arkitscenes --sheet arkitscenes.jpg
  uniugg data check /data/scannetpp --layout iphone --scenes 5
  uniugg data check /data/laion400m --json

Recordings: poses and depth are tested by looking one view up in another, as read and as other conventions would have
it, and the sheet shows each pair with the second view warped into the first: where that does not look like the first
view, something is wrong. Pictures and conversations: a sheet of samples. The exit status is 1 if something is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg data check``."""
    parser.add_argument("folder", type=Path, help="a data set, or one scene of it")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="picture to write (default: none)")
    parser.add_argument("--scenes", type=int, default=3, help="scenes looked into (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=2, help="pairs of each scene on the sheet (default: %(default)s)")
    parser.add_argument("--layout", metavar="WORDS", help="only layouts with these words in their name")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="option of the reader")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace) -> int:
    """Prints the findings and writes the sheet."""
    from uniugg_core.images import save_image

    from ..typed import parse_change
    from .findings import examine

    options: dict[str, Any] = {}
    for change in args.set:
        options |= parse_change(change)
    parts = examine(args.folder, scenes=args.scenes, pairs=args.pairs, layout=args.layout, options=options)
    if args.sheet:
        import numpy as np

        sheets = [part.sheet for part in parts if part.sheet is not None]
        if sheets:
            width = max(sheet.shape[1] for sheet in sheets)
            padded = [np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in sheets]
            save_image(args.sheet, np.concatenate(padded))
        else:
            print("nothing could be shown: no sheet was written", file=sys.stderr)
    if args.json:
        print(json.dumps([part.plain() for part in parts], indent=2))
    else:
        print("\n\n".join(part.text() for part in parts))
        if args.sheet and any(part.sheet is not None for part in parts):
            print(f"\nsheet: {args.sheet}")
    return 1 if any(part.wrong for part in parts) else 0
