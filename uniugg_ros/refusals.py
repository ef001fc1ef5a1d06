"""Bookkeeping of everything that was refused or dropped: counted by where and why, logged without flooding.

Nothing of ROS is imported here.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from uniugg_core.errors import UniuggError

__all__ = ["Refusal", "Refusals"]

MAX_MESSAGE = 500  # characters of a log line, so that a hostile value cannot fill the disk


@dataclass(frozen=True)
class Refusal:
    """The last one from some source."""

    source: str
    code: str
    message: str
    when: float


class Refusals:
    """Counts refusals, remembers the last of each source, and logs each kind at most once in `period` seconds.

    Args:
        log: takes one line.
        period: seconds between two lines of the same source and code; what was left out is counted in the next.
        clock: seconds that only go forward.
    """

    def __init__(
        self, log: Callable[[str], None], *, period: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._period = period
        self._clock = clock
        self._counts: Counter[tuple[str, str]] = Counter()
        self._logged: dict[tuple[str, str], tuple[float, int]] = {}  # when, and the count then
        self._last: dict[str, Refusal] = {}
        self._lock = threading.Lock()

    def add(self, source: str, error: UniuggError) -> None:
        """Counts one refusal from `source` (an input or a service), and logs it unless one like it just was."""
        key, now = (source, error.code.name), self._clock()
        message = error.message if len(error.message) <= MAX_MESSAGE else error.message[:MAX_MESSAGE] + "..."
        with self._lock:
            self._counts[key] += 1
            self._last[source] = Refusal(source, error.code.name, message, now)
            before, count = self._logged.get(key, (-float("inf"), 0))
            if now - before < self._period:
                return
            self._logged[key] = now, self._counts[key]
            silent = self._counts[key] - count - 1
        more = f" ({silent} more like it since the last line)" if silent else ""
        self._log(f"{source}: {error.code.name}: {message}{more}")

    def last(self, source: str) -> Refusal | None:
        """The newest refusal from `source`."""
        with self._lock:
            return self._last.get(source)

    def counts(self) -> dict[str, int]:
        """How many, by ``source/CODE``."""
        with self._lock:
            return {f"{source}/{code}": count for (source, code), count in sorted(self._counts.items())}
