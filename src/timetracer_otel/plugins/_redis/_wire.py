"""What is known of one connection: what was sent and waits for its reply, in a recording or in a replay."""

from __future__ import annotations

from collections import deque
from contextvars import ContextVar
from typing import Any, Protocol

from timetracer_otel.session import ReplaySession
from timetracer_otel.types import RecordedError

__all__ = ["Answers", "Listener", "Played", "Wire", "inside", "known_wire", "wire_of"]

_ATTRIBUTE = "_timetracer_wire"

inside: ContextVar[bool] = ContextVar("timetracer-redis-inside", default=False)
"""Set while the library is at work beneath a seam: handshakes and health checks are part of the call."""


class Listener(Protocol):
    """A recorded exchange that waits for replies."""

    def note(self, value: Any, plain: bool) -> bool:
        """A reply came (``plain``: not decoded, although the client decodes); True where it was the last one."""

    def failed(self, error: BaseException) -> None:
        """Waiting for a reply ended with an error."""

    def cut(self, why: str) -> None:
        """No more replies will come."""

    def note_empty(self) -> None:
        """Somebody looked, and there was nothing (yet)."""


class Answers(Protocol):
    """A recorded exchange that is answered in a replay."""

    def restored(self, reply: Any, plain: bool) -> Any:
        """A recorded reply for the client that asks now; the refusal is raised where there is no way."""

    def rebuilt(self, error: RecordedError) -> BaseException:
        """A recorded error, or the refusal."""

    def refuse(self, why: str) -> BaseException:
        """The refusal of a read."""


class Played:
    """The messages of a subscription, on their way to the app that listens in a replay.

    Attributes:
        steps: ``(commands sent so far, kind, value)``, kinds being ``message``, ``error``, ``empty`` (value: how
            often) and ``cancelled``.
        wait_s: How long a read that is not answered may take.
        is_cut: Whether only the first messages were kept.
    """

    def __init__(self, answers: Answers, steps: list[Any], wait_s: float, is_cut: bool) -> None:
        self.answers = answers
        self.wait_s = wait_s
        self.is_cut = is_cut
        self._steps = deque(list(step) for step in steps)

    def upcoming(self) -> tuple[int, str, Any] | None:
        """The next step; None at the end."""
        return tuple(self._steps[0]) if self._steps else None  # type: ignore[return-value]

    def advance(self) -> None:
        """The next step was taken (one of so many empty looks, where it is that)."""
        step = self._steps[0]
        if step[1] == "empty" and step[2] > 1:
            step[2] -= 1
        else:
            self._steps.popleft()

    def skip_empty(self) -> None:
        """Go on to what came after looking in vain."""
        self._steps.popleft()


class Wire:
    """One connection.

    Attributes:
        open: Recorded exchanges that wait for replies, oldest first.
        reading: The one of them whose reply is being read.
        stream: The recorded subscription that all further messages belong to.
        sent: Commands sent since the connection was made.
        replaying: The replay that plays this connection's part; there is no real connection then, or nobody uses it.
        replies: In a replay, what the next reads get, each with the exchange it belongs to.
        played: In a replay, the subscription that all further messages come from.
    """

    __slots__ = ("open", "played", "reading", "replaying", "replies", "sent", "stream")

    def __init__(self) -> None:
        self.open: deque[Listener] = deque()
        self.reading: Listener | None = None
        self.stream: Listener | None = None
        self.sent = 0
        self.replaying: ReplaySession | None = None
        self.replies: deque[tuple[Any, Answers]] = deque()
        self.played: Played | None = None

    @property
    def listens(self) -> bool:
        """Whether replies come as messages, when there are some."""
        return self.stream is not None or self.played is not None

    def begin(self, session: ReplaySession | None) -> None:
        """A connection that is made now, in a replay or (None) for real."""
        self.end()
        self.replaying = session

    def end(self) -> None:
        """The connection is closed."""
        while self.open:
            exchange = self.open.popleft()
            if exchange is not self.reading:
                exchange.cut("the connection was closed before its reply was read")
        if self.stream is not None:
            self.stream.cut("the connection was closed")
        self.stream = self.played = self.replaying = None
        self.replies.clear()
        self.sent = 0


def wire_of(connection: Any) -> Wire:
    """What is known of a connection."""
    wire: Wire | None = connection.__dict__.get(_ATTRIBUTE)
    if wire is None:
        wire = connection.__dict__.setdefault(_ATTRIBUTE, Wire())
    return wire


def known_wire(connection: Any) -> Wire | None:
    """The same, if anything is known."""
    return connection.__dict__.get(_ATTRIBUTE)  # type: ignore[no-any-return]
