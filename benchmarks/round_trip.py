"""What ROS adds: the services of a running node as a client sees them, beside the time that the model took."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor

from uniugg_core.cameras import inverse_rigid, parse_motion
from uniugg_core.errors import ErrorCode
from uniugg_interfaces.srv import AskSpatial, Imagine
from uniugg_ros.demo.client import DemoClient, pose_message
from uniugg_ros.demo.outcome import Outcome
from uniugg_ros.demo.processes import Child, ros_environment
from uniugg_ros.demo.recorded import read_pictures, sample_bag
from uniugg_ros.demo.tour import attachment

from .harness import Row, row

__all__ = ["round_trip_rows"]

VARIANT = "tiny float32, attached JPEG"
START_TIMEOUT = 180.0


def round_trip_rows(n: int) -> Iterator[Row]:
    """Starts a node with the tiny model and calls its services from another process.

    Raises:
        RuntimeError: if the node refuses what it should answer.
    """
    profile = Path(__file__).resolve().parents[1] / "config" / "fastdds.xml"
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(ros_environment(Path(folder), 20 + os.getpid() % 80, profile))
        node = Child("node", ["-m", "uniugg_ros", "--ros-args", "-p", "model:=tiny"], Path(folder) / "node.log", {})
        rclpy.init(signal_handler_options=rclpy.SignalHandlerOptions.NO)
        client = DemoClient(lambda: node.alive)
        executor = SingleThreadedExecutor()
        executor.add_node(client)
        spinner = threading.Thread(target=executor.spin)
        spinner.start()
        try:
            client.wait_until_active(START_TIMEOUT)
            yield from _rows(client, n)
        finally:
            executor.shutdown()
            spinner.join()
            client.destroy_node()
            rclpy.shutdown()
            node.stop()


def _rows(client: DemoClient, n: int) -> Iterator[Row]:
    picture = read_pictures(sample_bag())[8]
    image, info = attachment(picture)
    pose = pose_message(picture.frame, inverse_rigid(parse_motion("yaw right 30")))
    imagine = Imagine.Request(target_pose=pose, compressed_image=[image], camera_info=[info], seed=1)
    ask = AskSpatial.Request(
        question="How far away is the table?", compressed_images=[image], camera_infos=[info], max_new_tokens=16
    )
    refused = AskSpatial.Request(question="")
    jobs = (
        ("refused at once", client.ask_by_service, refused, ErrorCode.QUESTION_EMPTY, 5 * n),
        ("answer", client.ask_by_service, ask, ErrorCode.OK, n),
        ("imagine", client.imagine_by_service, imagine, ErrorCode.OK, n),
    )
    for name, send, request, expected, count in jobs:
        trips, added = [], []
        for number in range(count + 1):
            outcome = Outcome(number, name, "service", name, expected)
            send(outcome, request)
            if not outcome.good:
                raise RuntimeError(f"{name}: {outcome.code}: {outcome.message}")
            if number:  # the first is a warm-up
                trips.append(outcome.milliseconds)
                added.append(outcome.milliseconds - outcome.stages.get("total", 0.0))
        yield row(f"service / {name}, round trip", VARIANT, trips)
        if expected == ErrorCode.OK:
            yield row(f"service / {name}, of that not the model", VARIANT, added)
