"""The demo's requests to the node, over the topic, the services and the actions, each waited for from one thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import Image, PointCloud2

from uniugg_core.cameras import quaternion_from_matrix
from uniugg_core.errors import ErrorCode
from uniugg_core.images import decode_raw
from uniugg_core.scene import Scene
from uniugg_interfaces.action import AskSpatial as AskAction
from uniugg_interfaces.action import Imagine as ImagineAction
from uniugg_interfaces.srv import AskSpatial, Imagine

from .. import names
from ..clouds import read_cloud
from .outcome import Outcome
from .stamps import NANOSECONDS

__all__ = ["DemoClient", "NoReply", "pose_message"]

FIRST_REPLY = 2.0  # seconds for the first answer of a node that has just been discovered
POLL = 0.2  # seconds between looks at whether waiting still makes sense


class NoReply(Exception):
    """Nothing came in time, or the node is gone."""


class DemoClient(Node):
    """Sends requests to a node of the default name and waits for what comes back.

    Args:
        alive: whether the node's process still runs; waiting ends when it does not.
        timeout: seconds to wait for a reply.
    """

    def __init__(self, alive: Callable[[], bool], timeout: float = 60.0) -> None:
        super().__init__("demo_client")
        self._alive, self._timeout = alive, timeout
        full = names.expand
        self._state = self.create_client(GetState, f"/{names.NODE}/get_state")
        self._imagine = self.create_client(Imagine, full(names.IMAGINE))
        self._ask = self.create_client(AskSpatial, full(names.ASK))
        self._imagine_action = ActionClient(self, ImagineAction, full(names.IMAGINE_STREAM))
        self._ask_action = ActionClient(self, AskAction, full(names.ASK_STREAM))
        self._pose = self.create_publisher(PoseStamped, full(names.TARGET_POSE), 1)
        self._clouds: dict[str, Any] = {}
        self._described = self._failure = ""  # what diagnostics say of the model
        self._arrived = threading.Condition()
        for topic, kind in (
            (names.SCENE_IMAGINED, PointCloud2),
            (names.SCENE_OBSERVED, PointCloud2),
            (names.VIEW, Image),
        ):
            self.create_subscription(kind, full(topic), self._keeper(topic), QoSProfile(depth=5))
        self.create_subscription(DiagnosticArray, names.DIAGNOSTICS, self._take_diagnostics, 10)

    def wait_until_active(self, timeout: float) -> None:
        """Waits until the node is active, which includes loading its model.

        Raises:
            NoReply: if it is not in time, or died.
        """
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if self._state.wait_for_service(POLL):
                try:
                    reply = self._call(self._state, GetState.Request(), FIRST_REPLY)
                except NoReply:  # DDS drops a reply to a caller it has not matched yet
                    self._check_alive()
                    continue
                if reply.current_state.id == State.PRIMARY_STATE_ACTIVE:
                    return
                if self._failure:
                    raise NoReply(f"the node was not active: {self._failure}")
                time.sleep(POLL)
            self._check_alive()
        raise NoReply(f"the node was not active after {timeout:g} s")

    def model_description(self, timeout: float) -> str:
        """What the node's diagnostics say of its model; empty if they say nothing in time."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._described, timeout)
        return self._described

    # --- imagine ---

    def imagine_by_topic(self, outcome: Outcome, pose: PoseStamped) -> None:
        """Publishes a target pose and waits for the scene and the view."""
        wanted = (names.SCENE_IMAGINED, names.SCENE_OBSERVED, names.VIEW)
        with self._arrived:
            self._clouds.clear()
        start = time.monotonic()
        self._pose.publish(pose)
        with self._arrived:
            while not all(topic in self._clouds for topic in wanted):
                self._arrived.wait(POLL)
                self._check_alive()
                if time.monotonic() - start > self._timeout:
                    missing = [topic for topic in wanted if topic not in self._clouds]
                    raise NoReply(f"nothing came on {', '.join(missing)} in {self._timeout:g} s")
            outcome.milliseconds = 1000 * (time.monotonic() - start)
            parts = [scene_of(self._clouds[topic]) for topic in wanted[:2]]
            outcome.view = picture_of(self._clouds[names.VIEW])
        outcome.scene = parts[0].merge(parts[1])
        outcome.stamp = outcome.scene.stamp
        outcome.code = ErrorCode.OK

    def imagine_by_service(self, outcome: Outcome, request: Imagine.Request) -> None:
        """Calls the service."""
        start = time.monotonic()
        reply = self._call(self._imagine, request)
        outcome.milliseconds = 1000 * (time.monotonic() - start)
        _take_scene(outcome, reply)

    def imagine_by_action(self, outcome: Outcome, goal: ImagineAction.Goal, cancel_after: int | None = None) -> None:
        """Sends a goal and counts its feedback; cancels after `cancel_after` feedback messages."""
        _take_scene(outcome, self._act(outcome, self._imagine_action, goal, lambda feedback: None, cancel_after))

    # --- ask ---

    def ask_by_service(self, outcome: Outcome, request: AskSpatial.Request) -> None:
        """Calls the service."""
        start = time.monotonic()
        reply = self._call(self._ask, request)
        outcome.milliseconds = 1000 * (time.monotonic() - start)
        _take_answer(outcome, reply)

    def ask_by_action(self, outcome: Outcome, goal: AskAction.Goal) -> None:
        """Sends a goal and collects the streamed text."""
        _take_answer(
            outcome, self._act(outcome, self._ask_action, goal, lambda feedback: outcome.streamed.append(feedback.text))
        )

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            description = next((item.value for item in status.values if item.key == "model"), None)
            if description is None:
                continue  # not the model's line
            with self._arrived:
                self._described = description or self._described
                self._failure = status.message if status.level == DiagnosticStatus.ERROR else ""
                self._arrived.notify_all()

    # --- waiting ---

    def _keeper(self, topic: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            with self._arrived:
                self._clouds[topic] = message
                self._arrived.notify_all()

        return keep

    def _call(self, client: Any, request: Any, timeout: float | None = None) -> Any:
        if not client.wait_for_service(self._timeout):
            raise NoReply(f"there is no service {client.srv_name}")
        return self._wait(client.call_async(request), client.srv_name, timeout)

    def _act(
        self,
        outcome: Outcome,
        client: ActionClient,
        goal: Any,
        on_feedback: Callable[[Any], None],
        cancel_after: int | None = None,
    ) -> Any:
        if not client.wait_for_server(self._timeout):
            raise NoReply("there is no action server")
        enough = threading.Event()

        def feedback(message: Any) -> None:
            outcome.updates += 1
            on_feedback(message.feedback)
            if cancel_after is not None and outcome.updates >= cancel_after:
                enough.set()

        start = time.monotonic()
        handle = self._wait(self._sent(lambda: client.send_goal_async(goal, feedback)), "the goal")
        if not handle.accepted:
            raise NoReply("the goal was not accepted")
        result = self._sent(handle.get_result_async)
        if cancel_after is not None:
            while not (enough.is_set() or result.done()):
                enough.wait(0.01)
                self._check_alive()
            self._sent(handle.cancel_goal_async)  # the result says whether it was
        wrapped = self._wait(result, "the result")
        outcome.milliseconds = 1000 * (time.monotonic() - start)
        if cancel_after is not None and wrapped.status != GoalStatus.STATUS_CANCELED:
            outcome.message = "the goal had ended before it could be cancelled"
        return wrapped.result

    def _sent(self, request: Callable[[], Future]) -> Future:
        """The future of a request to an action server, sent by the thread that takes replies.

        Sent by another one, a reply that is there before rclpy has noted the request is lost.
        """
        return self._wait(self.executor.create_task(request), "the executor")

    def _wait(self, future: Future, what: str, timeout: float | None = None) -> Any:
        timeout = self._timeout if timeout is None else timeout
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        until = time.monotonic() + timeout
        while not done.wait(POLL):
            self._check_alive()
            if time.monotonic() > until:
                raise NoReply(f"no reply from {what} in {timeout:g} s")
        return future.result()

    def _check_alive(self) -> None:
        if not self._alive():
            raise NoReply("the node's process has ended")


def pose_message(frame: str, frame_from_camera: np.ndarray) -> PoseStamped:
    """A pose of the camera's optical frame in `frame`; the stamp of zero leaves the time to the node's picture."""
    message = PoseStamped()
    message.header.frame_id = frame
    position = message.pose.position
    position.x, position.y, position.z = (float(value) for value in frame_from_camera[:3, 3])
    orientation = message.pose.orientation
    orientation.x, orientation.y, orientation.z, orientation.w = (
        float(value) for value in quaternion_from_matrix(frame_from_camera)
    )
    return message


def scene_of(message: PointCloud2) -> Scene:
    """The points of a cloud of the node as a scene."""
    points = read_cloud(message).reshape(-1)
    rgb = np.ascontiguousarray(points["rgb"]).view(np.uint32)
    return Scene(
        points=np.stack([points["x"], points["y"], points["z"]], axis=1),
        colors=np.stack([rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255], axis=1).astype(np.uint8),
        confidence=points["confidence"],
        source=points["source"],
        spread=points["spread"],
        frame=message.header.frame_id,
        stamp=_nanoseconds(message.header.stamp),
    )


def picture_of(message: Image) -> np.ndarray | None:
    """The RGB picture of an Image message; None if it is empty."""
    if not message.data:
        return None
    return decode_raw(
        message.data, message.width, message.height, message.encoding, message.step, bool(message.is_bigendian)
    )


def _take_status(outcome: Outcome, reply: Any) -> bool:
    outcome.code = ErrorCode(reply.status.code)
    outcome.message = reply.status.message or outcome.message
    outcome.stages = {timing.stage: float(timing.milliseconds) for timing in reply.timings}
    return outcome.code == ErrorCode.OK


def _take_scene(outcome: Outcome, reply: Any) -> None:
    if _take_status(outcome, reply):
        outcome.scene, outcome.view, outcome.seed = scene_of(reply.scene), picture_of(reply.view), int(reply.seed)
        outcome.stamp = outcome.scene.stamp


def _take_answer(outcome: Outcome, reply: Any) -> None:
    if not _take_status(outcome, reply):
        return
    outcome.answer, outcome.confidence, outcome.tokens = reply.answer, float(reply.confidence), int(reply.tokens)
    outcome.stamp = _nanoseconds(reply.image_stamp)
    if reply.has_value:
        outcome.value = f"{reply.value:g} {reply.unit}".rstrip()
    outcome.marks = [(place.u, place.v, place.weight) for place in reply.evidence if place.image_index == 0]


def _nanoseconds(stamp: Time) -> int:
    return stamp.sec * NANOSECONDS + stamp.nanosec
