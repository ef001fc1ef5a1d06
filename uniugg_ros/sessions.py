"""Conversations: the last rounds of each session, bounded in number, length and age; without ROS."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from uniugg_core.errors import ErrorCode, UniuggError
from uniugg_core.outputs import Turn

__all__ = ["MAX_ID", "SessionStore"]

MAX_ID = 128  # characters of a session id


@dataclass
class _Session:
    turns: deque[Turn] = field(default_factory=deque)
    used: float = 0.0


class SessionStore:
    """Histories by session id.

    Args:
        clock: seconds that only go forward, for the expiry.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[str, _Session] = OrderedDict()  # least recently used first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def history(self, session_id: str, *, max_sessions: int, expiry: float) -> tuple[Turn, ...]:
        """The rounds so far, oldest first; opens the session if it is new. An empty id has no history.

        Raises:
            UniuggError: SESSION_LIMIT if as many sessions are in use as allowed; REQUEST_INVALID for an overlong id.
        """
        if not session_id:
            return ()
        if len(session_id) > MAX_ID:
            raise UniuggError(
                ErrorCode.REQUEST_INVALID, f"the session id has {len(session_id)} characters, the limit is {MAX_ID}"
            )
        with self._lock:
            self._forget(expiry)
            if session_id not in self._sessions:
                if len(self._sessions) >= max_sessions:
                    raise UniuggError(
                        ErrorCode.SESSION_LIMIT,
                        f"{len(self._sessions)} sessions are in use, the limit is {max_sessions}; "
                        f"one is forgotten {expiry:g} s after its last question",
                    )
                self._sessions[session_id] = _Session()
            return tuple(self._touch(session_id).turns)

    def append(self, session_id: str, turn: Turn, *, max_turns: int) -> None:
        """Remembers a round; does nothing for an empty id or a session that has been forgotten meanwhile."""
        with self._lock:
            if session_id not in self._sessions:
                return
            turns = self._touch(session_id).turns
            turns.append(turn)
            while len(turns) > max_turns:
                turns.popleft()

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._sessions.clear()

    def _touch(self, session_id: str) -> _Session:
        session = self._sessions[session_id]
        session.used = self._clock()
        self._sessions.move_to_end(session_id)
        return session

    def _forget(self, expiry: float) -> None:
        now = self._clock()
        for session_id, session in list(self._sessions.items()):
            if now - session.used <= expiry:
                break
            del self._sessions[session_id]
