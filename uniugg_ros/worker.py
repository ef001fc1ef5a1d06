"""The one thread on which the model runs, and the queue in front of it.

Executor callbacks only put jobs in and take results out. A :class:`Job` ends exactly once, with a result or with a
:class:`UniuggError`: it is refused (BUSY), cancelled, preempted, too late, or it ran. Waiting jobs whose deadline
passes are answered in time even while another job runs; a running job is answered at once when it is stopped, and the
model follows at its next step. Nothing of ROS is imported here.
"""

from __future__ import annotations

import itertools
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, Generic, TypeVar

from uniugg_core.errors import ErrorCode, UniuggError

__all__ = ["Job", "JobState", "Priority", "Worker", "WorkerStats", "coded"]

T = TypeVar("T")


class Priority(IntEnum):
    """Order of service; equal ones are served in the order of arrival."""

    CONTROL = 0  # loading and freeing the model
    REQUEST = 1  # services and actions
    TOPIC = 2  # the newest target pose


class JobState(Enum):
    """Where a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"


def coded(error: BaseException) -> UniuggError:
    """`error` as a coded one: out-of-memory and unforeseen errors get their codes."""
    if isinstance(error, UniuggError):
        return error
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return UniuggError(ErrorCode.OUT_OF_MEMORY, f"out of memory: {error}")
    return UniuggError(ErrorCode.INTERNAL, f"{type(error).__name__}: {error}")


class Job(Generic[T]):
    """One piece of work for the model.

    Args:
        run: does the work on the worker's thread; it is given the job and calls :meth:`check` (or asks
            :attr:`stopped`) between steps.
        label: what it is, for logs and diagnostics.
        priority: who goes first.
        timeout: seconds from now until DEADLINE_EXCEEDED; None: no deadline.
        slot: at most one waiting job has this name, a newer one takes its place (PREEMPTED).
    """

    def __init__(
        self,
        run: Callable[[Job[T]], T],
        *,
        label: str = "job",
        priority: Priority = Priority.REQUEST,
        timeout: float | None = None,
        slot: str | None = None,
    ) -> None:
        self.label = label
        self.priority = priority
        self.slot = slot
        self.arrived = time.monotonic()
        self.deadline = None if timeout is None else self.arrived + timeout
        self.timeout = timeout
        self.started: float | None = None
        self.state = JobState.WAITING
        self.result: T | None = None
        self.error: UniuggError | None = None
        self.traceback = ""  # of an unforeseen error
        self._run = run
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[Job[T]], None]] = []

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.state is JobState.DONE

    @property
    def stopped(self) -> bool:
        """Whether the work should end now: the job has been answered already, or its deadline has passed."""
        return self.done or (self.deadline is not None and time.monotonic() >= self.deadline)

    def check(self) -> None:
        """Call between steps.

        Raises:
            UniuggError: with the code the job was stopped with, or DEADLINE_EXCEEDED.
        """
        if self.done:
            raise self.error or UniuggError(ErrorCode.CANCELLED, f"{self.label} has ended")
        if self.stopped:
            raise self.too_late()

    def too_late(self) -> UniuggError:
        """The error of a passed deadline."""
        return UniuggError(ErrorCode.DEADLINE_EXCEEDED, f"{self.label} took longer than {self.timeout:g} s")

    def add_done_callback(self, callback: Callable[[Job[T]], None]) -> None:
        """Calls `callback(job)` once the job has ended, on the thread that ended it; at once if it has."""
        with self._lock:
            if not self.done:
                self._callbacks.append(callback)
                return
        callback(self)

    def finish(self, result: T | None = None, error: UniuggError | None = None) -> bool:
        """Ends the job; only the first call counts, and says so by returning True."""
        with self._lock:
            if self.done:
                return False
            self.result, self.error = result, error
            self.state = JobState.DONE
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)
        return True

    def execute(self) -> None:
        """Runs the work and ends the job; only the worker calls it."""
        with self._lock:
            if self.done:  # stopped while it waited
                return
            self.state = JobState.RUNNING
        self.started = time.monotonic()
        try:
            self.check()
            result = self._run(self)
        except Exception as error:  # noqa: BLE001  whatever the model throws, the caller gets an answer
            problem = coded(error)
            if problem.code is ErrorCode.INTERNAL:
                self.traceback = traceback.format_exc()
            if problem.code is ErrorCode.CANCELLED and self.stopped and not self.done:
                problem = self.too_late()
            self.finish(error=problem)
        else:
            self.finish(result)
        finally:
            self._run = _spent


def _spent(_job: Job[Any]) -> Any:
    raise UniuggError(ErrorCode.INTERNAL, "a job runs once")


@dataclass
class WorkerStats:
    """Counters since the start."""

    submitted: int = 0
    finished: int = 0
    refused: int = 0  # BUSY
    preempted: int = 0
    stopped: int = 0  # cancelled or too late
    failed: int = 0  # ended with another error


class Worker:
    """Runs jobs one after the other on its own thread.

    Args:
        capacity: how many jobs of priority REQUEST may wait.
        on_failure: called on the worker's thread with every job that ended with an unforeseen error.
    """

    def __init__(self, capacity: int, *, on_failure: Callable[[Job[Any]], None] | None = None) -> None:
        self.capacity = capacity
        self.stats = WorkerStats()
        self._on_failure = on_failure
        self._queue: list[tuple[int, int, Job[Any]]] = []
        self._order = itertools.count()
        self._condition = threading.Condition(threading.RLock())
        self._running: Job[Any] | None = None
        self._closed = False
        # daemons, so that a model stuck in one long step cannot keep the process alive; `close` joins them.
        self._thread = threading.Thread(target=self._work, name="uniugg-worker", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name="uniugg-deadlines", daemon=True)
        self._thread.start()
        self._watcher.start()

    @property
    def waiting(self) -> int:
        """Jobs in the queue."""
        with self._condition:
            return len(self._queue)

    @property
    def running(self) -> Job[Any] | None:
        """The job that is being run."""
        return self._running

    def submit(self, job: Job[T], *, preempt: bool = False) -> Job[T]:
        """Puts `job` in the queue, before those of lower priority.

        Args:
            preempt: with a slot, also stop a running job of the same slot.

        Raises:
            UniuggError: BUSY when as many requests wait as allowed, NOT_ACTIVE after :meth:`close`.
        """
        replaced: list[Job[Any]] = []
        with self._condition:
            if self._closed:
                raise UniuggError(ErrorCode.NOT_ACTIVE, "the node is shutting down")
            requests = sum(waiting.priority is Priority.REQUEST for _, _, waiting in self._queue)
            if job.priority is Priority.REQUEST and requests >= self.capacity:
                self.stats.refused += 1
                raise UniuggError(
                    ErrorCode.BUSY, f"{requests} requests are waiting already, the limit is {self.capacity}"
                )
            if job.slot is not None:
                replaced = [waiting for _, _, waiting in self._queue if waiting.slot == job.slot]
                if preempt and self._running is not None and self._running.slot == job.slot:
                    replaced.append(self._running)
            job.add_done_callback(self._count)
            self._queue.append((int(job.priority), next(self._order), job))
            self._queue.sort(key=lambda entry: entry[:2])
            self.stats.submitted += 1
            self._condition.notify_all()
        for old in replaced:
            self.stop(old, ErrorCode.PREEMPTED, f"a newer {job.label} took its place")
        return job

    def stop(self, job: Job[Any], code: ErrorCode = ErrorCode.CANCELLED, message: str = "cancelled") -> bool:
        """Ends `job` with an error now, whether it waits or runs; False if it had ended."""
        with self._condition:
            self._queue = [entry for entry in self._queue if entry[2] is not job]
        return job.finish(error=UniuggError(code, message))

    def stop_all(self, code: ErrorCode, message: str) -> None:
        """Ends every job but those of priority CONTROL."""
        with self._condition:
            jobs = [job for _, _, job in self._queue]
            if self._running is not None:
                jobs.append(self._running)
        for job in jobs:
            if job.priority is not Priority.CONTROL:
                self.stop(job, code, message)

    def has_waiting(self, slot: str) -> bool:
        """Whether a job of this slot is in the queue."""
        with self._condition:
            return any(job.slot == slot for _, _, job in self._queue)

    def close(self, timeout: float = 1.0) -> bool:
        """Ends every job and the thread; False if the model did not come back within `timeout` seconds."""
        with self._condition:
            self._closed = True
            jobs = [job for _, _, job in self._queue]
            if self._running is not None:
                jobs.append(self._running)
            self._condition.notify_all()
        for job in jobs:
            self.stop(job, ErrorCode.NOT_ACTIVE, "the node is shutting down")
        self._thread.join(timeout)
        self._watcher.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._queue and not self._closed:
                    self._condition.wait()
                if self._closed:
                    return
                _, _, job = self._queue.pop(0)
                self._running = job
                self._condition.notify_all()
            job.execute()
            self._running = None
            if job.traceback and self._on_failure is not None:
                self._on_failure(job)
            del job  # or its result would live until the next one

    def _count(self, job: Job[Any]) -> None:
        with self._condition:
            if job.error is None:
                self.stats.finished += 1
            elif job.error.code is ErrorCode.PREEMPTED:
                self.stats.preempted += 1
            elif job.error.code in (ErrorCode.CANCELLED, ErrorCode.DEADLINE_EXCEEDED, ErrorCode.NOT_ACTIVE):
                self.stats.stopped += 1
            else:
                self.stats.failed += 1

    def _watch(self) -> None:
        """Answers jobs whose deadline passes while another one keeps the model busy, or while they run a long step."""
        while True:
            with self._condition:
                if self._closed:
                    return
                jobs = [job for _, _, job in self._queue]
                if self._running is not None and not self._running.done:
                    jobs.append(self._running)
                deadlines = [job.deadline for job in jobs if job.deadline is not None]
                pause = min(deadlines) - time.monotonic() if deadlines else None
                if pause is None or pause > 0:
                    self._condition.wait(pause)
                    continue
            for job in jobs:
                if job.stopped and not job.done:
                    self.stop(job, job.too_late().code, job.too_late().message)
