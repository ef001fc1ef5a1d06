"""A camera and its viewer on one host, the node on another: two network namespaces with a cable between them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from node_harness import FRAME, NodeProcess

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


def test_pictures_scenes_and_answers_cross_the_cable(other_host, tmp_path):
    """The camera and viewer are a process of their own: Fast DDS looks for network interfaces once in a process."""
    process = NodeProcess(tmp_path, host=other_host, ROS_AUTOMATIC_DISCOVERY_RANGE="SUBNET")
    try:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("far_viewer.py")), process.namespace],
            env={**os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"},
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr[-2000:] + process.text[-2000:]
        seen = json.loads(done.stdout)
        assert seen["frame"] == FRAME and seen["bytes"] == seen["expected"] > 0
        assert seen["code"] == 0 and seen["answer"]
        cables = json.loads(_ip("-n", other_host, "-json", "-statistics", "link"))
        received = sum(cable["stats64"]["rx"]["bytes"] for cable in cables if cable["ifname"] != "lo")
        assert received > 640 * 480 * 3, "the picture did not come by the cable"
    finally:
        process.stop()
