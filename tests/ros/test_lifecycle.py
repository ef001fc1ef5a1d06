"""States and loading: every transition, failures with reasons, and a node that answers all the while."""

from __future__ import annotations

import math
import time

import pytest
from node_harness import FRAME, REAL, pose
from rclpy.parameter import Parameter

from uniugg_core.errors import ErrorCode
from uniugg_interfaces.srv import AskSpatial, Imagine
from uniugg_ros.node import UniuggNode


def code(talker):
    status = talker.call(talker.imagine, Imagine.Request(target_pose=pose(), seed=0)).status
    assert bool(status.message) == (status.code != 0)
    return status.code


@pytest.fixture(scope="module")
def managed(launch_for_module):
    """A node that waits for somebody to start it."""
    return launch_for_module("autostart:=false", "image_max_age:=0.0", active=False)


def test_the_whole_round(managed):
    _, talker = managed
    assert talker.label() == "unconfigured"
    assert code(talker) == ErrorCode.NOT_ACTIVE
    for step, label in (
        ("configure", "inactive"),
        ("activate", "active"),
        ("deactivate", "inactive"),
        ("activate", "active"),
        ("deactivate", "inactive"),
        ("cleanup", "unconfigured"),
    ):
        assert talker.transition(step)
        assert talker.label() == label
        talker.look(frame=FRAME)
        assert code(talker) == (0 if label == "active" else ErrorCode.NOT_ACTIVE)


@pytest.mark.parametrize("step", ["activate", "deactivate", "cleanup", "active_shutdown", "destroy"])
def test_transitions_that_are_not_possible_are_refused(managed, step):
    _, talker = managed
    assert talker.label() == "unconfigured"
    assert not talker.transition(step)
    assert talker.label() == "unconfigured"


def test_loading_holds_nobody_up(managed):
    _, talker = managed
    assert talker.parameter(model="slow") == ""
    assert talker.transition("configure")
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    began = time.monotonic()
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE))
    activation = talker.change.call_async(request)
    seen, slowest = set(), 0.0
    while not activation.done():
        asked = time.monotonic()
        seen.add(talker.label())
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.02)
    assert activation.result().success and time.monotonic() - began > 1.9
    assert "activating" in seen
    assert slowest < 1.5  # loading takes two seconds
    assert not talker.transition("activate")  # a second one in the meantime or afterwards is refused
    assert talker.transition("deactivate")


def test_a_failed_load_says_why_and_another_model_can_be_loaded(managed):
    process, talker = managed
    assert talker.label() == "inactive"
    assert talker.parameter(model="broken") == ""
    assert not talker.transition("activate")
    assert talker.label() == "inactive"
    assert code(talker) == ErrorCode.CHECKPOINT_INVALID
    status = talker.call(talker.ask, AskSpatial.Request(question="why?")).status
    assert (status.code, "broken on purpose" in status.message) == (ErrorCode.CHECKPOINT_INVALID, True)
    assert "activate failed: CHECKPOINT_INVALID" in process.text
    assert talker.health(new=True)["model"].level == b"\x02"
    assert talker.parameter(model="") == ""
    assert talker.transition("activate")
    talker.look()
    assert code(talker) == 0
    assert talker.health(new=True)["model"].level == b"\x00"


def test_shutdown_from_active(managed):
    _, talker = managed
    assert talker.label() == "active"
    assert talker.transition("active_shutdown")
    assert talker.label() == "finalized"
    assert code(talker) == ErrorCode.NOT_ACTIVE
    assert not talker.transition("configure")


def test_cycles_and_requests_at_the_same_time(launch):
    process, talker = launch("image_max_age:=0.0", STUB_STEP="0.01")
    talker.look()
    for _ in range(5):
        calls = [talker.imagine.call_async(Imagine.Request(target_pose=pose(), seed=0, steps=20)) for _ in range(4)]
        assert talker.transition("deactivate")
        assert {talker.wait(call).status.code for call in calls} <= {0, ErrorCode.NOT_ACTIVE}
        assert talker.transition("activate")
        assert code(talker) == 0
    assert "Traceback" not in process.text


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("samples", 0, "samples is 0, expected 1 to 32"),
        ("timeout", math.nan, "timeout is nan"),
        ("dtype", "int3", "dtype is 'int3'"),
        ("queue_size", "many", "expected int"),
        ("modle", "x", "there is no parameter 'modle', did you mean 'model'"),
    ],
)
def test_bad_parameters_refuse_the_start_with_a_reason(name, value, words):
    with pytest.raises(ValueError, match="(?s).*") as caught:
        UniuggNode(parameter_overrides=[Parameter(name, value=value)])
    assert words in str(caught.value)


def test_a_refused_start_is_one_line_and_an_exit_code(launch):
    process, _ = launch("samples:=0", active=False, answers=False)
    assert process.process.wait(20) == 2
    assert "cannot start: samples is 0, expected 1 to 32" in process.text
    assert "Traceback" not in process.text


def test_unknown_parameters_only_warn_if_told_so(launch, tmp_path):
    file = tmp_path / "parameters.yaml"
    file.write_text("/**:\n  ros__parameters:\n    strict_parameters: false\n    modle: x\n    timeout: 30\n")
    process, talker = launch(params_file=file)
    assert "did you mean 'model'" in process.text
    assert "did you mean 'model'" in talker.health()["model"].message


def test_wrong_checkpoints_on_the_real_node(launch, tmp_path):
    process, talker = launch(f"model:={tmp_path / 'nowhere'}", entry=REAL, active=False)
    talker.until(lambda: "configure failed" in process.text, 30)
    assert code(talker) == ErrorCode.CHECKPOINT_MISSING
    assert talker.parameter(model=str(tmp_path)) == ""
    assert not talker.transition("configure")
    assert code(talker) == ErrorCode.CHECKPOINT_MISSING  # an empty folder
    (tmp_path / "config.json").write_text("{")
    assert not talker.transition("configure")
    assert talker.label() == "unconfigured"
    assert code(talker) == ErrorCode.CHECKPOINT_INVALID
    (tmp_path / "config.json").write_text("{}")
    assert talker.transition("configure")
    assert not talker.transition("activate")  # there are no weights beside it
    assert talker.label() == "inactive"
    assert code(talker) // 100 == 6
    assert process.stop() == 0
