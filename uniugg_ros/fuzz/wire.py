"""A real node in a process of its own, with the stand-in for a model, talked to over real DDS."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import Any

from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.srv import GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from uniugg_core.errors import ErrorCode
from uniugg_interfaces.srv import AskSpatial, Imagine

from .. import names
from ..demo.processes import Child
from .corpus import Corpus

__all__ = ["OverDds"]

PATIENCE = 20.0  # seconds for an answer of a node that is alive
NAMESPACE = "/fuzzed"
FAULTS = ("a callback failed", "Traceback (most recent call last)", "Segmentation fault", "terminate called")


class OverDds:
    """A node under fire.

    Args:
        folder: for its log.
        transport: "raw" or "compressed", which of the picture topics it listens to.

    Raises:
        RuntimeError: if the node does not become active.
    """

    def __init__(self, folder: Path, transport: str = "raw") -> None:
        arguments = ["-m", "uniugg_ros.fuzz.stand_in", "--ros-args", "-r", f"__ns:={NAMESPACE}"]
        arguments += ["-p", f"image_transport:={transport}", "-p", "timeout:=5.0"]
        self.child = Child("node", arguments, folder / "node.log", {})
        self._context = Context()
        self._context.init()
        self._node = Node("fuzzer", namespace=NAMESPACE, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        publishers = {
            "image": (Image, names.IMAGE, 1),
            "compressed": (CompressedImage, names.IMAGE + names.COMPRESSED_SUFFIX, 1),
            "camera_info": (CameraInfo, names.CAMERA_INFO, 1),
            "pose": (PoseStamped, names.TARGET_POSE, 1),
            "tf": (TFMessage, names.TF, 10),
            "tf_static": (TFMessage, names.TF_STATIC, latched),
        }
        self._publishers = {kind: self._node.create_publisher(*rest) for kind, rest in publishers.items()}
        self._picture = "image" if transport == "raw" else "compressed"
        self._clients = {
            "imagine": self._node.create_client(Imagine, self._full(names.IMAGINE)),
            "ask": self._node.create_client(AskSpatial, self._full(names.ASK)),
        }
        self._state = self._node.create_client(GetState, self._full("~/get_state"))
        self._good = Corpus(Random(0))
        self._wait_until_active()

    def _full(self, name: str) -> str:
        return names.expand(name, namespace=NAMESPACE)

    @property
    def process(self) -> int:
        """Number of the node's process."""
        return self.child.pid

    def take(self, kind: str, message: Any) -> str:
        """Sends a message; for a request, waits for the reply.

        Returns:
            "sent" for a topic, else "OK" or the name of the refusal's code.

        Raises:
            RuntimeError: if the node is gone or does not answer.
        """
        if kind in self._publishers:
            self._publishers[kind].publish(message)
            return "sent"
        return self._call(self._clients[kind], message)

    def check(self) -> None:
        """Sends a good picture with its calibration and asks about it until the answer is good.

        Raises:
            RuntimeError: if it is not, or the node has ended or logged a fault.
        """
        until, code = time.monotonic() + PATIENCE, "nothing"
        while time.monotonic() < until:
            stamp = time.time_ns()
            for kind in ("camera_info", self._picture):
                self._publishers[kind].publish(self._good.message(kind, stamp))
            time.sleep(0.05)  # best effort: wait for them to arrive, or send them again
            code = self._call(self._clients["ask"], AskSpatial.Request(question="How far?"))
            if code == ErrorCode.OK.name:
                break
        else:
            raise RuntimeError(f"after mutated messages a good question ends with {code}")
        fault = next((word for word in FAULTS if word in self.child.log.read_text(errors="replace")), None)
        if fault is not None:
            raise RuntimeError(f"the node logged {fault!r}:\n{self.child.tail()}")

    def close(self) -> None:
        """Ends the node and the connection."""
        self.child.stop()
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def _call(self, client: Any, request: Any) -> str:
        future = client.call_async(request)
        until = time.monotonic() + PATIENCE
        while not future.done():
            self._executor.spin_once(0.1)
            if not self.child.alive:
                raise RuntimeError(f"the node ended with status {self.child.status}:\n{self.child.tail()}")
            if time.monotonic() > until:
                client.remove_pending_request(future)
                raise RuntimeError(f"no reply from {client.srv_name} in {PATIENCE:g} s")
        return ErrorCode(future.result().status.code).name

    def _wait_until_active(self) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until and self.child.alive:
            if self._state.wait_for_service(0.5):
                future = self._state.call_async(GetState.Request())
                self._executor.spin_until_future_complete(future, 2.0)
                if future.done() and future.result().current_state.label == "active":
                    return
        self.close()
        raise RuntimeError(f"the node did not become active:\n{self.child.tail()}")
