"""A rosbag2 (MCAP) of what is published, written from raw subscriptions: no message is decoded on the way.

``python -m uniugg_ros.demo.record FOLDER [--topics /scene /tf ...]`` records until interrupted; with a ROS installation
``ros2 bag record`` does the same and more.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode

from .types import bag_types, message_class

__all__ = ["Recorder", "main"]

DISCOVERY_PERIOD = 0.2  # seconds between looks for new topics
QUEUE = 200  # messages of one topic that may wait to be written
BAG_VERSION = 8  # the metadata version that Humble and everything after it read
FOREVER = QosTime(2147483647, 4294967295)


class Recorder(Node):
    """Subscribes to every topic of the graph as it appears and writes what arrives.

    The subscription asks for what the topic's publishers offer (reliable or best effort, latched or not), as
    ``ros2 bag record`` does. Messages are stamped with the time of arrival. Call :meth:`close` when done.

    Args:
        folder: the bag to write; must not exist.
        topics: names to record; None records every topic that carries messages.
        name: of the ROS node.
    """

    def __init__(self, folder: Path, topics: list[str] | None = None, *, name: str = "demo_recorder") -> None:
        super().__init__(name)
        self.counts: Counter[str] = Counter()
        self.skipped: dict[str, str] = {}
        self._wanted = None if topics is None else set(topics)
        self._inputs: dict[str, Subscription] = {}
        self._lock = threading.Lock()
        self._writer = Writer(folder, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        self._open = True
        self.create_timer(DISCOVERY_PERIOD, self.discover)
        self.discover()

    def discover(self) -> None:
        """Subscribes to the topics that have a publisher by now and no subscription of ours yet."""
        for topic, types in self.get_topic_names_and_types():
            if (
                topic in self._inputs
                or topic in self.skipped
                or (self._wanted is not None and topic not in self._wanted)
            ):
                continue
            publishers = self.get_publishers_info_by_topic(topic)
            if publishers:
                self._subscribe(topic, types[0], [info.qos_profile for info in publishers])

    def close(self) -> None:
        """Finishes the bag; what arrives later is dropped."""
        with self._lock:
            if self._open:
                self._open = False
                self._writer.close()

    def _subscribe(self, topic: str, msgtype: str, offered: list[QoSProfile]) -> None:
        try:
            message, store = message_class(msgtype), bag_types([msgtype])
        except LookupError as error:
            self.skipped[topic] = str(error)
            if "/msg/" in msgtype:
                self.get_logger().warning(f"not recording {topic}: {error}")
            return
        qos = _requested(offered)
        with self._lock:
            if not self._open:
                return
            connection = self._writer.add_connection(
                topic, msgtype, typestore=store, offered_qos_profiles=[_for_bag(qos)]
            )

        def write(data: bytes) -> None:
            self._write(connection, data)

        self._inputs[topic] = self.create_subscription(message, topic, write, qos, raw=True)

    def _write(self, connection: Connection, data: bytes) -> None:
        now = self.get_clock().now().nanoseconds
        with self._lock:
            if self._open:
                self._writer.write(connection, now, data)
                self.counts[connection.topic] += 1


def main(argv: list[str] | None = None) -> int:
    """Records until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--topics", nargs="+", help="default: all")
    args = parser.parse_args(argv)
    done = threading.Event()
    rclpy.init(signal_handler_options=rclpy.SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    recorder = Recorder(args.folder, args.topics)
    while not done.is_set():
        rclpy.spin_once(recorder, timeout_sec=0.1)
    recorder.close()
    for topic, count in sorted(recorder.counts.items()):
        print(f"{count:6d} {topic}")
    recorder.destroy_node()
    rclpy.shutdown()
    return 0


def _requested(offered: list[QoSProfile]) -> QoSProfile:
    reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered)
    latched = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=QUEUE,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def _for_bag(qos: QoSProfile) -> Qos:
    return Qos(
        QosHistory(int(qos.history)),
        qos.depth,
        QosReliability(int(qos.reliability)),
        QosDurability(int(qos.durability)),
        FOREVER,
        FOREVER,
        QosLiveliness.AUTOMATIC,
        FOREVER,
        False,
    )


if __name__ == "__main__":
    sys.exit(main())
