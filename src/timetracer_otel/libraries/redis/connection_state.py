"""What the plugin knows of one connection: what was sent and waits for its reply, in a recording or in a replay."""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any, Final, NamedTuple, Protocol

from timetracer_otel.calls import hooks
from timetracer_otel.calls.guarded import ASK, Done
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.libraries.redis.commands import Command, is_transaction, method_of
from timetracer_otel.libraries.redis.internals import Decoding, seem_closed, seem_open
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import RecordedError

__all__ = [
    "STATE",
    "Answers",
    "ConnectionState",
    "Line",
    "Listener",
    "PlainlyPlayed",
    "Played",
    "Unread",
    "begin_watch",
    "call_above",
    "changes_nothing",
    "known_state",
    "needs_nothing",
    "reads_awaited_reply",
    "reads_reply",
    "state_at_rest",
    "state_of",
    "watch",
]

STATE: Final = "_timetracer_state"
"""The attribute of a connection that has its `ConnectionState`."""
_PUBLISHING = frozenset({"PUBLISH", "SPUBLISH", "MULTI", "PIPELINE", "EVAL", "EVALSHA", "FCALL"})

_SETTINGS: Final = frozenset(
    {
        "ASKING",
        "AUTH",
        "CLIENT NO-EVICT",
        "CLIENT NO-TOUCH",
        "CLIENT SETNAME",
        "CLIENT TRACKING",
        "READONLY",
        "READWRITE",
        "SCRIPT LOAD",
        "SELECT",
        "WATCH",
    }
)
"""Commands that change what later ones of the connection do; scripts are here since ``EVALSHA`` follows at once."""
_ENDS_WATCH: Final = frozenset({"DISCARD", "EXEC", "UNWATCH"})

_ANSWERED_BY_CLIENTS: Final = frozenset({"CLUSTER", "COMMAND", "INFO", "MULTI", "PING"})
"""First words of commands that clients send by themselves, or whose effect lasts."""


def changes_nothing(name: str) -> bool:
    """Whether nothing but the reply of a command counts for its connection, by its first word in upper case."""
    first_words = {setting.partition(" ")[0] for setting in _SETTINGS}
    return name not in first_words and name not in _ENDS_WATCH and name not in _ANSWERED_BY_CLIENTS


call_above: Final[CallAbove[bool]] = CallAbove("redis")
"""Set while the library works beneath a seam: handshakes and health checks are part of the call that needed them."""


class Listener(Protocol):
    """A recorded round trip that waits for replies."""

    is_read: bool
    """Whether a reply to it is being read."""

    def note(self, value: Any, plain: bool) -> bool:
        """A reply came (``plain``: not decoded, although the client decodes); True where it was the last one."""
        ...

    def reading_failed(self, error: BaseException) -> None:
        """Waiting for a reply ended with an error."""
        ...

    def cut(self, why: str) -> None:
        """No more replies will come."""
        ...

    def faulted(self) -> None:
        """What came could not be noted."""
        ...

    def note_empty(self) -> None:
        """Somebody looked, and there was nothing (yet)."""
        ...


class Line(NamedTuple):
    """What is said of a connection in each of its recorded round trips. It stays the same until it is closed.

    Attributes:
        url: Where it goes, see `internals.url_of`.
        resp: The version of the protocol.
        decoding: How it decodes replies.
        address: Host and port that sentinels named for it.
        socket: The attribute in which it has its socket while it is open.
        checks: Whether it may make a health check before a command.
    """

    url: str
    resp: int
    decoding: Decoding
    address: list[Any] | None
    socket: str
    checks: bool


class Answers(Protocol):
    """A recorded round trip that is answered in a replay."""

    def restored(self, reply: Any, plain: bool) -> Any:
        """A recorded reply for the client that asks now; the refusal is raised where there is no way."""
        ...

    def rebuilt(self, error: RecordedError) -> BaseException:
        """A recorded error, or the refusal."""
        ...

    def refuse(self, why: str) -> BaseException:
        """The refusal of a read."""
        ...


class PlainlyPlayed(NamedTuple):
    """What does not change of a connection while a replay plays it, and all on it is commands and their replies.

    Attributes:
        url: Where the connection goes, as in events.
        resp: The version of the protocol that it speaks.
        decoding: How it decodes replies, as in events.
    """

    url: str
    resp: int
    decoding: list[str] | None


class Unread(NamedTuple):
    """Stands, in a replay, for a reply that the recorded app never read."""

    why: str


class Played:
    """The messages of a subscription, on their way to the app that listens in a replay.

    Args:
        answers: The round trip that they belong to.
        session: The replay.
        steps: Lists of: commands sent so far; a kind: ``message``, ``error``, ``empty`` (value: how often) or
            ``cancelled``; a value; milliseconds since the recording began.
        wait_s: How long a read that is not answered may take.
        is_cut: Whether only the first messages were kept.
    """

    def __init__(
        self, answers: Answers, session: ReplaySession, steps: list[Any], wait_s: float, is_cut: bool
    ) -> None:
        self.answers = answers
        self.wait_s = wait_s
        self.is_cut = is_cut
        self._session = session
        self._steps = deque(list(step) for step in steps)
        last_ms = steps[-1][3] if steps else 0.0
        self._causes = [
            event
            for event in session.get_unconsumed_events()
            if event.signature.method in _PUBLISHING and event.start_offset_ms < last_ms
        ]

    def upcoming(self) -> tuple[int, str, Any] | None:
        """The next step; None at the end."""
        return tuple(self._steps[0][:3]) if self._steps else None

    @property
    def is_early(self) -> bool:
        """Whether something that was published before the next message is still to be published in this replay.

        A listener in another thread or task may be faster than when it was recorded; it should see no effect before
        its cause.
        """
        if not self._causes or not self._steps:
            return False
        self._causes = [event for event in self._causes if not self._session.is_taken(event)]
        return any(event.start_offset_ms < self._steps[0][3] for event in self._causes)

    def expect_no_causes(self) -> None:
        """Wait no longer for what is still to be published.

        Nobody publishes it where a replay is of a part of what was recorded, or has another order.
        """
        self._causes.clear()

    def advance(self) -> None:
        """The next step was taken. A step that stands for several looks in vain loses one of them."""
        step = self._steps[0]
        if step[1] == "empty" and step[2] > 1:
            step[2] -= 1
        else:
            self._steps.popleft()

    def skip_empty(self) -> None:
        """Leave out the looks in vain that come next: who reads without a timeout sees none."""
        self._steps.popleft()


class ConnectionState:
    """What is known of one connection; it stands among the attributes of that connection.

    Attributes:
        line: What is said of the connection in its recordings; None where the next command needs more than to be
            noted, or where that is not known.
        next: The recorded round trip that waits for replies, where it is the only one, and its replies need no more
            than to be noted. It is not in ``open``.
        open: Recorded round trips that wait for replies, oldest first.
        stream: The recorded subscription that all further messages belong to.
        asked: The question about a cluster whose reply is read next.
        sent: Commands sent since the connection was made; since the recorded one was, where messages are played.
        replaying: The replay that plays this connection's part; a real connection is there for new calls only.
        replies: In a replay, what the next reads get, each with the round trip that restores it, or with None where
            it is given as it is; None for one that the real connection gives.
        played: In a replay, the subscription that all further messages come from.
        is_checked: Whether the library makes a health check, in a replay.
        is_muted: Whether the connection was told to give no replies, to one command at least.
        is_real: In a replay, whether new calls were made on the real connection.
        seems_open: In a replay, the connection, where it looks as if it were made.
        missed: In a replay, commands whose effect on the connection the real one lacks.
        plain: In a replay: what is known of a connection on which nothing is under way but commands and their
            replies; None where that is not known.
        lost_in: The recording in which a fault of ours let go of the replies, see `give_up`.
        watch: What all this is known since, see `begin_watch`.
    """

    __slots__ = (
        "_home",
        "_multi",
        "asked",
        "is_checked",
        "is_muted",
        "is_real",
        "line",
        "lost_in",
        "missed",
        "next",
        "open",
        "plain",
        "played",
        "replaying",
        "replies",
        "seems_open",
        "sent",
        "stream",
        "watch",
    )

    def __init__(self) -> None:
        self.line: Line | None = None
        self.next: Any = None
        self.open: deque[Listener] = deque()
        self.stream: Listener | None = None
        self.sent = 0
        self.asked: list[Command] | None = None
        self.replaying: ReplaySession | None = None
        self.replies: deque[tuple[Any, Answers | None] | None] = deque()
        self.played: Played | None = None
        self.plain: PlainlyPlayed | None = None
        self.seems_open: weakref.ref[Any] | None = None
        self.missed: list[Command] = []
        self.is_real = False
        self.is_checked = self.is_muted = False
        self.lost_in: weakref.ref[BaseSession] | None = None
        # Who queues the commands of a transaction whose MULTI was sent by itself: "played" or "real".
        self._multi: str | None = None
        self._home: weakref.ref[BaseSession] | None = None
        self.watch = watch

    @property
    def home(self) -> BaseSession | None:
        """The session of the last subscription, for threads that listen to it and have no session of their own."""
        return self._home() if self._home is not None else None

    @home.setter
    def home(self, session: BaseSession) -> None:
        self._home = weakref.ref(session)

    @property
    def listens(self) -> bool:
        """Whether replies come as messages, when there are some."""
        return self.stream is not None or self.played is not None

    @property
    def takes_new(self) -> bool:
        """In a replay: whether a call that was not recorded can be made for real between those that were.

        Not among the messages of a recorded subscription, nor in a recorded transaction that is under way.
        """
        return self.played is None and self._multi != "played"

    @property
    def is_real_only(self) -> bool:
        """In a replay: whether recorded calls have no place now, in a subscription or transaction that is real."""
        return self.stream is not None or self._multi == "real"

    def was_replayed(self, commands: list[Command]) -> None:
        """Commands were answered from the cassette: keep in mind what they do to their connection."""
        name = method_of(commands)
        if name in _ENDS_WATCH or is_transaction(commands):
            self.missed = [command for command in self.missed if command[0].upper() != b"WATCH"]
            if self.is_real:
                self.missed.append([b"UNWATCH"])
            self._multi = None
        elif name == "MULTI":
            self._multi = "played"
        elif name in _SETTINGS:
            self.missed.append(commands[0])

    def was_sent(self, commands: list[Command]) -> None:
        """In a replay: commands were sent for real, and their replies will come from there."""
        self.replies.extend([None] * len(commands))
        self.is_real, self.plain = True, None
        name = method_of(commands)
        if name == "MULTI" and len(commands) == 1:
            self._multi = "real"
        elif name in _ENDS_WATCH:
            self._multi = None

    @property
    def lacks(self) -> list[Command]:
        """What a real connection that is in use lacks."""
        return self.missed if self.is_real else []

    def begin(self, session: ReplaySession | None) -> None:
        """A connection that is made now, in a replay or (None) for real."""
        self.end()
        self.replaying = session

    def seem_open(self, connection: Any) -> None:
        """In a replay: let the connection look as if it were made, until the end."""
        seem_open(connection)
        self.seems_open = weakref.ref(connection)

    def settle(self) -> None:
        """What is done next needs more than to be noted: no round trip is the only one any more."""
        self.line = None
        if self.next is not None:
            self.open.append(self.next)
            self.next = None

    def end(self) -> None:
        """The connection is closed."""
        self.settle()
        while self.open:
            trip = self.open.popleft()
            if not trip.is_read:
                trip.cut("the connection was closed before its reply was read")
        if self.stream is not None:
            self.stream.cut("the connection was closed")
        self.stream = self.played = self.replaying = self.plain = None
        connection = self.seems_open() if self.seems_open is not None else None
        if connection is not None:
            seem_closed(connection)
        self.seems_open = None
        self.replies.clear()
        self.missed = []
        self.is_real, self._multi = False, None
        self.is_muted = False
        self.lost_in = None
        self.sent = 0

    def give_up(self, session: BaseSession | None) -> None:
        """A fault of ours: it is not known any more which reply is whose. Calls that wait for replies, and those that
        this recording sees on this connection until it is closed, cannot be replayed. A replay has it closed now.
        """
        session = session or self.home
        self.settle()
        lost = [*self.open, *([self.stream] if self.stream is not None else ())]
        self.open.clear()
        self.stream = self.asked = self.plain = None
        if self.replaying is not None:
            self.end()
        elif session is not None:
            self.lost_in = weakref.ref(session)
        for trip in lost:
            trip.faulted()

    def forget(self) -> None:
        """Forget everything."""
        self.end()
        self.asked = self._home = None
        self.watch = watch


watch = 0
"""Counts how often the seams were put in.

Without the seams the app goes on to use its connections, and the plugin does not see what is read from them. So a
state that was made before the seams were put in again is worth nothing."""


def begin_watch() -> None:
    """The seams are put in: forget what was known of connections before."""
    global watch
    watch += 1


def state_of(connection: Any) -> ConnectionState:
    """What is known of a connection."""
    state = known_state(connection)
    if state is None:
        state = connection.__dict__.setdefault(STATE, ConnectionState())
    return state


def known_state(connection: Any) -> ConnectionState | None:
    """What is known of a connection; None where nothing is."""
    state: ConnectionState | None = connection.__dict__.get(STATE)
    if state is not None and state.watch != watch:
        state.forget()
    return state


def state_at_rest(connection: Any) -> ConnectionState | None:
    """What is known of an open connection on which nothing is under way, and whose next command is to be noted only,
    as far as that depends on the connection; None for any other.
    """
    state: ConnectionState | None = connection.__dict__.get(STATE)
    if state is None or state.line is None or state.next is not None or state.open or state.watch != watch:
        return None
    return None if connection.__dict__.get(state.line.socket) is None else state


def reads_reply(connection: Any) -> Any:
    """The `Quick` of ``read_response``: what notes the reply that is read next, where it is to be noted only. In a
    replay the reply itself, where it is given as it was recorded.
    """
    state: ConnectionState | None = connection.__dict__.get(STATE)
    if state is not None and state.plain is not None:
        upcoming = state.replies[0] if state.replies and state.watch == watch and not call_above.get() else None
        if upcoming is not None and upcoming[1] is None:
            state.replies.popleft()
            return Done(upcoming[0])
    return reads_awaited_reply(connection)


def reads_awaited_reply(connection: Any) -> Any:
    """`reads_reply` of a connection of asyncio, where other tasks have a turn before a replay answers."""
    state: ConnectionState | None = connection.__dict__.get(STATE)
    if state is None:
        return None if hooks.guard is None else ASK
    noted = state.next
    if noted is not None and state.watch == watch:
        noted.is_read = True
        return noted
    if (
        noted is None
        and not state.open
        and state.stream is None
        and state.asked is None
        and state.replaying is None
        and hooks.guard is None
    ):
        return None
    return ASK


def needs_nothing(connection: Any) -> Any:
    """The `Quick` of ``connect`` and ``can_read``: mostly the connection is open, and nothing is done on it but
    commands that are recorded, or that have no session.
    """
    state: ConnectionState | None = connection.__dict__.get(STATE)
    if state is None:
        return ASK
    line = state.line
    if line is None or state.watch != watch or hooks.guard is not None:
        return ASK
    return ASK if connection.__dict__.get(line.socket) is None else None
