"""The frusta of the real camera and of the imagined one, as RViz markers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from uniugg_core.cameras import Camera
from uniugg_core.scene import IMAGINED, OBSERVED, View

__all__ = ["frusta_message", "frustum"]

DEPTH = 0.3  # metres from the camera to the drawn picture plane
LINE_WIDTH = 0.005
COLORS = {OBSERVED: (0.2, 0.8, 0.3), IMAGINED: (1.0, 0.55, 0.1)}
NAMES = {OBSERVED: "camera", IMAGINED: "target"}


def frustum(camera: Camera, scene_from_camera: np.ndarray, depth: float = DEPTH) -> np.ndarray:
    """Line ends (16, 3) in the scene frame: four edges from the camera's centre and the four sides of its picture."""
    right, bottom = camera.width - 0.5, camera.height - 0.5
    pixels = np.array([[-0.5, -0.5, 1], [right, -0.5, 1], [right, bottom, 1], [-0.5, bottom, 1]])
    corners = pixels @ camera.inverse_matrix.T * depth
    points = np.concatenate([np.zeros((1, 3)), corners]) @ scene_from_camera[:3, :3].T + scene_from_camera[:3, 3]
    centre, rest = points[0], points[1:]
    lines = [(centre, corner) for corner in rest] + [(rest[i], rest[(i + 1) % 4]) for i in range(4)]
    return np.array(lines).reshape(-1, 3)


def frusta_message(views: Sequence[View], head: Header) -> MarkerArray:
    """One marker for the first observed and one for the first imagined of `views`."""
    message = MarkerArray()
    for source in (OBSERVED, IMAGINED):
        view = next((view for view in views if view.source == source), None)
        if view is None:
            continue
        marker = Marker(ns=NAMES[source], id=int(source), type=Marker.LINE_LIST, action=Marker.ADD)
        marker.header = head
        marker.pose.orientation.w = 1.0
        marker.scale.x = LINE_WIDTH
        red, green, blue = COLORS[source]
        marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
        marker.points = [
            Point(x=float(x), y=float(y), z=float(z)) for x, y, z in frustum(view.camera, view.scene_from_camera)
        ]
        message.markers.append(marker)
    return message
