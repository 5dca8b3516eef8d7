"""Where SQLAlchemy is held: which functions are replaced, and what stands in their place."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from timetracer_otel.base import faults
from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import flow, run
from timetracer_otel.context import get_current_session
from timetracer_otel.libraries.kits.dbapi.call import (
    ConnectSite,
    PlainSite,
    Target,
    is_recording,
    is_replaying,
    note_initialized,
    recorded_facts,
)
from timetracer_otel.libraries.kits.dbapi.composed import quoted_identifier
from timetracer_otel.libraries.kits.dbapi.driver_connections import replay_connection
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.recording_cursor import RecordingCursor
from timetracer_otel.libraries.kits.dbapi.replay_connection import ReplayConnection
from timetracer_otel.libraries.kits.dbapi.replay_cursor import ReplayCursor
from timetracer_otel.libraries.sqlalchemy import pools
from timetracer_otel.libraries.sqlalchemy.engines import engines
from timetracer_otel.libraries.sqlalchemy.internals import (
    CONNECT,
    connection_span,
    initialize_again,
    on_connect,
    opened_by,
    pool_dialect,
    record_pool,
    restore_facts,
)
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = ["patches"]

_RESETTING = "_timetracer_resetting"


class _Attribute:
    """An attribute of a class of SQLAlchemy's that is not there without us; applied and undone like a `Patch`."""

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
    if module.__name__ == "psycopg2":
        names = ("psycopg2.extensions", "psycopg2._json", "psycopg2._range", "psycopg2.extras")
        loaded = [importlib.import_module(name) for name in names]
        seams = {"register_type": _register_type, "quote_ident": _quote_ident}
        return [Patch(found, name, seam) for found in loaded for name, seam in seams.items() if name in vars(found)]
    if module.__name__ == "sqlalchemy.dialects.postgresql.psycopg2":
        return [Patch(module.PGDialect_psycopg2, "do_executemany", _do_executemany)]
    base = importlib.import_module("sqlalchemy.engine.base")
    default = importlib.import_module("sqlalchemy.engine.default")
    pool = importlib.import_module("sqlalchemy.pool.base")
    fairy, record = pool._ConnectionFairy, pool._ConnectionRecord
    return [
        pools.RealConnectionsBack(),
        _Attribute(pool.Pool, "_invoke_creator", property(_get_creator, _set_creator, _del_creator)),
        Patch(record, CONNECT, _connect),
        Patch(record, "get_connection", pools.get_connection),
        Patch(record, "close", pools.close),
        Patch(fairy, "cursor", _cursor),
        Patch(fairy, "_reset", _reset),
        _Attribute(fairy, "commit", _commit),
        _Attribute(fairy, "rollback", _rollback),
        Patch(base.Engine, "raw_connection", _raw_connection),
        Patch(base.Connection, "_begin_impl", _begin_impl),
        Patch(base.Connection, "get_isolation_level", _get_isolation_level),
        Patch(default.DefaultExecutionContext, "create_cursor", _create_cursor),
    ]


def _raw_connection(original: Function) -> Function:
    def raw_connection(self: Any) -> Any:
        engines.met(self)
        session = get_current_session()
        if is_recording(session) and engines.target(self.dialect) is not None:
            span_id = connection_span()
            if span_id:
                session.client_span_is_known(span_id)
        return original(self)

    return raw_connection


def _get_creator(self: Any) -> Callable[[Any], Any]:
    creator: Callable[[Any], Any] = self.__dict__["_invoke_creator"]
    session = get_current_session()
    target = engines.target(pool_dialect(self)) if session is not None else None
    if session is None or target is None:
        return creator
    return partial(_open, creator, target, session)


def _set_creator(self: Any, creator: Callable[[Any], Any]) -> None:
    self.__dict__["_invoke_creator"] = creator


def _del_creator(self: Any) -> None:
    del self.__dict__["_invoke_creator"]


def _open(creator: Callable[[Any], Any], target: Target, session: BaseSession, record: Any) -> Any:
    if not is_replaying(session):
        return run(flow(ConnectSite(target, partial(creator, record), _nothing_replayed), session))
    real = RealConnection(target.dialect, partial(opened_by, creator, record))
    ours = replay_connection(target, real)

    def open_for_real() -> Any:
        real.opened()
        return ours

    site = ConnectSite(target, open_for_real, lambda: ours)
    if recorded_facts(session, target) is not None and _is_over(site, session):
        # More connections than were opened when it was recorded: the pool was warm then. They answer nothing.
        return site.rebuild(None, session)
    return run(flow(site, session))


def _nothing_replayed() -> Any:
    raise AssertionError("this call is not replayed")


def _is_over(site: Any, session: ReplaySession) -> bool:
    return session.upcoming(site.call(), hooks.whereabouts(None).path()) is None


def _connect(original: Function) -> Function:
    def __connect(self: Any) -> None:
        dialect = pool_dialect(record_pool(self))
        session = get_current_session()
        target = engines.target(dialect) if session is not None else None
        if target is not None and is_replaying(session):
            was_known = dialect in engines.on_recorded_facts
            with _initialized_from(session, target):
                original(self)
            self.dbapi_connection.made()
            if dialect not in engines.on_recorded_facts:
                # The cassette did not know this engine: it was opened for real.
                note_initialized(dialect)
            pools.holds_ours(self)
            if not was_known and dialect in engines.on_recorded_facts:
                # The first real connection, maybe long after we are gone, lets it learn from its server.
                on_connect(record_pool(self), partial(_first_real_connection, target))
            return
        original(self)
        if target is not None and is_recording(session):
            try:
                note_initialized(dialect)
            except Exception as fault:
                faults.contain("sqlalchemy.facts", fault)

    return __connect


def _first_real_connection(target: Target, connection: Any, record: Any) -> None:
    if target.dialect in engines.on_recorded_facts and not isinstance(connection, ReplayConnection):
        engines.on_recorded_facts.discard(target.dialect)
        initialize_again(target.dialect, record, connection, target.engine_url)


_initializing = threading.Lock()
_initializers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()


@contextmanager
def _initialized_from(session: ReplaySession, target: Target) -> Iterator[None]:
    """While a connection of ours is opened, its dialect learns from the cassette what a server would tell it."""
    dialect = target.dialect

    def initialize(connection: Any) -> None:
        if not isinstance(connection.connection.dbapi_connection, ReplayConnection):
            type(dialect).initialize(dialect, connection)
            return
        restore_facts(dialect, recorded_facts(session, target) or {})
        engines.on_recorded_facts.add(dialect)

    with _initializing:
        _initializers[dialect] = _initializers.get(dialect, 0) + 1
        dialect.initialize = initialize
    try:
        yield
    finally:
        with _initializing:
            _initializers[dialect] -= 1
            if not _initializers[dialect]:
                vars(dialect).pop("initialize", None)


def _cursor(original: Function) -> Function:
    def cursor(self: Any, *args: Any, **kwargs: Any) -> Any:
        connection = self.dbapi_connection
        if isinstance(connection, ReplayConnection):
            return connection.cursor_of_engine(*args, **kwargs)
        session = get_current_session()
        target = engines.target(pool_dialect(self._pool)) if session is not None else None
        if target is None:
            return original(self, *args, **kwargs)
        if is_replaying(session):
            # A real connection, opened before this replay: it is not asked, save for what is new.
            ours = replay_connection(target, RealConnection(target.dialect, connection=connection))
            ours.made()
            return ours.cursor_of_engine(*args, **kwargs)
        return RecordingCursor(original(self, *args, **kwargs), target)

    return cursor


def _create_cursor(original: Function) -> Function:
    def create_cursor(self: Any) -> Any:
        cursor = original(self)
        if type(cursor) is RecordingCursor or type(cursor) is ReplayCursor:
            cursor.bind(self)
        return cursor

    return create_cursor


def _reset(original: Function) -> Function:
    def _reset(self: Any, *args: Any, **kwargs: Any) -> Any:
        # What the pool does with a connection that comes back is no call of the app's.
        self.__dict__[_RESETTING] = True
        try:
            return original(self, *args, **kwargs)
        finally:
            self.__dict__.pop(_RESETTING, None)

    return _reset


def _commit(self: Any) -> Any:
    """Commit on the connection, as an event."""
    return _end_transaction(self, "COMMIT", self.dbapi_connection.commit)


def _rollback(self: Any) -> Any:
    """Roll back on the connection, as an event."""
    return _end_transaction(self, "ROLLBACK", self.dbapi_connection.rollback)


def _end_transaction(fairy: Any, method: str, end: Callable[[], Any]) -> Any:
    session = get_current_session()
    resetting = _RESETTING in fairy.__dict__
    target = engines.target(pool_dialect(fairy._pool)) if session is not None else None
    if session is None or target is None or (resetting and not is_replaying(session)):
        return end()
    connection = fairy.dbapi_connection
    if not is_replaying(session):
        return run(flow(PlainSite(target, method, end, connection), session))
    ours = isinstance(connection, ReplayConnection)
    # What was done for real, ends for real.
    site = PlainSite(
        target,
        method,
        partial(_for_real, connection, end),
        connection,
        end if ours or session.adds_new_calls else None,
    )
    is_new = session.adds_new_calls and not (ours and connection.real.connection is None)
    if resetting or (method == "ROLLBACK" and not is_new and _is_over(site, session)):
        # Undoing what never happened needs no answer.
        return site.rebuild(None, session)
    return run(flow(site, session))


def _for_real(connection: Any, call: Callable[[], Any]) -> Any:
    """Make a call of a connection with a real one behind it, where it is one of ours."""
    if isinstance(connection, ReplayConnection):
        connection.real.opened()
    return call()


def _begin_impl(original: Function) -> Function:
    def _begin_impl(self: Any, *args: Any, **kwargs: Any) -> Any:
        session = get_current_session()
        target = engines.target(self.dialect) if session is not None else None
        if session is None or target is None:
            return original(self, *args, **kwargs)
        begin = partial(original, self, *args, **kwargs)
        site = PlainSite(target, "BEGIN", begin, replayed=begin)
        if is_replaying(session) and not session.adds_new_calls and _is_over(site, session):
            return site.rebuild(None, session)
        return run(flow(site, session))

    return _begin_impl


def _get_isolation_level(original: Function) -> Function:
    def get_isolation_level(self: Any) -> Any:
        session = get_current_session()
        target = engines.target(self.dialect) if session is not None else None
        if session is None or target is None:
            return original(self)
        return run(flow(PlainSite(target, "GET ISOLATION LEVEL", partial(_isolation_level, self, original)), session))

    return get_isolation_level


def _isolation_level(connection: Any, original: Function) -> Any:
    held = connection.connection.dbapi_connection
    if isinstance(held, ReplayConnection):
        return connection.dialect.get_isolation_level(held.real.opened())
    return original(connection)


def _do_executemany(original: Function) -> Function:
    def do_executemany(self: Any, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> Any:
        if type(cursor) is not RecordingCursor and type(cursor) is not ReplayCursor:
            return original(self, cursor, statement, parameters, context)

        def through(real: Any) -> Any:
            return original(self, real, statement, parameters, context)

        return cursor.executemany_by(statement, parameters, through)

    return do_executemany


# Both are written in C, and take nothing but connections and cursors of psycopg2's own.


def _register_type(original: Function) -> Function:
    def register_type(obj: Any, *args: Any) -> Any:
        if any(isinstance(scope, (ReplayConnection, ReplayCursor)) for scope in args):
            # Rows of a replay are read already.
            return None
        return original(obj, *map(_driver_own, args))

    return register_type


def _quote_ident(original: Function) -> Function:
    def quote_ident(ident: Any, scope: Any) -> Any:
        if isinstance(scope, (ReplayConnection, ReplayCursor)):
            return quoted_identifier(ident)
        return original(ident, _driver_own(scope))

    return quote_ident


def _driver_own(scope: Any) -> Any:
    return scope.__wrapped__ if type(scope) is RecordingCursor else scope
