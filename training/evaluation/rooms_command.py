"""Imagined scenes and answers in rooms of the test split, beside baselines that need no learning."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg eval rooms``."""
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--model", type=Path, metavar="FOLDER", help="checkpoint folder (default: the shipped model)")
    model.add_argument("--preset", metavar="NAME", help="an untrained model of these sizes, e.g. tiny")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed draws other test rooms")


def run(args: argparse.Namespace) -> int:
    """Measures and prints a table."""
    raise NotImplementedError
