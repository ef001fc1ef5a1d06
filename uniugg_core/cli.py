"""The one command ``uniugg``: finds its subcommands in the entry-point group ``uniugg.commands`` and runs one of them.

A command is a module named in that group. Its contract is three things:

* the first line of its docstring is the summary that ``uniugg --help`` shows;
* ``configure(parser)`` adds its arguments to an ``argparse`` parser;
* ``run(args)`` does the work and returns the exit status (``None`` means 0).

The summaries are read from the source text without running it, and only the chosen command's module is imported, so
that ``--help`` is instant however heavy a command is. This file knows no command; every room registers its own in
``setup.py``.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from .errors import UniuggError

__all__ = ["GROUP", "Command", "commands", "main"]

GROUP = "uniugg.commands"

EXIT_REFUSED = 2  # also argparse's status for a wrong command line
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells do


@dataclass(frozen=True)
class Command:
    """One subcommand: its name on the command line and the module that does it."""

    name: str
    module: str

    @property
    def summary(self) -> str:
        """The first line of the module's docstring, read without importing the module."""
        path = _source_file(self.module)
        if path is None:
            return f"(not available: there is no module {self.module})"
        try:
            docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        except (OSError, SyntaxError, UnicodeDecodeError) as error:
            return f"(not available: {error})"
        return docstring.splitlines()[0] if docstring else "(no description)"

    def load(self) -> ModuleType:
        """Imports the module; light, because commands import their heavy parts inside ``run``."""
        return importlib.import_module(self.module)


def commands() -> dict[str, Command]:
    """Every registered command by name, in alphabetical order."""
    found = {point.name: Command(point.name, point.value) for point in metadata.entry_points(group=GROUP)}
    return dict(sorted(found.items()))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs ``uniugg`` with the arguments `argv` (default: the process's own) and returns its exit status.

    A :class:`UniuggError` becomes one line ``error: CODE: message`` on standard error and status 2.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    known = commands()
    chosen = next((argument for argument in argv if not argument.startswith("-")), None)
    if chosen is not None and chosen not in known:
        return _unknown(chosen, known)
    parser, module = _parser(known, chosen)
    args = parser.parse_args(argv)
    if module is None:
        parser.print_help()
        return EXIT_REFUSED
    try:
        return module.run(args) or 0
    except UniuggError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`uniugg ... | head`). Point stdout elsewhere, or its flush at exit complains again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser(known: dict[str, Command], chosen: str | None) -> tuple[argparse.ArgumentParser, ModuleType | None]:
    parser = argparse.ArgumentParser(
        prog="uniugg", description="Imagine what a camera would see from elsewhere, and answer questions about space."
    )
    parser.add_argument("--version", action="version", version=f"uniugg {_version()}")
    listing = parser.add_subparsers(title="commands", metavar="COMMAND")
    if chosen is None:
        for command in known.values():
            listing.add_parser(command.name, help=command.summary)
        return parser, None
    module = known[chosen].load()
    description = (module.__doc__ or "").strip()
    own = listing.add_parser(chosen, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    module.configure(own)
    return parser, module


def _unknown(name: str, known: dict[str, Command]) -> int:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "`uniugg --help` lists the commands"
    if not known:
        hint = "no command is registered: install the package first (`pip install -e .`)"
    print(f"error: there is no command {name!r}; {hint}", file=sys.stderr)
    return EXIT_REFUSED


def _source_file(module: str) -> Path | None:
    """Where the source of a dotted module lies, found without importing it or its parent packages."""
    root, *rest = module.split(".")
    spec: ModuleSpec | None = find_spec(root)
    name = root
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return Path(spec.origin) if spec is not None and spec.origin else None


def _version() -> str:
    try:
        return metadata.version("uniugg_ros")
    except metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
