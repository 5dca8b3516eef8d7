"""`BaseSession`, which recordings and replays have in common, and the protocols of what a session is given."""

# pyright: strict

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from timetracer_otel.base.hosts import Hosts
from timetracer_otel.constants import TraceMode
from timetracer_otel.notebooks import html_of
from timetracer_otel.types import Call, EventResult, RequestSnapshot, ResponseSnapshot, SpanFacts, Verdict

__all__ = ["BaseSession", "EndedSpan", "PendingCall", "RootExchange"]

State = TypeVar("State")


class BaseSession:
    """One recording or one replay.

    A plain class and no `ABC`: every call asks by ``isinstance`` which of the two a session is, and that takes ten
    times as long for an `ABC`.
    """

    allowed_hosts: Hosts | None = None
    """Where connections of it may go that no plugin makes, besides ``live_hosts``. Calls that plugins make there are
    recorded and answered all the same."""
    refuses_plugins: bool = False
    """Whether ``block_network`` refuses the connections of plugins as well: the session stands for none."""
    block_hint: str | None = None
    """What to do about a connection that ``block_network`` refuses, where that is not said of every session."""
    after: Callable[[], BaseSession | None] | None = None
    """Gives the session of calls that begin from now on. Set when a recording has ended; None before that."""

    names_root: bool = False
    """Whether the session is about a request, job or message that has a cassette. The outermost spans of it carry the
    session's id (`constants.CASSETTE_ATTRIBUTE`)."""

    resource: Any = None
    """The resource of the provider whose span came first in this session; None before there is one."""

    ended_spans: list[EndedSpan] | None = None
    """The ended spans of this session, up to `max_spans`. Our span processor appends to the list, and calls
    `span_ended` where there is no list, or no room in it. The list saves a function call for each span."""
    max_spans: int = 0

    _states: dict[str, Any] | None = None
    """What libraries remember about this session, by name; None until a library remembers something."""

    def state(self, library: str, make: Callable[[], State]) -> State:
        """What a library remembers about this session, made when it is first asked for.

        For instance, Redis notes which tokens of locks a replay has given out. The state lives as long as the session
        and must not refer to it. Safe from any thread: all callers get the same object.

        Args:
            library: The plugin's name. A library has one state for each session.
            make: Makes an empty state; mostly the class of the state. It must have no other effects: where two
                threads ask at once, both make a state, and one of the two is thrown away.
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

    def _repr_html_(self) -> str:
        """What a notebook shows of it."""
        return html_of(self)

    def verdict(self) -> Verdict:
        """The account of the session up to now: hits, misses, unused events, live and recorded calls, refusals."""
        raise NotImplementedError


class EndedSpan(Protocol):
    """A span of a session that has ended."""

    @property
    def span_id(self) -> int:
        """The span's id, as a number."""
        ...

    @property
    def is_client(self) -> bool:
        """Whether it is the span of a call that goes out. Such a call becomes an event even where no plugin saw
        it.
        """
        ...

    @property
    def scope(self) -> str | None:
        """The name of the tracer that made it."""
        ...

    @property
    def thread(self) -> int:
        """`threading.get_ident` of the thread in which the span of a call began; 0 for other spans."""
        ...

    @property
    def parent(self) -> EndedSpan | None:
        """The span around it, where that is one of this process; it need not have ended."""
        ...

    def facts(self) -> SpanFacts:
        """The span's contents. Called later, maybe in another thread."""
        ...


class PendingCall(Protocol):
    """A call that a plugin saw, with all that is needed to make its event later.

    Making an event (hashing, redacting, encoding) takes longer than a call may be delayed. So the recorder keeps the
    raw facts of the call, and the session makes the event when somebody asks for it.
    """

    eid: int
    """The call's position in the session, which gives it."""
    started_s: float
    """`time.perf_counter` when the call began."""
    returned_s: float | None
    """`time.perf_counter` when the call returned; None before that, and where it raised."""
    goes_on: bool
    """Whether its answer was there when it returned, and more is read of it later: rows, messages."""
    latest_s: float | None
    """`time.perf_counter` when the latest of these was read; None where nobody notes that."""
    path: tuple[str, ...]
    not_replayable: str | None
    transaction: object | None
    """Stands for the database transaction that the call belongs to; None where it belongs to none."""
    boundary: str | None
    """``BEGIN``, ``COMMIT`` or ``ROLLBACK``, where the call began or ended that transaction, and did nothing else;
    None for other calls."""

    @property
    def ended_s(self) -> float | None:
        """`time.perf_counter` when the call ended, with its last byte; None while it is under way."""
        ...

    @property
    def thread(self) -> int | None:
        """`threading.get_ident` of the thread that makes the call; None where the library may use another one."""
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
        """The call, not redacted."""
        ...

    def result(self) -> EventResult:
        """The outcome up to now, not redacted."""
        ...


class RootExchange(Protocol):
    """The request that a recording is about, with its response.

    The middleware of a web framework makes one from the bytes that pass it. Where there is no middleware, one is made
    from the request's span.
    """

    def request(self) -> RequestSnapshot:
        """The request, not redacted. Called later, maybe in another thread."""
        ...

    def response(self) -> ResponseSnapshot:
        """The response up to now, not redacted."""
        ...

    @property
    def duration_ms(self) -> float:
        """That of the response: until its last byte, or now."""
        ...

    @property
    def route_name(self) -> str:
        """The method and the route's template, or the name of the job: one of few, whatever is asked for."""
        ...

    def release(self) -> None:
        """Free the memory of the bodies: they are written, or not wanted."""
        ...
