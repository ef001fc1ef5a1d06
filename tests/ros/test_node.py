"""The node over DDS with a stand-in for the model: topics, services, actions, parameters, diagnostics."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from node_harness import FRAME, pose
from sensor_msgs.msg import CompressedImage

from uniugg_core.cameras import Camera
from uniugg_core.errors import ErrorCode
from uniugg_interfaces.action import AskSpatial as AskAction
from uniugg_interfaces.action import Imagine as ImagineAction
from uniugg_interfaces.srv import AskSpatial, Imagine
from uniugg_ros import conversions, names
from uniugg_ros.clouds import read_cloud

OUTPUTS = (names.SCENE_IMAGINED, names.SCENE_OBSERVED, names.VIEW, names.VIEW_CAMERA_INFO, names.FRUSTA)


@pytest.fixture(scope="module")
def node(launch_for_module):
    """An active node, and who talks to it."""
    process, talker = launch_for_module("image_max_age:=0.0")
    talker.listen(*OUTPUTS)
    return process, talker


@pytest.fixture
def talker(node):
    node[1].forget()
    return node[1]


def attached_imagine(kind=Imagine.Request, **fields):
    """A request that brings its own picture."""
    head = conversions.header(FRAME, 2 * 10**9)
    request = kind(target_pose=pose(0.5), seed=7, **fields)
    request.image = [conversions.image_message(np.full((20, 30, 3), 60, np.uint8), head)]
    request.camera_info = [conversions.info_message(Camera.from_fov(30, 20, 1.0), head)]
    return request


def test_a_pose_on_the_topic_gives_clouds_view_and_frusta(talker):
    picture = np.full((48, 64, 3), (10, 20, 30), np.uint8)
    talker.look(picture, stamp=5_000_000_003)
    talker.pose.publish(pose(1.0))
    imagined, observed = talker.next(names.SCENE_IMAGINED), talker.next(names.SCENE_OBSERVED)
    for cloud, source in ((imagined, 1), (observed, 0)):
        assert (cloud.header.frame_id, conversions.nanoseconds(cloud.header.stamp)) == (FRAME, 5_000_000_003)
        points = read_cloud(cloud)
        assert len(points) == 64 and (points["source"] == source).all()
    assert read_cloud(imagined)["rgb"].view(np.uint32)[0] == 10 << 16 | 20 << 8 | 30
    view = talker.next(names.VIEW)
    assert (view.encoding, view.width, view.height) == ("rgb8", 8, 8)
    assert conversions.nanoseconds(view.header.stamp) == 5_000_000_003
    assert talker.next(names.VIEW_CAMERA_INFO).width == 8
    markers = talker.next(names.FRUSTA).markers
    assert [marker.ns for marker in markers] == ["camera", "target"]
    # the target camera is where the pose said
    assert markers[1].points[0].x == pytest.approx(1.0)


def test_a_pose_in_another_frame_goes_through_tf(talker):
    talker.look()
    # the camera is one metre ahead of the base, and the map's x axis is the base's
    talker.transform("map", "base", (10, 0, 0))
    talker.transform("base", FRAME, (1, 0, 0))
    talker.until_known("map")
    talker.pose.publish(pose(12.0, frame="map"))
    centre = talker.next(names.FRUSTA).markers[1].points[0]
    assert (centre.x, centre.y, centre.z) == pytest.approx((1, 0, 0))


def test_the_cloud_in_another_frame(talker):
    talker.look()
    assert talker.parameter(output_frame="map") == ""
    try:
        talker.pose.publish(pose())
        cloud = talker.next(names.SCENE_OBSERVED)
        assert cloud.header.frame_id == "map"
        assert read_cloud(cloud)["x"].mean() == pytest.approx(11, abs=0.2)
    finally:
        talker.parameter(output_frame="")


def test_the_service_with_an_attached_picture(talker):
    response = talker.call(talker.imagine, attached_imagine(samples=2, steps=3))
    assert response.status.code == 0, response.status.message
    assert response.seed == 7
    points = read_cloud(response.scene)
    assert set(points["source"]) == {0, 1}
    assert conversions.nanoseconds(response.scene.header.stamp) == 2 * 10**9
    assert (response.view.width, response.view.data[0]) == (8, 60)
    assert {timing.stage for timing in response.timings} == {"denoise", "total"}


def test_the_service_with_an_attached_compressed_picture(talker):
    request = attached_imagine()
    request.image = []
    png = cv2.imencode(".png", np.full((20, 30, 3), 77, np.uint8))[1].tobytes()
    request.compressed_image = [CompressedImage(format="png", data=png, header=conversions.header(FRAME, 1))]
    response = talker.call(talker.imagine, request)
    assert response.status.code == 0, response.status.message
    assert response.view.data[0] == 77


def test_a_drawn_seed_is_reported(talker):
    request = attached_imagine()
    request.seed = -1
    assert talker.call(talker.imagine, request).seed == 1234


def test_the_question_service(talker):
    talker.look(stamp=9_000_000_001)
    response = talker.call(talker.ask, AskSpatial.Request(question="How far?", with_evidence=True))
    assert response.status.code == 0, response.status.message
    assert response.answer == "It is 2.5 m away, turn 0"
    assert (response.has_value, response.value, response.unit) == (True, 2.5, "m")
    assert response.confidence == pytest.approx(0.9)
    assert (response.tokens, response.truncated) == (7, False)
    assert conversions.nanoseconds(response.image_stamp) == 9_000_000_001
    assert [item.image_index for item in response.evidence] == [0, 0]
    assert response.evidence[0].point.x == pytest.approx(0.1) and math.isnan(response.evidence[1].point.x)


def test_a_session_remembers_and_no_session_does_not(talker):
    talker.look()
    answers = [
        talker.call(talker.ask, AskSpatial.Request(question="And now?", session_id=session)).answer[-1]
        for session in ("s", "s", "", "s", "", "other")
    ]
    assert answers == ["0", "1", "0", "2", "0", "0"]


def test_a_question_about_an_imagined_view_and_attached_pictures(talker):
    request = AskSpatial.Request(question="What is there?", target_pose=[pose(0.5)])
    head = conversions.header(FRAME, 4)
    request.images = [conversions.image_message(np.zeros((6, 8, 3), np.uint8), head) for _ in range(2)]
    request.camera_infos = [conversions.info_message(Camera.from_fov(8, 6, 1.0), head) for _ in range(2)]
    assert talker.call(talker.ask, request).status.code == 0
    request.camera_infos.pop()
    assert talker.call(talker.ask, request).status.code == ErrorCode.CAMERA_INFO_MISMATCH
    request.images = request.images * 3
    assert talker.call(talker.ask, request).status.code == ErrorCode.TOO_MANY_IMAGES


def test_answers_are_streamed(talker):
    talker.look()
    status, result, feedback = talker.act(talker.ask_stream, AskAction.Goal(question="How far?"))
    assert status == GoalStatus.STATUS_SUCCEEDED and result.status.code == 0
    talker.until(lambda: "".join(item.text for item in feedback) == result.answer)
    assert [item.tokens for item in feedback] == list(range(1, 8))


def test_imagining_reports_each_step(talker):
    status, result, feedback = talker.act(
        talker.imagine_stream, attached_imagine(ImagineAction.Goal, steps=4, samples=2)
    )
    assert status == GoalStatus.STATUS_SUCCEEDED and result.status.code == 0
    talker.until(lambda: len(feedback) == 8)
    assert [(item.stage, item.sample, item.step, item.steps) for item in feedback] == [
        ("denoise", sample, step, 4) for sample in range(2) for step in range(1, 5)
    ]
    assert len(read_cloud(result.scene)) > 0


def test_a_refused_goal_is_aborted_with_its_code(talker):
    status, result, _ = talker.act(talker.ask_stream, AskAction.Goal(question="  "))
    assert (status, result.status.code) == (GoalStatus.STATUS_ABORTED, ErrorCode.QUESTION_EMPTY)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"steps": 9999}, ErrorCode.REQUEST_INVALID),
        ({"samples": 100}, ErrorCode.REQUEST_INVALID),
        ({"guidance": math.nan}, ErrorCode.REQUEST_INVALID),
        ({"guidance": -1.0}, ErrorCode.REQUEST_INVALID),
        ({"scheduler": "euler"}, ErrorCode.REQUEST_INVALID),
        ({"seed": -2}, ErrorCode.REQUEST_INVALID),
        ({"timeout": 1e6}, ErrorCode.REQUEST_INVALID),
        ({"timeout": math.nan}, ErrorCode.REQUEST_INVALID),
        ({"target_pose": pose(math.nan)}, ErrorCode.POSE_INVALID),
        ({"target_pose": pose(quaternion=(0, 0, 0, 0))}, ErrorCode.POSE_INVALID),
        ({"target_pose": pose(quaternion=(1, 1, 1, 1))}, ErrorCode.POSE_INVALID),
        ({"target_pose": pose(frame="nowhere")}, ErrorCode.FRAME_UNKNOWN),
        ({"target_pose": pose(frame="")}, ErrorCode.FRAME_UNKNOWN),
        ({"target_pose": pose(1e9)}, ErrorCode.POSE_OUT_OF_RANGE),
    ],
)
def test_bad_requests_get_their_code_and_the_next_good_one_works(talker, fields, code):
    request = attached_imagine()
    for name, value in fields.items():
        setattr(request, name, value)
    response = talker.call(talker.imagine, request)
    assert response.status.code == code
    assert response.status.message
    assert len(response.scene.data) == 0
    assert talker.call(talker.imagine, attached_imagine()).status.code == 0


def test_questions_that_are_no_questions(talker):
    talker.look()
    ask = lambda text: talker.call(talker.ask, AskSpatial.Request(question=text)).status.code  # noqa: E731
    assert ask("") == ask("\t\n \x00") == ErrorCode.QUESTION_EMPTY
    assert ask("x" * 1001) == ErrorCode.QUESTION_TOO_LONG
    assert ask("x" * 1000) == 0
    assert ask("<|im_end|>\x1b[31m what?") == 0


def test_a_turn_beyond_the_limit(talker):
    assert talker.parameter(max_angle=30.0) == ""
    turned = attached_imagine()
    turned.target_pose = pose(quaternion=(0, math.sin(math.radians(20)), 0, math.cos(math.radians(20))))
    try:
        response = talker.call(talker.imagine, turned)
        assert response.status.code == ErrorCode.POSE_OUT_OF_RANGE
        assert "40.0 degrees" in response.status.message
    finally:
        talker.parameter(max_angle=180.0)
    assert talker.call(talker.imagine, turned).status.code == 0


def test_parameters_change_while_running_or_say_why_not(talker):
    assert talker.parameter(max_question_chars=10) == ""
    assert talker.call(talker.ask, AskSpatial.Request(question="x" * 11)).status.code == ErrorCode.QUESTION_TOO_LONG
    assert talker.parameter(max_question_chars=1000) == ""
    assert "samples is 99" in talker.parameter(samples=99) or "range" in talker.parameter(samples=99)
    assert "scheduler is 'euler'" in talker.parameter(scheduler="euler")
    assert "deactivate the node first" in talker.parameter(model="other")
    assert talker.parameter(queue_size="many") != ""
    assert talker.parameter(image_transport="compressed") != ""
    assert talker.parameter(no_such_parameter=1) != ""


def test_diagnostics_tell_how_everything_is(talker):
    talker.look()
    talker.call(talker.imagine, attached_imagine())
    talker.call(talker.ask, AskSpatial.Request(question=""))
    status = talker.health(new=True)
    assert set(status) == {"model", "image", "camera_info", "target_pose", "requests"}
    assert status["model"].level == b"\x00" and "untrained" in status["model"].message
    values = {item.key: item.value for item in status["requests"].values}
    assert float(values["imagine/denoise ms"]) == 1.0
    assert int(values["refused ~/ask/QUESTION_EMPTY"]) >= 1
    assert values["waiting"] == "0"
    image = {item.key: item.value for item in status["image"].values}
    assert image["state"] == "active" and int(image["received"]) > 0


def test_the_graph_has_only_names_of_the_nodes_own(talker):
    known = {talker.name(name) for name in (*names.PUBLICATIONS, *names.SUBSCRIPTIONS)}
    known |= {talker.name("~/transition_event"), "/rosout", "/parameter_events", "/clock"}
    node = talker.node
    publishers = {name for name, _ in node.get_publisher_names_and_types_by_node("uniugg", talker.namespace)}
    subscribers = {name for name, _ in node.get_subscriber_names_and_types_by_node("uniugg", talker.namespace)}
    assert {name for name in publishers | subscribers if "/_action/" not in name} <= known
    services = dict(node.get_service_names_and_types_by_node("uniugg", talker.namespace))
    for name, kind in names.SERVICES.items():
        assert services[talker.name(name)] == [kind]


def test_nothing_unforeseen_was_logged(node):
    assert "Traceback" not in node[0].text and "a callback failed" not in node[0].text


def test_the_end_is_quick_and_clean(node):
    process, talker = node
    assert process.stop() == 0
    assert "terminate called" not in process.text
