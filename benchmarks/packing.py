"""What it costs to put a cloud into a PointCloud2, our way and the plain ways, and to serialize it."""

from __future__ import annotations

import array
from collections.abc import Iterator

import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from uniugg_core.scene import Scene
from uniugg_ros.clouds import POINT, cloud_message

from .harness import Row, row, samples_of

__all__ = ["packing_rows"]


def packing_rows(points: int, n: int) -> Iterator[Row]:
    """Packs a random scene of `points` points."""
    generator = np.random.default_rng(0)
    scene = Scene.from_arrays(
        generator.normal(size=(points, 3)),
        generator.integers(0, 256, (points, 3)),
        confidence=generator.uniform(1, 5, points),
        source=generator.integers(0, 2, points),
    )
    raw = np.zeros(points, POINT).view(np.uint8)
    header, message = Header(frame_id="camera"), PointCloud2()

    def assign(value: object) -> None:
        message.data = value

    def from_buffer() -> None:
        data = array.array("B")
        data.frombytes(raw.data.cast("B"))
        message.data = data

    variant = f"{points:,} points"
    ways = {
        "cloud / scene to PointCloud2, ours": (lambda: cloud_message(scene, header), n),
        "cloud / serialize": (lambda: serialize_message(packed), n),
        "cloud data / array.frombytes (as ours)": (from_buffer, n),
        "cloud data / array.array(tobytes)": (lambda: assign(array.array("B", raw.tobytes())), n),
        "cloud data / bytes": (lambda: assign(raw.tobytes()), max(n // 5, 3)),
        "cloud data / list": (lambda: assign(raw.tolist()), max(n // 5, 3)),
        "cloud data / memoryview": (lambda: assign(memoryview(raw)), max(n // 5, 3)),
        "cloud data / numpy": (lambda: assign(raw), max(n // 5, 3)),
    }
    packed = cloud_message(scene, header)
    for name, (call, count) in ways.items():
        try:
            yield row(name, variant, samples_of(call, n=count))
        except (AssertionError, TypeError):
            continue  # with ROS_PYTHON_CHECK_FIELDS=1 some of the plain ways are refused
