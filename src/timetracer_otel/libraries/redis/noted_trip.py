"""Round trips of which nothing is to be decided: they are recorded, and nearly all recorded ones are of this kind.

What the thread of the call notes are raw facts: the bytes that were sent, and the replies as they were read. All else
is made of these when the event is made.
"""

from __future__ import annotations

import time
from typing import Any, Final

from timetracer_otel.calls.flow import FAULT, Recording, began, notes
from timetracer_otel.calls.guarded import Noted
from timetracer_otel.libraries.redis.call import LIB, UNFINISHED, RoundTrip
from timetracer_otel.libraries.redis.commands import Command, are_plain, is_one_plain, parse
from timetracer_otel.libraries.redis.connection_state import ConnectionState, Line, call_above, state_at_rest
from timetracer_otel.libraries.redis.internals import is_proxy, is_reply
from timetracer_otel.libraries.redis.replies import PLAIN_TEXT, Copier
from timetracer_otel.session import BaseSession, TraceSession
from timetracer_otel.session.body_taps import PIECE_BYTES
from timetracer_otel.types import Call, EventResult

__all__ = ["NotedTrip", "line_of", "noted_trip"]

_KEPT_AS_THEY_ARE: Final = frozenset({bytes, str, int, float, bool, type(None)})
"""Types of replies that nobody can change."""


_READ_AGAIN: Final = frozenset({bytes, str, list, tuple})
"""Types of what is sent that can be looked at before it is sent. An iterator would be empty then."""
_FEW_BYTES: Final = 8
"""The length of a reply that is a number, or none."""


class _Unkept(Noted):
    """Stands for a round trip that the session does not keep: it is over a limit, or has ended."""

    def came(self, value: Any) -> Any:
        """Note nothing."""
        return value

    def raised(self, error: BaseException) -> None:
        """Note nothing."""


_UNKEPT: Final = _Unkept()


class NotedTrip(Recording):
    """One such round trip: a `Noted` of the call that sends, and then of those that read its replies; and a
    `Listener` where something else comes between them.
    """

    _line: Line
    _state: ConnectionState | None = None
    _sent: bytes | list[Command]
    """One command as it was sent, or several that were read back from what was sent."""
    _expected = 1
    """How many replies come."""
    _size_bytes = 0
    """That of the replies that were copied; of all replies, once all have come."""
    _checks = False
    """Whether the library may make a health check while it sends."""
    _is_cut = False
    """Whether the replies were too long to be kept."""
    _unread = UNFINISHED
    """Why replies are missing, where some are."""
    is_read = False

    def __init__(
        self, session: TraceSession, state: ConnectionState, line: Line, sent: bytes | list[Command]
    ) -> None:
        super().__init__(session, None)
        self._state = state
        self._line = line
        self._sent = sent
        self.replies: list[Any] = []

    def came(self, value: Any) -> Any:
        """A reply was read, or the commands are sent."""
        if self.returned_s is None:
            self._are_sent()
            return value
        self.is_read = False
        replies = self.replies
        replies.append(value if type(value) in _KEPT_AS_THEY_ARE else self._copied(value))
        if len(replies) == self._expected:
            self._end()
        return value

    def raised(self, error: BaseException) -> None:
        """Sending, or reading a reply, raised."""
        if self.returned_s is None:
            self._let_go()
            self._made()
            super().raised(error)
            return
        self.is_read = False
        if is_reply(error):
            self.note(error, plain=False)
        else:
            self.reading_failed(error)

    def _are_sent(self) -> None:
        self.returned_s = time.perf_counter()
        state = self._state
        if state is None:
            return
        if self._checks:
            call_above.set(None)
        state.sent += 1
        if state.line is not None:
            state.next = self
        elif state.lost_in is not None and state.lost_in() is self.session:
            self.faulted()
        else:
            # A health check came between.
            state.open.append(self)

    def _let_go(self) -> None:
        """No more replies are waited for."""
        state, self._state = self._state, None
        if self._checks and self.returned_s is None:
            call_above.set(None)
        if state is not None and state.next is self:
            state.next = None

    def _copied(self, value: Any) -> Any:
        copy = Copier()
        copied = copy(value)
        self._size_bytes += copy.size_bytes
        return self._made().without_quotes(copied) if copy.saw_error else copied

    def _end(self) -> None:
        """No more replies come."""
        self._let_go()
        replies, limits, size_bytes = self.replies, self.session.limits, self._size_bytes
        try:
            size_bytes += sum(map(len, replies))
        except TypeError:
            size_bytes += sum([len(value) if type(value) in PLAIN_TEXT else _FEW_BYTES for value in replies])
        self._size_bytes = size_bytes
        # The same as `BodyLimits.take`, without a function call.
        left_bytes = limits.left_bytes - size_bytes - PIECE_BYTES * len(replies)
        if size_bytes <= limits.body_bytes and left_bytes >= 0:
            limits.left_bytes = left_bytes
        elif size_bytes > limits.body_bytes or not limits.take(size_bytes + PIECE_BYTES * len(replies)):
            self.replies = [None] * len(replies)
            self._is_cut = True
        self.close()

    # As a `Listener`

    def note(self, value: Any, plain: bool) -> bool:
        """A reply came."""
        self.replies.append(self._copied(value))
        if len(self.replies) < self._expected:
            return False
        self._end()
        return True

    def reading_failed(self, error: BaseException) -> None:
        """Reading raised what is no reply."""
        if isinstance(error, Exception):
            self.replies.append(self._copied(error))
            self._end()
        else:
            self._let_go()
            self._made()
            self.failed(error)

    def cut(self, why: str) -> None:
        """No more replies will come."""
        self._unread = why
        self._let_go()
        self.close()

    def faulted(self) -> None:
        """What came could not be noted."""
        self._let_go()
        self.not_replayable = FAULT
        self.close()

    def note_empty(self) -> None:
        """It is no subscription."""

    # For the event

    def call(self) -> Call:
        """The commands."""
        return self._made().call()

    def result(self) -> EventResult:
        """The replies up to now."""
        self._made().has_come(self.replies, self._size_bytes, self._unread, cut=self._is_cut)
        return super().result()

    def _made(self) -> RoundTrip:
        """The round trip as a `Site`."""
        trip: Any = self._site
        if trip is None:
            sent = self._sent
            commands = parse(sent) if type(sent) is bytes else sent
            redacts = self.session.config.redact != "off"
            self._site = trip = RoundTrip.noted(self._line, commands, redacts)  # type: ignore[arg-type]
        return trip  # type: ignore[no-any-return]

    made_site = _made


def noted_trip(session: BaseSession | None, connection: Any, packed: Any) -> Noted | None:
    """What notes the round trip that begins when a connection is told to send something, where that is to be noted
    only, as nearly always; None where there is more to ask.
    """
    state = state_at_rest(connection)
    if state is None or not notes(LIB, session) or call_above.get():
        return None
    line: Any = state.line
    if type(packed) is list and len(packed) == 1 and type(packed[0]) is bytes and is_one_plain(packed[0]):
        trip = NotedTrip(session, state, line, packed[0])  # type: ignore[arg-type]
    else:
        if type(packed) not in _READ_AGAIN:
            return None
        commands = parse(packed)
        if not commands or not are_plain(commands):
            return None
        trip = NotedTrip(session, state, line, commands)  # type: ignore[arg-type]
        trip._expected = len(commands)
    if not began(trip):
        return _UNKEPT
    if line.checks:
        trip._checks = True
        call_above.set(True)
    return trip


def line_of(connection: Any, state: ConnectionState, trip: RoundTrip) -> Line | None:
    """What is said of a connection, on which this round trip was recorded, in each one that follows; None where
    these need more than to be noted.
    """
    if trip.clustered or is_proxy(connection) or state.stream is not None or state.replaying is not None:
        return None
    return None if state.is_muted or state.lost_in is not None else trip.line(connection)
