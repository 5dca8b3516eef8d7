"""What recording and replaying sessions have in common, and what a session asks of a recorded call."""

# pyright: strict

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from timetracer_otel.constants import TraceMode
from timetracer_otel.types import Call, EventResult, RequestSnapshot, ResponseSnapshot, SpanFacts, Verdict

__all__ = ["BaseSession", "EndedSpan", "PendingCall", "RootExchange"]

State = TypeVar("State")


class BaseSession:
    """One recording or one replay.

    A plain class: which of the two a session is gets asked at every call, and an `ABC` answers that ten times
    slower.
    """

    after: Callable[[], BaseSession | None] | None = None
    """Set when a recording has ended that another one follows: gives the session of calls that begin from then on."""

    ended_spans: list[EndedSpan] | None = None
    """Where whoever sees a span of this session end puts it, up to `max_spans` of them; of those that have no place
    here, `span_ended` is told. A function less for each call."""
    max_spans: int = 0

    _states: dict[str, Any] | None = None
    """What libraries remember of this session, by name; None until the first of them remembers something."""

    def state(self, library: str, make: Callable[[], State]) -> State:
        """What a library remembers of this session, and of no other: made when it is first asked for.

        For instance, Redis notes which tokens of locks a replay has given out. The state lives as long as the session
        and must not refer to it. Safe from any thread: all callers get the same object.

        Args:
            library: The plugin's name. A library has one state for each session.
            make: Makes an empty state, without other effects: where two threads ask at once, both make one, and one
                of the two is thrown away. The class of the state will do.
        """
        states = self._states
        if states is None:
            states = vars(self).setdefault("_states", {})
        try:
            found: State = states[library]
        except KeyError:
            found = states.setdefault(library, make())
        return found

    def span_ended(self, span: EndedSpan) -> None:
        """A span of this session has ended."""

    @property
    def mode(self) -> TraceMode:
        """Whether this session records or replays."""
        raise NotImplementedError

    @property
    def session_id(self) -> str:
        """Unique identifier, the one that stands in the cassette."""
        raise NotImplementedError

    @property
    def is_recording(self) -> bool:
        """True where events are recorded."""
        raise NotImplementedError

    @property
    def is_replaying(self) -> bool:
        """True where calls are answered from a cassette."""
        raise NotImplementedError

    def verdict(self) -> Verdict:
        """What the session did up to now: hits, misses, what stayed unused, went live, was recorded or refused."""
        raise NotImplementedError


class EndedSpan(Protocol):
    """A span of a session that has ended."""

    @property
    def span_id(self) -> int:
        """Its id."""
        ...

    @property
    def is_client(self) -> bool:
        """Whether it stands for a call to somebody else, which becomes an event of its own where no plugin saw it."""
        ...

    def facts(self) -> SpanFacts:
        """What it says; called later, maybe in another thread."""
        ...


class PendingCall(Protocol):
    """A call that was seen, with all that is needed to make its event later.

    Making an event (hashing, redacting, encoding) costs more than the call may be delayed, so a call in record
    mode leaves its raw facts, and the session makes the event when it is asked for it.
    """

    eid: int
    """Its position; given by the session that keeps it."""
    started_s: float
    """`time.perf_counter` when the call began."""
    returned_s: float | None
    """The same when it returned; None before that, and where it raised."""
    path: tuple[str, ...]
    not_replayable: str | None

    @property
    def ended_s(self) -> float | None:
        """The same when it ended, with its last byte; None while it is under way."""
        ...

    @property
    def trace_id(self) -> int:
        """0 where it was made under no span."""
        ...

    @property
    def span_id(self) -> int:
        """0 where it was made under no span."""
        ...

    def call(self) -> Call:
        """What was called, not redacted."""
        ...

    def result(self) -> EventResult:
        """What it returned or raised so far, not redacted."""
        ...


class RootExchange(Protocol):
    """The request that a recording is about, with its answer, as somebody saw them pass."""

    def request(self) -> RequestSnapshot:
        """What was asked, not redacted; called later, maybe in another thread."""
        ...

    def response(self) -> ResponseSnapshot:
        """What was answered so far, not redacted."""
        ...

    def release(self) -> None:
        """Let go of the bodies: they are written, or nobody wants them."""
        ...
