"""One page of whatever was measured, with the paper's published rows beside ours.

examples:
  uniugg eval report figures-0.json figures-1.json vsi.json spar.json generation.json --out report/
  uniugg eval report runs/ablations/ablations.json --pictures pictures/ --model runs/unified/model --out report/

FILES are what `uniugg eval rooms`, `frames`, `generation`, `score`, `distances` and `uniugg train ablations` write as
JSON. Writes OUT/report.html, made to be printed as well, and OUT/report.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg eval report``."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="JSON of the evaluation commands")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the report")
    parser.add_argument("--pictures", type=Path, nargs="+", default=[], metavar="PATH", help="pictures or folders")
    parser.add_argument("--model", type=Path, nargs="+", default=[], metavar="DIR", help="folders whose hash is stated")
    parser.add_argument("--title", default="UniUGG: evaluation", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Writes the report; prints where."""
    from .report import build, write_report

    write_report(build(args.files, args.pictures, args.model), args.out, args.title)
    print(args.out / "report.html")
    return 0
