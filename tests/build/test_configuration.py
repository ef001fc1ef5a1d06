"""What ships beside the code: parameter file, RViz configuration, Fast DDS profile, the sample recording."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from rosbags.highlevel import AnyReader

from uniugg_ros import names
from uniugg_ros.parameters import SPECS, Settings, yaml_defaults

ROOT = Path(__file__).resolve().parents[2]
DDS = {"d": "http://www.eprosima.com"}


def test_the_parameter_file_is_the_one_the_declarations_give() -> None:
    """Regenerate: python -c "from uniugg_ros.parameters import yaml_defaults as y; print(y(), end='')"."""
    assert (ROOT / "config" / "uniugg.yaml").read_text() == yaml_defaults()


def test_every_parameter_in_every_file_is_declared_and_taken() -> None:
    files = sorted((ROOT / "config").glob("*.yaml"))
    assert files
    for path in files:
        content = yaml.safe_load(path.read_text())
        assert list(content) == ["/**"], path  # matches the node whatever its name and namespace
        values = content["/**"]["ros__parameters"]
        assert set(values) <= set(SPECS), path
        Settings.checked(values)


def rviz() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "rviz" / "uniugg.rviz").read_text())["Visualization Manager"]


def topics(node: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(class of the display or tool, its topic settings) anywhere in an RViz configuration."""
    if isinstance(node, dict):
        if isinstance(node.get("Topic"), dict):
            yield node["Class"], node["Topic"]
        for value in node.values():
            yield from topics(value)
    elif isinstance(node, list):
        for value in node:
            yield from topics(value)


def test_rviz_shows_what_the_node_publishes() -> None:
    types = {
        "rviz_default_plugins/PointCloud2": "sensor_msgs/msg/PointCloud2",
        "rviz_default_plugins/Image": "sensor_msgs/msg/Image",
        "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray",
    }
    published = {names.expand(name): kind for name, kind in names.PUBLICATIONS.items()}
    shown = list(topics(rviz()["Displays"]))
    for display, topic in shown:
        assert published[topic["Value"]] == types[display]
    expected = {names.SCENE_IMAGINED, names.SCENE_OBSERVED, names.VIEW, names.FRUSTA}
    assert {topic["Value"] for _, topic in shown} == {names.expand(name) for name in expected}


def test_rviz_sends_target_poses() -> None:
    ((tool, topic),) = topics(rviz()["Tools"])
    assert (tool, topic["Value"]) == ("rviz_default_plugins/SetGoal", names.expand(names.TARGET_POSE))
    assert names.SUBSCRIPTIONS[names.TARGET_POSE] == "geometry_msgs/msg/PoseStamped"


def test_rviz_starts_in_the_frame_of_the_sample_camera() -> None:
    frame = rviz()["Global Options"]["Fixed Frame"]
    with AnyReader([ROOT / "samples" / "real_rgbd" / "bag"]) as reader:
        connections = [c for c in reader.connections if c.topic == "/camera/color/camera_info"]
        connection, _, raw = next(reader.messages(connections))
        assert reader.deserialize(raw, connection.msgtype).header.frame_id == frame


def test_the_profile_gives_images_room() -> None:
    root = ET.parse(ROOT / "config" / "fastdds.xml").getroot()
    transports = {t.find("d:transport_id", DDS).text: t for t in root.iterfind(".//d:transport_descriptor", DDS)}
    memory = next(t for t in transports.values() if t.find("d:type", DDS).text == "SHM")
    assert int(memory.find("d:maxMessageSize", DDS).text) >= 1920 * 1080 * 3
    assert int(memory.find("d:segment_size", DDS).text) >= 4 * int(memory.find("d:maxMessageSize", DDS).text)
    participant = root.find(".//d:participant", DDS)
    assert participant.get("is_default_profile") == "true"
    assert {t.text for t in participant.iterfind(".//d:userTransports/d:transport_id", DDS)} == set(transports)


def test_the_sample_recording_is_whole() -> None:
    with AnyReader([ROOT / "samples" / "real_rgbd" / "bag"]) as reader:
        counted = Counter(connection.topic for connection, _, _ in reader.messages())
    assert counted == {
        "/camera/color/camera_info": 24,
        "/camera/color/image_raw/compressed": 24,
        "/camera/depth/camera_info": 24,
        "/camera/depth/image_raw": 24,
        "/tf": 24,
        "/tf_static": 1,
    }


def test_the_sample_recording_keeps_its_licence() -> None:
    text = (ROOT / "samples" / "real_rgbd" / "LICENSE").read_text()
    assert "MIT License" in text and "Arda Duzceker" in text


def test_the_licence_is_apache_2() -> None:
    """The whole text, to the letter: the digest is that of the file the Apache foundation publishes."""
    digest = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def test_generated_pages_are_up_to_date() -> None:
    """Regenerate: python tools/make_docs.py."""
    done = subprocess.run([sys.executable, "tools/make_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_security_policy_has_the_nodes_names_and_parses() -> None:
    root = ET.parse(ROOT / "config" / "sros2_policy.xml").getroot()
    profiles = {profile.get("node"): profile for profile in root.iter("profile")}
    found = {
        (group.tag, action): {item.text for item in group} for group in profiles[names.NODE] for action in group.attrib
    }
    assert set(names.SUBSCRIPTIONS) <= found["topics", "subscribe"]
    assert set(names.PUBLICATIONS) <= found["topics", "publish"]
    assert set(names.SERVICES) <= found["services", "reply"] and set(names.ACTIONS) == found["actions", "execute"]
    asked = {item.text for group in profiles["operator"] if "request" in group.attrib for item in group}
    assert asked == {names.expand(name) for name in names.SERVICES}
