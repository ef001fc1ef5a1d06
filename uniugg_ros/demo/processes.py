"""Child processes of the demo: started with a log file, watched, and stopped politely."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

__all__ = ["Child", "ros_environment"]

TAIL = 30  # lines of a log that are shown
PATIENCE = 10.0  # seconds between one way of stopping and the next, ruder one


def ros_environment(log_folder: Path, domain: int, profile: Path | None) -> dict[str, str]:
    """Environment variables for ROS processes that talk to each other on this machine only.

    Args:
        log_folder: where ROS writes its logs.
        domain: ROS domain, so that other ROS programs are not disturbed.
        profile: our ``fastdds.xml``, without which large messages are lost.
    """
    variables = {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(log_folder),
        "OMP_WAIT_POLICY": "PASSIVE",  # torch's threads otherwise spin while they wait and starve the others
        "PYTHONUNBUFFERED": "1",
    }
    if profile is not None:  # Jazzy reads the first name, Kilted the second
        variables["FASTRTPS_DEFAULT_PROFILES_FILE"] = variables["FASTDDS_DEFAULT_PROFILES_FILE"] = str(profile)
    return variables


class Child:
    """One Python process whose output goes to a file.

    Args:
        name: for messages to a person.
        arguments: of the Python interpreter, e.g. ``["-m", "uniugg_ros.node"]``.
        log: file for its standard output and error.
        environment: variables over the present ones.
    """

    def __init__(self, name: str, arguments: Sequence[str], log: Path, environment: dict[str, str]) -> None:
        self.name, self.log = name, log
        self._file: IO[bytes] = log.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C in the terminal reaches us first, and we stop it in order
        )

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def tail(self, lines: int = TAIL) -> str:
        """The end of what it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> int:
        """Interrupts it, then terminates, then kills; returns the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            self._process.send_signal(number)
            until = time.monotonic() + PATIENCE
            while self._process.poll() is None and time.monotonic() < until:
                time.sleep(0.02)
        self._file.close()
        return self._process.wait()
