"""A camera and its viewer on one host, the node on another: two network namespaces with a cable between them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from functools import partial

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from node_harness import FRAME, NodeProcess, pose
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from uniugg_core.cameras import Camera
from uniugg_interfaces.srv import AskSpatial
from uniugg_ros import conversions, names

NETWORK = "10.213.77"


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def other_host():
    """The name of a network namespace that is reached by a cable of its own."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("a second host needs iproute2 and the right to make network namespaces")
    host, here, there = (f"uu{kind}{os.getpid() % 10000}" for kind in "hab")
    with contextlib.ExitStack() as stack:
        try:
            _ip("netns", "add", host)
            stack.callback(_ip, "netns", "del", host)
            _ip("link", "add", here, "type", "veth", "peer", "name", there)
            _ip("link", "set", there, "netns", host)
        except (subprocess.CalledProcessError, OSError):
            pytest.skip("network namespaces cannot be made here")
        for name, address, where in ((here, 1, ()), (there, 2, ("-n", host))):
            _ip(*where, "addr", "add", f"{NETWORK}.{address}/24", "dev", name)
            _ip(*where, "link", "set", name, "up")
        _ip("-n", host, "link", "set", "lo", "up")
        yield host


@pytest.fixture
def viewer(monkeypatch):
    """A node of ours that looks beyond this host, spinning."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    context = rclpy.Context()
    rclpy.init(context=context)
    node, executor = rclpy.create_node("viewer", context=context), SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield node, executor
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_pictures_scenes_and_answers_cross_the_cable(other_host, viewer, tmp_path):
    process = NodeProcess(tmp_path, host=other_host, ROS_AUTOMATIC_DISCOVERY_RANGE="SUBNET")
    node, executor = viewer
    name = partial(names.expand, namespace=process.namespace)
    clouds: list[PointCloud2] = []
    node.create_subscription(PointCloud2, name(names.SCENE_IMAGINED), clouds.append, 5)
    speakers = [
        node.create_publisher(kind, name(topic), 1)
        for kind, topic in ((CameraInfo, names.CAMERA_INFO), (Image, names.IMAGE), (PoseStamped, names.TARGET_POSE))
    ]
    ask = node.create_client(AskSpatial, name(names.ASK))
    head = conversions.header(FRAME, 10**9)
    rgb = np.full((480, 640, 3), 90, np.uint8)  # a megabyte: many pieces on the wire
    words = [
        conversions.info_message(Camera.from_fov(640, 480, 1.0), head),
        conversions.image_message(rgb, head),
        pose(x=0.1),
    ]
    try:
        until = time.monotonic() + 30
        while not clouds and time.monotonic() < until:
            for speaker, word in zip(speakers, words):
                speaker.publish(word)
            _spin(executor, 0.5)
        assert clouds, process.text[-2000:]
        assert len(clouds[0].data) == clouds[0].row_step * clouds[0].height > 0
        assert clouds[0].header.frame_id == FRAME
        reply = ask.call_async(AskSpatial.Request(question="How far is the wall?"))
        executor.spin_until_future_complete(reply, 20)
        assert reply.result().status.code == 0 and reply.result().answer
        cables = json.loads(_ip("-n", other_host, "-json", "-statistics", "link"))
        received = sum(cable["stats64"]["rx"]["bytes"] for cable in cables if cable["ifname"] != "lo")
        assert received > rgb.nbytes, "the picture did not come by the cable"
    finally:
        process.stop()


def _spin(executor, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        executor.spin_once(0.05)
