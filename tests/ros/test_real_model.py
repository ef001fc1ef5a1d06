"""The main path with nothing replaced: camera, calibration, TF and poses over DDS, and the model that ships."""

from __future__ import annotations

import math
import os
import time

import numpy as np
import psutil
import pytest
from action_msgs.msg import GoalStatus
from node_harness import FRAME, REAL, pose
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from uniugg_core.errors import ErrorCode
from uniugg_interfaces.action import AskSpatial as AskAction
from uniugg_interfaces.action import Imagine as ImagineAction
from uniugg_interfaces.srv import AskSpatial, Imagine
from uniugg_ros import conversions, names
from uniugg_ros.clouds import read_cloud

OUTPUTS = (names.SCENE_IMAGINED, names.SCENE_OBSERVED, names.VIEW, names.FRUSTA)
STAMP = 1_700_000_000 * 10**9 + 123


@pytest.fixture(scope="module")
def node(launch_for_module):
    """The node as people start it, with a camera in front of it."""
    process, talker = launch_for_module("image_max_age:=0.0", "steps:=3", entry=REAL, active=False)
    talker.wait_until_active(120)
    talker.listen(*OUTPUTS)
    random = np.random.default_rng(0)
    talker.look(random.integers(0, 256, (480, 640, 3), dtype=np.uint8), stamp=STAMP)
    # a camera that looks along the map's x axis, 1.5 m up: optical z is the map's x
    talker.transform("map", FRAME, (2, 0, 1.5), quaternion=(-0.5, 0.5, -0.5, 0.5))
    talker.until_known("map")
    return process, talker


@pytest.fixture
def talker(node):
    node[1].forget()
    return node[1]


def map_pose(forward, left=0.0, yaw=0.0):
    """A camera at the height of ours, further on along the map's x axis, turned left by `yaw` degrees."""
    half = math.radians(yaw) / 2
    # the turn about the map's z axis, after the one that makes it look along x
    z, w = math.sin(half), math.cos(half)
    ax, ay, az, aw = -0.5, 0.5, -0.5, 0.5
    turned = (w * ax - z * ay, w * ay + z * ax, w * az + z * aw, w * aw - z * az)
    return pose(2 + forward, left, 1.5, frame="map", quaternion=turned)


def test_a_pose_in_the_map_gives_clouds_view_and_frusta(talker):
    talker.pose.publish(map_pose(0.5, yaw=30))
    imagined, observed = talker.next(names.SCENE_IMAGINED, 60), talker.next(names.SCENE_OBSERVED)
    for cloud, source in ((imagined, 1), (observed, 0)):
        assert (cloud.header.frame_id, conversions.nanoseconds(cloud.header.stamp)) == (FRAME, STAMP)
        points = read_cloud(cloud)
        assert len(points) > 1000 and (points["source"] == source).all()
        assert cloud.is_dense and np.isfinite(points["x"]).all() and (points["confidence"] > 0).all()
    view = talker.next(names.VIEW)
    assert (view.width, view.height, view.encoding) == (160, 160, "rgb8")
    centre = talker.next(names.FRUSTA).markers[1].points[0]
    assert (centre.x, centre.y, centre.z) == pytest.approx((0, 0, 0.5), abs=1e-6)  # half a metre straight ahead


def test_the_same_seed_the_same_scene(talker):
    request = Imagine.Request(target_pose=map_pose(0.2), seed=11, steps=2)
    first, second = (talker.call(talker.imagine, request, 60) for _ in range(2))
    assert first.status.code == second.status.code == 0, first.status.message
    assert first.scene.data == second.scene.data and first.seed == 11
    request.seed = 12
    assert talker.call(talker.imagine, request, 60).scene.data != first.scene.data


def test_several_samples_spread(talker):
    response = talker.call(talker.imagine, Imagine.Request(target_pose=map_pose(0.2), seed=1, steps=1, samples=2), 60)
    points = read_cloud(response.scene)
    assert (points["spread"][points["source"] == 1] > 0).any()
    assert {"encode", "denoise", "decode", "total"} <= {timing.stage for timing in response.timings}


def test_a_question_and_its_evidence(talker):
    request = AskSpatial.Request(question="How far is the wall?", max_new_tokens=6, with_evidence=True)
    response = talker.call(talker.ask, request, 60)
    assert response.status.code == 0, response.status.message
    assert 0 < response.tokens <= 6 and 0 < response.confidence <= 1
    assert 0 < sum(item.weight for item in response.evidence) <= 1 + 1e-5
    assert all(-0.5 <= item.u <= 639.5 and -0.5 <= item.v <= 479.5 for item in response.evidence)


def test_an_answer_is_streamed(talker):
    goal = AskAction.Goal(question="What is left of the door?", max_new_tokens=6)
    status, result, feedback = talker.act(talker.ask_stream, goal, timeout=60)
    assert status == GoalStatus.STATUS_SUCCEEDED
    talker.until(lambda: "".join(item.text for item in feedback) == result.answer)
    assert len(feedback) == result.tokens


def test_imagining_with_progress_and_cancel(talker):
    goal = ImagineAction.Goal(target_pose=map_pose(0.2), seed=1, steps=4)
    status, result, feedback = talker.act(talker.imagine_stream, goal, timeout=60)
    assert status == GoalStatus.STATUS_SUCCEEDED and result.status.code == 0
    talker.until(lambda: [item.step for item in feedback if item.stage == "denoise"] == [1, 2, 3, 4])
    goal.steps = 250
    status, result, feedback = talker.act(talker.imagine_stream, goal, cancel_after=5, timeout=60)
    assert (status, result.status.code) == (GoalStatus.STATUS_CANCELED, ErrorCode.CANCELLED)
    assert len(feedback) < 50
    assert talker.call(talker.imagine, Imagine.Request(target_pose=map_pose(0.1), steps=1), 60).status.code == 0


def test_bad_input_to_the_model_and_then_good(talker):
    for target, code in (
        (pose(math.nan), ErrorCode.POSE_INVALID),
        (pose(frame="nowhere"), ErrorCode.FRAME_UNKNOWN),
        (map_pose(1e6), ErrorCode.POSE_OUT_OF_RANGE),
    ):
        assert talker.call(talker.imagine, Imagine.Request(target_pose=target)).status.code == code
    for text, code in (("", ErrorCode.QUESTION_EMPTY), ("y" * 2000, ErrorCode.QUESTION_TOO_LONG)):
        assert talker.call(talker.ask, AskSpatial.Request(question=text)).status.code == code
    assert talker.call(talker.ask, AskSpatial.Request(question="ok?", max_new_tokens=1), 60).status.code == 0


@pytest.mark.skipif("FASTRTPS_DEFAULT_PROFILES_FILE" not in os.environ, reason="needs the Fast DDS profile")
@pytest.mark.parametrize("reliability", [ReliabilityPolicy.BEST_EFFORT, ReliabilityPolicy.RELIABLE])
def test_camera_pictures_of_a_megabyte_arrive(talker, reliability):
    publisher = talker.node.create_publisher(Image, names.IMAGE, QoSProfile(depth=5, reliability=reliability))
    talker.until(lambda: publisher.get_subscription_count() > 0)
    message = conversions.image_message(np.zeros((480, 640, 3), np.uint8), conversions.header(FRAME, STAMP))
    talker.say(publisher, message, "image")
    before = int(talker.value("image", "received", new=True))
    for _ in range(30):
        publisher.publish(message)
        time.sleep(1 / 30)
    # without the profile none of a best-effort subscriber's arrive; a depth of one may miss a few on a busy machine
    assert int(talker.value("image", "received", new=True)) - before > 20
    talker.node.destroy_publisher(publisher)


def test_deactivating_frees_the_model_and_it_can_come_back(talker):
    memory = psutil.Process(talker.process.process.pid).memory_info
    before = memory().rss
    assert talker.transition("deactivate")
    assert before - memory().rss > 50e6  # the shipped model has about 100 MB of weights
    response = talker.call(talker.imagine, Imagine.Request(target_pose=map_pose(0.1)))
    assert response.status.code == ErrorCode.NOT_ACTIVE
    assert talker.value("model", "state", new=True) == "not loaded"
    assert talker.transition("activate")
    assert talker.call(talker.imagine, Imagine.Request(target_pose=map_pose(0.1), steps=1), 60).status.code == 0


def test_the_end_in_mid_inference(node):
    process, talker = node
    call = talker.imagine.call_async(Imagine.Request(target_pose=map_pose(0.1), steps=250))
    talker.until(lambda: talker.value("requests", "running", new=True) == "imagine")
    assert process.stop() == 0
    assert talker.wait(call).status.code == ErrorCode.NOT_ACTIVE
    assert "terminate called" not in process.text and "Traceback" not in process.text
