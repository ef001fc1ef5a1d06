"""Takes the picture of the viewer that is in the docs: a room imagined from the side, and a question answered.

    python tools/screenshot.py [docs/pictures/viewer.png]

Needs Chromium; drawing is done in software.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PORT = 9222
# what the page says of software rendering is about this machine, not about the viewer
_CLOSE = "document.querySelectorAll('[class*=Notification-closeButton]').forEach(button => button.click())"
FLAGS = (
    "--headless=new --no-sandbox --use-angle=swiftshader --enable-unsafe-swiftshader --ignore-gpu-blocklist "
    "--disable-background-networking --disable-component-update --disable-sync --no-first-run"
).split()


def capture(url: str, *, size: tuple[int, int] = (1400, 1000), patience: float = 10.0) -> bytes:
    """The page at `url` as PNG, `patience` seconds after it opened: software WebGL draws slowly.

    Raises:
        RuntimeError: if there is no Chromium, or it does not start.
    """
    from websockets.sync.client import connect

    if CHROMIUM is None:
        raise RuntimeError("there is no Chromium here")
    with tempfile.TemporaryDirectory() as folder:
        window = f"--window-size={size[0]},{size[1]}"
        command = [CHROMIUM, *FLAGS, window, f"--user-data-dir={folder}", f"--remote-debugging-port={PORT}", url]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            try:
                page = _page()
                time.sleep(patience)
                with connect(page, max_size=None) as devtools:
                    _ask(devtools, "Runtime.evaluate", expression=_CLOSE)
                    time.sleep(1)
                    reply = _ask(devtools, "Page.captureScreenshot")
            finally:
                browser.terminate()
                browser.wait()
    return base64.b64decode(reply["result"]["data"])


def _ask(devtools: Any, method: str, **parameters: Any) -> dict[str, Any]:
    devtools.send(json.dumps({"id": 1, "method": method, "params": parameters}))
    return json.loads(devtools.recv())


def _page() -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/json", timeout=2) as reply:
                pages = [page for page in json.load(reply) if page["type"] == "page"]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
        except OSError:
            pass
        time.sleep(0.2)
    raise RuntimeError("the browser did not start")


def main(argv: list[str] | None = None) -> int:
    """Writes the picture."""
    from uniugg_core.pipeline import UniUGGPipeline
    from uniugg_ros.demo.recorded import read_pictures, room_bag
    from uniugg_ros.view.app import Viewer
    from uniugg_ros.view.session import ViewSession

    words = sys.argv[1:] if argv is None else argv
    out = Path(words[0]) if words else ROOT / "docs" / "pictures" / "viewer.png"
    viewer = Viewer(ViewSession(read_pictures(room_bag()), {}, UniUGGPipeline.default), port=0)
    try:
        viewer.imagine()
        viewer.question.value = "How far is the wardrobe from the camera in metres?"
        viewer.ask()
        out.write_bytes(capture(viewer.url))
    finally:
        viewer.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
