"""Where SQLAlchemy is patched: which of its functions are replaced, and by what.

`internals` explains *record*, *fairy* and how a dialect is initialised.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any, TypeGuard
from weakref import WeakKeyDictionary, ref

from opentelemetry import context as otel_context

from timetracer_otel.base import faults
from timetracer_otel.base.otel_context import UPKEEP_KEY
from timetracer_otel.base.patching import Function, Patch, Staying
from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import begun, flow, notes, records, replays
from timetracer_otel.calls.guarded import AppStep, Done, Flow, Noted, Step, contain, guarded, only, raising
from timetracer_otel.calls.guarded_objects import guarded_method
from timetracer_otel.calls.noting import noting
from timetracer_otel.calls.whose_error import outside
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.kits.dbapi.boundaries import (
    answered_by,
    answered_or_passed,
    end_of_transaction,
    opened_for_real,
)
from timetracer_otel.libraries.kits.dbapi.call import ConnectSite, PlainSite, WarmConnectSite
from timetracer_otel.libraries.kits.dbapi.connection_setup import claimed
from timetracer_otel.libraries.kits.dbapi.drivers import psycopg2, psycopg_types
from timetracer_otel.libraries.kits.dbapi.drivers.psycopg2_types import AskingVectors
from timetracer_otel.libraries.kits.dbapi.facts import is_met, recorded_facts
from timetracer_otel.libraries.kits.dbapi.owners import disowned, opening
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.recording_cursor import RecordingCursor, recording_cursor
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.sqlalchemy import pools
from timetracer_otel.libraries.sqlalchemy.call import LIB, EngineTarget, note_initialized
from timetracer_otel.libraries.sqlalchemy.connections import EngineCursor, replay_connection
from timetracer_otel.libraries.sqlalchemy.engines import engines
from timetracer_otel.libraries.sqlalchemy.internals import (
    BEGIN,
    CONNECT,
    CREATOR,
    PINGING,
    RESET,
    connection_span,
    fairy_of,
    fairy_pool,
    initialize_again,
    on_connect,
    opened_by,
    ping_method,
    pool_classes,
    pool_dialect,
    record_pool,
    restore_facts,
)
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.session.transactions import Transactions
from timetracer_otel.types import DependencyEvent

__all__ = ["patches"]

_GET_LEVEL = "GET ISOLATION LEVEL"
"""Name of the call that asks for a connection's isolation level."""
_RESETTING = "_timetracer_resetting"
"""Key in a fairy's dictionary, as long as its pool resets the connection that came back."""
_TRANSACTIONS = "_timetracer_transactions"
"""Key in a fairy's dictionary: the `Transactions` of its connection, where that is recorded."""
_CURSOR = "CURSOR"
"""The call that asks a driver for a cursor; an event only where it fails."""
_PINGED = "PING"
"""The question of a pool whether a connection is alive; an event only where it is not."""
_OUR_CURSORS = (RecordingCursor, EngineCursor)


def _is_recording(session: BaseSession | None) -> TypeGuard[TraceSession]:
    return records(LIB, session)


def _is_replaying(session: BaseSession | None, target: EngineTarget) -> TypeGuard[ReplaySession]:
    return replays(LIB, session, lambda: target.address)


class _Attribute:
    """An attribute that a class of SQLAlchemy's does not have without us; applied and undone like a `Patch`."""

    def __init__(self, owner: type[Any], name: str, value: Any) -> None:
        self._owner = owner
        self._name = name
        self._value = value

    def apply(self) -> None:
        setattr(self._owner, self._name, self._value)

    def undo(self) -> None:
        if self._owner.__dict__.get(self._name) is self._value:
            delattr(self._owner, self._name)


def patches(module: ModuleType) -> list[Any]:
    """The patches of one module of the library."""
    if module.__name__ == "psycopg":
        return list(map(Staying, psycopg_types.function_patches(module)))
    if module.__name__ == "psycopg2":
        return list(map(Staying, psycopg2.function_patches()))
    if module.__name__ == "pgvector.psycopg2.register":
        return [Staying(AskingVectors(module))]
    if module.__name__ == "sqlalchemy.dialects.postgresql.psycopg2":
        # A cursor of a recording may be used when that has ended.
        return [Staying(Patch(module.PGDialect_psycopg2, "do_executemany", _do_executemany))]
    if module.__name__ in PINGING:
        pinging = getattr(module, PINGING[module.__name__], None)
        return [Patch(pinging, "do_ping", _ping)] if pinging is not None and ping_method(pinging) == "do_ping" else []
    base = importlib.import_module("sqlalchemy.engine.base")
    default = importlib.import_module("sqlalchemy.engine.default")
    pool, fairy, record = pool_classes()
    return [
        pools.RealConnectionsBack(),
        # What a connection that is opened outside sessions belongs to must be known in a session: it is opened once.
        Staying(_Attribute(pool, CREATOR, property(_get_creator, _set_creator, _del_creator))),
        Staying(Patch(base.Engine, "raw_connection", _meeting)),
        Patch(record, CONNECT, _connect),
        Patch(record, "get_connection", pools.get_connection),
        Patch(record, "close", pools.close),
        Patch(fairy, "cursor", _cursor),
        Patch(fairy, RESET, _reset),
        _Attribute(fairy, "commit", guarded(LIB, _commit, partial(_end_transaction, "COMMIT"))),
        _Attribute(fairy, "rollback", guarded(LIB, _rollback, partial(_end_transaction, "ROLLBACK"))),
        Patch(base.Engine, "raw_connection", _raw_connection),
        Patch(base.RootTransaction, BEGIN, _begin),
        Patch(base.Connection, "get_isolation_level", _get_isolation_level),
        Patch(default.DefaultExecutionContext, "create_cursor", _create_cursor),
        Patch(default.DefaultDialect, ping_method(default.DefaultDialect), _ping),
    ]


def _meeting(original: Function) -> Function:
    """An engine asks its pool for a connection, which may be used in a session that begins later.

    A guard (see `calls.guarded`) that asks for no session: each call of an app passes it outside sessions, too.
    """

    def raw_connection(engine: Any) -> Any:
        try:
            engines.met(engine)
        except Exception as fault:
            contain(LIB, get_current_session(), fault)
        return original(engine)

    return raw_connection


def _raw_connection(original: Function) -> Function:
    """An engine asks its pool for a connection, in a session."""

    def begin(session: BaseSession, engine: Any) -> None:
        if _is_recording(session) and engines.target(engine.dialect) is not None:
            span_id = connection_span()
            if span_id:
                session.client_span_is_known(span_id)

    return guarded(LIB, original, begin)


# A pool keeps the function that opens connections as an attribute, under this name. A property of the class goes
# before the attribute of the object, and so reaches the pools that exist already.


def _own_creator(pool: Any) -> Callable[[Any], Any]:
    creator: Callable[[Any], Any] = pool.__dict__[CREATOR]
    return creator


def _creating(session: BaseSession | None, pool: Any) -> Flow:
    creator = yield AppStep(pool.__dict__.__getitem__, CREATOR)
    # Outside sessions as well, and for engines that take no part: the connection is none of the driver's own plugin.
    return guarded(LIB, creator, partial(_open, creator, engines.target(pool_dialect(pool))), outside=True)


_get_creator = guarded(LIB, _own_creator, _creating, outside=True)


def _opened(creator: Callable[[Any], Any], target: EngineTarget, record: Any) -> Any:
    """Open a real connection, and note whose it is before listeners set it up."""
    connection = outside(creator, record)
    try:
        target.connected(connection)
    except Exception as fault:
        faults.contain("sqlalchemy.connected", fault)
    return connection


def _set_creator(self: Any, creator: Callable[[Any], Any]) -> None:
    self.__dict__[CREATOR] = creator


def _del_creator(self: Any) -> None:
    del self.__dict__[CREATOR]


def _open(
    creator: Callable[[Any], Any], target: EngineTarget | None, session: BaseSession | None, record: Any
) -> Flow:
    """Open a connection for a record of a pool: by the pool's own function, or one of a replay."""
    opens = AppStep(creator, record)
    if target is None:
        return (yield from opening.around(LIB, opens))
    if session is None or not _is_replaying(session, target):
        site = ConnectSite(target, opens, _nothing_replayed)
        site.lend = partial(opening.lend, LIB)
        connection = yield from flow(site, session) if session is not None else opening.around(LIB, opens)
        if target.learns_types:
            target.connected(connection)
        return connection
    opened = partial(_opened, creator, target) if target.learns_types else creator
    real = RealConnection(target, partial(opened_by, opened, record))
    ours = replay_connection(target, real)

    replayed = ConnectSite(target, partial(opened_for_real, ours), lambda: ours)
    if recorded_facts(session, target) is not None:
        # The replay may open more connections than the recording did, whose pool had some already.
        return (yield from answered_or_passed(replayed, session))
    return (yield from flow(replayed, session))


def _nothing_replayed() -> Any:
    raise AssertionError("this call is not replayed")


def _connect(original: Function) -> Function:
    """A record of a pool opens its connection, and the listeners of the pool set it up."""

    def begin(session: BaseSession, record: Any) -> Flow | None:
        dialect = pool_dialect(record_pool(record))
        target = engines.target(dialect)
        if target is None:
            return None
        if _is_replaying(session, target):
            return replayed(session, record, dialect, target)
        return recorded(record, dialect) if _is_recording(session) else None

    def replayed(session: ReplaySession, record: Any, dialect: Any, target: EngineTarget) -> Flow:
        was_known = dialect in engines.on_recorded_facts
        with _initialized_from(session, target):
            yield AppStep(original, record)
        record.dbapi_connection.ready()
        if dialect not in engines.on_recorded_facts:
            # The cassette does not know this engine, so the connection was opened for real.
            note_initialized(dialect)
        pools.holds_ours(record)
        if not was_known and dialect in engines.on_recorded_facts:
            # The dialect learns from its server at its first real connection, which may come long after this
            # session.
            on_connect(record_pool(record), partial(_first_real_connection, target))

    def recorded(record: Any, dialect: Any) -> Flow:
        # What the dialect asks its server at its first connection is no call of the app's.
        yield from _as_upkeep(AppStep(original, record))
        note_initialized(dialect)

    return guarded(LIB, original, begin)


def _first_real_connection(target: EngineTarget, connection: Any, record: Any) -> None:
    """The pool opened a connection: if it is a real one, let the dialect learn from the server at last."""
    if target.dialect in engines.on_recorded_facts and not isinstance(connection, ReplayConnection):
        engines.on_recorded_facts.discard(target.dialect)
        initialize_again(target.dialect, record, connection, target.engine_url)


_initializing = threading.Lock()
_initializers: WeakKeyDictionary[Any, tuple[int, list[Any]]] = WeakKeyDictionary()
"""By dialect: how many of its connections are being opened in replays, and the ``initialize`` that an app had put
into the dialect itself, if any. Not by session: the replacement stands in the dialect, which all sessions share."""


@contextmanager
def _initialized_from(session: ReplaySession, target: EngineTarget) -> Generator[None, None, None]:
    """While a connection of ours is opened, its dialect gets from the cassette what it would ask a server for."""
    dialect = target.dialect

    @guarded_method
    def initialize(connection: Any) -> None:
        if not isinstance(connection.connection.dbapi_connection, ReplayConnection):
            outside(type(dialect).initialize, dialect, connection)
            return
        restore_facts(dialect, recorded_facts(session, target) or {})
        engines.on_recorded_facts.add(dialect)

    with _initializing:
        own = [vars(dialect)["initialize"]] if "initialize" in vars(dialect) else []
        opening, own = _initializers.get(dialect, (0, own))
        _initializers[dialect] = opening + 1, own
        dialect.initialize = initialize
    try:
        yield
    finally:
        with _initializing:
            opening, own = _initializers[dialect]
            if opening > 1:
                _initializers[dialect] = opening - 1, own
            else:
                del _initializers[dialect]
                vars(dialect).pop("initialize", None)
                if own:
                    dialect.initialize = own[0]


def _cursor(original: Function) -> Function:
    """A fairy hands out a cursor."""

    def begin(session: BaseSession | None, fairy: Any, *args: Any, **kwargs: Any) -> Flow | Noted | None:
        connection = fairy.dbapi_connection
        is_ours = isinstance(connection, ReplayConnection)
        if is_ours and session is not None and connection.plain_in is session and not args and not kwargs:
            return Done(connection._self_usual_cursor())
        target = engines.target(pool_dialect(fairy_pool(fairy))) if session is not None else None
        if target is None:
            return only(AppStep(connection.library_cursor, *args, **kwargs)) if is_ours else None
        if not is_ours and notes(LIB, session):
            return _CursorTaken(session, target, fairy)  # type: ignore[arg-type]
        if _is_replaying(session, target):
            if is_ours and not session.holds_method(LIB, _CURSOR):
                # A cursor of ours, with nothing of the library's or the app's on the way.
                connection.plain_in = session if session.recorder is None else None
                return Done(connection.library_cursor(*args, **kwargs))
            return replayed(session, target, connection, args, kwargs)
        if is_ours:
            return only(AppStep(connection.library_cursor, *args, **kwargs))
        assert session is not None
        return recorded(session, target, fairy, AppStep(original, fairy, *args, **kwargs))

    def replayed(session: ReplaySession, target: EngineTarget, connection: Any, args: Any, kwargs: Any) -> Flow:
        if isinstance(connection, ReplayConnection):
            yield from _fail_as_recorded(connection, target, session)
        else:
            # A real connection that was opened before this replay: only new calls go to it.
            connection = replay_connection(target, RealConnection(target, connection=connection))
            connection.ready()
        return (yield AppStep(connection.library_cursor, *args, **kwargs))

    def recorded(session: BaseSession, target: EngineTarget, fairy: Any, live: AppStep) -> Flow:
        try:
            real = yield live
        except BaseException as error:
            site = PlainSite(target, _CURSOR, raising(error), fairy.dbapi_connection)
            return (yield from flow(site, session))
        return _noted(real, target, fairy)

    return guarded(LIB, original, begin, outside=True)


def _noted(cursor: Any, target: EngineTarget, fairy: Any) -> RecordingCursor:
    """What a fairy hands out in the place of one of the driver's cursors."""
    made = recording_cursor(cursor, target)
    made._self_notes.transactions = _transactions_of(fairy)
    if target.dialect.is_async:
        # An adapter's cursor does not tell of the driver's connection, which may be older than our patches.
        disowned(fairy.driver_connection)
    return made


class _CursorTaken(Noted):
    """Lets a cursor of a recorded connection be noted."""

    __slots__ = ("_fairy", "_session", "_target")

    def __init__(self, session: TraceSession, target: EngineTarget, fairy: Any) -> None:
        self._session = session
        self._target = target
        self._fairy = fairy

    def came(self, value: Any) -> RecordingCursor:
        """The driver gave a cursor: give one that notes what it runs."""
        return _noted(value, self._target, self._fairy)

    def raised(self, error: BaseException) -> None:
        """The driver gave none, which is an event."""
        site = PlainSite(self._target, _CURSOR, _nothing_replayed, self._fairy.dbapi_connection)
        recording = begun(site, self._session)
        if recording is not None:
            recording.raised(error)


def _transactions_of(fairy: Any) -> Transactions:
    """Those of the connection that a fairy holds, which has them for as long."""
    found: Transactions | None = fairy.__dict__.get(_TRANSACTIONS)
    if found is None:
        found = fairy.__dict__[_TRANSACTIONS] = Transactions()
    return found


def _fail_as_recorded(connection: ReplayConnection, target: EngineTarget, session: ReplaySession) -> Flow:
    """Raise what the driver raised instead of giving a cursor, if that is what the cassette has next."""
    site = PlainSite(target, _CURSOR, _nothing_replayed, connection)
    event = _failure(site, _CURSOR, session)
    if event is not None:
        yield from answered_by(site, session, event)


def _failure(site: PlainSite, method: str, session: ReplaySession) -> DependencyEvent | None:
    """The event of a call that is recorded only where it failed, taken, if that is what the cassette has next.

    A call that did not fail is no event, so the order of the other events of the database tells when it was.
    """
    if not session.holds_method(LIB, method):
        return None
    event = session.upcoming(site.redacted(session), hooks.whereabouts(None).path())
    if event is None or any(
        earlier.eid < event.eid and earlier.signature.url == event.signature.url
        for earlier in session.get_unconsumed_events()
    ):
        return None
    return event if session.claim(event) else None


def _ping(original: Function) -> Function:
    """A pool asks whether the connection that it is about to hand out is alive.

    A replay does not ask, or asks a connection of ours. So the driver's span of it is no call without an answer.
    """

    def begin(session: BaseSession, dialect: Any, dbapi_connection: Any) -> Flow | None:
        target = engines.target(dialect)
        live = AppStep(original, dialect, dbapi_connection)
        if isinstance(dbapi_connection, ReplayConnection) and target is not None:
            return replayed(session, target, dbapi_connection, live) if _is_replaying(session, target) else None
        # One that was opened before our patches is not known to be SQLAlchemy's yet.
        disowned(getattr(dbapi_connection, "driver_connection", dbapi_connection))
        if target is None or not _is_recording(session):
            return _as_upkeep(live)
        return recorded(session, target, dbapi_connection, live)

    def replayed(session: ReplaySession, target: EngineTarget, connection: Any, live: AppStep) -> Flow:
        site = PlainSite(target, _PINGED, _nothing_replayed, connection)
        event = _failure(site, _PINGED, session)
        if event is not None:
            return (yield from answered_by(site, session, event))
        return (yield live)

    def recorded(session: BaseSession, target: EngineTarget, connection: Any, live: AppStep) -> Flow:
        try:
            alive = yield from _as_upkeep(live)
        except BaseException as error:
            return (yield from flow(PlainSite(target, _PINGED, raising(error), connection), session))
        if alive:
            return alive
        return (yield from flow(PlainSite(target, _PINGED, AppStep(bool, alive), connection), session))

    return guarded(LIB, original, begin)


def _as_upkeep(live: AppStep) -> Flow:
    """Make a call of a pool's own, whose span in the driver is none of a call of the app's."""
    token = otel_context.attach(otel_context.set_value(UPKEEP_KEY, True))
    try:
        return (yield live)
    finally:
        otel_context.detach(token)


def _create_cursor(original: Function) -> Function:
    """The context of a statement takes its cursor: now the cursor knows which statement it is for."""

    def bind(cursor: Any, context: Any) -> None:
        if issubclass(type(cursor), _OUR_CURSORS):
            # The context has the cursor: a plain reference back would keep both until the next garbage collection.
            cursor._self_bind(ref(context))

    return noting("sqlalchemy.create_cursor", original, bind)


def _reset(original: Function) -> Function:
    """A pool cleans up a connection that comes back to it."""

    def begin(session: BaseSession, fairy: Any, *args: Any, **kwargs: Any) -> Flow:
        # The pool rolls back a connection that comes back. That is no call of the app's.
        fairy.__dict__[_RESETTING] = True
        try:
            value = yield AppStep(original, fairy, *args, **kwargs)
        finally:
            fairy.__dict__.pop(_RESETTING, None)
        yield from _note_warm(session, fairy)
        return value

    return guarded(LIB, original, begin)


def _note_warm(session: BaseSession, fairy: Any) -> Flow:
    """A connection came back of which the recording knows nothing yet: it was open before, and did nothing.

    The app borrowed it all the same. A replay has to open one for that.
    """
    if _is_recording(session):
        target = engines.target(pool_dialect(fairy_pool(fairy)))
        if target is not None and not is_met(session, target):
            yield from flow(WarmConnectSite(target), session)


def _commit(fairy: Any) -> Any:
    return fairy.dbapi_connection.commit()


def _rollback(fairy: Any) -> Any:
    return fairy.dbapi_connection.rollback()


def _end_transaction(method: str, session: BaseSession, fairy: Any) -> Flow | None:
    """Commit, or roll back, on the connection, as an event."""
    target = engines.target(pool_dialect(fairy_pool(fairy)))
    if target is None:
        return None
    connection = fairy.dbapi_connection
    resetting = _RESETTING in fairy.__dict__
    if not _is_replaying(session, target):
        end = AppStep(getattr(connection, method.lower()))
        transaction = _transactions_of(fairy).ended()
        if resetting:
            return _as_upkeep(end)
        site = PlainSite(target, method, end, connection, transaction=transaction)
        site.as_called = True
        return flow(site, session)
    return end_of_transaction(target, method, connection, session, is_upkeep=resetting)


def _begin(original: Function) -> Function:
    """A transaction begins on its connection."""

    def begin(session: BaseSession, transaction: Any) -> Flow | None:
        target = engines.target(transaction.connection.dialect)
        if target is None:
            return None
        live = AppStep(original, transaction)
        if _is_recording(session):
            fairy = fairy_of(transaction.connection)
            began = _transactions_of(fairy).next() if hasattr(fairy, "__dict__") else None
            site = PlainSite(target, "BEGIN", live, transaction=began)
            site.as_called = True
            return flow(site, session)
        site = PlainSite(target, "BEGIN", live)
        if _is_replaying(session, target):
            found = claimed(site, session)
            if found is not None or not session.adds_new_calls:
                return answered(site, session, found, live)
        return flow(site, session)

    def answered(site: PlainSite, session: ReplaySession, found: DependencyEvent | None, live: AppStep) -> Flow:
        # The app's listeners run, and may raise, before the recorded answer is given.
        yield live
        return (yield from answered_by(site, session, found))

    return guarded(LIB, original, begin)


def _get_isolation_level(original: Function) -> Function:
    """An app asks for the isolation level, which SQLAlchemy asks the driver or the server for."""

    def begin(session: BaseSession, connection: Any) -> Flow | None:
        target = engines.target(connection.dialect)
        if target is None:
            return None
        live: Step = AppStep(original, connection)
        if isinstance(session, ReplaySession):
            live = partial(_isolation_level, connection, original)
        # The answer is about the level that the app has set: in another order of levels, answers have another order.
        level = connection.get_execution_options().get("isolation_level")
        site = PlainSite(target, _GET_LEVEL, live, given={"set": level} if level is not None else None)
        if level is not None and _is_replaying(session, target) and session.upcoming(site.redacted(session)) is None:
            # Older recordings do not hold it.
            site = PlainSite(target, _GET_LEVEL, live)
        return flow(site, session)

    return guarded(LIB, original, begin)


@guarded_method
def _isolation_level(connection: Any, original: Function) -> Any:
    """The isolation level of the real connection; called where the cassette does not tell it."""
    held = connection.connection.dbapi_connection
    if isinstance(held, ReplayConnection):
        return outside(connection.dialect.get_isolation_level, held.real.opened())
    return outside(original, connection)


def _do_executemany(original: Function) -> Function:
    """The dialect of psycopg2 runs a batch with ``execute_values``, which needs the driver's own cursor."""

    def begin(_: Any, dialect: Any, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> Flow | None:
        if not issubclass(type(cursor), _OUR_CURSORS):
            return None

        def through(real: Any) -> Any:
            return original(dialect, real, statement, parameters, context)

        return only(AppStep(cursor._self_executemany_by, statement, parameters, through))

    def bare(dialect: Any, cursor: Any, *args: Any, **kwargs: Any) -> Any:
        is_teed = issubclass(type(cursor), RecordingCursor)
        return original(dialect, cursor.__wrapped__ if is_teed else cursor, *args, **kwargs)

    return guarded(LIB, bare, begin, outside=True)
