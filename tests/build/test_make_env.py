"""The decisions of the environment's maker, with a made-up pip; that it works from nothing is seen by running it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CUDA = {"version": "2.13.0", "requires_dist": ["filelock", 'nvidia-nccl-cu13==2; platform_system == "Linux"']}
CPU = {"version": "2.13.0+cpu", "requires_dist": ["filelock"]}
PLAIN_CPU = {"version": "2.13.0", "requires_dist": ["filelock", "sympy"]}
OTHER_CUDA = {"version": "2.13.0+cu130", "requires_dist": ["filelock"]}


@pytest.fixture
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_env", ROOT / "tools" / "make_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Pip:
    """Stands in for the environment's pip: remembers what was asked, answers as told."""

    def __init__(self, maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[list[str]] = []
        self.offered: dict[str, Any] = CUDA
        self.reports = 0
        self.have: str | None = None
        self.cpu_index_answers = True
        self.gpu = False
        monkeypatch.setattr(maker, "pip", self.run)
        monkeypatch.setattr(maker, "pip_report", self.report)
        monkeypatch.setattr(maker, "installed", lambda venv, name: self.have)
        monkeypatch.setattr(maker, "has_nvidia_gpu", lambda: self.gpu)

    def run(self, venv: Path, *args: object, check: bool = True) -> int:
        self.calls.append([str(part) for part in args])
        return 1 if "--index-url" in self.calls[-1] and not self.cpu_index_answers else 0

    def report(self, venv: Path, requirement: str) -> dict[str, Any]:
        self.reports += 1
        return {"install": [{"metadata": self.offered}]}


@pytest.fixture
def pip(maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Pip:
    return Pip(maker, monkeypatch)


@pytest.mark.parametrize(("metadata", "cpu"), [(CUDA, False), (CPU, True), (PLAIN_CPU, True), (OTHER_CUDA, False)])
def test_a_cpu_build_is_recognised(maker: ModuleType, metadata: dict[str, Any], cpu: bool) -> None:
    assert maker.is_cpu_build({"install": [{"metadata": metadata}]}) is cpu


def test_without_a_gpu_a_cuda_offer_is_replaced_by_the_cpu_index(maker: ModuleType, pip: Pip) -> None:
    maker.install_torch(Path("v"), "auto")
    (call,) = pip.calls
    assert call[-3:] == ["--index-url", "https://download.pytorch.org/whl/cpu", maker.pinned("torch")]


def test_without_a_gpu_a_cpu_offer_is_taken_and_no_other_host_asked(maker: ModuleType, pip: Pip) -> None:
    pip.offered = CPU
    maker.install_torch(Path("v"), "auto")
    (call,) = pip.calls
    assert "--index-url" not in call and call[-1] == maker.pinned("torch")


def test_with_a_gpu_the_configured_index_decides(maker: ModuleType, pip: Pip) -> None:
    pip.gpu = True
    maker.install_torch(Path("v"), "auto")
    assert pip.reports == 0
    assert ["--index-url" in call for call in pip.calls] == [False]


@pytest.mark.parametrize(("build", "gpu", "from_cpu_index"), [("cpu", True, True), ("cuda", False, False)])
def test_the_user_s_choice_wins(maker: ModuleType, pip: Pip, build: str, gpu: bool, from_cpu_index: bool) -> None:
    pip.gpu = gpu
    maker.install_torch(Path("v"), build)
    assert ["--index-url" in call for call in pip.calls] == [from_cpu_index]


def test_when_the_cpu_index_does_not_answer_the_other_build_is_taken(
    maker: ModuleType, pip: Pip, capsys: pytest.CaptureFixture[str]
) -> None:
    pip.cpu_index_answers = False
    maker.install_torch(Path("v"), "auto")
    assert ["--index-url" in call for call in pip.calls] == [True, False]
    assert "does not answer" in capsys.readouterr().out


@pytest.mark.parametrize(("have", "calls"), [("2.13.0+cpu", 0), ("2.13.0", 0), ("2.12.0", 1), (None, 1)])
def test_a_torch_that_is_there_is_left_alone(maker: ModuleType, pip: Pip, have: str | None, calls: int) -> None:
    pip.have = have
    pip.offered = CPU
    maker.install_torch(Path("v"), "auto")
    assert len(pip.calls) == calls


def test_a_sourced_ros_is_used_instead_of_the_wheels(
    maker: ModuleType, pip: Pip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[list[str]] = []
    monkeypatch.setattr(maker, "output", lambda *command: made.append([str(part) for part in command]) or "True")
    pip.offered = CPU
    maker.install_packages(tmp_path, "auto", "humble")
    assert "--system-site-packages" in made[0]
    everything = " ".join(part for call in pip.calls for part in call)
    assert "ros-wheels" not in everything
    # The exact pins are for the wheels' Python and NumPy; a robot's may be older.
    assert "robot.txt" in everything and "constraints.txt" not in everything


def test_messages_are_not_built_beside_a_ros_installation(
    maker: ModuleType, pip: Pip, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(maker, "importable", lambda python, module: False)
    maker.build_interfaces(Path("v"), "jazzy")
    assert pip.calls == []
    assert "colcon build" in capsys.readouterr().out


def test_a_sourced_ros_is_recognised(maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    assert maker.ros_installation("python3") is None
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setattr(maker, "importable", lambda python, module: True)
    assert maker.ros_installation("python3") == "jazzy"


def test_a_sourced_ros_of_another_python_is_not_mixed_with_the_wheels(
    maker: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DISTRO", "humble")
    monkeypatch.setattr(maker, "importable", lambda python, module: False)
    with pytest.raises(SystemExit, match="ROS 2 humble is sourced, but python3.11 cannot import its rclpy"):
        maker.ros_installation("python3.11")


def test_another_machine_is_told_what_to_do(maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Arm:
        sysname, machine = "Linux", "aarch64"

    monkeypatch.setattr(maker.os, "uname", Arm)
    with pytest.raises(SystemExit, match="aarch64"):
        maker.check_machine(wheels=True)
    maker.check_machine(wheels=False)


def test_a_missing_compiler_is_named(maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker.shutil, "which", lambda name: None if name == "g++" else f"/usr/bin/{name}")
    with pytest.raises(SystemExit, match=r"^g\+\+ not found; .*apt-get install"):
        maker.check_machine(wheels=True)


def test_a_debian_python_without_venv_is_named(maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "importable", lambda python, module: module != "ensurepip")
    with pytest.raises(SystemExit, match="apt-get install python3-venv"):
        maker.check_machine(wheels=False)


@pytest.mark.parametrize("target", ["env", "demo", "view", "test", "test-slow", "lint", "bench", "interfaces", "clean"])
def test_make_knows_its_targets(target: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "--dry-run", target, f"VENV={tmp_path}"], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(["make"], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert f"\n{target} " in f"\n{listed}"


def commands_of_make_env(venv: Path) -> list[str]:
    """The steps that `make env` would run now."""
    done = subprocess.run(
        ["make", "--dry-run", "env", f"VENV={venv}"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [line.split("--only ")[1] for line in done.stdout.splitlines() if "--only" in line]


def test_make_env_repeats_only_what_is_out_of_date(tmp_path: Path) -> None:
    assert commands_of_make_env(tmp_path) == ["packages", "interfaces"]
    stamps = [tmp_path / ".env-made", tmp_path / ".interfaces-made"]
    for stamp in stamps:
        stamp.touch()
    assert commands_of_make_env(tmp_path) == []
    os.utime(stamps[0], (0, 0))  # a requirement changed: the compiled messages stay
    assert commands_of_make_env(tmp_path) == ["packages"]
    stamps[0].touch()
    os.utime(stamps[1], (0, 0))  # a message changed
    assert commands_of_make_env(tmp_path) == ["interfaces"]
