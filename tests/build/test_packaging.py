"""What pip makes of the tree: metadata, commands, data files; and that versions and pins stand in one place."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from configparser import ConfigParser
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TREE = ("config", "launch", "resource", "rviz", "scripts", "uniugg_core", "uniugg_ros", "training")
KEYS = {  # of rosdep, for what the code needs from outside of ROS
    "python3-numpy",
    "python3-opencv",
    "python3-pytorch-pip",
    "python3-transformers-pip",
    "python3-huggingface-hub-pip",
}


def package_xml(folder: Path) -> ET.Element:
    return ET.parse(folder / "package.xml").getroot()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy so that nothing is left in the tree."""
    copy = tmp_path_factory.mktemp("source")
    for name in TREE:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "package.xml", "pyproject.toml", "MANIFEST.in"):
        shutil.copy2(ROOT / name, copy / name)
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation", "-w", str(out), "."]
    subprocess.run(command, cwd=copy, check=True, timeout=120)
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_version_stands_in_package_xml_alone(wheel: zipfile.ZipFile) -> None:
    version = package_xml(ROOT).findtext("version")
    (metadata,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    assert Parser().parsestr(wheel.read(metadata).decode())["Version"] == version
    text = (ROOT / "setup.py").read_text() + (ROOT / "pyproject.toml").read_text()
    assert f'"{version}"' not in text


def test_the_interfaces_have_the_same_version_everywhere() -> None:
    folder = ROOT / "ros2_ws" / "src" / "uniugg_interfaces"
    version = package_xml(folder).findtext("version")
    assert f'\nversion = "{version}"\n' in (folder / "pyproject.toml").read_text()
    assert version == package_xml(ROOT).findtext("version")


def test_console_scripts_and_commands(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    points = ConfigParser()
    points.read_string(wheel.read(name).decode())
    assert dict(points["console_scripts"]) == {
        "uniugg": "uniugg_core.cli:main",
        "uniugg_node": "uniugg_ros.node:main",
    }
    commands = dict(points["uniugg.commands"])
    assert {"info", "imagine", "ask", "convert", "demo", "view"} <= set(commands)
    for module in commands.values():
        path = ROOT / (module.replace(".", "/") + ".py")
        if not path.is_file():
            path = ROOT / module.replace(".", "/") / "__init__.py"
        tree = ast.parse(path.read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert {"configure", "run"} <= functions, module
        assert ast.get_docstring(tree), module


def test_the_wheel_lays_out_a_ros_package(wheel: zipfile.ZipFile) -> None:
    data = {name.split(".data/data/")[1]: info for info in wheel.infolist() if ".data/data/" in (name := info.filename)}
    assert "share/ament_index/resource_index/packages/uniugg_ros" in data
    for name in ("package.xml", "launch/uniugg.launch.py", "config/uniugg.yaml", "config/fastdds.xml"):
        assert f"share/uniugg_ros/{name}" in data
    for name in ("uniugg", "uniugg_node"):
        info = data[f"lib/uniugg_ros/{name}"]
        assert wheel.read(info).startswith(b"#!/usr/bin/env python3\n")
        assert info.external_attr >> 16 & stat.S_IXUSR


def test_the_wheel_holds_every_module_and_asset_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    rooms = ("uniugg_core", "uniugg_ros", "training")
    packed = {name for name in wheel.namelist() if name.startswith(tuple(f"{room}/" for room in rooms))}
    packages = {path.parent for room in rooms for path in (ROOT / room).rglob("__init__.py")}
    expected = {str(path.relative_to(ROOT)) for package in packages for path in package.glob("*.py")}
    for room in ("uniugg_core", "uniugg_ros"):
        files = (path for path in (ROOT / room).rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
        expected |= {str(path.relative_to(ROOT)) for path in files}
    assert expected - packed == set()
    top = {name.split("/")[0] for name in wheel.namelist() if ".dist-info" not in name and ".data/" not in name}
    assert top <= set(rooms)


@pytest.mark.parametrize("room", ["uniugg_core", "uniugg_ros", "training"])
def test_every_folder_with_modules_is_a_package(room: str) -> None:
    """A folder without __init__.py works from a checkout and is missing from every installation."""
    folders = {path.parent for path in (ROOT / room).rglob("*.py")}
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_setuptools_of_humble_can_read_the_metadata() -> None:
    """Version 59 knows no [project] table; a setup.cfg with script_dir would misplace pip's console scripts."""
    assert "[project]" not in (ROOT / "pyproject.toml").read_text()
    assert not (ROOT / "setup.cfg").exists()


def test_package_xml_names_rosdep_keys() -> None:
    root = package_xml(ROOT)
    assert root.get("format") == "3"
    assert root.findtext("export/build_type") == "ament_python"
    assert root.findtext("name") == (ROOT / "resource" / "uniugg_ros").name
    depends = {element.text for kind in ("depend", "exec_depend") for element in root.findall(kind)}
    assert KEYS | {"rclpy", "uniugg_interfaces", "sensor_msgs", "launch_ros", "tf2_ros"} <= depends


def setup_values() -> dict[str, object]:
    tree = ast.parse((ROOT / "setup.py").read_text())
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    wanted = ("CORE", "EXTRAS")
    return {n.targets[0].id: ast.literal_eval(n.value) for n in assigned if n.targets[0].id in wanted}


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements" / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def normal(name: str) -> str:
    return re.split(r"[\[<>=!~; ]", name, maxsplit=1)[0].lower().replace("_", "-")


def test_constraints_pin_everything_exactly_and_torch_first() -> None:
    lines = [
        line
        for line in (ROOT / "requirements" / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*", line) for line in lines)
    assert lines[0].startswith("torch==")
    values = setup_values()
    direct = {*values["CORE"], *(r for group in values["EXTRAS"].values() for r in group)}
    assert {normal(requirement) for requirement in direct} - set(pins()) == set()


def test_constraints_satisfy_the_ranges() -> None:
    from packaging.requirements import Requirement

    values = setup_values()
    for text in [*values["CORE"], *(r for group in values["EXTRAS"].values() for r in group)]:
        requirement = Requirement(text)
        pin = pins()[normal(requirement.name)]
        assert requirement.specifier.contains(pin), f"{text} against {pin}"


def test_the_environment_is_the_pinned_one() -> None:
    from importlib import metadata

    have = {normal(d.metadata["Name"]): d.version.split("+")[0] for d in metadata.distributions()}
    important = ("torch", "transformers", "diffusers", "numpy", "opencv-python-headless", "ros-rclpy", "rosbags")
    assert {name: have.get(name) for name in important} == {name: pins()[name] for name in important}
    assert "opencv-python" not in have, "two OpenCV builds share one folder"


def test_the_wheel_recipe_and_the_extras_have_the_same_pins() -> None:
    """`pip wheel ./uniugg_interfaces` and `make env` compile against the same ROS."""
    extras = setup_values()["EXTRAS"]
    ours = {normal(r): r for r in (*extras["ros-wheels"], *extras["ros-wheels-build"]) if "==" in r}
    for folder in ("ros2_ws/src/uniugg_interfaces", "tools/tf2_msgs_standin"):
        text = (ROOT / folder / "pyproject.toml").read_text()
        named = set(re.findall(r'"(ros-[a-z0-9-]+==[0-9.]+)"', text))
        assert named, folder
        assert {r for r in named if r != ours[normal(r)].replace("[fastrtps]", "")} == set()


def test_robot_requirements_are_the_core_s_with_numpy_1() -> None:
    lines = (ROOT / "requirements" / "robot.txt").read_text().splitlines()
    robot = {normal(line): line for line in lines if line and not line.startswith("#")}
    core = {normal(line): line for line in setup_values()["CORE"]}
    assert set(core) <= set(robot)
    differing = {name for name, line in core.items() if robot[name] != line}
    assert differing == {"numpy", "opencv-python-headless"}
    assert robot["numpy"].endswith("<2")


def test_every_console_module_imports_without_heavy_libraries() -> None:
    """`uniugg --help` must be instant: nothing it imports may bring torch."""
    code = "import sys, uniugg_core.cli as c; c.commands(); sys.exit('torch' in sys.modules)"
    assert importlib.util.find_spec("torch") is not None
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
