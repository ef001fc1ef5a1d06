"""Names of the node's topics, services and actions, all relative or private, so that several nodes fit in one graph.

Launch files, RViz configurations and tests read them here; nothing is imported.
"""

from __future__ import annotations

__all__ = [
    "ACTIONS",
    "ASK",
    "ASK_STREAM",
    "CAMERA_INFO",
    "COMPRESSED_SUFFIX",
    "DIAGNOSTICS",
    "EXECUTABLE",
    "FRUSTA",
    "IMAGE",
    "IMAGINE",
    "IMAGINE_STREAM",
    "NODE",
    "PUBLICATIONS",
    "SCENE_IMAGINED",
    "SCENE_OBSERVED",
    "SERVICES",
    "SUBSCRIPTIONS",
    "TARGET_POSE",
    "TF",
    "TF_STATIC",
    "VIEW",
    "VIEW_CAMERA_INFO",
    "expand",
]

NODE = "uniugg"
EXECUTABLE = "uniugg_node"

# inputs
IMAGE = "image"
COMPRESSED_SUFFIX = "/compressed"  # image_transport's convention: the remapped name of `image` with this behind it
CAMERA_INFO = "camera_info"
TARGET_POSE = "target_pose"
TF = "/tf"
TF_STATIC = "/tf_static"

# outputs
SCENE_IMAGINED = "~/scene/imagined"
SCENE_OBSERVED = "~/scene/observed"
VIEW = "~/view"
VIEW_CAMERA_INFO = "~/view/camera_info"
FRUSTA = "~/frusta"
DIAGNOSTICS = "/diagnostics"

# services and actions
IMAGINE = "~/imagine"
ASK = "~/ask"
IMAGINE_STREAM = "~/imagine_stream"
ASK_STREAM = "~/ask_stream"

SUBSCRIPTIONS = {
    IMAGE: "sensor_msgs/msg/Image",
    IMAGE + COMPRESSED_SUFFIX: "sensor_msgs/msg/CompressedImage",  # instead, with image_transport: compressed
    CAMERA_INFO: "sensor_msgs/msg/CameraInfo",
    TARGET_POSE: "geometry_msgs/msg/PoseStamped",
    TF: "tf2_msgs/msg/TFMessage",
    TF_STATIC: "tf2_msgs/msg/TFMessage",
}
PUBLICATIONS = {
    SCENE_IMAGINED: "sensor_msgs/msg/PointCloud2",
    SCENE_OBSERVED: "sensor_msgs/msg/PointCloud2",
    VIEW: "sensor_msgs/msg/Image",
    VIEW_CAMERA_INFO: "sensor_msgs/msg/CameraInfo",
    FRUSTA: "visualization_msgs/msg/MarkerArray",
    DIAGNOSTICS: "diagnostic_msgs/msg/DiagnosticArray",
}
SERVICES = {
    IMAGINE: "uniugg_interfaces/srv/Imagine",
    ASK: "uniugg_interfaces/srv/AskSpatial",
}
ACTIONS = {
    IMAGINE_STREAM: "uniugg_interfaces/action/Imagine",
    ASK_STREAM: "uniugg_interfaces/action/AskSpatial",
}


def expand(name: str, node: str = NODE, namespace: str = "/") -> str:
    """The full graph name of `name` for a node called `node` in `namespace`.

    >>> expand("~/ask"), expand("image", namespace="/robot1")
    ('/uniugg/ask', '/robot1/image')
    """
    root = namespace.rstrip("/")
    if name.startswith("/"):
        return name
    if name.startswith("~"):
        return f"{root}/{node}{name[1:]}"
    return f"{root}/{name}"
