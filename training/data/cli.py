"""Data to train on: from recordings, checked, paired.

`uniugg data COMMAND --help` explains each command. A new one is one file with `configure(parser)` and `run(args)`, as
the commands of `uniugg` itself, and one line in `SUBCOMMANDS`.
"""

from __future__ import annotations

import argparse
import importlib

__all__ = ["SUBCOMMANDS", "configure", "run"]

# name on the command line -> module of this package; the first line of its docstring is the summary
SUBCOMMANDS: dict[str, str] = {
    "check": "training.data.check",
    "from-bag": "training.data.bags.command",
    "pairs": "training.data.pairs",
    "room-bag": "training.data.room_bag",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands; their modules are light, heavy parts are imported inside their ``run``."""
    listing = parser.add_subparsers(dest="data_command", metavar="COMMAND", title="commands", required=True)
    for name, module in SUBCOMMANDS.items():
        command = importlib.import_module(module)
        description = (command.__doc__ or "").strip()
        own = listing.add_parser(
            name,
            help=description.partition("\n")[0],
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.configure(own)
        own.set_defaults(run_data_command=command.run)


def run(args: argparse.Namespace) -> int:
    """Runs the chosen subcommand and returns its exit status; raises what it raises."""
    return args.run_data_command(args) or 0
