"""Run the real node on a recorded bag and leave scenes, pictures and answers.

The node runs as its own process, the bag is played on real topics, poses and questions go over the topic, the services
and the actions, and everything published is recorded. Needs rclpy, the compiled interfaces and rosbags: `make demo`
sees to that.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from uniugg_core.errors import ErrorCode, UniuggError

if TYPE_CHECKING:
    from rclpy.node import Node

    from .client import DemoClient
    from .outcome import Outcome
    from .processes import Child
    from .recorded import Picture
    from .report import RunFacts

__all__ = ["configure", "run"]

OURS = ("scenes", "pictures", "bag", "logs", "answers.txt", "result.json", "summary.md", "summary.html")
SETTLE = 1.0  # seconds: subscribers match, first pictures arrive
FIRST_DOMAIN, DOMAINS = 20, 80  # up to domain 101 the ports of DDS stay below those that Linux hands out by itself


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg demo``."""
    parser.add_argument("--out", type=Path, default=Path("demo_output"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--bag", type=Path, help="the bag to play (default: a rendered room, then a real recording)")
    parser.add_argument("--model", default="", help="checkpoint folder or preset (default: the model that ships)")
    parser.add_argument("--short", action="store_true", help="the real recording, one request of each kind")
    parser.add_argument("--domain", type=int, help="ROS domain (default: ROS_DOMAIN_ID, or one of the demo's own)")
    parser.add_argument("--start-timeout", type=float, default=120.0, metavar="SECONDS", help="default: %(default)g")


def run(args: argparse.Namespace) -> int:
    """Runs the demo; status 0 only if everything went as it should."""
    from .recorded import read_pictures, room_bag, sample_bag

    bags = [args.bag or sample_bag()]
    if args.bag is None and not args.short and (room := room_bag()) is not None:
        bags.insert(0, room)
    stops = [(bag, read_pictures(bag)) for bag in bags]
    _prepare(args.out)
    _set_environment(args)
    try:
        import rclpy  # noqa: F401

        import uniugg_interfaces.srv  # noqa: F401
    except ImportError as error:
        raise UniuggError(
            ErrorCode.INTERNAL, f"the demo needs rclpy and uniugg_interfaces ({error}); see `make demo`"
        ) from error
    outcomes, facts = _Run(args, stops).go()
    return _finish(args.out, outcomes, facts)


class _Run:
    """The processes and threads of one run."""

    def __init__(self, args: argparse.Namespace, stops: list[tuple[Path, list[Picture]]]) -> None:
        from .report import RunFacts

        self._args, self._stops = args, stops
        self._begin = time.monotonic()
        names = [bag.parent.name if bag.name == "bag" else bag.name for bag, _ in stops]
        self._facts = RunFacts(bag=" and ".join(names))

    def go(self) -> tuple[list[Outcome], RunFacts]:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        from .client import DemoClient, NoReply

        outcomes: list[Outcome] = []
        children = [self._start_node(), self._start_recorder()]
        node_process = children[0]
        rclpy.init(signal_handler_options=rclpy.SignalHandlerOptions.NO)
        player_node = rclpy.create_node("bag_player")
        client = DemoClient(lambda: node_process.alive)
        executor = SingleThreadedExecutor()
        executor.add_node(client)
        spinner = threading.Thread(target=executor.spin, name="demo client")
        spinner.start()
        try:
            self._say(f"node started (process {node_process.pid}), its log is {node_process.log}")
            client.wait_until_active(self._args.start_timeout)
            self._facts.start_seconds = time.monotonic() - self._begin
            self._say("node is active")
            self._take_model(client)
            for bag, pictures in self._stops:
                outcomes += self._tour(client, player_node, bag, pictures, len(outcomes) + 1)
        except NoReply as error:
            self._facts.problems.append(str(error))
            self._show_log(node_process)
        finally:
            executor.shutdown()
            spinner.join()
            client.destroy_node()
            player_node.destroy_node()
            rclpy.shutdown()
            self._stop(children)
        self._facts.recorded = _recorded(self._args.out / "bag")
        self._facts.seconds = time.monotonic() - self._begin
        return outcomes, self._facts

    def _tour(
        self, client: DemoClient, player_node: Node, bag: Path, pictures: list[Picture], first: int
    ) -> list[Outcome]:
        from .play import BagPlayer
        from .recorded import SAMPLE_TOPICS, known_questions
        from .tour import Tour

        topics = [SAMPLE_TOPICS.image, SAMPLE_TOPICS.camera_info, "/tf", "/tf_static"]
        player = BagPlayer(player_node, bag, topics)
        self._say(f"playing {bag}")
        player.start()
        try:
            time.sleep(SETTLE)
            return Tour(client, player, pictures, self._say, known_questions(bag), first).run(short=self._args.short)
        finally:
            player.stop()
            self._facts.played += sum(player.counts.values())

    def _start_node(self) -> Child:
        from .. import names
        from .processes import Child
        from .recorded import SAMPLE_TOPICS

        image = SAMPLE_TOPICS.image.removesuffix(names.COMPRESSED_SUFFIX)
        arguments = ["-m", "uniugg_ros", "--ros-args", "-r", f"{names.IMAGE}:={image}"]
        arguments += ["-r", f"{names.CAMERA_INFO}:={SAMPLE_TOPICS.camera_info}", "-p", "image_transport:=compressed"]
        if self._args.model:
            arguments += ["-p", f"model:={self._args.model}"]
        return Child("node", arguments, self._args.out / "logs" / "node.log", {})

    def _start_recorder(self) -> Child:
        from .processes import Child

        arguments = ["-m", "uniugg_ros.demo.record", str(self._args.out / "bag")]
        return Child("recorder", arguments, self._args.out / "logs" / "recorder.log", {})

    def _take_model(self, client: object) -> None:
        description = client.model_description(timeout=5.0)
        self._facts.model = description
        self._facts.trained = bool(description) and "untrained" not in description
        if self._facts.warning:
            self._say(self._facts.warning)

    def _stop(self, children: list[Child]) -> None:
        for child in reversed(children):  # the recorder first: what comes after is not part of the demo
            died = child.status
            status = child.stop()
            if died is not None:
                self._facts.problems.append(f"the {child.name} ended by itself with status {died}")
            elif status != 0:
                self._facts.problems.append(f"the {child.name} ended with status {status} when it was stopped")
            if died is not None or status != 0:
                self._show_log(child)

    def _show_log(self, child: Child) -> None:
        print(f"--- the end of {child.log} ---\n{child.tail()}\n---", file=sys.stderr)

    def _say(self, line: str) -> None:
        print(f"[{time.monotonic() - self._begin:5.1f} s] {line}", flush=True)


def _finish(out: Path, outcomes: list[Outcome], facts: RunFacts) -> int:
    from .report import write_report

    if not facts.recorded and not facts.problems:
        facts.problems.append("nothing was recorded")
    write_report(out, outcomes, facts)
    failed = [outcome for outcome in outcomes if not outcome.good]
    for problem in facts.problems:
        print(f"PROBLEM {problem}", file=sys.stderr)
    good = len(outcomes) - len(failed)
    print(f"{good} of {len(outcomes)} requests ended as they should; see {out / 'summary.html'}")
    return 1 if failed or facts.problems or not outcomes else 0


def _prepare(out: Path) -> None:
    """Makes the output folder and removes what an earlier demo left there, and nothing else."""
    out.mkdir(parents=True, exist_ok=True)
    for name in OURS:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    (out / "logs").mkdir()


def _set_environment(args: argparse.Namespace) -> None:
    """For this process, before DDS is loaded, and so for its children."""
    from ..shares import share
    from .processes import ros_environment

    domain = args.domain
    if domain is None:
        domain = int(os.environ.get("ROS_DOMAIN_ID", FIRST_DOMAIN + os.getpid() % DOMAINS))
    profile = share("config/fastdds.xml")
    os.environ.update(ros_environment((args.out / "logs").resolve(), domain, profile if profile.is_file() else None))


def _recorded(bag: Path) -> dict[str, int]:
    """Messages by topic in the recorded bag; empty if it cannot be read."""
    from rosbags.rosbag2 import Reader, ReaderError

    try:
        with Reader(bag) as reader:
            return {name: info.msgcount for name, info in sorted(reader.topics.items())}
    except (ReaderError, OSError):
        return {}
