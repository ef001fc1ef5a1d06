"""Show scenes in a browser, imagine from sliders, and ask questions.

Shows the scenes that `uniugg demo` left and the pictures of a recorded bag. Needs no ROS.
"""

from __future__ import annotations

import argparse
import threading
from pathlib import Path

from uniugg_core.commands import common
from uniugg_core.errors import ErrorCode, UniuggError

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``uniugg view``."""
    parser.add_argument(
        "scenes",
        type=Path,
        nargs="*",
        help="scene files or folders of them (default: demo_output/scenes, where it exists)",
    )
    parser.add_argument(
        "--bag", type=Path, help="pictures to ask about (default: the sample that comes with the source)"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for every (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=8080, help="default: %(default)s")
    common.add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Serves until interrupted."""
    from ..demo.recorded import read_pictures, sample_bag
    from .app import Viewer
    from .session import ViewSession

    scenes = find_scenes(args.scenes or [path for path in (Path("demo_output/scenes"),) if path.is_dir()])
    pictures = read_pictures(args.bag or sample_bag())
    session = ViewSession(pictures, scenes, lambda: common.load_pipeline(args))
    viewer = Viewer(session, args.host, args.port)
    print(f"{len(scenes)} saved scenes, {len(pictures)} pictures: open {viewer.url} (Ctrl-C ends)", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()
    finally:
        viewer.stop()
    return 0


def find_scenes(paths: list[Path]) -> dict[str, Path]:
    """Scene files by name; folders stand for the scenes in them.

    Raises:
        UniuggError: REQUEST_INVALID for a path that is neither.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in (".ply", ".npz"))
        elif path.is_file():
            files = [path]
        else:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"there is no scene at {path}")
        found.update({file.stem: file for file in files})
    return found
