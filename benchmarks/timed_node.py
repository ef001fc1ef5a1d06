"""The node with a stopwatch on everything its executor runs.

    CALLBACK_TIMES=FILE python -m benchmarks.timed_node --ros-args ...

Started by ``benchmarks.node callbacks``. A callback takes as long as nobody else is served: wall clock, waits for the
interpreter's lock included.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from rclpy.task import Task

from uniugg_ros.node import main

__all__ = ["watch"]


def watch() -> list[tuple[str, float, float]]:
    """Times every callback from now on: (what it served, milliseconds, seconds since now), in order."""
    times: list[tuple[str, float, float]] = []
    call, begin = Task.__call__, time.perf_counter()

    def timed(task: Task) -> None:
        name = _served(task)
        start = time.perf_counter()
        call(task)
        end = time.perf_counter()
        times.append((name, 1000 * (end - start), start - begin))

    Task.__call__ = timed  # type: ignore[method-assign]
    return times


def _served(task: Task) -> str:
    frame: Any = getattr(task._handler, "cr_frame", None)
    entity = frame.f_locals.get("entity") if frame is not None else None
    for name in ("topic_name", "srv_name", "service_name"):
        if hasattr(entity, name):
            return getattr(entity, name)
    return type(entity).__name__


if __name__ == "__main__":
    times = watch()
    code = main()
    Path(os.environ["CALLBACK_TIMES"]).write_text(json.dumps(times), encoding="utf-8")
    sys.exit(code)
