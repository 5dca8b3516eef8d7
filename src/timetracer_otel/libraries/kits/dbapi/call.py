"""The calls of the plugin as `flow` wants them stated: a connection, a statement, the end of a transaction."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeGuard
from weakref import WeakKeyDictionary

from timetracer_otel.calls.flow import Recording, Site, records, replays
from timetracer_otel.constants import EventType
from timetracer_otel.context import get_current_session
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.kits.dbapi import errors
from timetracer_otel.libraries.kits.dbapi.statements import Given, arguments, kind_of, text_of
from timetracer_otel.libraries.sqlalchemy.internals import (
    Binds,
    binds_of,
    facts_of,
    is_server_side,
    let_others_run,
    otel_span,
    pause,
)
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.types import Call, DependencyEvent, EventResult, RecordedError

if TYPE_CHECKING:
    from timetracer_otel.libraries.kits.dbapi.recording_cursor import Fetches

__all__ = [
    "LIB",
    "ConnectSite",
    "PlainSite",
    "StatementSite",
    "Target",
    "is_recording",
    "is_replaying",
    "note_initialized",
    "recorded_facts",
    "unrecorded",
]

LIB = "sqlalchemy"

_lock = threading.Lock()
_numbers: WeakKeyDictionary[Any, WeakKeyDictionary[Any, int]] = WeakKeyDictionary()
"""By recording and dialect: the number of an engine among those that it met."""
_initial: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
"""By dialect: what it had learned when a recording saw it initialised. Later it may learn more, from statements."""
_told: WeakKeyDictionary[Any, set[int]] = WeakKeyDictionary()
"""By recording: the engines whose facts stand in an event already."""
_facts: WeakKeyDictionary[Any, _RecordedFacts] = WeakKeyDictionary()
"""By replay: what its cassette holds about engines."""


class _RecordedFacts:
    """The facts in one cassette. Engines of one URL may be configured differently: they come in order."""

    def __init__(self, events: list[DependencyEvent]) -> None:
        self._by_url: dict[str, dict[int, dict[str, Any]]] = {}
        self._given: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
        self._next: dict[str, int] = {}
        for event in events:
            if event.signature.lib == LIB and event.signature.url:
                known = self._by_url.setdefault(event.signature.url, {})
                reply = event.result.reply
                engine = reply.get("engine") if isinstance(reply, dict) else None
                if engine is not None:
                    known.setdefault(engine["number"], engine["facts"])

    def of(self, target: Target) -> dict[str, Any] | None:
        """What the engine learned when it was recorded; None where its URL was never seen."""
        known = self._by_url.get(target.url)
        if known is None:
            return None
        given = self._given.get(target.dialect)
        if given is None:
            position = self._next.get(target.url, 0)
            self._next[target.url] = position + 1
            found = [known[number] for number in sorted(known)]
            given = self._given[target.dialect] = found[min(position, len(found) - 1)] if found else {}
        return given


class Target:
    """An engine, as its calls name it."""

    __slots__ = ("database", "dialect", "driver", "engine_url", "url")

    def __init__(self, dialect: Any, engine_url: Any, url: str) -> None:
        self.dialect = dialect
        self.engine_url = engine_url
        self.url = url
        self.database: str | None = engine_url.database if engine_url is not None else None
        module = getattr(getattr(dialect.dbapi, "Error", None), "__module__", None) or ""
        self.driver = module.partition(".")[0]


def is_recording(session: BaseSession | None) -> TypeGuard[TraceSession]:
    """Whether a call made now is recorded."""
    return records(LIB, session)


def is_replaying(session: BaseSession | None) -> TypeGuard[ReplaySession]:
    """Whether a call made now is answered from a cassette."""
    return replays(LIB, session)


def unrecorded(target: Target, what: str) -> ReplayMismatchError:
    """The error for something that an app asks a connection or cursor of a replay, and no recording holds."""
    what = f"{what} of {target.url}"
    hint = "only what cursors execute and fetch is recorded: do without it, or name sqlalchemy in live_plugins."
    session = get_current_session()
    if is_replaying(session):
        return session.refuse_unrecorded(what, hint)
    return ReplayMismatchError(f"Not recorded: {what}", hint=hint)


def recorded_facts(session: ReplaySession, target: Target) -> dict[str, Any] | None:
    """What a cassette holds about an engine; None where it never saw it."""
    with _lock:
        known = _facts.get(session)
        if known is None:
            known = _facts[session] = _RecordedFacts(session.events)
        return known.of(target)


def note_initialized(dialect: Any) -> None:
    """A recorded connection was opened, and its dialect initialised if it was the first."""
    facts = facts_of(dialect)
    if facts is not None:
        with _lock:
            _initial.setdefault(dialect, facts)


def _number(session: Any, dialect: Any) -> int:
    with _lock:
        numbers = _numbers.setdefault(session, WeakKeyDictionary())
        return numbers.setdefault(dialect, len(numbers) + 1)


class _Site(Site, ABC):
    """What all calls of the plugin have in common (a `Site`)."""

    lib = LIB

    def __init__(self, target: Target, connection: Any = None) -> None:
        self.target = target
        self.connection = connection
        """On which the call is made; the driver's own, or one of a replay."""
        self._engine: dict[str, Any] | None = None

    @abstractmethod
    def live(self) -> Any: ...

    @abstractmethod
    def call(self) -> Call: ...

    @abstractmethod
    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any: ...

    def returned(self, value: Any, recording: Recording) -> Any:
        self.tell_facts(recording)
        recording.close()
        return value

    def result(self, recording: Recording) -> EventResult:
        return EventResult(reply={"engine": self._engine} if self._engine else {})

    def record_error(self, error: BaseException) -> RecordedError:
        made = errors.record_error(error)
        if isinstance(error, Exception) and self.is_disconnect(error):
            made.attributes[errors.DISCONNECTED] = True
        return made

    def rebuild_error(self, error: RecordedError) -> BaseException:
        made, disconnected = errors.rebuild_error(error, self.target.driver)
        if disconnected and hasattr(self.connection, "lose"):
            self.connection.lose()
        return made

    def pause(self, seconds: float) -> None:
        pause(self.target.dialect, seconds)

    def tell_facts(self, recording: Recording) -> None:
        """Keep what the dialect knows of its server, where no event of this session holds it yet."""
        number = _number(recording.session, self.target.dialect)
        with _lock:
            told = _told.setdefault(recording.session, set())
            if number in told:
                return
        facts = _initial.get(self.target.dialect) or facts_of(self.target.dialect)
        if facts is not None:
            with _lock:
                told.add(number)
            self._engine = {"number": number, "facts": facts}

    def is_disconnect(self, error: Exception) -> bool:
        """Whether the connection is gone, by this error of its driver."""
        dialect = self.target.dialect
        base = getattr(dialect.dbapi, "Error", ())
        return isinstance(error, base) and bool(dialect.is_disconnect(error, self.connection, None))


class PlainSite(_Site):
    """A call without parameters whose answer is one plain value, or none: COMMIT, ROLLBACK, BEGIN.

    Args:
        target: The engine.
        method: What the call is called.
        live: Makes it for real.
        connection: On which.
        replayed: What happens in a replay in the place of the call.
    """

    marks_span = False

    def __init__(
        self,
        target: Target,
        method: str,
        live: Callable[[], Any],
        connection: Any = None,
        replayed: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(target, connection)
        self._method = method
        self._live = live
        self._replayed = replayed
        self._value: Any = None

    def live(self) -> Any:
        return self._live()

    def call(self) -> Call:
        return Call(LIB, EventType.DB_QUERY, self._method, self.target.url, args={"statement": self._method})

    def returned(self, value: Any, recording: Recording) -> Any:
        self._live = _nothing
        self.connection = None
        self._value = value if type(value) in (str, int, bool) else None
        return super().returned(value, recording)

    def result(self, recording: Recording) -> EventResult:
        made = super().result(recording)
        if self._value is not None:
            made.reply["value"] = self._value
        return made

    def again(self) -> bool:
        return True

    def rebuild(self, event: DependencyEvent | None, session: ReplaySession) -> Any:
        let_others_run(self.target.dialect)
        if self._replayed is not None:
            self._replayed()
        return (event.result.reply or {}).get("value") if event is not None else None


class ConnectSite(_Site):
    """Opening a connection."""

    def __init__(self, target: Target, live: Callable[[], Any], replayed: Callable[[], Any]) -> None:
        super().__init__(target)
        self._live = live
        self._replayed = replayed
        self._number = 0

    def live(self) -> Any:
        return self._live()

    def call(self) -> Call:
        return Call(LIB, EventType.DB_QUERY, "CONNECT", self.target.url, args={"statement": "CONNECT"})

    def returned(self, value: Any, recording: Recording) -> Any:
        self._live = _nothing
        self._number = _number(recording.session, self.target.dialect)
        recording.close()
        return value

    def result(self, recording: Recording) -> EventResult:
        # The dialect is initialised after its first connection was opened, which by now it is.
        facts = _initial.get(self.target.dialect)
        return EventResult(reply={"engine": {"number": self._number, "facts": facts}} if facts else {})

    def again(self) -> bool:
        return True

    def rebuild(self, event: DependencyEvent | None, session: ReplaySession) -> Any:
        let_others_run(self.target.dialect)
        return self._replayed()


class StatementSite(_Site):
    """One statement, from its execution to the last row that the app fetched."""

    def __init__(
        self,
        target: Target,
        given: Given,
        context: Any,
        connection: Any,
        live: Callable[[], Any],
        fetches: Fetches,
        rebuild: Callable[[DependencyEvent, ReplaySession, StatementSite], Any],
        may_be_new: bool,
    ) -> None:
        super().__init__(target, connection)
        self._given = given
        self._binds = binds_of(context) if context is not None else Binds()
        self._on_server = is_server_side(context)
        self._live = live
        self._rebuild = rebuild
        self._fetches = fetches
        self._may_be_new = may_be_new
        self._args: dict[str, Any] | None = None
        self.span = otel_span(context)

    def live(self) -> Any:
        return self._live()

    def observe(self, session: TraceSession) -> None:
        self._note()

    def call(self) -> Call:
        self._note()
        assert self._args is not None
        return Call(
            LIB, EventType.DB_QUERY, kind_of(text_of(self._given.statement)), self.target.url, args=self._args
        )

    def returned(self, value: Any, recording: Recording) -> Any:
        self._live = self._rebuild = _nothing
        self.connection = None
        self.tell_facts(recording)
        if not self._fetches.opened(value, recording):
            recording.close()
        return value

    def result(self, recording: Recording) -> EventResult:
        reply = self._fetches.reply()
        if self._engine:
            reply["engine"] = self._engine
        return EventResult(reply=reply)

    def again(self) -> bool:
        return self._may_be_new

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        let_others_run(self.target.dialect)
        return self._rebuild(event, session, self)

    def rebuild_error(self, error: RecordedError) -> BaseException:
        let_others_run(self.target.dialect)
        return super().rebuild_error(error)

    def _note(self) -> None:
        if self._args is None:
            self._args = arguments(self._given, self._binds)
            if self._on_server:
                self._args["server_side"] = True
            self._given = Given(self._given.statement)


def _nothing(*_: Any) -> Any:
    raise AssertionError("this call was made already")
