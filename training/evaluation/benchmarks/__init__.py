"""The benchmarks of spatial understanding: how their files are read, what is asked, and how answers are scored."""

from __future__ import annotations

import importlib

from uniugg_core.errors import ErrorCode, UniuggError

from .base import Benchmark, Measure, Picture, Question, Row, Total

__all__ = ["NAMES", "Benchmark", "Measure", "Picture", "Question", "Row", "Total", "benchmark"]

# Name on the command line -> module beside this one with a BENCHMARK
_MODULES = {
    "vsi-bench": "vsi_bench",
    "blink": "blink",
    "3dsrbench": "three_dsr_bench",
    "spar-bench": "spar_bench",
    "realworldqa": "realworldqa",
    "seed-bench": "seed_bench",
    "sqa3d": "sqa3d",
    "scanqa": "scanqa",
}
NAMES = tuple(_MODULES)


def benchmark(name: str) -> Benchmark:
    """The benchmark of that name; case, spaces and hyphens do not matter.

    Raises:
        UniuggError: REQUEST_INVALID for an unknown name.
    """
    key = _key(name)
    for known, module in _MODULES.items():
        if key == _key(known):
            return importlib.import_module(f"{__name__}.{module}").BENCHMARK
    raise UniuggError(ErrorCode.REQUEST_INVALID, f"there is no benchmark {name!r}; there are {', '.join(NAMES)}")


def _key(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
