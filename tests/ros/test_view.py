"""The viewer: it serves, imagines and answers through its own callbacks; in a browser where there is one."""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path

import cv2
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

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import screenshot  # noqa: E402


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
@pytest.mark.skipif(screenshot.CHROMIUM is None, reason="there is no Chromium here")
def test_a_browser_draws_the_scene(viewer):
    """Software rendering; the picture must hold more than the panel on a white page."""
    viewer.imagine()
    picture = cv2.imdecode(np.frombuffer(screenshot.capture(viewer.url), np.uint8), cv2.IMREAD_COLOR)
    drawn = picture[200:, : picture.shape[1] // 2].reshape(-1, 3)
    assert len(np.unique(drawn // 16, axis=0)) > 100, "too few colours for a room"
