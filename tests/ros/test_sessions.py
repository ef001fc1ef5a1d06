"""Conversations stay bounded in number, length and age; refusals are counted, and logged without flooding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.outputs import Turn
from uniugg_ros.refusals import MAX_MESSAGE, Refusals
from uniugg_ros.sessions import MAX_ID, SessionStore

LIMITS = {"max_sessions": 2, "expiry": 10.0}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def say(store, name, text, limits=LIMITS):
    history = store.history(name, **limits)
    store.append(name, Turn(text, text.upper()), max_turns=3)
    return history


def test_rounds_are_remembered_per_session(clock):
    store = SessionStore(clock)
    assert say(store, "a", "one") == ()
    assert say(store, "b", "other") == ()
    assert say(store, "a", "two") == (Turn("one", "ONE"),)


def test_no_id_no_history(clock):
    store = SessionStore(clock)
    say(store, "", "one")
    assert say(store, "", "two") == ()
    assert len(store) == 0


def test_the_oldest_round_is_forgotten_first(clock):
    store = SessionStore(clock)
    for text in "abcde":
        say(store, "s", text)
    assert [turn.question for turn in store.history("s", **LIMITS)] == ["c", "d", "e"]


def test_too_many_sessions_are_refused_until_one_expires(clock):
    store = SessionStore(clock)
    say(store, "a", "x")
    clock.now = 5
    say(store, "b", "x")
    with pytest.raises(UniuggError, match="limit is 2") as caught:
        store.history("c", **LIMITS)
    assert caught.value.code is ErrorCode.SESSION_LIMIT
    clock.now = 10.1  # a has been silent for more than ten seconds
    assert store.history("c", **LIMITS) == ()
    assert store.history("b", **LIMITS) != ()


def test_a_session_in_use_does_not_expire(clock):
    store = SessionStore(clock)
    for _ in range(10):
        clock.now += 6
        history = say(store, "a", "x")
    assert len(history) == 3


def test_an_overlong_id_is_refused(clock):
    with pytest.raises(UniuggError) as caught:
        SessionStore(clock).history("x" * (MAX_ID + 1), **LIMITS)
    assert caught.value.code is ErrorCode.REQUEST_INVALID


def test_an_answer_to_a_forgotten_session_is_dropped(clock):
    store = SessionStore(clock)
    store.history("a", **LIMITS)
    store.clear()
    store.append("a", Turn("q", "a"), max_turns=3)
    assert len(store) == 0


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 20)), max_size=60))
def test_memory_is_bounded_whatever_is_asked(calls):
    clock = Clock()
    store = SessionStore(clock)
    for name, pause in calls:
        clock.now += pause
        try:
            assert len(say(store, name, "x")) <= 3
        except UniuggError as error:
            assert error.code is ErrorCode.SESSION_LIMIT
        assert len(store) <= 2


def test_refusals_are_counted_and_logged_once_in_a_while(clock):
    lines = []
    refusals = Refusals(lines.append, period=5.0, clock=clock)
    stale = UniuggError(ErrorCode.IMAGE_STALE, "old")
    for _ in range(80):
        clock.now += 0.125
        refusals.add("image", stale)
    refusals.add("image", UniuggError(ErrorCode.IMAGE_MALFORMED, "step 0"))
    refusals.add("pose", UniuggError(ErrorCode.POSE_INVALID, "nan"))
    assert refusals.counts() == {"image/IMAGE_MALFORMED": 1, "image/IMAGE_STALE": 80, "pose/POSE_INVALID": 1}
    assert len([line for line in lines if "IMAGE_STALE" in line]) == 2  # at once, and after five seconds
    assert "39 more like it" in lines[1]
    assert len(lines) == 4
    assert refusals.last("image").code == "IMAGE_MALFORMED"
    assert refusals.last("nothing") is None


def test_a_hostile_value_does_not_fill_the_log(clock):
    lines = []
    Refusals(lines.append, clock=clock).add("ask", UniuggError(ErrorCode.QUESTION_EMPTY, "x" * 10**6))
    assert len(lines[0]) < MAX_MESSAGE + 100
