"""Writes ``requirements/constraints.txt`` from the environment it runs in: ``make pins``, once the tests pass there.

Only what pip installed is listed: the ROS 2 wheels carry a second set of metadata (``rclpy`` beside ``ros-rclpy``) that
names nothing on PyPI. torch comes first and without the name of its build, so that CPU and CUDA builds both satisfy it.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parent.parent / "requirements" / "constraints.txt"
OWN = {"uniugg-ros", "uniugg-interfaces", "tf2-msgs-standin"}
HEADER = """\
# Every distribution of the tested environment (Python 3.11, x86-64; all exist for 3.12), by `make pins`; do not edit.
# torch is first: it must never be upgraded by something else, its plain newest release is another one with CUDA.
"""


def main() -> int:
    """Writes the file; returns the exit status."""
    pins = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"].lower().replace("_", "-")
        if (distribution.read_text("INSTALLER") or "").strip() == "pip" and name not in OWN:
            pins[name] = distribution.version.split("+")[0]
    order = sorted(pins, key=lambda name: (name != "torch", name))
    CONSTRAINTS.write_text(HEADER + "".join(f"{name}=={pins[name]}\n" for name in order), encoding="utf-8")
    print(f"{CONSTRAINTS}: {len(pins)} pins")
    return 0


if __name__ == "__main__":
    sys.exit(main())
