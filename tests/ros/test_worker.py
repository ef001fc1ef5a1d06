"""The worker: every job ends exactly once, in order, in time, whatever the others do."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_ros.worker import Job, JobState, Priority, Worker


@pytest.fixture
def worker():
    worker = Worker(capacity=3)
    yield worker
    worker.close()


def wait(job, seconds=5.0):
    ended = threading.Event()
    job.add_done_callback(lambda _: ended.set())
    assert ended.wait(seconds), "the job did not end"
    return job


def blocker(worker, **options):
    """A job that runs until it is released or stopped."""
    started, release = threading.Event(), threading.Event()

    def run(job):
        started.set()
        while not release.wait(0.002):
            job.check()
        return "released"

    job = worker.submit(Job(run, **options))
    assert started.wait(5)
    return job, release


def test_a_job_returns_its_result(worker):
    job = wait(worker.submit(Job(lambda job: 42)))
    assert (job.result, job.error, job.state) == (42, None, JobState.DONE)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UniuggError(ErrorCode.IMAGE_STALE, "old"), ErrorCode.IMAGE_STALE),
        (MemoryError("no more"), ErrorCode.OUT_OF_MEMORY),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), ErrorCode.OUT_OF_MEMORY),
        (ZeroDivisionError("oops"), ErrorCode.INTERNAL),
    ],
)
def test_errors_get_codes_and_the_next_job_runs(worker, error, code):
    def run(job):
        raise error

    job = wait(worker.submit(Job(run)))
    assert job.error.code is code
    assert bool(job.traceback) == (code is ErrorCode.INTERNAL)
    assert wait(worker.submit(Job(lambda job: 1))).result == 1


def test_more_than_the_capacity_is_refused_as_busy(worker):
    running, release = blocker(worker)
    waiting = [worker.submit(Job(lambda job: 1)) for _ in range(3)]
    with pytest.raises(UniuggError, match="3 requests are waiting") as caught:
        worker.submit(Job(lambda job: 1))
    assert caught.value.code is ErrorCode.BUSY
    worker.submit(Job(lambda job: 1, priority=Priority.CONTROL))  # control and topics are not counted
    worker.submit(Job(lambda job: 1, priority=Priority.TOPIC, slot="pose"))
    release.set()
    assert [wait(job).result for job in waiting] == [1, 1, 1]
    assert worker.stats.refused == 1


def test_order_is_by_priority_then_arrival(worker):
    _, release = blocker(worker)
    order = []
    jobs = [
        worker.submit(Job(lambda job, name=name: order.append(name), priority=priority))
        for name, priority in [
            ("t", Priority.TOPIC),
            ("a", Priority.REQUEST),
            ("b", Priority.REQUEST),
            ("c", Priority.CONTROL),
        ]
    ]
    release.set()
    for job in jobs:
        wait(job)
    assert order == ["c", "a", "b", "t"]


def test_a_waiting_job_is_cancelled_at_once_and_never_runs(worker):
    _, release = blocker(worker)
    ran = []
    job = worker.submit(Job(lambda job: ran.append(1)))
    assert worker.stop(job)
    assert job.error.code is ErrorCode.CANCELLED
    assert not worker.stop(job)  # only once
    release.set()
    wait(worker.submit(Job(lambda job: 1)))
    assert ran == []


def test_a_running_job_is_answered_at_once_and_ends_at_its_next_step(worker):
    job, _ = blocker(worker)
    began = time.monotonic()
    worker.stop(job)
    assert job.done
    wait(worker.submit(Job(lambda job: 1)))
    assert time.monotonic() - began < 5


def test_the_deadline_of_a_waiting_job_is_kept_while_another_runs(worker):
    _, release = blocker(worker)
    began = time.monotonic()
    job = wait(worker.submit(Job(lambda job: 1, timeout=0.1)))
    assert job.error.code is ErrorCode.DEADLINE_EXCEEDED
    assert 0.09 < time.monotonic() - began < 5
    release.set()


def test_the_deadline_of_a_running_job_is_kept_even_within_one_long_step(worker):
    release = threading.Event()
    job = worker.submit(Job(lambda job: release.wait(5), timeout=0.1))
    wait(job, 1.0)
    assert job.error.code is ErrorCode.DEADLINE_EXCEEDED
    release.set()
    wait(worker.submit(Job(lambda job: 1)))
    assert job.result is None  # what came too late is not delivered


def test_a_cancelled_model_call_after_the_deadline_counts_as_late(worker):
    def run(job):
        while not job.stopped:
            time.sleep(0.002)
        raise UniuggError(ErrorCode.CANCELLED, "the callback said stop")

    assert wait(worker.submit(Job(run, timeout=0.05))).error.code is ErrorCode.DEADLINE_EXCEEDED


def test_a_slot_holds_the_newest_only(worker):
    _, release = blocker(worker)
    jobs = [worker.submit(Job(lambda job, n=n: n, slot="pose", priority=Priority.TOPIC)) for n in range(5)]
    release.set()
    assert wait(jobs[-1]).result == 4
    assert [job.error.code for job in jobs[:-1]] == [ErrorCode.PREEMPTED] * 4
    assert worker.stats.preempted == 4


@pytest.mark.parametrize("preempt", [True, False])
def test_a_slot_stops_a_running_job_only_if_asked(worker, preempt):
    running, release = blocker(worker, slot="pose", priority=Priority.TOPIC)
    newer = worker.submit(Job(lambda job: "new", slot="pose", priority=Priority.TOPIC), preempt=preempt)
    if preempt:
        assert running.error.code is ErrorCode.PREEMPTED
    else:
        assert not running.done
        release.set()
    assert wait(newer).result == "new"


def test_stop_all_spares_control(worker):
    running, _ = blocker(worker)
    control = worker.submit(Job(lambda job: "freed", priority=Priority.CONTROL))
    waiting = worker.submit(Job(lambda job: 1))
    worker.stop_all(ErrorCode.NOT_ACTIVE, "deactivated")
    assert running.error.code is waiting.error.code is ErrorCode.NOT_ACTIVE
    assert wait(control).result == "freed"


def test_close_answers_everybody_and_takes_no_more():
    worker = Worker(capacity=3)
    running, _ = blocker(worker)
    waiting = worker.submit(Job(lambda job: 1))
    assert worker.close(1.0)
    assert running.error.code is waiting.error.code is ErrorCode.NOT_ACTIVE
    with pytest.raises(UniuggError) as caught:
        worker.submit(Job(lambda job: 1))
    assert caught.value.code is ErrorCode.NOT_ACTIVE


def test_close_says_when_the_model_does_not_come_back():
    worker, release = Worker(capacity=1), threading.Event()
    worker.submit(Job(lambda job: release.wait(5)))
    time.sleep(0.05)
    assert not worker.close(0.05)
    release.set()


def test_a_callback_added_late_is_called_at_once(worker):
    job = wait(worker.submit(Job(lambda job: 1)))
    seen = []
    job.add_done_callback(seen.append)
    assert seen == [job]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["run", "raise", "stop", "late"]), st.booleans()), max_size=12))
def test_every_job_ends_exactly_once(plan):
    worker = Worker(capacity=100)
    ends = []

    def run(job, what):
        if what == "raise":
            raise RuntimeError
        return what

    try:
        jobs = []
        for what, slot in plan:
            job = Job(
                lambda job, what=what: run(job, what),
                timeout=0.0 if what == "late" else None,
                slot="s" if slot else None,
                priority=Priority.TOPIC if slot else Priority.REQUEST,
            )
            job.add_done_callback(lambda job: ends.append(id(job)))
            worker.submit(job)
            jobs.append(job)
            if what == "stop":
                worker.stop(job)
        for job in jobs:
            wait(job)
    finally:
        assert worker.close()
    assert sorted(ends) == sorted(id(job) for job in jobs)
    stats = worker.stats
    assert stats.submitted == len(jobs) == stats.finished + stats.preempted + stats.stopped + stats.failed
