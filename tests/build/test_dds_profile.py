"""Camera images between two processes: best effort, as every camera consumer subscribes, and nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COUNT = 20
SENDER = f"""
import array, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("sender")
# A reliable publisher and a best-effort subscriber: the combination that loses whole images without the profile.
publisher = node.create_publisher(Image, "profile_test", QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE))
until = time.monotonic() + 30
while publisher.get_subscription_count() == 0 and time.monotonic() < until:
    time.sleep(0.05)
time.sleep(0.5)  # both sides have now seen each other
message = Image(width=640, height=480, step=1920, encoding="rgb8")
message.data = array.array("B", bytes(640 * 480 * 3))
for number in range({COUNT}):
    message.header.stamp.nanosec = number
    publisher.publish(message)
    time.sleep(0.1)
time.sleep(0.5)
rclpy.shutdown()
"""


def test_whole_camera_images_arrive() -> None:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    assert os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(ROOT / "config" / "fastdds.xml")
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("receiver", context=context)
    received: list[int] = []
    node.create_subscription(
        Image, "profile_test", lambda image: received.append(image.header.stamp.nanosec), qos_profile_sensor_data
    )
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        with subprocess.Popen([sys.executable, "-c", SENDER]) as sender:
            while sender.poll() is None and len(received) < COUNT:
                executor.spin_once(timeout_sec=0.2)
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    # Without the profile most are lost. One late image may be replaced by the next on a busy machine.
    assert len(received) >= COUNT - 2
