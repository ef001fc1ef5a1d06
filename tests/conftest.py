"""What every test runs under: a ROS domain of its own for each pytest worker, offline, with checked message fields.

``tools/test_env`` sets the same before Python starts, for what is read then (OpenMP). Here it is set again so that a
bare ``pytest tests/core`` works as well.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED_MEMORY = Path("/dev/shm")
DOMAINS = 100  # Fast DDS takes domains 0 to 101 on Linux without touching the ephemeral ports


def _worker_number() -> int:
    """0 for pytest itself or the first xdist worker, 1 for the second, ..."""
    name = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return int(name.removeprefix("gw"))


def _set_environment() -> None:
    base = int(os.environ.setdefault("UNIUGG_TEST_DOMAIN", os.environ.get("ROS_DOMAIN_ID", "77")))
    os.environ["ROS_DOMAIN_ID"] = str((base + _worker_number()) % DOMAINS)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_PYTHON_CHECK_FIELDS", "1")
    os.environ.setdefault("ROS_LOG_DIR", str(Path(tempfile.gettempdir(), "uniugg-test-log")))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        os.environ.setdefault(name, str(ROOT / "config" / "fastdds.xml"))


_set_environment()  # at import: rclpy and Fast DDS read these when the first test module imports them

try:
    from uniugg_core._compat import ensure_torchvision
except ModuleNotFoundError as error:
    if not (error.name or "").startswith(("torch", "uniugg_core")):
        raise
else:
    ensure_torchvision()  # before any test module imports transformers, diffusers or lpips


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working tree."""
    return ROOT


@pytest.fixture(scope="session")
def sample_bag() -> Path:
    """The real recording that ships."""
    return ROOT / "samples" / "real_rgbd" / "bag"


def _segments() -> set[Path]:
    """Shared memory of Fast DDS processes; its small port files, which processes of a domain share, are left alone."""
    names = re.compile(r"(sem\.)?fast(rtps|dds)_[0-9a-f]{16}(_el)?")
    return {path for path in SHARED_MEMORY.glob("*fast*") if names.fullmatch(path.name)}


def _in_use() -> set[str]:
    """What processes have mapped or open; raises PermissionError when some process cannot be looked into."""
    used = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            used.update(line.split(maxsplit=5)[-1].strip() for line in (process / "maps").read_text().splitlines())
            used.update(os.readlink(link) for link in (process / "fd").iterdir())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    return used


@pytest.fixture(scope="session", autouse=True)
def _shared_memory_is_returned() -> Iterator[None]:
    """Killed nodes leave their shared memory behind, 34 MB each; what appeared meanwhile and nobody uses is removed."""
    before = _segments()
    yield
    left = _segments() - before
    if not left:
        return
    try:
        used = _in_use()
    except PermissionError:
        return
    for path in left:
        if str(path) not in used:
            path.unlink(missing_ok=True)
