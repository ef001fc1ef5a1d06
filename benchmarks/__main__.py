"""Runs the benchmarks: ``python -m benchmarks [PART ...] [--paper] [-n 20] [--out FILE]``, see ``PARTS``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Read when torch is loaded: its threads otherwise spin while they wait, and on a shared machine one measures just that.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from .harness import Row, machine, table, write

PARTS = ("pipeline", "packing", "ros", "attention", "muon")
CLOUDS = (25_000, 100_000)  # points: about what the tiny model gives, and the paper's


def main(argv: list[str] | None = None) -> int:
    """Measures, prints, keeps."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--paper", action="store_true", help="also the paper's sizes: 10 GiB, a minute a request")
    parser.add_argument("-n", type=int, default=20, help="samples of each (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/latency.json"), help="default: %(default)s"
    )
    args = parser.parse_args(argv)
    parts = args.parts or list(PARTS)
    unknown = set(parts) - set(PARTS)
    if unknown or args.n < 1:
        parser.error(f"no part {sorted(unknown)}" if unknown else "-n must be above 0")
    about, rows = machine(), []
    for line in _measure(parts, args.n, args.paper):
        rows.append(line)
        print(f"{line.variant}: {line.what}: {line.p50:.2f} ms", file=sys.stderr)
    print(table(rows))
    write(args.out, rows, about)
    print(f"\n{about['processor']}, {about['cores']} cores, load {about['load_at_start'][0]}; written to {args.out}")
    return 0


def _measure(parts: list[str], n: int, paper: bool) -> Iterator[Row]:
    if "pipeline" in parts:
        from .latency import pipeline_rows, variants

        for preset, dtype, threads in variants(paper):
            yield from pipeline_rows(preset, dtype, threads, n if preset != "paper" else min(n, 3))
    if "packing" in parts:
        from .packing import packing_rows

        for points in CLOUDS:
            yield from packing_rows(points, 10 * n)
    if "ros" in parts:
        from .round_trip import round_trip_rows

        yield from round_trip_rows(n)
    if "attention" in parts:
        from .attention import attention_rows

        yield from attention_rows(n)
    if "muon" in parts:
        from .muon import muon_rows

        yield from muon_rows(min(n, 3))  # torch's takes half a minute where bfloat16 is emulated


if __name__ == "__main__":
    sys.exit(main())
