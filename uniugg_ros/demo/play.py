"""Plays a rosbag2 on real topics: the bytes as they lie in it, at the recorded pace, in a loop, stamped as of now.

Why fresh stamps and not ``/clock`` with ``use_sim_time``: the sample bag lasts 2.4 s, and a looping clock jumps back at
every seam. A node rightly forgets its transforms and pictures then, and a request under way at the seam fails. With
moved stamps time only runs forward, every picture still has its transform at exactly its own time, and the node runs as
it does on a robot. Pictures and transforms move by the same amount, so what belongs together stays together.

``python -m uniugg_ros.demo.play BAG`` plays until interrupted; with a ROS installation ``ros2 bag play`` does it too.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import Connection, QosDurability
from rosbags.rosbag2 import Reader

from .stamps import header_stamp, restamp
from .types import bag_types, message_class

__all__ = ["BagPlayer", "main"]

REMEMBERED = 5000  # moved stamps that can be traced back to the recording
DEPTH = 10


class BagPlayer:
    """Publishes a bag from a thread of its own.

    Args:
        node: whose publishers are used.
        bag: folder of a rosbag2.
        topics: those to play; None plays all.
        rate: playing speed over recorded speed.
        loop: begin again at the end, one mean picture distance after the last message.
        fresh_stamps: move the stamps inside the messages to the time of playing; False publishes the very bytes.

    Raises:
        LookupError: if a message type of the bag is not installed.
    """

    def __init__(
        self,
        node: Node,
        bag: Path,
        topics: list[str] | None = None,
        *,
        rate: float = 1.0,
        loop: bool = True,
        fresh_stamps: bool = True,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.loops = 0
        self._node = node
        self._bag, self._rate, self._loop, self._fresh = bag, rate, loop, fresh_stamps
        self._newest: dict[str, int] = {}
        self._originals: OrderedDict[int, int] = OrderedDict()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bag player", daemon=True)
        with Reader(bag) as reader:
            self._topics = [c.topic for c in reader.connections if topics is None or c.topic in topics]
            connections = [c for c in reader.connections if c.topic in self._topics]
            self._store = bag_types([c.msgtype for c in connections])
            self._latched = {c.topic for c in connections if _is_latched(c)}
            self._publishers: dict[str, Publisher] = {
                c.topic: node.create_publisher(message_class(c.msgtype), c.topic, _qos(c.topic in self._latched))
                for c in connections
            }
            messages = max((reader.topics[topic].msgcount for topic in self._topics), default=1)
            # Latched messages often lie well before the first picture: the loop's seam is measured without them.
            moving = [c for c in connections if c.topic not in self._latched] or connections
            self._start = next((logged for _, logged, _ in reader.messages(moving)), reader.start_time)
            length = reader.end_time - self._start
            self._length = int((length + length // max(messages - 1, 1)) / rate)

    @property
    def topics(self) -> list[str]:
        """The topics that are played."""
        return list(self._topics)

    @property
    def playing(self) -> bool:
        """Whether the thread still publishes."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begins to publish."""
        self._thread.start()

    def stop(self) -> None:
        """Stops, waits for the thread, and takes the publishers back: what was latched is no longer offered."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)
        self._publishers.clear()

    def join(self) -> None:
        """Waits until a bag that does not loop has been played."""
        self._thread.join()

    def original_stamp(self, stamp: int) -> int | None:
        """The recorded stamp, in nanoseconds, that was published as `stamp`; None if it was not, or long ago."""
        return self._originals.get(stamp)

    def newest(self, topic: str) -> int | None:
        """The recorded stamp, in nanoseconds, of the last message played on `topic`."""
        return self._newest.get(topic)

    def _run(self) -> None:
        begin_wall, begin = time.time_ns(), time.monotonic_ns()

        def since_begin(recorded: int) -> int:
            return self.loops * self._length + int((recorded - self._start) / self._rate)

        while not self._done.is_set():
            with Reader(self._bag) as reader:
                chosen = [c for c in reader.connections if c.topic in self._topics]
                for connection, logged, data in reader.messages(chosen):
                    if self._done.wait(max(0, begin + since_begin(logged) - time.monotonic_ns()) / 1e9):
                        return
                    if self.loops == 0 or connection.topic not in self._latched:  # latched: once is for ever
                        self._publish(connection, bytes(data), lambda stamp: begin_wall + since_begin(stamp))
            self.loops += 1
            if not self._loop:
                return

    def _publish(self, connection: Connection, data: bytes, move: Callable[[int], int]) -> None:
        if self._fresh:
            original = header_stamp(data, connection.msgtype, self._store)
            data = restamp(data, connection.msgtype, self._store, move)
            if original is not None:
                self._newest[connection.topic] = original
                self._originals[move(original)] = original
                while len(self._originals) > REMEMBERED:
                    self._originals.popitem(last=False)
        self._publishers[connection.topic].publish(data)
        self.counts[connection.topic] += 1


def main(argv: list[str] | None = None) -> int:
    """Plays until the end or until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bag", type=Path)
    parser.add_argument("--topics", nargs="+", help="default: all")
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--once", action="store_true", help="do not loop")
    parser.add_argument("--recorded-stamps", action="store_true", help="leave the stamps as they were recorded")
    args = parser.parse_args(argv)
    done = threading.Event()
    rclpy.init(signal_handler_options=rclpy.SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    node = rclpy.create_node("bag_player")
    player = BagPlayer(
        node, args.bag, args.topics, rate=args.rate, loop=not args.once, fresh_stamps=not args.recorded_stamps
    )
    time.sleep(0.5)  # subscribers match in the meantime
    player.start()
    while player.playing and not done.wait(0.1):
        pass
    player.stop()
    node.destroy_node()
    rclpy.shutdown()
    return 0


def _is_latched(connection: Connection) -> bool:
    offered = getattr(connection.ext, "offered_qos_profiles", ())
    return any(qos.durability == QosDurability.TRANSIENT_LOCAL for qos in offered)


def _qos(latched: bool) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=DEPTH,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


if __name__ == "__main__":
    sys.exit(main())
