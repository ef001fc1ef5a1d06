"""Where transforms come from: the adapter of tf2_ros with a tf2 of our own making, and the machine without tf2_msgs."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import ReentrantCallbackGroup

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_ros import tf
from uniugg_ros.conversions import time_message

SECOND = 10**9


@pytest.fixture
def tf2(monkeypatch):
    """A tf2_ros that knows map -> camera from 10 s to 11 s."""
    module = ModuleType("tf2_ros")

    class TransformException(Exception):
        pass

    for name in ("LookupException", "ConnectivityException", "ExtrapolationException"):
        setattr(module, name, type(name, (TransformException,), {}))
    module.TransformException = TransformException

    class Buffer:
        def __init__(self, cache_time, node):
            self.seconds = cache_time.nanoseconds / SECOND
            self.cleared = False

        def lookup_transform(self, target, source, time):
            stamp = time.nanoseconds or 11 * SECOND
            if "nowhere" in (target, source):
                raise module.LookupException("no frame nowhere")
            if "island" in (target, source):
                raise module.ConnectivityException("not connected")
            if not 10 * SECOND <= stamp <= 11 * SECOND:
                raise module.ExtrapolationException("into the future")
            found = TransformStamped()
            found.header.stamp = time_message(stamp)
            found.transform.translation.x = stamp / SECOND
            return found

        def clear(self):
            self.cleared = True

    class TransformListener:
        def __init__(self, buffer, node, spin_thread):
            assert not spin_thread
            self.gone = False

        def unregister(self):
            self.gone = True

    module.Buffer, module.TransformListener = Buffer, TransformListener
    monkeypatch.setitem(sys.modules, "tf2_ros", module)
    return module


def refusal(frames, *arguments):
    with pytest.raises(UniuggError) as caught:
        frames.lookup(*arguments)
    return caught.value.code


def test_tf2_is_used_where_it_is_installed(tf2):
    frames = tf.make_frames(None, 7.0, ReentrantCallbackGroup())
    assert frames.source == "tf2_ros" and frames._buffer.seconds == 7.0
    assert frames.lookup("map", "camera", int(10.5 * SECOND), 0)[0, 3] == 10.5
    assert frames.lookup("map", "camera", 0, 0)[0, 3] == 11
    assert frames.lookup("map", "camera", int(11.05 * SECOND), SECOND // 10)[0, 3] == 11
    assert refusal(frames, "map", "camera", int(11.2 * SECOND), SECOND // 10) is ErrorCode.TRANSFORM_UNAVAILABLE
    assert refusal(frames, "map", "nowhere", 0, 0) is ErrorCode.FRAME_UNKNOWN
    assert refusal(frames, "map", "island", 0, 0) is ErrorCode.TRANSFORM_UNAVAILABLE
    frames.clear()
    frames.destroy()
    assert frames._buffer.cleared and frames._listener.gone


def test_without_tf2_msgs_only_the_cameras_own_frame_can_be_used(monkeypatch):
    for name in ("tf2_ros", "tf2_msgs", "tf2_msgs.msg"):
        monkeypatch.setitem(sys.modules, name, None)
    frames = tf.make_frames(None, 7.0, ReentrantCallbackGroup())
    assert "not installed" in frames.source
    assert refusal(frames, "map", "camera", 0, 0) is ErrorCode.TRANSFORM_UNAVAILABLE
    frames.clear()
    frames.destroy()
