"""The launch file against the code it starts: names, parameters, files and defaults must exist and agree."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launch_standin import Recorded, modules, resolve

from uniugg_ros import names
from uniugg_ros.parameters import SPECS

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "launch" / "uniugg.launch.py"


@pytest.fixture
def description(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """The entities of the launch description."""
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return runpy.run_path(str(FILE))["generate_launch_description"]().args[0]


@pytest.fixture
def arguments(description: list[Recorded]) -> dict[str, Recorded]:
    return {entity.args[0]: entity for entity in description if entity.kind == "DeclareLaunchArgument"}


@pytest.fixture
def defaults(arguments: dict[str, Recorded]) -> dict[str, str]:
    return {name: resolve(entity.kwargs["default_value"], {}, str(ROOT)) for name, entity in arguments.items()}


@pytest.fixture
def start(description: list[Recorded]) -> Callable[[dict[str, str]], dict[str, Any]]:
    """What the node is started with, for given arguments."""
    (opaque,) = [entity for entity in description if entity.kind == "OpaqueFunction"]

    def started(arguments: dict[str, str]) -> dict[str, Any]:
        (found,) = opaque.kwargs["function"](arguments)
        assert found.kind == "LifecycleNode"
        return found.kwargs

    return started


@pytest.fixture
def node(start: Callable[[dict[str, str]], dict[str, Any]], defaults: dict[str, str]) -> dict[str, Any]:
    return start(defaults)


def test_every_argument_says_what_it_means(arguments: dict[str, Recorded]) -> None:
    assert len(arguments) > 10
    for name, entity in arguments.items():
        description = entity.kwargs["description"]
        assert description.endswith(".") and len(description) > 15, name


def test_the_executable_exists_and_asks_the_environment_for_python(node: dict[str, Any]) -> None:
    assert node["executable"] == names.EXECUTABLE
    script = ROOT / "scripts" / node["executable"]
    assert script.read_text().startswith("#!/usr/bin/env python3\n")
    assert script.stat().st_mode & 0o111 == 0o111


def test_the_default_name_is_the_node_s_own(node: dict[str, Any], defaults: dict[str, str]) -> None:
    assert resolve(node["name"], defaults, str(ROOT)) == names.NODE


def test_remappings_start_at_topics_the_node_subscribes_to(node: dict[str, Any]) -> None:
    sources = {source for source, _ in node["remappings"]}
    relative = {name for name in names.SUBSCRIPTIONS if not name.startswith("/")}
    assert sources == relative


def test_a_camera_topic_reaches_both_image_transports(node: dict[str, Any], defaults: dict[str, str]) -> None:
    chosen = {**defaults, "image": "/cam/image_raw"}
    got = {source: resolve(target, chosen, "") for source, target in node["remappings"]}
    assert got["image"] == "/cam/image_raw"
    assert got["image/compressed"] == "/cam/image_raw/compressed"


def test_without_arguments_the_parameter_file_decides(node: dict[str, Any], defaults: dict[str, str]) -> None:
    file, values = node["parameters"]
    assert resolve(file, defaults, str(ROOT)) == str(ROOT / "config" / "uniugg.yaml")
    assert set(values) == {"use_sim_time"}


def test_arguments_win_over_the_parameter_file_and_are_declared(
    start: Callable[[dict[str, str]], dict[str, Any]], defaults: dict[str, str]
) -> None:
    given = {"model": "tiny", "device": "auto", "image_transport": "compressed", "autostart": "false"}
    _, values = start({**defaults, **given})["parameters"]
    assert set(values) == {*given, "use_sim_time"}
    for name in given:
        assert SPECS[name].kind is values[name].kwargs["value_type"]
        assert resolve(values[name], given, "") == given[name]


def test_files_named_by_defaults_exist(defaults: dict[str, str]) -> None:
    paths = {name: value for name, value in defaults.items() if value.startswith(str(ROOT))}
    assert set(paths) == {"params_file", "fastdds_profile", "rviz_config"}
    for path in paths.values():
        assert Path(path).is_file()


def test_the_profile_is_named_for_every_distribution(description: list[Recorded], defaults: dict[str, str]) -> None:
    variables = {
        entity.args[0]: resolve(entity.args[1], defaults, str(ROOT))
        for entity in description
        if entity.kind == "SetEnvironmentVariable"
    }
    profile = str(ROOT / "config" / "fastdds.xml")
    assert variables == {
        "FASTRTPS_DEFAULT_PROFILES_FILE": profile,
        "FASTDDS_DEFAULT_PROFILES_FILE": profile,
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def test_every_argument_is_used(
    description: list[Recorded],
    arguments: dict[str, Recorded],
    start: Callable[[dict[str, str]], dict[str, Any]],
) -> None:
    used: set[str] = set()

    def visit(value: Any) -> None:
        if isinstance(value, Recorded):
            if value.kind == "LaunchConfiguration":
                used.add(value.args[0])
            visit(value.args)
            visit(value.kwargs)
        elif isinstance(value, dict):
            visit(list(value.values()))
        elif isinstance(value, (list, tuple)):
            for part in value:
                visit(part)

    visit(description)
    visit(start({name: "true" for name in arguments}))
    assert used == set(arguments)


def test_rviz_starts_only_when_asked(description: list[Recorded], defaults: dict[str, str]) -> None:
    (rviz,) = [entity for entity in description if entity.kind == "Node"]
    assert defaults["rviz"] == "false"
    assert rviz.kwargs["condition"].args[0].args == ("rviz",)


def test_command_lines_in_the_documentation_name_real_arguments(arguments: dict[str, Recorded]) -> None:
    texts = [FILE, ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    lines = [line for path in texts if path.is_file() for line in path.read_text().splitlines() if FILE.name in line]
    mentioned = {name for line in lines for name in re.findall(r"\b([a-z_]+):=", line)}
    assert {"image", "camera_info"} <= mentioned <= set(arguments)


def test_tables_in_the_documentation_list_every_argument(arguments: dict[str, Recorded]) -> None:
    for path in sorted((ROOT / "docs").glob("*.md")):
        _, found, section = path.read_text().partition("## Launch arguments")
        if found:
            table = section.split("\n## ")[0]
            assert set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)) == set(arguments), path
