"""Measure how good a model is, in rooms nobody trained on and on benchmarks.

examples:
  uniugg eval rooms --model FOLDER --json figures.json --out pictures/
  uniugg eval frames data/kitchen --held-out 30
"""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

__all__ = ["MODULES", "configure", "run"]

# Name on the command line -> module with a docstring, configure(parser) and run(args), as for `uniugg` itself. They
# are imported for every `uniugg eval`, so their heavy imports belong inside run().
MODULES = {
    "rooms": "training.evaluation.rooms_command",
    "frames": "training.evaluation.frames_command",
    "generate": "training.evaluation.generate_command",
    "generation": "training.evaluation.generation_command",
    "report": "training.evaluation.report_command",
    "score": "training.evaluation.score_command",
    "answer": "training.evaluation.answer_command",
    "distances": "training.evaluation.distances_command",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands of ``uniugg eval``."""
    listing = parser.add_subparsers(title="what to measure", dest="what", metavar="WHAT", required=True)
    for name in MODULES:
        module = _module(name)
        text = (module.__doc__ or "").strip()
        own = listing.add_parser(
            name,
            help=text.splitlines()[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.configure(own)


def run(args: argparse.Namespace) -> int:
    """Measures; the exit status."""
    return _module(args.what).run(args) or 0


def _module(name: str) -> ModuleType:
    return importlib.import_module(MODULES[name])
