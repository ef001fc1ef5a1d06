"""What goes out: clouds, picture, calibration and frusta. Nothing is packed for a topic without listeners."""

from __future__ import annotations

from typing import Any, Protocol

from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from uniugg_core.scene import IMAGINED, OBSERVED, Scene

from . import names, qos
from .clouds import cloud_message
from .conversions import header, info_message
from .markers import frusta_message
from .responses import TARGET_FRAME, imagined_view, view_message

__all__ = ["ScenePublishers"]


class _PublisherFactory(Protocol):
    def __call__(self, message_type: Any, topic: str, profile: Any, **options: Any) -> Any: ...


class ScenePublishers:
    """The node's output topics.

    Args:
        create: makes a (lifecycle) publisher.
    """

    def __init__(self, create: _PublisherFactory) -> None:
        def make(message_type: Any, topic: str) -> Any:
            return create(message_type, topic, qos.OUTPUT, qos_overriding_options=qos.overridable())

        self.imagined = make(PointCloud2, names.SCENE_IMAGINED)
        self.observed = make(PointCloud2, names.SCENE_OBSERVED)
        self.view = make(Image, names.VIEW)
        self.view_info = make(CameraInfo, names.VIEW_CAMERA_INFO)
        self.frusta = make(MarkerArray, names.FRUSTA)

    def publish(self, scene: Scene, *, observed: bool) -> None:
        """Publishes a scene; on the worker's thread.

        Args:
            observed: also what the camera sees itself.
        """
        head = header(scene.frame, scene.stamp)
        if _wanted(self.imagined):
            self.imagined.publish(cloud_message(scene.filter(source=IMAGINED), head))
        if observed and _wanted(self.observed):
            self.observed.publish(cloud_message(scene.filter(source=OBSERVED), head))
        if _wanted(self.view):
            self.view.publish(view_message(scene))
        view = imagined_view(scene)
        if view is not None and _wanted(self.view_info):
            self.view_info.publish(info_message(view.camera, header(TARGET_FRAME, scene.stamp)))
        if _wanted(self.frusta):
            self.frusta.publish(frusta_message(scene.views, head))


def _wanted(publisher: Any) -> bool:
    return bool(publisher.is_activated) and publisher.get_subscription_count() > 0
