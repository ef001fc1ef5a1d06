"""A node as its own process, and somebody who talks to it over DDS."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, TransformStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from tf2_msgs.msg import TFMessage
from unique_identifier_msgs.msg import UUID
from visualization_msgs.msg import MarkerArray

from uniugg_core.cameras import Camera
from uniugg_core.errors import ErrorCode
from uniugg_interfaces.action import AskSpatial as AskAction
from uniugg_interfaces.action import Imagine as ImagineAction
from uniugg_interfaces.srv import AskSpatial, Imagine
from uniugg_ros import conversions, names

ROOT = Path(__file__).resolve().parents[2]
FRAME = "camera_optical"
STUB = ("-m", "uniugg_ros.fuzz.stand_in")
REAL = ("-m", "uniugg_ros.node")
_spaces = itertools.count()


class NodeProcess:
    """Starts the node in a namespace of its own, with parameters and environment of your choice.

    `host` is a network namespace to run it in.
    """

    def __init__(self, log: Path, *parameters, entry=STUB, remap=(), params_file=None, host=None, **environment):
        self.namespace = f"/t{os.getpid()}_{next(_spaces)}"
        self.log = log / f"node{self.namespace.replace('/', '_')}.log"
        command = [sys.executable, *entry, "--ros-args", "-r", f"__ns:={self.namespace}"]
        for rule in remap:
            command += ["-r", rule]
        if params_file is not None:
            command += ["--params-file", str(params_file)]
        for parameter in ("diagnostics_period:=0.1", *parameters):
            command += ["-p", parameter]
        if host is not None:
            command = ["ip", "netns", "exec", host, *command]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def text(self):
        """What it has written."""
        return self.log.read_text(errors="replace")

    def stop(self, number=signal.SIGINT, timeout=10.0):
        """Sends a signal and returns the exit code; a node that waits for its model's work runs into the timeout."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        return code


class Talker:
    """A client of a node, spinning on its own thread."""

    def __init__(self, process):
        namespace = process.namespace
        self.process = process
        self.node = Node("talker", namespace=namespace)
        self.namespace = namespace
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.received = {}
        self._arrived = threading.Condition()
        self.image = self.node.create_publisher(Image, names.IMAGE, 1)
        self.compressed = self.node.create_publisher(CompressedImage, names.IMAGE + names.COMPRESSED_SUFFIX, 1)
        self.info = self.node.create_publisher(CameraInfo, names.CAMERA_INFO, 1)
        self.pose = self.node.create_publisher(PoseStamped, names.TARGET_POSE, 1)
        self.tf = self.node.create_publisher(TFMessage, names.TF, 10)
        latched = QoSProfile(
            depth=10, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self.tf_static = self.node.create_publisher(TFMessage, names.TF_STATIC, latched)
        self.imagine = self._client(Imagine, names.IMAGINE)
        self.ask = self._client(AskSpatial, names.ASK)
        self.state = self._client(GetState, "~/get_state")
        self.change = self._client(ChangeState, "~/change_state")
        self.set = self._client(SetParameters, "~/set_parameters")
        self.imagine_stream = ActionClient(self.node, ImagineAction, self.name(names.IMAGINE_STREAM))
        self.ask_stream = ActionClient(self.node, AskAction, self.name(names.ASK_STREAM))
        self._feedback = {}  # of each goal, by its number
        for kind, name in ((ImagineAction, names.IMAGINE_STREAM), (AskAction, names.ASK_STREAM)):
            # rclpy's client forgets a goal's callback when the result comes, and what feedback still follows with it
            topic = f"{self.name(name)}/_action/feedback"
            self.node.create_subscription(kind.Impl.FeedbackMessage, topic, self._take_feedback, 100)
        self._health = {}
        self._reports = 0
        self.node.create_subscription(DiagnosticArray, names.DIAGNOSTICS, self._take_health, 10)
        self.thread = threading.Thread(target=self._spin)
        self.thread.start()

    def _spin(self):
        while not self.executor._is_shutdown:
            self.executor.spin_once(0.2)

    def name(self, name):
        """A node's topic or service in full."""
        return names.expand(name, namespace=self.namespace)

    def _client(self, kind, name):
        return self.node.create_client(kind, self.name(name))

    def close(self):
        """Ends the thread and the node."""
        self.executor.shutdown()
        self.thread.join(5)
        self.node.destroy_node()

    # --- listening ---------------------------------------------------------------------------------------------------

    def listen(self, *topics, qos=5):
        """Keeps what comes on these topics, as lists in `received`."""
        kinds = {
            names.SCENE_IMAGINED: PointCloud2,
            names.SCENE_OBSERVED: PointCloud2,
            names.VIEW: Image,
            names.VIEW_CAMERA_INFO: CameraInfo,
            names.FRUSTA: MarkerArray,
        }
        for topic in topics:
            self.received[topic] = []
            self.node.create_subscription(kinds[topic], self.name(topic), self._keeper(topic), qos)
        for topic in topics:
            self.until(lambda topic=topic: self.node.count_publishers(self.name(topic)) > 0, 10)

    def _keeper(self, topic):
        def keep(message):
            with self._arrived:
                self.received[topic].append(message)
                self._arrived.notify_all()

        return keep

    def next(self, topic, timeout=10.0, count=1):
        """Waits for `count` messages of a topic and returns the last."""
        with self._arrived:
            got = self._arrived.wait_for(lambda: len(self.received[topic]) >= count, timeout)
            assert got, f"{len(self.received[topic])} of {count} messages on {topic} in {timeout} s"
            return self.received[topic][-1]

    def forget(self):
        """Empties `received`."""
        with self._arrived:
            for messages in self.received.values():
                messages.clear()

    def _take_feedback(self, message):
        self._feedback.setdefault(bytes(message.goal_id.uuid), []).append(message.feedback)

    def _take_health(self, message):
        node = f"{self.namespace[1:]}/{names.NODE}: "
        if message.status[0].name.startswith(node):
            with self._arrived:
                self._health = {item.name.removeprefix(node): item for item in message.status}
                self._reports += 1
                self._arrived.notify_all()

    def health(self, *, new=False, timeout=10.0):
        """The newest diagnostics of the node, by part; `new`: only what it says from now on."""
        with self._arrived:
            wanted = self._reports + 2 if new else 1  # one may be on its way
            assert self._arrived.wait_for(lambda: self._reports >= wanted, timeout), "no diagnostics"
            return self._health

    def value(self, part, key, **options):
        """One value of the node's diagnostics, as text."""
        return next((item.value for item in self.health(**options)[part].values if item.key == key), None)

    def until(self, condition, timeout=10.0):
        """Waits until something is so."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, f"not so within {timeout} s; the node says:\n{self.process.text[-2000:]}"
            time.sleep(0.01)

    # --- calling -----------------------------------------------------------------------------------------------------

    def wait(self, future, timeout=20.0):
        """The result of an rclpy future that the talker's thread completes."""
        ended = threading.Event()
        future.add_done_callback(lambda _: ended.set())
        assert ended.wait(timeout), f"no reply in {timeout} s; the node says:\n{self.process.text[-2000:]}"
        return future.result()

    def sent(self, request):
        """The future of a request to an action server; rclpy loses replies that come before it noted what was asked."""
        return self.wait(self.executor.create_task(request))

    def call(self, client, request, timeout=20.0):
        """Calls a service."""
        assert client.wait_for_service(20), f"there is no {client.srv_name}"
        return self.wait(client.call_async(request), timeout)

    def label(self):
        """The label of the node's state."""
        return self.call(self.state, GetState.Request()).current_state.label

    def wait_until_active(self, timeout=60.0):
        """Waits for the node to load its model."""
        self.wait_until_heard(timeout)
        self.until(lambda: self.label() == "active", timeout)

    def wait_until_heard(self, timeout=60.0):
        """Waits until the node answers.

        Not every first answer arrives: DDS may know the service before the service knows who asks.
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.state.wait_for_service(1.0):
                until_retry = time.monotonic() + 1.0
                reply = self.state.call_async(GetState.Request())
                while not reply.done() and time.monotonic() < end and until_retry > time.monotonic():
                    time.sleep(0.01)
                if reply.done():
                    return
        raise AssertionError(f"no word from the node in {timeout} s; it says:\n{self.process.text[-2000:]}")

    def transition(self, name):
        """Asks for a transition; returns whether it succeeded."""
        number = getattr(Transition, f"TRANSITION_{name.upper()}")
        return self.call(self.change, ChangeState.Request(transition=Transition(id=number))).success

    def parameter(self, **values):
        """Sets parameters; returns the reasons of refusals, joined."""
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        )
        return "; ".join(result.reason for result in self.call(self.set, request).results if not result.successful)

    def act(self, client, goal, cancel_after=None, timeout=20.0):
        """Runs an action; cancels after that many feedback messages.

        Returns (status, result, feedback). Feedback is a topic and the result a service: the last of it may arrive
        behind the result, in the same list.
        """
        assert client.wait_for_server(20), "there is no action server"
        number = UUID(uuid=list(uuid.uuid4().bytes))
        feedback = self._feedback.setdefault(bytes(number.uuid), [])
        handle = self.wait(self.sent(lambda: client.send_goal_async(goal, goal_uuid=number)))
        assert handle.accepted
        future = self.sent(handle.get_result_async)
        if cancel_after is not None:
            self.until(lambda: len(feedback) >= cancel_after, timeout)
            self.sent(handle.cancel_goal_async)
        reply = self.wait(future, timeout)
        return reply.status, reply.result, feedback

    # --- saying ------------------------------------------------------------------------------------------------------

    def look(self, rgb=None, *, stamp=10**9, frame=FRAME):
        """Publishes a picture with its calibration, and waits for them to be taken in."""
        rgb = np.full((48, 64, 3), 90, np.uint8) if rgb is None else rgb
        head = conversions.header(frame, stamp)
        self.connected()
        camera = Camera.from_fov(rgb.shape[1], rgb.shape[0], 1.0)
        self.say(self.info, conversions.info_message(camera, head), "camera_info")
        self.say(self.image, conversions.image_message(rgb, head), "image")

    def say(self, publisher, message, part):
        """Publishes a message until the node counts it among those of an input (best effort may lose one)."""
        before = int(self.value(part, "received"))
        end = time.monotonic() + 20
        publisher.publish(message)
        while int(self.value(part, "received", new=True)) <= before:
            assert time.monotonic() < end, f"the node does not hear {part}; it says:\n{self.process.text[-2000:]}"
            publisher.publish(message)

    def until_known(self, frame):
        """Waits until the node knows a frame, by asking."""
        request = Imagine.Request(target_pose=pose(frame=frame), seed=0)
        self.until(lambda: self.call(self.imagine, request).status.code != ErrorCode.FRAME_UNKNOWN)

    def connected(self):
        """Waits until the node listens to all the talker says."""
        publishers = (self.image, self.info, self.pose, self.tf, self.tf_static)
        self.until(lambda: all(publisher.get_subscription_count() > 0 for publisher in publishers), 20)

    def transform(self, parent, child, translation, stamp=0, static=True, quaternion=(0.0, 0.0, 0.0, 1.0)):
        """Publishes a transform."""
        message = TransformStamped()
        message.header = conversions.header(parent, stamp)
        message.child_frame_id = child
        vector = message.transform.translation
        vector.x, vector.y, vector.z = (float(value) for value in translation)
        turn = message.transform.rotation
        turn.x, turn.y, turn.z, turn.w = (float(value) for value in quaternion)
        (self.tf_static if static else self.tf).publish(TFMessage(transforms=[message]))


def pose(x=0.0, y=0.0, z=0.0, frame=FRAME, quaternion=(0.0, 0.0, 0.0, 1.0)):
    """A target pose."""
    message = PoseStamped()
    message.header.frame_id = frame
    message.pose.position.x, message.pose.position.y, message.pose.position.z = float(x), float(y), float(z)
    turn = message.pose.orientation
    turn.x, turn.y, turn.z, turn.w = (float(value) for value in quaternion)
    return message
