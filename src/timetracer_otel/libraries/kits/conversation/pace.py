"""When a replay gives what a server said: not before the app has got as far as in the recording.

Nothing here waits. Whoever gives the answers asks, and waits in the way of its library.
"""

from __future__ import annotations

import time
from typing import Final

from timetracer_otel.calls.flow import CANCEL_GRACE_S
from timetracer_otel.libraries.kits.conversation.exchange import Said
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["POLL_S", "Pace"]

POLL_S: Final = 0.005
"""How soon to look again at what is held by calls beside it."""


class Pace:
    """The pace of one call of a replay.

    Args:
        session: The replay.
    """

    def __init__(self, session: ReplaySession) -> None:
        self.session = session
        self.began_s: float = time.perf_counter()
        self._lags_s = 0.0
        """How much later than in the recording, at most, a message was taken."""
        self._event: DependencyEvent | None = None
        self._before: list[DependencyEvent] = []
        """The calls that the app began beside this one, in the order of their beginnings, until it makes them."""
        self._awaited = 0
        """How many such calls the next message waits for."""
        self._held_since_s: float | None = None
        """Since when a message waits for such calls, and the app makes none of them."""

    def stands_behind_calls_beside(self, event: DependencyEvent) -> None:
        """Let messages stand behind the calls that the app began before them, beside this one."""
        start_ms, session = event.start_offset_ms, self.session
        self._event = event
        self._before = [
            each
            for each in session.events
            if each.start_offset_ms > start_ms
            and each.eid != event.eid
            and each.not_replayable is None
            and session.should_mock_plugin(each.signature.lib)
        ]

    def is_held(self, said: Said) -> bool:
        """Whether a message comes too early: the app has begun other calls before it in the recording, and not yet in
        this run. Such a call may be what the message answers. Example: a subscriber gets what the same app publishes.
        A call that the app does not make in this run is waited for only shortly, from the last one on that it made:
        the app may be slower than in the recording.
        """
        if self._event is None or not self._before:
            return False
        until_ms = self._event.start_offset_ms + said.at_ms
        self._before = [each for each in self._before if not self.session.is_taken(each)]
        awaited = sum(each.start_offset_ms < until_ms for each in self._before)
        if not awaited:
            self._held_since_s = None
            return False
        now_s = time.perf_counter()
        if self._held_since_s is None or awaited < self._awaited:
            self._held_since_s = now_s
        self._awaited = awaited
        if now_s - self._held_since_s > CANCEL_GRACE_S:
            self._before = [each for each in self._before if each.start_offset_ms >= until_ms]
            self._held_since_s = None
            return False
        return True

    @property
    def holds(self) -> bool:
        """Whether a message waits for calls beside this one."""
        return self._held_since_s is not None

    def taken(self, at_ms: float) -> None:
        """The app takes a message now which came then in the recording."""
        self._lags_s = max(self._lags_s, time.perf_counter() - self.began_s - at_ms / 1000)

    def to_wait_s(self, at_ms: float) -> float:
        """How long something is still to come that came then in the recording: 0, unless its pace is kept."""
        if not self.session.replay_timing:
            return 0.0
        return max(self.began_s + at_ms / 1000 - time.perf_counter(), 0.0)

    def until_s(self, until_ms: float) -> float:
        """How long, on the clock of `time.perf_counter`, the app may take to end a call that it ended then in the
        recording.
        """
        return self.began_s + until_ms / 1000 + self._lags_s + CANCEL_GRACE_S
