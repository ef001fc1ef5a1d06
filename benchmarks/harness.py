"""What every benchmark shares: timing calls, naming the machine, printing and keeping the result."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from uniugg_ros.demo.latency import percentile

__all__ = ["Row", "machine", "markdown", "row", "samples_of", "table", "write"]

PACKAGES = ("torch", "transformers", "diffusers", "numpy", "ros-rclpy", "uniugg_ros")


@dataclass(frozen=True)
class Row:
    """Milliseconds of one thing, measured `n` times."""

    what: str
    variant: str
    n: int
    p50: float
    p99: float
    least: float


def row(what: str, variant: str, milliseconds: Sequence[float]) -> Row:
    """Sums up samples. Percentiles are nearest-rank, so with fewer than 100 samples p99 is the slowest."""
    return Row(
        what,
        variant,
        len(milliseconds),
        percentile(milliseconds, 0.5),
        percentile(milliseconds, 0.99),
        min(milliseconds),
    )


def samples_of(call: Callable[[], Any], *, n: int, warmup: int = 2) -> list[float]:
    """Milliseconds of `n` calls, after `warmup` calls that do not count."""
    for _ in range(warmup):
        call()
    samples = []
    for _ in range(n):
        start = time.perf_counter()
        call()
        samples.append(1000 * (time.perf_counter() - start))
    return samples


def machine() -> dict[str, Any]:
    """What the numbers depend on: processor, cores, load, versions."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_at_start": [round(value, 2) for value in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "versions": versions,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def table(rows: Iterable[Row]) -> str:
    """The rows as text with aligned columns."""
    cells = [("what", "variant", "n", "p50 ms", "p99 ms", "min ms")]
    cells += [(r.what, r.variant, str(r.n), f"{r.p50:.2f}", f"{r.p99:.2f}", f"{r.least:.2f}") for r in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = []
    for line in cells:
        left = [cell.ljust(width) for cell, width in zip(line[:2], widths)]
        right = [cell.rjust(width) for cell, width in zip(line[2:], widths[2:])]
        lines.append("  ".join([*left, *right]))
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def markdown(rows: Iterable[Row], about: dict[str, Any]) -> str:
    """The rows as a Markdown table, under a line that says where they come from."""
    lines = [
        f"{about['processor']}, {about['cores']} cores, Python {about['python']}, torch {about['versions']['torch']}, "
        f"load at the start {about['load_at_start'][0]}, {about['time']}.",
        "",
        "| what | variant | n | p50 ms | p99 ms | min ms |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [f"| {r.what} | {r.variant} | {r.n} | {r.p50:.2f} | {r.p99:.2f} | {r.least:.2f} |" for r in rows]
    return "\n".join(lines) + "\n"


def write(path: Path, rows: Sequence[Row], about: dict[str, Any]) -> None:
    """Keeps the rows and the machine as JSON, and beside it, with the ending ``.md``, as a table for people."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".md").write_text(markdown(rows, about))
    path.write_text(json.dumps({"machine": about, "rows": [asdict(r) for r in rows]}, indent=2) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
