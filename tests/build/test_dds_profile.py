"""Camera images between two processes: best effort, as every camera consumer subscribes, and nothing lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COUNT = 10
SENDER = f"""
import array, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import UInt32

rclpy.init()
node = rclpy.create_node("sender")
# A reliable publisher and a best-effort subscriber: the combination that loses whole images without the profile.
publisher = node.create_publisher(Image, "profile_test", QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE))
confirmed = -1

def confirm(message):
    global confirmed
    confirmed = message.data

node.create_subscription(UInt32, "profile_test_received", confirm, 10)

def arrives(message, timeout):
    publisher.publish(message)
    until = time.monotonic() + timeout
    while confirmed != message.header.stamp.nanosec and time.monotonic() < until:
        rclpy.spin_once(node, timeout_sec=0.1)
    return confirmed == message.header.stamp.nanosec

small = Image()
small.header.stamp.nanosec = {COUNT}
until = time.monotonic() + 30
while not arrives(small, 0.2) and time.monotonic() < until:
    pass  # both sides have not seen each other yet
large = Image(width=640, height=480, step=1920, encoding="rgb8", data=array.array("B", bytes(640 * 480 * 3)))
for number in range({COUNT}):
    large.header.stamp.nanosec = number
    arrives(large, 3)  # one at a time, and sent once: however slow the machine, none takes another's place
rclpy.shutdown()
"""


def test_whole_camera_images_arrive() -> None:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image
    from std_msgs.msg import UInt32

    assert os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(ROOT / "config" / "fastdds.xml")
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("receiver", context=context)
    confirm = node.create_publisher(UInt32, "profile_test_received", 10)
    received: set[int] = set()

    def take(image: Image) -> None:
        received.add(image.header.stamp.nanosec)
        confirm.publish(UInt32(data=image.header.stamp.nanosec))

    node.create_subscription(Image, "profile_test", take, qos_profile_sensor_data)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        with subprocess.Popen([sys.executable, "-c", SENDER]) as sender:
            while sender.poll() is None:
                executor.spin_once(timeout_sec=0.2)
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert sender.returncode == 0
    assert received == set(range(COUNT + 1))
