"""The workspace as a robot builds it: colcon on a copy of the tree, then the installed node starts and answers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from uniugg_ros import names

ROOT = Path(__file__).resolve().parents[2]
VENV = Path(sys.prefix)
COPIED = ("config", "launch", "resource", "rviz", "scripts", "uniugg_core", "uniugg_ros", "training", "ros2_ws")
WITHOUT = shutil.ignore_patterns("__pycache__", "build", "install", "log")

pytestmark = [
    pytest.mark.timeout(600),  # half a minute of compiling on two idle cores, several on busy ones
    pytest.mark.skipif(shutil.which("colcon", path=str(VENV / "bin")) is None, reason="colcon is not installed"),
    pytest.mark.skipif(not (VENV / "share" / "rclpy").exists(), reason="made for the ROS 2 wheels"),
]

# Asks the node for its lifecycle state: a request and an answer over DDS.
ASK_STATE = """
import sys, rclpy
from lifecycle_msgs.srv import GetState
rclpy.init()
node = rclpy.create_node("asker")
client = node.create_client(GetState, sys.argv[1])
if not client.wait_for_service(timeout_sec=60.0):
    sys.exit("no such service: " + sys.argv[1])
future = client.call_async(GetState.Request())
rclpy.spin_until_future_complete(node, future, timeout_sec=30.0)
print(future.result().current_state.label)
rclpy.shutdown()
"""


def environment(**extra: str) -> dict[str, str]:
    """This environment as if the virtual environment was active, with colcon's view of the wheels."""
    own = {**os.environ, "VIRTUAL_ENV": str(VENV), "PATH": f"{VENV}/bin{os.pathsep}{os.environ['PATH']}"}
    own.pop("PYTHONPATH", None)
    own.pop("COLCON_PREFIX_PATH", None)
    return own | {"AMENT_PREFIX_PATH": str(VENV), "CMAKE_PREFIX_PATH": str(VENV), **extra}


def colcon(workspace: Path, *args: str) -> str:
    done = subprocess.run(
        ["colcon", *args], cwd=workspace, env=environment(), text=True, capture_output=True, timeout=540
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone has of the files that a build reads; links stay links."""
    copy = tmp_path_factory.mktemp("clone")
    for name in COPIED:
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=WITHOUT)
    for name in ("setup.py", "package.xml", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md"):
        if (ROOT / name).is_file():
            shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def install(tree: Path) -> Path:
    """The install folder of the built workspace."""
    workspace = tree / "ros2_ws"
    # -O0: this proves that it builds and runs, not that it is fast.
    options = ("-DCMAKE_PROJECT_INCLUDE=wheels.cmake", "-DCMAKE_BUILD_TYPE=Debug")
    colcon(workspace, "build", "--cmake-args", *options)
    return workspace / "install"


def in_workspace(install: Path, script: str, *args: str, timeout: float = 120) -> str:
    """What a shell prints that has sourced the workspace."""
    command = ["bash", "-ec", f'. "{install}/local_setup.bash"; {script}', "bash", *args]
    done = subprocess.run(command, env=environment(), text=True, capture_output=True, timeout=timeout, cwd="/")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def test_the_workspace_holds_two_packages_and_no_endless_folder(tree: Path) -> None:
    link = tree / "ros2_ws" / "src" / "uniugg_ros"
    assert link.is_symlink() and os.readlink(link) == "../.."
    listed = [line.split()[::2] for line in colcon(tree / "ros2_ws", "list").splitlines()]
    assert listed == [["uniugg_interfaces", "(ros.ament_cmake)"], ["uniugg_ros", "(ros.ament_python)"]]


def test_a_clone_in_somebodys_workspace_is_found_through_both_base_paths(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "uniugg").symlink_to(tree)
    listed = colcon(tmp_path, "list", "--names-only", "--base-paths", "src", "src/uniugg/ros2_ws/src").split()
    assert listed == ["uniugg_interfaces", "uniugg_ros"]


def test_colcon_installs_what_ros2_run_and_launch_look_for(install: Path) -> None:
    prefix = install / "uniugg_ros"
    assert (prefix / "share/ament_index/resource_index/packages/uniugg_ros").is_file()
    for name in ("package.xml", "launch/uniugg.launch.py", "config/uniugg.yaml", "rviz/uniugg.rviz"):
        assert (prefix / "share/uniugg_ros" / name).is_file(), name
    assert (prefix / "share/uniugg_ros/config/fastdds.xml").is_file()
    executables = sorted((prefix / "lib/uniugg_ros").iterdir())
    assert [path.name for path in executables] == ["uniugg", names.EXECUTABLE]
    for path in executables:
        assert os.access(path, os.X_OK)
        assert path.read_text().splitlines()[0] == "#!/usr/bin/env python3"


def test_the_command_of_the_workspace_is_the_workspace_s(install: Path) -> None:
    modules = "import uniugg_core, uniugg_ros, uniugg_interfaces as i; print(uniugg_core.__file__, i.__file__)"
    for path in in_workspace(install, 'python3 -c "$1"', modules).split():
        assert path.startswith(str(install)), path
    listed = in_workspace(install, f'"{install}/uniugg_ros/lib/uniugg_ros/uniugg" --help')
    for command in ("info", "imagine", "ask", "convert", "demo", "view"):
        assert f"\n    {command} " in listed


@pytest.fixture
def node(install: Path) -> Iterator[subprocess.Popen[str]]:
    """The installed node, not configured, so that no model is needed."""
    executable = install / "uniugg_ros/lib/uniugg_ros" / names.EXECUTABLE
    options = "--ros-args -r __ns:=/colcon -p autostart:=false"
    command = ["bash", "-ec", f'. "{install}/local_setup.bash"; exec "{executable}" {options}']
    with subprocess.Popen(
        command, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/"
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()


def test_the_installed_node_starts_answers_and_stops(install: Path, node: subprocess.Popen[str]) -> None:
    service = f"/colcon/{names.NODE}/get_state"
    assert in_workspace(install, 'python3 -c "$1" "$2"', ASK_STATE, service).strip() == "unconfigured"
    node.send_signal(signal.SIGINT)
    output, _ = node.communicate(timeout=20)
    assert node.returncode == 0, output
