"""``/diagnostics``: how the model, the inputs and the requests are doing, also when nothing moves any more."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .engine import Engine, EngineState
from .inputs import CameraInput, InputState, InputStats
from .parameters import Settings
from .refusals import Refusals
from .tf import Frames
from .worker import Worker

__all__ = ["ERROR", "OK", "WARN", "Diagnostics", "Health", "Timings", "diagnostic_message"]

OK, WARN, ERROR = b"\x00", b"\x01", b"\x02"
PATIENCE = 5  # an input that is silent for this many times its timeout is an error, no longer a warning


@dataclass(frozen=True)
class Health:
    """One line of diagnostics."""

    name: str
    level: bytes
    message: str
    values: Mapping[str, Any]


class Timings:
    """Milliseconds by kind of request and stage: the mean over the last thirty."""

    def __init__(self) -> None:
        self._recent: dict[tuple[str, str], deque[float]] = {}

    def add(self, kind: str, stages: Mapping[str, float]) -> None:
        """Takes the timings of one request."""
        for stage, milliseconds in stages.items():
            self._recent.setdefault((kind, stage), deque(maxlen=30)).append(float(milliseconds))

    def means(self) -> dict[str, float]:
        """Means by ``kind/stage``."""
        return {f"{kind}/{stage} ms": sum(values) / len(values) for (kind, stage), values in list(self._recent.items())}


class Diagnostics:
    """Judges the node's parts.

    Args:
        lifecycle: the label of the node's state.
        clock: that of the inputs.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        worker: Worker,
        camera: CameraInput,
        pose: InputStats,
        frames: Frames,
        refusals: Refusals,
        timings: Timings,
        settings: Callable[[], Settings],
        lifecycle: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._worker, self._camera, self._pose = engine, worker, camera, pose
        self._frames, self._refusals, self._timings = frames, refusals, timings
        self._settings, self._lifecycle, self._clock = settings, lifecycle, clock
        self.qos_problems: dict[str, str] = {}  # by topic
        self.unknown_parameters: list[str] = []

    def report(self) -> list[Health]:
        """Every part's health, now."""
        active = self._lifecycle() == "active"
        return [
            self._model(),
            self._input(self._camera.image, needed=active),
            self._input(self._camera.info, needed=active and self._settings().missing_camera_info == "refuse"),
            self._input(self._pose, needed=False),
            self._requests(),
        ]

    def _model(self) -> Health:
        engine, state = self._engine, self._lifecycle()
        values = {
            "lifecycle": state,
            "state": engine.state.value,
            "model": engine.description,
            "load seconds": round(engine.load_seconds, 2),
            "transforms from": self._frames.source,
            **_device_memory(),
        }
        if engine.failure is not None:
            return Health("model", ERROR, str(engine.failure), values)
        if self.unknown_parameters:
            return Health("model", WARN, "; ".join(self.unknown_parameters), values)
        message = engine.description if engine.state is EngineState.READY else engine.state.value
        return Health("model", OK, message, values)

    def _input(self, stats: InputStats, *, needed: bool) -> Health:
        now, timeout = self._clock(), self._settings().input_timeout
        state = stats.state(now, timeout)
        age = None if stats.last_arrival is None else now - stats.last_arrival
        values = {
            "state": state.value,
            "received": stats.received,
            "rejected": stats.rejected,
            "rate": round(stats.rate(now), 2) if state is not InputState.STALE else 0.0,
            "age": "" if age is None else round(age, 3),
        }
        if stats is self._camera.image:
            values["not used"] = self._camera.overwritten
        problem = self.qos_problems.get(stats.name)
        if problem:
            return Health(stats.name, ERROR, problem, values)
        if state is InputState.REJECTED:
            return Health(stats.name, ERROR if needed else WARN, str(stats.last_error), values)
        if state is InputState.ACTIVE or not needed:
            return Health(stats.name, OK, state.value, values)
        if state is InputState.STALE and age is not None and age > PATIENCE * timeout:
            return Health(stats.name, ERROR, f"silent for {age:.1f} s", values)
        return Health(stats.name, WARN, state.value if age is None else f"silent for {age:.1f} s", values)

    def _requests(self) -> Health:
        stats, running = self._worker.stats, self._worker.running
        values: dict[str, Any] = {
            "waiting": self._worker.waiting,
            "running": "" if running is None else running.label,
            **vars(stats),
            **{name: round(value, 2) for name, value in self._timings.means().items()},
            **{f"refused {name}": count for name, count in self._refusals.counts().items()},
        }
        full = self._worker.waiting >= self._worker.capacity
        return Health("requests", WARN if full else OK, "busy" if full else "ready", values)


def diagnostic_message(healths: Iterable[Health], node: str, stamp: Any) -> Any:
    """The healths as a ``diagnostic_msgs/DiagnosticArray``."""
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    message = DiagnosticArray()
    message.header.stamp = stamp
    message.status = [
        DiagnosticStatus(
            level=health.level,
            name=f"{node}: {health.name}",
            message=health.message,
            hardware_id=node,
            values=[KeyValue(key=str(key), value=str(value)) for key, value in health.values.items()],
        )
        for health in healths
    ]
    return message


def _device_memory() -> dict[str, float]:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "cuda") or not torch.cuda.is_initialized():
        return {}
    return {"device memory MB": round(torch.cuda.memory_allocated() / 1e6, 1)}
