"""The demo from end to end: real processes, the real bag, real DDS, the real (untrained, tiny) model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict

import pytest
from rosbags.highlevel import AnyReader

from uniugg_core.commands.common import UNTRAINED_NOTE
from uniugg_core.images import load_image
from uniugg_core.pipeline import UniUGGPipeline
from uniugg_core.scene import IMAGINED, OBSERVED, Scene
from uniugg_ros.demo.command import _prepare
from uniugg_ros.demo.report import _shortened

TIME_LIMIT = 150  # seconds; it takes about 20 on two idle cores


def run_demo(folder, *arguments):
    # A domain apart from those of the tests: other nodes named /uniugg run there at the same time.
    domain = 20 + os.getpid() % 50
    command = [
        sys.executable,
        "-m",
        "uniugg_core.cli",
        "demo",
        "--short",
        "--out",
        str(folder),
        "--domain",
        str(domain),
    ]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=TIME_LIMIT)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    done = run_demo(folder, "--model", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_it_says_in_one_line_that_the_model_is_untrained(demo):
    folder, said = demo
    assert sum(UNTRAINED_NOTE in line for line in said.splitlines()) == 1
    assert UNTRAINED_NOTE in (folder / "summary.md").read_text().splitlines()[2]


def test_every_request_ended_as_it_should_over_all_three_ways(demo):
    result = json.loads((demo[0] / "result.json").read_text())
    assert result["problems"] == []
    assert all(request["good"] for request in result["requests"])
    ways = {(request["job"], request["via"]) for request in result["requests"]}
    assert {("imagine", "topic"), ("imagine", "service"), ("imagine", "action"), ("ask", "action")} <= ways
    assert any(request["code"] == "FRAME_UNKNOWN" for request in result["requests"])
    streamed = next(request for request in result["requests"] if request["title"] == "streamed")
    assert streamed["updates"] > 1
    followed = next(request for request in result["requests"] if "progress" in request["title"])
    assert followed["updates"] >= UniUGGPipeline.default().config.generation.steps, "one for each denoising step"


def test_scenes_are_observed_and_imagined_points(demo):
    scenes = sorted((demo[0] / "scenes").glob("*.ply"))
    assert len(scenes) == 3
    for path in scenes:
        scene = Scene.load(path)
        assert len(scene) > 1000 and set(scene.source.tolist()) == {OBSERVED, IMAGINED}


def test_pictures_for_a_person(demo):
    pictures = sorted((demo[0] / "pictures").glob("*.png"))
    assert len(pictures) == 5
    assert all(load_image(path).shape[1] == 1200 for path in pictures)


def test_poses_along_the_path_are_those_of_recorded_pictures(demo):
    requests = json.loads((demo[0] / "result.json").read_text())["requests"]
    along = [request for request in requests if request["target"] is not None]
    assert along
    for request in along:
        assert request["reference"] is not None, "the reply's stamp leads back to a recorded picture"
        assert request["target_from_reference"] is not None
        assert abs(request["target"] - request["reference"]) <= 8


def test_the_record_has_what_went_in_and_what_came_out(demo):
    with AnyReader([demo[0] / "bag"]) as reader:
        counts = {topic: info.msgcount for topic, info in reader.topics.items()}
        arrived = defaultdict(list)
        for connection, time, _ in reader.messages():
            arrived[connection.topic].append(time)
        cloud = next(
            reader.deserialize(data, c.msgtype)
            for c, _, data in reader.messages()
            if c.topic == "/uniugg/scene/imagined"
        )
        stamps = {
            (message.header.stamp.sec, message.header.stamp.nanosec)
            for c, _, data in reader.messages()
            if c.topic == "/camera/color/image_raw/compressed"
            for message in [reader.deserialize(data, c.msgtype)]
        }
    for topic in ("/camera/color/camera_info", "/tf", "/tf_static", "/target_pose", "/uniugg/view", "/uniugg/frusta"):
        assert counts.get(topic, 0) > 0, (topic, counts)
    # how many there are is the model's affair: ten a second were recorded, and they are played while it is asked
    pictures, clouds = (arrived[topic] for topic in ("/camera/color/image_raw/compressed", "/uniugg/scene/imagined"))
    assert pictures[0] < clouds[0] and pictures[-1] > clouds[-1]
    assert len(pictures) > 10 and len(pictures) > 5 * (pictures[-1] - pictures[0]) / 1e9
    assert (cloud.header.stamp.sec, cloud.header.stamp.nanosec) in stamps, "stamped as the picture it came from"
    assert cloud.header.frame_id == "camera_color_optical_frame" and cloud.width > 1000


def test_a_node_that_cannot_load_its_model_fails_the_demo_and_shows_why(tmp_path):
    done = run_demo(tmp_path, "--model", "/no/such/folder")
    assert done.returncode == 1
    assert "was not active" in done.stderr and "CHECKPOINT_MISSING" in done.stderr
    assert "was not active" in (tmp_path / "summary.md").read_text()


def test_an_earlier_demo_is_cleared_and_nothing_else(tmp_path):
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "old.ply").write_text("")
    (tmp_path / "summary.md").write_text("old")
    (tmp_path / "mine.txt").write_text("keep")
    _prepare(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "mine.txt"]


def test_of_a_long_answer_the_table_shows_what_it_comes_to():
    reasons = "the plant (-1.0, 3.4), the wardrobe (-1.0, 3.9), the box (0.2, 2.5)"
    assert _shortened("2.3 m") == "2.3 m"
    shown = _shortened(f"{reasons}: front-right")
    assert len(shown) == 60 and shown.startswith("the plant (-1.0, 3.4), ") and shown.endswith("… front-right")
    assert len(_shortened("word " * 40)) == 60
