"""What every test runs under: a ROS domain of its own for each pytest worker, offline, with checked message fields.

``tools/test_env`` sets the same before Python starts, for what is read then (OpenMP). Here it is set again so that a bare
``pytest tests/core`` works as well.
"""

from __future__ import annotations

import os
import sys
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
sys.path.insert(0, str(ROOT))

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
    return set(SHARED_MEMORY.glob("fastdds_*")) | set(SHARED_MEMORY.glob("sem.fastdds_*"))


def _in_use(path: Path) -> bool:
    """Whether some process has the segment mapped or open; one whose memory cannot be read counts as a user."""
    name = str(path)
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if name in (process / "maps").read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:
            return True
    return False


@pytest.fixture(scope="session", autouse=True)
def _shared_memory_is_returned() -> Iterator[None]:
    """Killed nodes leave their shared memory behind, 34 MB each; what appeared meanwhile and nobody uses is removed."""
    before = _segments()
    yield
    for path in _segments() - before:
        if not _in_use(path):
            path.unlink(missing_ok=True)
