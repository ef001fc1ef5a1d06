"""Simulated time: a node that follows /clock, a bag that begins again, a simulation that stands still."""

from __future__ import annotations

import threading

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_harness import FRAME, pose
from rosgraph_msgs.msg import Clock

from uniugg_core.errors import ErrorCode
from uniugg_interfaces.srv import AskSpatial, Imagine
from uniugg_ros import conversions

SECOND = 10**9


class SimulatedClock:
    """Publishes /clock from a thread, from any time on, at ten times the real pace or not at all."""

    def __init__(self, node):
        self.publisher = node.create_publisher(Clock, "/clock", 10)
        self.now, self.step = 100 * SECOND, SECOND // 10
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._end.wait(0.02):
            self.now += self.step
            self.publisher.publish(Clock(clock=conversions.time_message(self.now)))

    def close(self):
        self._end.set()
        self._thread.join()


@pytest.fixture
def simulated(launch):
    process, talker = launch("use_sim_time:=true", "image_max_age:=0.0", "input_timeout:=3600.0")
    clock = SimulatedClock(talker.node)
    yield process, talker, clock
    clock.close()


def ask(talker):
    return talker.call(talker.ask, AskSpatial.Request(question="How far?")).status.code


def test_a_clock_that_jumps_back_makes_the_node_forget_and_go_on(simulated):
    process, talker, clock = simulated
    talker.look(stamp=clock.now)
    talker.transform("map", FRAME, (0, 0, 0), stamp=clock.now, static=False)
    talker.until_known("map")
    assert ask(talker) == 0
    clock.now = 5 * SECOND
    talker.until(lambda: "the time was set back" in process.text)
    assert ask(talker) == ErrorCode.IMAGE_MISSING, "the picture was from the time before"
    request = Imagine.Request(target_pose=pose(frame="map"), seed=0)
    talker.look(stamp=clock.now)
    assert talker.call(talker.imagine, request).status.code == ErrorCode.FRAME_UNKNOWN, "so was the transform"
    talker.transform("map", FRAME, (0, 0, 0), stamp=clock.now, static=False)
    talker.until_known("map")
    assert ask(talker) == 0
    levels = {item.level for item in talker.health(new=True).values()}
    assert DiagnosticStatus.ERROR not in levels, "a bag that begins again is no fault"


def test_a_clock_that_stands_still_stops_nothing(simulated):
    _, talker, clock = simulated
    clock.step = 0
    talker.look(stamp=clock.now)
    assert ask(talker) == 0
    assert talker.health(new=True)["model"].level == DiagnosticStatus.OK, "diagnostics go on"
