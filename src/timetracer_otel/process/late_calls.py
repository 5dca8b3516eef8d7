"""Late children: calls and spans of a request that are still under way when the request has ended.

The request's cassette waits for them, for a limited time. It waits in the writer's thread, not in the app's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from timetracer_otel.session import BaseSession, TraceSession

__all__ = ["POLL_S", "LateChildren"]

POLL_S = 0.05
"""How often the writer looks whether the late children have ended, while any recording waits."""


@dataclass(slots=True)
class _Waiting:
    session: TraceSession
    deadline_s: float
    calls_when_quiet: int | None = None


class LateChildren:
    """The recordings that wait for late children. For the writer's thread only; `hurry` is for any thread.

    Args:
        late_s: How long each recording waits at most.
        busy: Gives the sessions that have live spans.
    """

    def __init__(self, late_s: float, busy: Callable[[], set[BaseSession | None]]) -> None:
        self._late_s = late_s
        self._busy = busy
        self._waiting: list[_Waiting] = []
        self._look_at_s = 0.0
        self._hurried = False

    @property
    def sessions(self) -> list[TraceSession]:
        """The sessions that wait."""
        return [entry.session for entry in self._waiting]

    def hold(self, session: TraceSession) -> bool:
        """Keep a recording that has children under way; False where it has none: then it is finalised."""
        if self._late_s <= 0 or self._hurried:
            session.finalize()
            return False
        if session not in self._busy() and session.finalize_if_quiet():
            return False
        self._waiting.append(_Waiting(session, time.monotonic() + self._late_s))
        return True

    def ready(self) -> list[TraceSession]:
        """Finalise and give the recordings whose children have ended, and those that have waited long enough."""
        now_s = time.monotonic()
        if not self._waiting or (now_s < self._look_at_s and not self._hurried):
            return []
        self._look_at_s = now_s + POLL_S
        busy = self._busy()
        ready, waiting = [], []
        for entry in self._waiting:
            session = entry.session
            quiet, calls = not session.is_calling and session not in busy, session.call_count
            # A recording must be found quiet twice, with no call in between. A task that makes several calls is quiet
            # between two of them, too.
            if self._hurried or now_s >= entry.deadline_s:
                session.finalize()
                ready.append(session)
            elif quiet and calls == entry.calls_when_quiet and session.finalize_if_quiet():
                ready.append(session)
            else:
                entry.calls_when_quiet = calls if quiet else None
                waiting.append(entry)
        self._waiting = waiting
        return ready

    def give_back(self) -> list[TraceSession]:
        """All recordings that wait, as they are: after a fault nobody knows whether they are quiet."""
        waiting, self._waiting = self._waiting, []
        return [entry.session for entry in waiting]

    def hurry(self) -> None:
        """Let no recording wait from now on: the process ends. Safe from any thread."""
        self._hurried = True
