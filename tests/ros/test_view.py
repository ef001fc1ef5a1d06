"""The viewer: it serves, imagines and answers through its own callbacks; in a browser where there is one."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request

import numpy as np
import pytest
from oracle import Oracle

from uniugg_core.commands.common import UNTRAINED_NOTE
from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.scene import Scene
from uniugg_ros.demo.recorded import read_pictures
from uniugg_ros.view.app import Viewer
from uniugg_ros.view.command import find_scenes
from uniugg_ros.view.session import Look, ViewSession

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def pictures(sample_bag):
    return read_pictures(sample_bag)


@pytest.fixture
def oracle(pictures):
    return Oracle(pictures)


@pytest.fixture
def viewer(pictures, oracle, tmp_path):
    points = np.random.default_rng(0).normal(size=(200, 3))
    Scene.from_arrays(points, source=[0, 1] * 100).save(tmp_path / "saved.ply")
    viewer = Viewer(ViewSession(pictures, find_scenes([tmp_path]), lambda: oracle), port=8461)
    yield viewer
    viewer.stop()


def test_it_serves_a_page_and_the_saved_scene(viewer):
    with urllib.request.urlopen(viewer.url, timeout=10) as reply:
        assert reply.status == 200 and b"<html" in reply.read().lower()
    assert len(viewer.scene) == 200


def test_a_question_is_answered_through_the_button(viewer, oracle):
    viewer.question.value = "How far?"
    viewer.ask()
    assert viewer.answer.value == "1.8 m away."
    assert oracle.calls == [("stream", viewer.session.pictures[8].stamp, "How far?")]
    assert viewer.note == f"*{UNTRAINED_NOTE}*"


def test_imagining_shows_the_new_scene_from_the_sliders_pose(viewer, oracle):
    viewer.imagine()
    assert len(viewer.scene) > 10_000
    (kind, _, pose, samples, steps) = oracle.calls[0]
    assert (kind, samples, steps) == ("imagine", 1, None)
    np.testing.assert_allclose(pose, Look(yaw=30).target_from_reference)


def test_a_refusal_is_said_and_the_next_request_works(viewer, oracle):
    def refuse(*_, **__):
        raise UniuggError(ErrorCode.QUESTION_EMPTY, "the question is empty")

    stream, oracle.stream = oracle.stream, refuse
    viewer.ask()
    assert viewer.answer.value == "QUESTION_EMPTY: the question is empty"
    oracle.stream = stream
    viewer.ask()
    assert viewer.answer.value == "1.8 m away."


def test_one_request_at_a_time(pictures, oracle):
    session = ViewSession(pictures, {}, lambda: oracle)

    def ask_meanwhile(progress):
        assert session.busy
        with pytest.raises(UniuggError, match="BUSY"):
            session.ask(0, "Where?")

    session.imagine(0, Look(), callback=ask_meanwhile)
    assert not session.busy
    assert session.ask(0, "Where?").text == "1.8 m away."


def test_without_a_model_it_only_shows(pictures):
    session = ViewSession(pictures, {})
    assert not session.can_ask and session.trained is None
    with pytest.raises(UniuggError, match="CHECKPOINT_MISSING"):
        session.ask(0, "Where?")


def test_a_model_that_does_not_load_leaves_the_session_usable(pictures, oracle):
    replies = [UniuggError(ErrorCode.CHECKPOINT_MISSING, "gone"), oracle]

    def load():
        reply = replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    session = ViewSession(pictures, {}, load)
    with pytest.raises(UniuggError, match="gone"):
        session.ask(0, "Where?")
    assert session.ask(0, "Where?").text


def test_find_scenes(tmp_path):
    for name in ("b.ply", "a.npz", "notes.txt"):
        (tmp_path / name).write_text("")
    assert list(find_scenes([tmp_path])) == ["a", "b"]
    assert list(find_scenes([tmp_path / "b.ply"])) == ["b"]
    with pytest.raises(UniuggError, match="no scene at"):
        find_scenes([tmp_path / "none"])


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_a_browser_draws_the_scene(viewer, tmp_path):
    """Software rendering; the picture must hold more than the panel on a white page."""
    import cv2
    from websockets.sync.client import connect

    viewer.imagine()
    flags = ["--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    flags += ["--ignore-gpu-blocklist", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000"]
    with (tmp_path / "browser.log").open("wb") as log:
        browser = subprocess.Popen(
            [CHROMIUM, *flags, "--remote-debugging-port=9222", viewer.url], stdout=log, stderr=log
        )
        try:
            page = _wait_for_page()
            time.sleep(10)  # software WebGL draws slowly
            with connect(page, max_size=None) as devtools:
                devtools.send(json.dumps({"id": 1, "method": "Page.captureScreenshot"}))
                reply = json.loads(devtools.recv())
        finally:
            browser.terminate()
            browser.wait()
    data = np.frombuffer(base64.b64decode(reply["result"]["data"]), np.uint8)
    screenshot = cv2.imdecode(data, cv2.IMREAD_COLOR)
    drawn = screenshot[200:, : screenshot.shape[1] // 2].reshape(-1, 3)
    assert len(np.unique(drawn // 16, axis=0)) > 100, "too few colours for a room"


def _wait_for_page() -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen("http://127.0.0.1:9222/json", timeout=2) as reply:
                pages = [page for page in json.load(reply) if page["type"] == "page"]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError("the browser did not start")
