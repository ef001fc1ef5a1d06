"""The rules between the rooms of the house, read from the source: who may import whom, and what packaging must know."""

from __future__ import annotations

import ast
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("uniugg_core", "uniugg_ros", "training")
FORBIDDEN = {
    "uniugg_core": {"rclpy", "uniugg_ros", "training", "uniugg_interfaces"},
    "training": {"rclpy", "uniugg_ros", "uniugg_interfaces"},
    "uniugg_ros": {"training"},
}
DISTRIBUTIONS = {"cv2": "opencv-python-headless", "PIL": "pillow", "yaml": "pyyaml", "skimage": "scikit-image"}
ROS_OPTIONAL = {"tf2_ros", "cv_bridge", "rclpy", "launch", "launch_ros"}  # used where they are installed


def sources(room: str) -> list[Path]:
    return sorted(path for path in (ROOT / room).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """(top module, line, whether it is imported with the file) of every absolute import."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    outer = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        for name in names:
            yield name.split(".")[0], node.lineno, id(node) in outer


def normal(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def declared() -> tuple[set[str], set[str]]:
    """(core requirements, requirements of all extras) of setup.py, without running setup()."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id in ("CORE", "EXTRAS")
    }
    extras = {normal(requirement) for group in values["EXTRAS"].values() for requirement in group}
    return {normal(requirement) for requirement in values["CORE"]}, extras


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it(room: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in sources(room)
        for module, line, _ in imports(path)
        if module in FORBIDDEN[room]
    ]
    assert found == []


def test_the_rule_would_notice(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("import numpy\ndef f():\n    from rclpy.node import Node\n")
    assert list(imports(path)) == [("numpy", 1, True), ("rclpy", 3, False)]


def ros_packages() -> set[str]:
    tree = ET.parse(ROOT / "package.xml").getroot()
    return {element.text or "" for kind in ("depend", "exec_depend") for element in tree.findall(kind)}


@pytest.mark.parametrize("room", ROOMS)
def test_every_import_is_a_declared_requirement(room: str) -> None:
    core, extras = declared()
    own = {*ROOMS, *sys.stdlib_module_names}
    missing = []
    for path in sources(room):
        for module, line, at_import in imports(path):
            name = DISTRIBUTIONS.get(module, module).lower().replace("_", "-")
            if module in own or module in ROS_OPTIONAL or module in ros_packages():
                continue
            allowed = core if at_import and room == "uniugg_core" else core | extras
            if name not in allowed and name != "torchvision":  # torchvision is only worked around, never used
                missing.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert missing == []


def test_every_ros_import_is_in_package_xml() -> None:
    ros = re.compile(r"(rclpy|tf2_.*|.*_msgs|.*_interfaces|action_msgs)$")
    used = {module for path in sources("uniugg_ros") for module, _, _ in imports(path) if ros.match(module)}
    assert used, "the node imports no ROS package at all?"
    assert used - ros_packages() == set()


@pytest.mark.parametrize("room", ROOMS)
def test_no_star_imports_no_eval_and_no_assert_for_checks(room: str) -> None:
    found = []
    for path in sources(room):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            star = isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if star or name in ("eval", "exec") or isinstance(node, ast.Assert):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


@pytest.mark.parametrize("room", ROOMS)
def test_files_stay_small_enough_to_read(room: str) -> None:
    long = {str(p.relative_to(ROOT)): n for p in sources(room) if (n := len(p.read_text().splitlines())) > 500}
    assert long == {}
