"""Where the node's transforms come from: tf2_ros where it is installed, otherwise our own buffer fed from /tf."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from uniugg_core.cameras import rigid
from uniugg_core.errors import ErrorCode, UniuggError

from . import names, qos
from .conversions import nanoseconds
from .frames import SECOND, TransformBuffer, take_transforms

__all__ = ["Frames", "NoFrames", "OwnFrames", "Tf2Frames", "make_frames"]


class Frames(Protocol):
    """Anything that knows where frames are."""

    source: str  # who provides the transforms, for people

    def lookup(self, target: str, source: str, stamp: int, tolerance: int) -> np.ndarray:
        """target_from_source, as :meth:`TransformBuffer.lookup`."""

    def clear(self) -> None:
        """Forgets moving frames."""

    def destroy(self) -> None:
        """Ends the subscriptions."""


def make_frames(node: Node, cache: float, group: CallbackGroup) -> Frames:
    """The best source of transforms that this machine has."""
    try:
        import tf2_ros
    except ImportError:
        tf2_ros = None
    if tf2_ros is not None:
        return Tf2Frames(node, cache, tf2_ros)
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        return NoFrames()
    return OwnFrames(node, cache, group, TFMessage)


class OwnFrames:
    """Our buffer, fed from the node's own subscriptions."""

    source = "own buffer"

    def __init__(self, node: Node, cache: float, group: CallbackGroup, message_type: Any) -> None:
        self.buffer = TransformBuffer(cache)
        self._node = node
        self._subscriptions = [
            node.create_subscription(message_type, names.TF, self._take, qos.TF, callback_group=group),
            node.create_subscription(
                message_type, names.TF_STATIC, self._take_static, qos.TF_STATIC, callback_group=group
            ),
        ]

    def _take(self, message: Any) -> None:
        take_transforms(self.buffer, message, static=False)

    def _take_static(self, message: Any) -> None:
        take_transforms(self.buffer, message, static=True)

    def lookup(self, target: str, source: str, stamp: int, tolerance: int) -> np.ndarray:
        """As :meth:`TransformBuffer.lookup`."""
        return self.buffer.lookup(target, source, stamp, tolerance)

    def clear(self) -> None:
        """Forgets moving frames."""
        self.buffer.clear()

    def destroy(self) -> None:
        """Ends the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)


class Tf2Frames:
    """tf2's buffer and listener, with our codes and our tolerance."""

    source = "tf2_ros"

    def __init__(self, node: Node, cache: float, tf2_ros: Any) -> None:
        from rclpy.duration import Duration

        self._tf2 = tf2_ros
        self._buffer = tf2_ros.Buffer(cache_time=Duration(seconds=cache), node=node)
        self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)

    def lookup(self, target: str, source: str, stamp: int, tolerance: int) -> np.ndarray:
        """As :meth:`TransformBuffer.lookup`; tf2 keeps the newest common time, so only that end has a tolerance."""
        try:
            found = self._find(target, source, stamp)
            if found is None:
                found = self._find(target, source, 0)
                distance = abs(nanoseconds(found.header.stamp) - stamp)
                if distance > tolerance:
                    raise UniuggError(
                        ErrorCode.TRANSFORM_UNAVAILABLE,
                        f"the newest transform from {source!r} to {target!r} is {distance / SECOND:.3f} s from the "
                        f"picture's stamp, the tolerance is {tolerance / SECOND:g} s",
                    )
        except self._tf2.LookupException as error:
            raise UniuggError(ErrorCode.FRAME_UNKNOWN, str(error)) from error
        except self._tf2.TransformException as error:
            raise UniuggError(ErrorCode.TRANSFORM_UNAVAILABLE, str(error)) from error
        move, turn = found.transform.translation, found.transform.rotation
        return rigid((turn.x, turn.y, turn.z, turn.w), (move.x, move.y, move.z))

    def _find(self, target: str, source: str, stamp: int) -> Any:
        """The transform at `stamp`; None if only the time is the trouble."""
        from rclpy.time import Time

        try:
            return self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp))
        except self._tf2.ExtrapolationException:
            if stamp == 0:
                raise
            return None

    def clear(self) -> None:
        """Forgets moving frames."""
        self._buffer.clear()

    def destroy(self) -> None:
        """Ends the subscriptions."""
        self._listener.unregister()


class NoFrames:
    """Stands in where neither tf2_ros nor tf2_msgs is installed: only poses in the camera's own frame can be used."""

    source = "none (tf2_msgs is not installed)"

    def lookup(self, target: str, source: str, stamp: int, tolerance: int) -> np.ndarray:
        """Always refuses."""
        raise UniuggError(
            ErrorCode.TRANSFORM_UNAVAILABLE, f"no transform from {source!r} to {target!r}: tf2_msgs is not installed"
        )

    def clear(self) -> None:
        """Nothing to forget."""

    def destroy(self) -> None:
        """Nothing to end."""
