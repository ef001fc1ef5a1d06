"""The running node: how old its results are under a camera's load, and whether its memory stays flat.

    python -m benchmarks.node stream [--seconds 20] [--json FILE]   # 640x480 and 1280x720 at 15, 30 and 60 Hz
    python -m benchmarks.node callbacks [--seconds 20] [--json FILE]  # how long any of its callbacks takes meanwhile
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
from geometry_msgs.msg import PoseStamped
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
def node(*parameters: str, module: str = "uniugg_ros", **environment: str) -> Iterator[tuple[Child, Node]]:
    """A node's process, and one of ours that spins beside it."""
    profile = Path(__file__).resolve().parents[1] / "config" / "fastdds.xml"
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(ros_environment(Path(folder), 20 + os.getpid() % 80, profile))
        arguments = [part for parameter in parameters for part in ("-p", parameter)]
        child = Child("node", ["-m", module, "--ros-args", *arguments], Path(folder) / "node.log", environment)
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


CONTINUOUS = ("continuous:=true", "image_max_age:=0.0", "seed:=1")


def stream(seconds: float) -> list[dict[str, Any]]:
    """One row for each size and rate."""
    rows = []
    with node(*CONTINUOUS) as (_, own):
        camera = _Camera(own)
        for size in SIZES:
            for rate in RATES:
                rows.append(camera.film(size, rate, seconds))
                print(_line(rows[-1]), flush=True)
    return rows


def callbacks(seconds: float) -> dict[str, Any]:
    """Milliseconds of the node's callbacks under a camera of 640x480 at 30 Hz, while it imagines without a pause."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "times.json"
        with node(*CONTINUOUS, module="benchmarks.timed_node", CALLBACK_TIMES=str(file)) as (_, own):
            row = _Camera(own).film(SIZES[0], 30.0, seconds)
        times = json.loads(file.read_text(encoding="utf-8"))
    first = next(number for number, (name, _, _) in enumerate(times) if name.endswith(names.IMAGE))
    start, times = times[: first + 1], times[first + 1 :]  # loading, and whatever the first picture brings in
    values = sorted(value for _, value, _ in times)
    slowest = sorted(times, key=lambda item: -item[1])[:5]
    return {
        **row,
        "callbacks": len(values),
        "ms": {"p50": _rank(values, 0.5), "p99": _rank(values, 0.99), "p99.9": _rank(values, 0.999), "max": values[-1]},
        "ms_until_first_picture": max(value for _, value, _ in start),
        "over_5_ms": sum(value > 5 for value in values),
        "slowest": slowest,
    }


class _Camera:
    """Publishes pictures to the node, and hears the clouds that come of them."""

    def __init__(self, own: Node) -> None:
        wait_until_active(own)
        self.arrivals: list[tuple[float, float]] = []
        own.create_subscription(PointCloud2, names.expand(names.SCENE_IMAGINED), self._take, 5)
        self.speakers = [
            own.create_publisher(kind, names.expand(topic), 1)
            for kind, topic in ((Image, names.IMAGE), (CameraInfo, names.CAMERA_INFO), (PoseStamped, names.TARGET_POSE))
        ]
        while not all(speaker.get_subscription_count() for speaker in self.speakers):
            time.sleep(0.05)
        self.target = pose_message(FRAME, inverse_rigid(parse_motion("yaw right 20")))

    def _take(self, cloud: PointCloud2) -> None:
        now = time.time()
        self.arrivals.append((now, now - conversions.nanoseconds(cloud.header.stamp) / 1e9))

    def film(self, size: tuple[int, int], rate: float, seconds: float) -> dict[str, Any]:
        """What became of that many seconds of pictures."""
        width, height = size
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        self.arrivals.clear()
        sent = _publish(*self.speakers, self.target, pixels, Camera.from_fov(width, height, 1.1), rate, seconds)
        ages = sorted(age for _, age in self.arrivals[3:])
        return {
            "camera": f"{width}x{height}",
            "hz": rate,
            "published": sent,
            "clouds": len(self.arrivals),
            "clouds_per_s": len(self.arrivals) / seconds,
            "age_ms_p50": 1000 * _rank(ages, 0.5),
            "age_ms_p99": 1000 * _rank(ages, 0.99),
        }


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
    parser.add_argument("what", choices=("stream", "callbacks", "cycles"))
    parser.add_argument("--seconds", type=float, default=20.0, help="of each camera (default: %(default)g)")
    parser.add_argument("--count", type=int, default=200, help="cycles (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    if args.what == "cycles":
        found: Any = cycles(args.count)
    else:
        found = (stream if args.what == "stream" else callbacks)(args.seconds)
    if args.what == "callbacks":
        print(_line(found))
        print(f"{found['callbacks']} callbacks, {found['over_5_ms']} over 5 ms: " + json.dumps(found["ms"]))
        print(f"  {found['ms_until_first_picture']:6.2f} ms  the longest of those before, up to the first picture")
        for name, value, when in found["slowest"]:
            print(f"  {value:6.2f} ms  {name}, {when:.1f} s after the start")
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
