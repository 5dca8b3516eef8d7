"""The calls to a database, as `flow` wants them stated: a connection, a statement, the end of a transaction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from timetracer_otel.calls.flow import Recording, Site, replays
from timetracer_otel.cassette.boundaries import BEGIN
from timetracer_otel.constants import SETS_UP, EventType
from timetracer_otel.current import get_current_session
from timetracer_otel.exceptions import CassetteError, ReplayMismatchError
from timetracer_otel.libraries.kits.dbapi.answer import Fetches
from timetracer_otel.libraries.kits.dbapi.errors import DISCONNECTED, STATE, rebuild_error, record_error
from timetracer_otel.libraries.kits.dbapi.facts import first_facts, number_of, untold_facts
from timetracer_otel.libraries.kits.dbapi.owners import setting_up
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, arguments, verb_of
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.session.transactions import Transaction
from timetracer_otel.types import Call, DependencyEvent, EventResult, RecordedError

__all__ = [
    "ConnectSite",
    "DatabaseSite",
    "PlainSite",
    "StatementSite",
    "WarmConnectSite",
    "raise_made_already",
    "unrecorded",
]


def unrecorded(target: Target, what: str) -> ReplayMismatchError:
    """The error for something that an app asks a connection or cursor of a replay, and that is never recorded."""
    what = f"{what} of {target.url}"
    hint = f"only what cursors execute and fetch is recorded: do without it, or name {target.lib} in live_plugins."
    session = get_current_session()
    if isinstance(session, ReplaySession) and replays(target.lib, session, lambda: target.address):
        return session.refuse_unrecorded(what, hint)
    return ReplayMismatchError(f"Not recorded: {what}", hint=hint)


class DatabaseSite(Site, ABC):
    """What all calls to a database have in common."""

    _facts: dict[str, Any] | None = None

    def __init__(self, target: Target, connection: Any = None) -> None:
        self.lib = target.lib
        self.target = target
        self.connection: Any = connection
        """On which the call is made: the driver's own, or one of a replay."""
        self.sets_up = setting_up.get() is not None
        """Whether it opens a connection, or is asked by a library that sets one up."""

    @abstractmethod
    def call(self) -> Call:
        """The call, as it is matched."""

    @property
    def stays_in_thread(self) -> bool:
        """As the database says."""
        return self.target.stays_in_thread

    @property
    def address(self) -> str | None:
        """Of the database."""
        return self.target.address

    @abstractmethod
    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        """The answer again."""

    def returned(self, value: Any, recording: Recording) -> Any:
        """What the driver returned; the call has ended with it."""
        self._facts = untold_facts(recording.session, self.target)
        recording.close()
        return value

    def result(self, recording: Recording) -> EventResult:
        """The facts of the database, where they are not told yet."""
        return EventResult(reply=self.with_setup({"engine": self._facts} if self._facts else {}))

    def with_setup(self, reply: dict[str, Any]) -> dict[str, Any]:
        """A reply that says whether the call set a connection up."""
        if self.sets_up:
            reply[SETS_UP] = True
        return reply

    def record_error(self, error: BaseException) -> RecordedError:
        """The error, with what the connection tells of itself behind it."""
        made = record_error(error)
        if isinstance(error, Exception) and self.target.is_gone(self.connection):
            made.attributes[DISCONNECTED] = True
        if self.target.state_of is not None and self.connection is not None:
            made.attributes[STATE] = self.target.state_of(self.connection)
        self.let_go()
        return made

    @abstractmethod
    def let_go(self) -> None:
        """The call was made: keep neither its connection nor its cursor alive."""
        self.connection = None

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """The error again; the connection of a replay is then as the recorded one was."""
        made, disconnected = self._made_again(error)
        if STATE in error.attributes and hasattr(self.connection, "state"):
            self.connection.state = error.attributes[STATE]
        if disconnected and hasattr(self.connection, "lose"):
            self.connection.lose()
        return made

    def _made_again(self, error: RecordedError) -> tuple[BaseException, bool]:
        return rebuild_error(error, self.target)

    def pause(self, seconds: float) -> Any:
        """As the database waits."""
        return self.target.pause(seconds)


class PlainSite(DatabaseSite):
    """A call without a statement, whose answer is one plain value or none: COMMIT, ROLLBACK, BEGIN.

    Args:
        target: The database.
        method: Name of the call.
        live: Makes the call for real.
        connection: On which.
        replayed: What happens in a replay beside its answer.
        given: What its answer depends on, by name.
        transaction: The one that it begins or ends, where it is recorded.
    """

    marks_span = False

    def __init__(
        self,
        target: Target,
        method: str,
        live: Callable[[], Any],
        connection: Any = None,
        replayed: Callable[[], Any] | None = None,
        given: Mapping[str, Any] | None = None,
        transaction: Transaction | None = None,
    ) -> None:
        super().__init__(target, connection)
        self._method = method
        self._transaction = transaction
        self._args = {"statement": method, **(given or {})}
        self.live: Any = live
        self.beside = replayed
        self._value: Any = None

    def call(self) -> Call:
        """The call by its verb."""
        return Call(self.lib, EventType.DB_QUERY, self._method, self.target.url, args=self._args)

    def as_it_is(self) -> tuple[str, str, Any, Any] | None:
        """The call by its verb."""
        return self._method, self.target.url, self._args, None

    def returned(self, value: Any, recording: Recording) -> Any:
        """What the driver returned; the call has ended with it."""
        self.let_go()
        self._value = value if type(value) in (str, int, bool) else None
        if self._transaction is None or self._value is not None or self.sets_up:
            return super().returned(value, recording)
        # The facts of the database stand with a statement, where there is one behind this call.
        number_of(recording.session, self.target)
        if self._method != BEGIN:
            self._facts = untold_facts(recording.session, self.target)
        if self._facts is None:
            recording.transaction, recording.boundary = self._transaction, self._method
        recording.close()
        return value

    def let_go(self) -> None:
        """Forget the connection."""
        super().let_go()
        self.live = raise_made_already

    def result(self, recording: Recording) -> EventResult:
        """What the driver returned, as plain data."""
        if recording.boundary == BEGIN and self._facts is None:
            self._facts = untold_facts(recording.session, self.target)
        made = super().result(recording)
        if self._value is not None:
            made.reply["value"] = self._value
        return made

    def again(self) -> bool:
        """True: a real connection, where there is one, can make it."""
        return True

    def rebuild(self, event: DependencyEvent | None, session: ReplaySession) -> Any:
        """What the driver returned when the call was recorded."""
        self.target.let_others_run()
        return (event.result.reply or {}).get("value") if event is not None else None


class ConnectSite(DatabaseSite):
    """The opening of a connection.

    Args:
        target: The database.
        live: Opens it for real.
        replayed: Gives the connection of a replay.
    """

    def __init__(self, target: Target, live: Callable[[], Any], replayed: Callable[[], Any]) -> None:
        super().__init__(target)
        self.live: Any = live
        self._replayed = replayed
        self._number = 0
        self._process: int | None = None

    def call(self) -> Call:
        """``CONNECT`` to the target, without arguments: a connection is known by its target alone."""
        return Call(self.lib, EventType.DB_QUERY, "CONNECT", self.target.url, args={"statement": "CONNECT"})

    def returned(self, value: Any, recording: Recording) -> Any:
        """The connection itself; what the database said of itself is noted with it."""
        self.let_go()
        self._number = number_of(recording.session, self.target)
        self._process = self.target.process_of(value)
        recording.close()
        return value

    def let_go(self) -> None:
        """Forget the pool's record that the connection is for."""
        super().let_go()
        self.live = raise_made_already

    def result(self, recording: Recording) -> EventResult:
        """The facts of the database that were noted."""
        # Asked for now, and not in `returned`: the library learns about its server after the connection is there.
        facts = first_facts(recording.session, self._number, self.target)
        made: dict[str, Any] = {"engine": facts} if facts else {}
        if self._process is not None:
            made["process"] = self._process
        return EventResult(reply=self.with_setup(made))

    def again(self) -> bool:
        """True: a connection may always be made for real."""
        return True

    def rebuild(self, event: DependencyEvent | None, session: ReplaySession) -> Any:
        """A connection of the replay, with the recorded facts of the database."""
        self.target.let_others_run()
        if event is not None:
            self.target.process = (event.result.reply or {}).get("process")
        return self._replayed()


class WarmConnectSite(ConnectSite):
    """Stands for the opening of a connection that a pool held before the recording began.

    Nothing is called. A replay may have no such pool, and opens a connection.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target, _nothing, _nothing)

    # The library knows its server already: what it knows is noted as for any other call.
    returned = DatabaseSite.returned
    result = DatabaseSite.result


class StatementSite(DatabaseSite):
    """One statement, from its execution to the last row that the app fetched.

    Args:
        target: The database.
        given: The arguments of the cursor's method.
        context: What the library bound the cursor to; None where it bound it to nothing.
        connection: On which it runs.
        live: Runs it for real.
        fetches: Notes its answer.
        rebuild: Gives the app the recorded answer.
        may_be_new: Whether it can be run for real after a replay had no answer.
        transaction: The one that it runs in, where it is recorded.
    """

    converting: Callable[[], object] | None = None
    """In a replay: puts the values into the statement, as the driver does before it sends that.

    The app's adapters run, and may raise an error of the app's own, which no cassette makes again.
    """
    _noted: Any = None
    _args: dict[str, Any] | None = None

    def __init__(
        self,
        target: Target,
        given: CursorCall,
        context: Any,
        connection: Any,
        live: Callable[[], Any],
        fetches: Fetches,
        rebuild: Callable[[DependencyEvent, ReplaySession, StatementSite], Any],
        may_be_new: bool,
        transaction: Transaction | None = None,
    ) -> None:
        super().__init__(target, connection)
        self._transaction = transaction
        self._given: CursorCall | None = given
        self._names, self._on_server, self.span, self._unordered = target.statement_facts(context)
        self.live: Any = live
        self._rebuild = rebuild
        self.fetches: Fetches = fetches
        self._may_be_new = may_be_new

    def noted_on(self, cursor: Any) -> None:
        """The call is made by a guard. Once it was made, rows are noted by these `CursorNotes`."""
        self._noted = cursor

    def observe(self, session: TraceSession) -> None:
        """Keep the statement's arguments as they are before the driver sees them."""
        if self._given is None or not self._given.is_read_late:
            self._note_arguments()

    def call(self) -> Call:
        """The statement with its values, as it is matched."""
        self._note_arguments()
        assert self._args is not None
        verb = verb_of(self._args["statement"])
        return Call(self.lib, EventType.DB_QUERY, verb, self.target.url, args=self._args)

    def as_it_is(self) -> tuple[str, str, Any, Any] | None:
        """The statement with its values."""
        self._note_arguments()
        assert self._args is not None
        return verb_of(self._args["statement"]), self.target.url, self._args, None

    def returned(self, value: Any, recording: Recording) -> Any:
        """The driver's own value; the rows are noted as the app fetches them."""
        self._note_arguments()
        if self._noted is not None:
            self._noted.fetches = self.fetches
        self._facts = untold_facts(recording.session, self.target)
        recording.transaction = self._transaction
        if self.target.state_of is not None:
            self.fetches.state = self.target.state_of(self.connection)
        may_fetch = self.fetches.opened(value, recording)
        self.let_go()
        if may_fetch:
            recording.goes_on, recording.latest_s = True, recording.returned_s
        else:
            recording.close()
        return value

    def record_error(self, error: BaseException) -> RecordedError:
        """What the driver raised; by now it has read all values that it was to read."""
        self._note_arguments()
        return super().record_error(error)

    def let_go(self) -> None:
        """Forget the connection and the cursor."""
        self.connection = self.fetches.cursor = self._noted = None
        self.live = self._rebuild = raise_made_already

    def result(self, recording: Recording) -> EventResult:
        """The columns and rows that were fetched, with what the cursor said of them."""
        reply = self.fetches.reply()
        if self._facts:
            reply["engine"] = self._facts
        return EventResult(reply=self.with_setup(reply))

    def again(self) -> bool:
        """True where the real connection can run it."""
        return self._may_be_new

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        """The answer that the cursor of the replay gives its rows from."""
        self.target.let_others_run()
        return self._rebuild(event, session, self)

    def rebuild_error(self, error: RecordedError) -> BaseException:
        """The driver's own error, as the app caught it."""
        self.target.let_others_run()
        return super().rebuild_error(error)

    def _made_again(self, error: RecordedError) -> tuple[BaseException, bool]:
        try:
            return super()._made_again(error)
        except CassetteError:
            raised = self._raised_again(error)
            if raised is None:
                raise
            return raised, bool(error.attributes.get(DISCONNECTED))

    def _raised_again(self, error: RecordedError) -> BaseException | None:
        """What the app's adapters raise now; None where that is not the recorded error."""
        if self.converting is not None:
            try:
                self.converting()
            except Exception as raised:
                now = record_error(raised)
                return raised if (now.cls, now.message) == (error.cls, error.message) else None
        return None

    def _note_arguments(self) -> None:
        if self._args is None:
            assert self._given is not None
            self._args = arguments(self._given, self._names, self._unordered)
            if self._on_server:
                self._args["server_side"] = True
            self._given = None


def _nothing() -> None:
    return None


def raise_made_already(*_: Any) -> Any:
    """In the place of what makes a call that is not to be made, or not once more."""
    raise AssertionError("this call was made already")
