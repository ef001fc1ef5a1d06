"""The running node: how old its results are under a camera's load, and whether its memory stays flat.

    python -m benchmarks.node stream [--seconds 20] [--json FILE]   # 640x480 and 1280x720 at 15, 30 and 60 Hz
    python -m benchmarks.node cycles [--count 200] [--json FILE]    # configure, activate, deactivate, clean up

`stream`: the node imagines the same target pose again with each new picture (`continuous`), as fast as the model goes.
Age is from the picture's stamp, set when it is published, to the arrival of the cloud made from it; the latest picture
wins, so it stays near one inference plus the wait for the next picture, however fast the camera is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from uniugg_core.cameras import Camera, inverse_rigid, parse_motion
from uniugg_ros import conversions, names
from uniugg_ros.demo.client import pose_message
from uniugg_ros.demo.processes import Child, ros_environment

FRAME = "camera_optical"
SIZES, RATES = ((640, 480), (1280, 720)), (15.0, 30.0, 60.0)
CYCLE = ("configure", "activate", "deactivate", "cleanup")


@contextmanager
def node(*parameters: str) -> Iterator[tuple[Child, Node]]:
    """A node's process, and one of ours that spins beside it."""
    profile = Path(__file__).resolve().parents[1] / "config" / "fastdds.xml"
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(ros_environment(Path(folder), 20 + os.getpid() % 80, profile))
        arguments = [part for parameter in parameters for part in ("-p", parameter)]
        child = Child("node", ["-m", "uniugg_ros", "--ros-args", *arguments], Path(folder) / "node.log", {})
        rclpy.init(signal_handler_options=rclpy.SignalHandlerOptions.NO)
        own = Node("benchmark")
        executor = SingleThreadedExecutor()
        executor.add_node(own)
        spinner = threading.Thread(target=executor.spin)
        spinner.start()
        try:
            yield child, own
        finally:
            executor.shutdown()
            spinner.join()
            own.destroy_node()
            rclpy.shutdown()
            child.stop()


def call(client: Any, request: Any, timeout: float = 120.0) -> Any:
    """A service's reply."""
    client.wait_for_service(timeout)
    future = client.call_async(request)
    until = time.monotonic() + timeout
    while not future.done():
        if time.monotonic() > until:
            raise RuntimeError(f"no reply from {client.srv_name}")
        time.sleep(0.005)
    return future.result()


def wait_until_active(own: Node) -> None:
    """Waits for the model to be loaded."""
    client = own.create_client(GetState, names.expand("~/get_state"))
    while call(client, GetState.Request()).current_state.label != "active":
        time.sleep(0.2)


def stream(seconds: float) -> list[dict[str, Any]]:
    """One row for each size and rate."""
    rows = []
    with node("continuous:=true", "image_max_age:=0.0", "seed:=1") as (_, own):
        wait_until_active(own)
        arrivals: list[tuple[float, float]] = []

        def take(cloud: PointCloud2) -> None:
            now = time.time()
            arrivals.append((now, now - conversions.nanoseconds(cloud.header.stamp) / 1e9))

        own.create_subscription(PointCloud2, names.expand(names.SCENE_IMAGINED), take, 5)
        image = own.create_publisher(Image, names.expand(names.IMAGE), 1)
        info = own.create_publisher(CameraInfo, names.expand(names.CAMERA_INFO), 1)
        pose = own.create_publisher(type(pose_message("", np.eye(4))), names.expand(names.TARGET_POSE), 1)
        while not (image.get_subscription_count() and info.get_subscription_count() and pose.get_subscription_count()):
            time.sleep(0.05)
        target = pose_message(FRAME, inverse_rigid(parse_motion("yaw right 20")))
        for width, height in SIZES:
            pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
            camera = Camera.from_fov(width, height, 1.1)
            for rate in RATES:
                arrivals.clear()
                sent = _publish(image, info, pose, target, pixels, camera, rate, seconds)
                ages = sorted(age for when, age in arrivals[3:])
                rows.append(
                    {
                        "camera": f"{width}x{height}",
                        "hz": rate,
                        "published": sent,
                        "clouds": len(arrivals),
                        "clouds_per_s": len(arrivals) / seconds,
                        "age_ms_p50": 1000 * _rank(ages, 0.5),
                        "age_ms_p99": 1000 * _rank(ages, 0.99),
                    }
                )
                print(_line(rows[-1]), flush=True)
    return rows


def _publish(
    image: Any, info: Any, pose: Any, target: Any, pixels: np.ndarray, camera: Camera, rate: float, seconds: float
) -> int:
    message = conversions.image_message(pixels, conversions.header(FRAME, 0))
    calibration = conversions.info_message(camera, conversions.header(FRAME, 0))
    begin, sent = time.monotonic(), 0
    while time.monotonic() - begin < seconds:
        stamp = conversions.time_message(time.time_ns())
        message.header.stamp = calibration.header.stamp = stamp
        info.publish(calibration)
        image.publish(message)
        if sent == 2:
            pose.publish(target)
        sent += 1
        time.sleep(max(0.0, begin + sent / rate - time.monotonic()))
    return sent


def cycles(count: int) -> dict[str, Any]:
    """Resident memory of the node's process after the first tenth of the cycles and after the last."""
    with node("autostart:=false") as (child, own):
        change = own.create_client(ChangeState, names.expand("~/change_state"))
        memory, began = [], time.monotonic()
        for _ in range(count):
            for name in CYCLE:
                number = getattr(Transition, f"TRANSITION_{name.upper()}")
                if not call(change, ChangeState.Request(transition=Transition(id=number))).success:
                    raise RuntimeError(f"{name} failed:\n{child.tail()}")
            pages = int(Path(f"/proc/{child.pid}/statm").read_text().split()[1])
            memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        seconds = time.monotonic() - began
    return {
        "cycles": count,
        "seconds": seconds,
        "memory_mb": {"first": memory[0], "tenth": memory[max(0, count // 10 - 1)], "last": memory[-1]},
    }


def _rank(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(np.ceil(share * len(values))) - 1)] if values else float("nan")


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['camera']:>9} {row['hz']:3.0f} Hz: {row['published']:4d} pictures, {row['clouds']:4d} clouds "
        f"({row['clouds_per_s']:.1f}/s), age p50 {row['age_ms_p50']:.0f} ms, p99 {row['age_ms_p99']:.0f} ms"
    )


def main(argv: list[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("stream", "cycles"))
    parser.add_argument("--seconds", type=float, default=20.0, help="of each camera (default: %(default)g)")
    parser.add_argument("--count", type=int, default=200, help="cycles (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    found = stream(args.seconds) if args.what == "stream" else cycles(args.count)
    if args.what == "cycles":
        memory = found["memory_mb"]
        print(
            f"{found['cycles']} cycles in {found['seconds']:.0f} s; memory {memory['first']:.0f} MB after the first, "
            f"{memory['tenth']:.0f} after a tenth, {memory['last']:.0f} after the last"
        )
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
