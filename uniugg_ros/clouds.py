"""A :class:`Scene` as ``sensor_msgs/PointCloud2``: the one place that knows the layout of our points.

| offset | field | type | meaning |
| --- | --- | --- | --- |
| 0, 4, 8 | x, y, z | float32 | metres |
| 12 | rgb | float32 | the bits of 0x00RRGGBB, as RViz and PCL read it |
| 16 | confidence | float32 | of the model, larger is surer |
| 20 | spread | float32 | metres over the samples; 0 for one sample |
| 24 | source | uint8 | 0 observed, 1 imagined |

A point takes 28 bytes. Clouds have one row: points that were left out leave no holes.
"""

from __future__ import annotations

import array
import sys

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from uniugg_core.scene import Scene

__all__ = ["POINT", "cloud_message", "read_cloud"]

POINT = np.dtype(
    {
        "names": ["x", "y", "z", "rgb", "confidence", "spread", "source"],
        "formats": ["<f4", "<f4", "<f4", "<u4", "<f4", "<f4", "u1"],
        "offsets": [0, 4, 8, 12, 16, 20, 24],
        "itemsize": 28,
    }
)
_PIECES = np.dtype(
    {
        "names": ["position", "rgb", "confidence", "spread", "source"],
        "formats": ["V12", "<u4", "<f4", "<f4", "u1"],
        "offsets": [0, 12, 16, 20, 24],
        "itemsize": POINT.itemsize,
    }
)
_FIELDS = [
    PointField(
        name=name,
        offset=int(POINT.fields[name][1]),
        datatype=PointField.UINT8 if name == "source" else PointField.FLOAT32,
        count=1,
    )
    for name in POINT.names
]


def cloud_message(scene: Scene, header: Header) -> PointCloud2:
    """`scene` as one row of points (N,), in the frame and with the stamp of `header`."""
    count = len(scene)
    message = PointCloud2()
    message.header = header
    message.height = 1
    message.width = count
    message.fields = _FIELDS
    message.is_bigendian = False
    message.point_step = POINT.itemsize
    message.row_step = count * POINT.itemsize
    message.data = _packed(scene) if count else array.array("B")
    message.is_dense = _finite(scene.points)
    return message


def _packed(scene: Scene) -> array.array:
    """The points' bytes, written in place into what the message holds: rclpy takes array.array as it is.

    Written as few and as wide pieces as possible (12 bytes of position, 4 of colour, ...), which is three times as
    fast as field by field.
    """
    count = len(scene)
    data = array.array("B", b"\0") * (count * POINT.itemsize)  # zeroed: the spread of one sample stays as it is
    pieces = np.frombuffer(data, _PIECES)
    pieces["position"] = np.ascontiguousarray(scene.points).view(_PIECES["position"])[:, 0]
    colors = np.zeros((count, 4), np.uint8)  # blue, green, red, 0: 0x00RRGGBB on a little-endian machine
    for channel in range(3):
        colors[:, 2 - channel] = scene.colors[:, channel]
    pieces["rgb"] = colors.view(np.uint32)[:, 0]
    pieces["confidence"] = scene.confidence
    if scene.spread.any():
        pieces["spread"] = scene.spread
    pieces["source"] = scene.source
    return data


def _finite(points: np.ndarray) -> bool:
    # least and greatest carry every NaN and infinity, in a fraction of the time of a look at each number
    return not len(points) or bool(np.isfinite(points.min()) and np.isfinite(points.max()))


def read_cloud(message: PointCloud2) -> np.ndarray:
    """The points of a cloud as a structured array, (N,) or (height, width) if it is organised, without copying.

    The names and types are the message's own. Row padding is taken into account.

    Raises:
        ValueError: if the sizes in the message disagree.
    """
    kinds = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
    order = ">" if message.is_bigendian else "<"
    layout = np.dtype(
        {
            "names": [field.name for field in message.fields],
            "formats": [order + kinds[field.datatype] for field in message.fields],
            "offsets": [field.offset for field in message.fields],
            "itemsize": message.point_step,
        }
    )
    if message.row_step < message.width * message.point_step or len(message.data) < message.height * message.row_step:
        raise ValueError(
            f"{len(message.data)} bytes for {message.width} x {message.height} points of {message.point_step} bytes"
        )
    if message.height == 0 or message.width == 0:
        return np.zeros((message.height, message.width), layout).squeeze()
    raw = np.frombuffer(message.data, np.uint8)[: message.height * message.row_step]
    rows = raw.reshape(message.height, message.row_step)[:, : message.width * message.point_step]
    points = np.ascontiguousarray(rows).view(layout).reshape(message.height, message.width)
    return points[0] if message.height == 1 else points


if sys.byteorder != "little":  # pragma: no cover
    raise ImportError("point clouds are packed for little-endian machines")
