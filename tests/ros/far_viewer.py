"""A camera and a viewer for a node on another host: pictures until a scene comes, then a question; prints JSON.

python far_viewer.py NAMESPACE
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from node_harness import FRAME, pose
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from uniugg_core.cameras import Camera
from uniugg_interfaces.srv import AskSpatial
from uniugg_ros import conversions, names


def main(namespace: str) -> int:
    """Looks and asks; 1 if no scene comes within half a minute."""
    rclpy.init()
    node, executor = rclpy.create_node("viewer"), SingleThreadedExecutor()
    executor.add_node(node)
    name = partial(names.expand, namespace=namespace)
    clouds: list[PointCloud2] = []
    node.create_subscription(PointCloud2, name(names.SCENE_IMAGINED), clouds.append, 5)
    kinds = ((CameraInfo, names.CAMERA_INFO), (Image, names.IMAGE), (PoseStamped, names.TARGET_POSE))
    speakers = [node.create_publisher(kind, name(topic), 1) for kind, topic in kinds]
    ask = node.create_client(AskSpatial, name(names.ASK))
    head = conversions.header(FRAME, 10**9)
    rgb = np.full((480, 640, 3), 90, np.uint8)  # a megabyte: many pieces on the wire
    camera = conversions.info_message(Camera.from_fov(640, 480, 1.0), head)
    words = [camera, conversions.image_message(rgb, head), pose(x=0.1)]
    until = time.monotonic() + 30
    while not clouds and time.monotonic() < until:
        for speaker, word in zip(speakers, words):
            speaker.publish(word)
        again = time.monotonic() + 0.5
        while time.monotonic() < again:
            executor.spin_once(0.05)
    if not clouds:
        sys.stderr.write("no scene came\n")
        return 1
    reply = ask.call_async(AskSpatial.Request(question="How far is the wall?"))
    executor.spin_until_future_complete(reply, 20)
    cloud, answer = clouds[0], reply.result()
    found = {"frame": cloud.header.frame_id, "bytes": len(cloud.data), "expected": cloud.row_step * cloud.height}
    sys.stdout.write(json.dumps({**found, "code": answer.status.code, "answer": answer.answer}))
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
