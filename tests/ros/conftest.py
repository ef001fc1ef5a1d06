"""Fixtures of the node tests: nodes as processes, and a talker for each."""

from __future__ import annotations

import contextlib

import pytest
import rclpy
from node_harness import NodeProcess, Talker


@pytest.fixture(scope="session", autouse=True)
def _ros():
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def launch(tmp_path):
    """Starts node processes and talkers; ends them with the test."""
    with contextlib.ExitStack() as stack:
        yield _starter(tmp_path, stack)


@pytest.fixture(scope="module")
def launch_for_module(tmp_path_factory):
    """The same, until the end of the module."""
    with contextlib.ExitStack() as stack:
        yield _starter(tmp_path_factory.mktemp("nodes"), stack)


def _starter(folder, stack):
    def start(*parameters, active=True, answers=True, **options):
        process = NodeProcess(folder, *parameters, **options)
        stack.callback(_end, process)
        talker = Talker(process)
        stack.callback(talker.close)
        if active:
            talker.wait_until_active()
        elif answers:
            talker.wait_until_heard()
        return process, talker

    return start


def _end(process):
    with contextlib.suppress(Exception):
        process.stop()
    if process.process.poll() is None:
        process.process.kill()
