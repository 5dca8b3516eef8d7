"""Where mysqlclient is patched. Its connections keep the result of a statement, and cursors ask them for it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Staying, Undoable
from timetracer_otel.calls.flow import Recording, flow, records, replays
from timetracer_otel.calls.guarded import ASK, AppStep, Done, Flow, Noted, guarded, only, raising
from timetracer_otel.calls.guarded_objects import guarded_method
from timetracer_otel.calls.registry import Connector
from timetracer_otel.calls.whose_error import raise_for_app
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.kits.dbapi.answer import Fetches, RecordedAnswer
from timetracer_otel.libraries.kits.dbapi.call import StatementSite, raise_made_already, unrecorded
from timetracer_otel.libraries.kits.dbapi.direct import connected, held_by
from timetracer_otel.libraries.kits.dbapi.facts import recorded_facts
from timetracer_otel.libraries.kits.dbapi.owners import HELD, opening
from timetracer_otel.libraries.kits.dbapi.statements import CursorCall
from timetracer_otel.libraries.kits.mysql.answer import ResultFacts
from timetracer_otel.libraries.kits.mysql.call import Execution, KnownEnd, MySQLHeld, ServerTarget
from timetracer_otel.libraries.kits.mysql.seams import Driver, Seams, refuse
from timetracer_otel.libraries.mysqlclient import internals
from timetracer_otel.libraries.mysqlclient.answer import NotedResult, Now, stand_in_with
from timetracer_otel.libraries.mysqlclient.internals import LIB
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["CONNECTORS", "patches"]

_NAMES: Final = ("host", "user", "password", "database", "port", "unix_socket")
"""The arguments of a connection by position."""
_TELLING: Final = ("affected_rows", "field_count", "insert_id", "more_results", "warning_count")
"""What a connection tells of the statement that it sent last."""
_SETTINGS: Final = (
    *("autocommit", "change_user", "dump_debug_info", "kill", "read_query_result", "select_db"),
    *("send_query", "set_character_set", "set_server_option", "shutdown", "stat"),
)
"""What else a connection tells its server, or asks it."""
_ENDS: Final = ("commit", "rollback")
_DISCARDED: Final = "discarded"
"""In the place of the flags of columns, where the driver has not looked at a result."""
_LOST: Final = ((2006,), (2013,))
"""The first argument of errors that say that the server is gone. The driver leaves the connection open."""
_NO_MORE: Final = -1
"""What ``next_result`` gives where no result follows."""


def patches(module: ModuleType) -> list[Undoable]:
    """The patches of the module ``MySQLdb``."""
    connections: Any = importlib.import_module(f"{module.__name__}.connections")
    cursors: Any = importlib.import_module(f"{module.__name__}.cursors")

    def target_of(connection: Any) -> ServerTarget:
        known = vars(connection)
        return _target_of(module, {"host": known.get("host"), "database": known.get("db"), "port": connection.port})

    driver = Driver(
        lib=LIB, target_of=target_of, facts_of=internals.facts_of, close=lambda connection: connection.close()
    )
    return _Seams(module, driver, connections.Connection, cursors.BaseCursor).patches()


def _target_of(module: Any, given: Mapping[str, Any]) -> ServerTarget:
    database = given.get("database") or given.get("db")
    where = given.get("host"), given.get("port") or 3306, given.get("unix_socket")
    return ServerTarget(LIB, module, *where, database, lambda connection: bool(connection.open))


def _address(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """Where a connection goes past this plugin; None where it answers the call, or records it."""
    session = get_current_session()
    if replays(LIB, session) or records(LIB, session):
        return None
    given = {**dict(zip(_NAMES, args[1:], strict=False)), **kwargs}
    return str(given.get("unix_socket") or f"{given.get('host') or 'localhost'}:{given.get('port') or 3306}")


CONNECTORS: Final = (Connector("Connection.__init__", _address),)


class _Execution(Execution):
    """A statement whose result the driver asks for later, where there is one."""

    def __init__(self, held: MySQLHeld, connection: Any, call: CursorCall, live: AppStep) -> None:
        super().__init__(held, connection, call, live, refuse)
        self._held = held
        self._sent: CursorCall | None = call
        self.may_disown = "result" in call.options

    def disowns(self, outcome: Any) -> bool:
        """Whether no further result was there. Where one was, the result before it says so, which did not know."""
        if type(outcome) is int and outcome == _NO_MORE:
            return True
        if self._held.told is not None:
            self._held.told[1] = True
        return False

    def returned(self, value: Any, recording: Recording) -> Any:
        """The statement was sent. Its result is noted now, or once the driver asks for it."""
        if internals.columns_of(self.connection):
            self._held.waiting = self, value, recording
            return value
        return self.take(value, recording, None, [])

    def take(self, value: Any, recording: Recording, own: Any, flags: Any) -> Any:
        """Note the result.

        Args:
            value: What the call has given.
            recording: Of the call.
            own: The driver's result; None where there is none.
            flags: Of its columns; a text where the driver discards it.
        """
        held, call, connection = self._held, self._sent, self.connection

        def opened(fetches: Fetches) -> None:
            assert call is not None
            more = internals.has_more(connection)
            held.has_result(call, own is not None or more is not False)
            fetches.state = held.told = [connection.warning_count(), bool(more), flags, None]
            if own is not None:
                held.open = None, fetches

        description = own.describe() if own is not None else None
        facts = ResultFacts(connection.affected_rows(), description, connection.insert_id())
        self._result, self._opened = lambda: facts, opened
        return super().returned(value, recording)

    def let_go(self) -> None:
        """Forget the connection."""
        super().let_go()
        self._sent = None


class _Ping(KnownEnd):
    """Asks whether the server is there. What nobody misses is not recorded."""

    may_disown = True

    def disowns(self, outcome: Any) -> bool:
        """Whether it was."""
        return not isinstance(outcome, BaseException)


class _Taken(Noted):
    """Notes the result that the driver asks for."""

    __slots__ = ("_held",)

    def __init__(self, held: MySQLHeld) -> None:
        self._held = held

    def came(self, value: Any) -> Any:
        """The driver has it, or has discarded it: that gives nothing."""
        held = self._held
        (site, given, recording), held.waiting = held.waiting, None
        site.take(given, recording, value, list(value.field_flags()) if value is not None else _DISCARDED)
        return NotedResult(value, held) if value is not None else None

    def raised(self, error: BaseException) -> None:
        """The connection failed."""
        (_, _, recording), self._held.waiting = self._held.waiting, None
        recording.failed(error)


class _Seams(Seams):
    """The seams of mysqlclient.

    Args:
        module: ``MySQLdb``.
        driver: What it is called.
        connection: Its class of connections.
        cursor: Its class of cursors.
    """

    def __init__(self, module: Any, driver: Driver, connection: type[Any], cursor: type[Any]) -> None:
        super().__init__(driver, connection, cursor)
        self._module = module
        self._replaced: dict[str, Any] = {
            "query": self.querying,
            "next_result": self.next_result,
            "ping": self.ping,
            **dict.fromkeys(("discard_result", "store_result", "use_result"), self.taking),
            **{name: partial(self.telling, name) for name in _TELLING if hasattr(connection, name)},
            **{name.lower(): partial(self.end, name) for name in ("COMMIT", "ROLLBACK")},
        }
        self._guards = {name: make(_reaching(name)) for name, make in self._replaced.items()}
        """What connections of a replay have: the same, above what reaches nothing."""

    def patches(self) -> list[Undoable]:
        """All of them."""
        connection = self._connection
        return [
            # A connection that is opened outside sessions may be used in one: whose it is must be known.
            Staying(Patch(connection, "__init__", self.connecting)),
            *(Patch(connection, name, make) for name, make in self._replaced.items() if name not in _ENDS),
            *(Patch(connection, name, self.command) for name in _SETTINGS if hasattr(connection, name)),
            *super().patches(),
        ]

    def connecting(self, original: Function) -> Function:
        """A connection is opened."""

        def begin(session: BaseSession | None, connection: Any, *args: Any, **kwargs: Any) -> Flow | None:
            # What the driver asks by itself is none of the app's calls.
            vars(connection)[HELD] = None
            if opening.get() is not None:
                return None
            target = _target_of(self._module, {**dict(zip(_NAMES, args, strict=False)), **kwargs})
            live = AppStep(original, connection, *args, **kwargs)

            def stand_in() -> AppStep:
                assert isinstance(session, ReplaySession)
                stand_in_with(connection, recorded_facts(session, target) or {}, self._guards)
                return live

            def hold(_: Any, stands_in: bool) -> MySQLHeld:
                made = self.hold(connection, None, target, stands_in=stands_in)
                made.now = Now(None, made) if stands_in else None
                return made

            return connected(target, session, live, stand_in, hold, may_be_new=False)

        return self.guarded(original, begin)

    def querying(self, original: Function) -> Function:
        """A connection sends a statement."""

        def begin(session: BaseSession | None, connection: Any, sql: Any) -> Flow | None:
            held = self.held(session, connection)
            if held is None:
                return None
            held.let_go()
            held.now = held.waiting = None
            call = held.call_of(sql)
            if held.target.is_gone(connection):
                return only(raising(internals.closed_error())) if held.stands_in else None
            if held.replays(session):
                return self._replayed(held, session, connection, call)
            if session is None:
                return None
            return flow(_Execution(held, connection, call, AppStep(original, connection, sql)), session)

        return self.guarded(original, begin)

    def next_result(self, original: Function) -> Function:
        """A connection goes to the next result of a statement, where there is one."""

        def begin(session: BaseSession | None, connection: Any) -> Flow | None:
            held = self.held(session, connection)
            if held is None or held.target.is_gone(connection):
                return None
            held.let_go()
            if held.replays(session):
                call = held.next_call() if held.now is not None and held.now.has_more else None
                return Done(_NO_MORE) if call is None else self._replayed(held, session, connection, call)
            if session is None or internals.has_more(connection) is False:
                return None
            call = held.next_call()
            return (
                None
                if call is None
                else flow(_Execution(held, connection, call, AppStep(original, connection)), session)
            )

        return self.guarded(original, begin)

    def ping(self, original: Function) -> Function:
        """A connection asks whether its server is there. It is an event where that fails."""

        def begin(session: BaseSession | None, connection: Any, *args: Any) -> Flow | None:
            held = self.held(session, connection)
            if held is None or session is None or held.target.is_gone(connection):
                return None
            if not held.replays(session):
                return flow(_Ping(held.target, "PING", AppStep(original, connection, *args)), session)
            return flow(_Ping(held.target, "PING", raise_made_already), session) if held.lost else Done(None)

        return self.guarded(original, begin)

    def taking(self, original: Function) -> Function:
        """A connection gives the result of its last statement, or discards it."""

        def begin(session: BaseSession | None, connection: Any) -> Any:
            held = self.held(session, connection)
            if held is None or held.target.is_gone(connection):
                return None
            if not held.replays(session):
                return _Taken(held) if held.waiting is not None else None
            now = held.now
            if now is not None and now.flags == _DISCARDED and original.__name__ != "discard_result":
                return only(raising(unrecorded(held.target, "a result that the recorded app discarded")))
            return Done(now.result if now is not None and original.__name__ != "discard_result" else None)

        return self.guarded(original, begin)

    def telling(self, name: str, original: Function) -> Function:
        """A connection tells something of the statement that it sent last."""

        def quick(connection: Any) -> Any:
            held = held_by(connection)
            return ASK if isinstance(held, MySQLHeld) and held.now is not None else None

        def begin(session: BaseSession | None, connection: Any) -> Flow | None:
            held = held_by(connection)
            assert isinstance(held, MySQLHeld)
            if held.target.is_gone(connection) or not held.replays(session):
                return None
            return Done(getattr(held.now, name))

        return guarded(LIB, original, begin, outside=True, quick=quick)

    def _replayed(self, held: MySQLHeld, session: BaseSession | None, connection: Any, call: CursorCall) -> Flow:
        def rebuild(event: DependencyEvent, replay: ReplaySession, site: StatementSite) -> Any:
            answer = RecordedAnswer(event, replay, site)
            held.now = Now(answer, held)
            held.has_result(call, bool(held.now.has_more))
            return answer.value

        held.now = Now(None, held)
        try:
            return (yield from self.answered(held, session, connection, call, None, rebuild))
        except Exception as error:
            held.lost = held.lost or error.args[:1] in _LOST
            raise


def _reaching(name: str) -> Function:
    """What a connection of a replay does where its guard lets a call pass: it was never connected."""

    def reached(connection: Any, *_: Any) -> Any:
        held = held_by(connection)
        if held is not None and not connection.open:
            raise_for_app(internals.closed_error())
        if held is None or name in (*_ENDS, "ping"):
            # It is being opened; or nothing is to be done.
            return None
        raise unrecorded(held.target, f"connection.{name}")

    reached.__name__ = name
    made: Function = guarded_method(reached)
    return made
