"""Makes the environment that everything else runs in: ``make env`` calls this, with the Python it shall have.

    python3 tools/make_env.py [--venv .venv] [--only packages|interfaces] [--torch auto|cpu|cuda]

Standard library only, since nothing is installed yet. In order:

1. a virtual environment, with the pinned pip;
2. torch first and alone, so that nothing else can bring another build of it; on a machine without an NVIDIA GPU the CPU
   build (0.2 GB) instead of the CUDA build (about 3 GB with its libraries);
3. this project in editable mode with every requirement at the version of ``requirements/constraints.txt``;
4. the message packages, compiled against the ROS 2 wheels of PyPI.

Where a ROS installation is sourced (``ROS_DISTRO`` set and its rclpy importable), the wheels and step 4 are left out:
the environment then sees the system's packages, and ``colcon build`` makes the messages.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "requirements" / "constraints.txt"
MESSAGE_PACKAGES = ("ros2_ws/src/uniugg_interfaces", "tools/tf2_msgs_standin")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"  # PyTorch's public index of CPU builds
EXTRAS_EVERYWHERE = ("bags", "view", "runtime", "train", "parquet", "dev")
EXTRAS_WHEELS = ("ros-wheels", "ros-wheels-build")


def main(argv: list[str] | None = None) -> int:
    """Runs the steps; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="where the environment is or shall be")
    parser.add_argument("--only", choices=("packages", "interfaces"), help="steps 1 to 3, or step 4")
    parser.add_argument(
        "--torch",
        choices=("auto", "cpu", "cuda"),
        default=os.environ.get("UNIUGG_TORCH", "auto"),
        help="which build of torch; auto: by whether there is an NVIDIA GPU (also: UNIUGG_TORCH=...)",
    )
    args = parser.parse_args(argv)
    try:
        ros = ros_installation(sys.executable)
        begin = time.monotonic()
        if args.only != "interfaces":
            install_packages(args.venv, args.torch, ros)
        if args.only != "packages":
            build_interfaces(args.venv, ros)
        say(f"done in {time.monotonic() - begin:.0f} s: {args.venv}")
    except subprocess.CalledProcessError as error:
        print(f"error: this command failed with status {error.returncode}:\n  {' '.join(map(str, error.cmd))}")
        return 1
    except SystemExit as error:
        print(f"error: {error}")
        return 1
    return 0


def install_packages(venv: Path, torch_build: str, ros: str | None) -> None:
    """Steps 1 to 3; they may be repeated, what is already right is quick."""
    check_machine(wheels=ros is None)
    if not (venv / "bin" / "python").exists():
        say(f"virtual environment {venv}" + (f" on top of ROS 2 {ros}" if ros else ""))
        output(sys.executable, "-m", "venv", *(["--system-site-packages"] if ros else []), venv)
    pip(venv, "install", "-qq", "--constraint", constraints(ros), "--upgrade", "pip", "setuptools")
    install_torch(venv, torch_build, constraints(ros))
    extras = ",".join(EXTRAS_EVERYWHERE + (() if ros else EXTRAS_WHEELS))
    say("everything else, at the pinned versions")
    pip(
        venv,
        "install",
        "-qq",
        "--constraint",
        constraints(ros),
        "--no-build-isolation",
        "--editable",
        f"{ROOT}[{extras}]",
    )


def check_machine(*, wheels: bool) -> None:
    """Stops with a sentence when something is missing that pip cannot install."""
    oldest = (3, 11) if wheels else (3, 10)
    if sys.version_info < oldest:
        wanted = ".".join(map(str, oldest))
        raise SystemExit(f"Python {wanted} or newer is needed, this is {sys.version.split()[0]} (make env PYTHON=...)")
    if not importable(sys.executable, "ensurepip"):
        raise SystemExit(
            "this Python cannot make virtual environments; on Debian or Ubuntu: apt-get install python3-venv"
        )
    if not wheels:
        return
    machine = os.uname()
    if machine.sysname != "Linux" or machine.machine != "x86_64":
        raise SystemExit(
            f"the ROS 2 wheels exist for Linux on x86-64 only, this is {machine.sysname} on {machine.machine}; "
            "install ROS 2, source it and run this again"
        )
    missing = [name for name in ("gcc", "g++") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"{' and '.join(missing)} not found; on Debian or Ubuntu: apt-get install gcc g++ make")
    code = "import sysconfig, pathlib; print(pathlib.Path(sysconfig.get_path('include'), 'Python.h').is_file())"
    if output(sys.executable, "-c", code).strip() != "True":
        raise SystemExit("the headers of this Python are missing; on Debian or Ubuntu: apt-get install python3-dev")


def ros_installation(python: str) -> str | None:
    """The distribution's name where a ROS installation is sourced, else None; stops where it is another Python's."""
    distro = os.environ.get("ROS_DISTRO")
    if not distro:
        return None
    if not importable(python, "rclpy"):
        raise SystemExit(
            f"ROS 2 {distro} is sourced, but {python} cannot import its rclpy: use the Python it was built for "
            "(make env PYTHON=/usr/bin/python3), or a shell without it to use the ROS 2 wheels"
        )
    return distro


def constraints(ros: str | None) -> Path:
    """The exact versions; on top of a ROS installation its own packages decide about NumPy and the like."""
    return CONSTRAINTS if ros is None else ROOT / "requirements" / "robot.txt"


def install_torch(venv: Path, build: str, limits: Path = CONSTRAINTS) -> None:
    """Installs the pinned torch, as the build that suits the machine."""
    pin = pinned("torch")
    have = installed(venv, "torch")
    if have is not None and have.split("+")[0] == pin.split("==")[1]:
        return
    if build == "auto":
        build = "cuda" if has_nvidia_gpu() else "cpu"
    index: list[str] = []
    if build == "cpu":
        report = pip_report(venv, pin)
        if not is_cpu_build(report):
            say(f"no NVIDIA GPU: {pin} for the CPU, from {CPU_INDEX} (UNIUGG_TORCH=cuda takes PyPI's CUDA build)")
            index = ["--index-url", CPU_INDEX]
    if index and pip(venv, "install", "-qq", "--no-deps", *index, pin, check=False) == 0:
        return
    if index:
        say(f"{CPU_INDEX} does not answer; taking the build of the configured index, which also runs without a GPU")
    say(f"{pin} from the configured package index")
    pip(venv, "install", "-qq", "--constraint", limits, pin)


def pip_report(venv: Path, requirement: str) -> dict[str, Any]:
    """What pip would install for one requirement, without installing or resolving what it depends on."""
    python = venv / "bin" / "python"
    options = ("--dry-run", "--ignore-installed", "--no-deps", "-qq", "--report", "-")
    return json.loads(output(python, "-m", "pip", "install", *options, requirement))


def is_cpu_build(report: dict[str, Any]) -> bool:
    """Whether the torch of a pip report comes without CUDA: a ``+cpu`` version, or no NVIDIA package asked for."""
    metadata = report["install"][0]["metadata"]
    if "+" in metadata["version"]:
        return metadata["version"].endswith("+cpu")
    names = [requirement.lower() for requirement in metadata.get("requires_dist", [])]
    return not any(name.startswith(("nvidia-", "cuda-")) for name in names)


def has_nvidia_gpu() -> bool:
    """Whether an NVIDIA driver is running here."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def build_interfaces(venv: Path, ros: str | None) -> None:
    """Compiles the message packages into the environment; a ROS installation has colcon for that."""
    python = venv / "bin" / "python"
    if ros:
        if not importable(python, "uniugg_interfaces"):
            say("ROS is sourced: build the messages with (cd ros2_ws && colcon build), then source install/setup.bash")
        return
    say("message packages, compiled against the ROS 2 wheels")
    # One after the other: each compiles on all cores already.
    for package in MESSAGE_PACKAGES:
        pip(venv, "install", "-qq", "--no-deps", "--no-build-isolation", f"{ROOT}/{package}")


def pinned(name: str) -> str:
    """The line of the constraints file for one distribution, as ``name==version``."""
    for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}=="):
            return line.split("#")[0].strip()
    raise SystemExit(f"{CONSTRAINTS} does not pin {name}")


def installed(venv: Path, name: str) -> str | None:
    """The version of a distribution in the environment, or None."""
    code = f"from importlib import metadata as m; print(next((d.version for d in m.distributions(name={name!r})), ''))"
    return output(venv / "bin" / "python", "-c", code).strip() or None


def importable(python: str | Path, module: str) -> bool:
    """Whether another Python finds a module."""
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    return subprocess.run([str(python), "-c", code], capture_output=True, check=False).returncode == 0


def pip(venv: Path, *args: str | Path, check: bool = True) -> int:
    """Runs the environment's pip in sight of the user and returns its status."""
    command = [str(part) for part in (venv / "bin" / "python", "-m", "pip", *args)]
    return subprocess.run(command, cwd=ROOT, env=environment(venv), check=check).returncode


def output(*command: str | Path) -> str:
    """What a command prints; its messages stay in sight."""
    command = tuple(str(part) for part in command)
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT, env=environment()).stdout


def environment(venv: Path | None = None) -> dict[str, str]:
    """The environment for children; with `venv`, one where CMake finds the wheels in it and no other ROS."""
    own = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    if venv is not None:
        prefix = str(venv.absolute())
        own |= {"AMENT_PREFIX_PATH": prefix, "CMAKE_PREFIX_PATH": prefix}
        own["PATH"] = f"{prefix}/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return own


def say(text: str) -> None:
    """One line of progress."""
    print(f"[env] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
