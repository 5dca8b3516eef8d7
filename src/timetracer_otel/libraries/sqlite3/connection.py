"""The class of the connections that an app opens: derived of sqlite3's own, or of the class that the app asks for.

sqlite3's is written in C, and its methods cannot be replaced. ``connect`` takes a class to make the connection of.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from timetracer_otel.calls.guarded import AppStep, Flow
from timetracer_otel.libraries.kits.dbapi.call import PlainSite
from timetracer_otel.libraries.kits.dbapi.derived import DerivedClass, Surface
from timetracer_otel.libraries.kits.dbapi.direct import Held, begin_end, held_by, refused
from timetracer_otel.libraries.sqlite3.answer import Twin, in_script, wrapped_cursor
from timetracer_otel.libraries.sqlite3.blobs import begin_blob
from timetracer_otel.libraries.sqlite3.call import LIB, FileTarget
from timetracer_otel.libraries.sqlite3.internals import SCRIPTS_CALL_COMMIT
from timetracer_otel.session import BaseSession

__all__ = ["CONNECTIONS", "hold"]

_SURFACE: Final = Surface(
    shortcuts=("execute", "executemany", "executescript"),
    settings=("autocommit", "isolation_level", "row_factory", "text_factory"),
    told=("in_transaction", "total_changes"),
    registering=(
        *("create_aggregate", "create_collation", "create_function", "create_window_function"),
        *("enable_load_extension", "set_authorizer", "set_progress_handler", "set_trace_callback"),
    ),
    unrecorded=("deserialize", "load_extension", "serialize"),
    ends_when_left=True,
)


def _back_up(session: BaseSession | None, connection: Any, /, *args: Any, **kwargs: Any) -> Flow | None:
    # sqlite3 says by itself that something else is no connection.
    target = args[0] if args else kwargs.get("target")
    is_right = len(args) <= 1 and isinstance(target, sqlite3.Connection)
    return refused("connection.backup", session, connection) if is_right else None


def _commit(session: BaseSession | None, connection: Any) -> Flow | None:
    # What a script does is one call.
    live = AppStep(sqlite3.Connection.commit, connection)
    return None if in_script.get() else begin_end("COMMIT", PlainSite, live, session, connection)


def _authorize(_: BaseSession | None, connection: Any, /, *args: Any, **kwargs: Any) -> Flow | None:
    held = held_by(connection)
    if held is None or not held.stands_in:
        return None
    return _authorized(held, connection, *args, **kwargs)


def _authorized(held: Held, connection: Any, *args: Any, **kwargs: Any) -> Flow:
    # The stand-in keeps its own. It raises where it is closed, or is used in another thread.
    yield AppStep(sqlite3.Connection.set_authorizer, connection, _only_transactions)
    twin: Any = held.twin
    yield AppStep(twin.set_authorizer, *args, **kwargs)


CONNECTIONS: Final = DerivedClass(
    LIB,
    sqlite3.Connection,
    _SURFACE,
    twin=Twin,
    wrapped=wrapped_cursor,
    methods={
        "backup": _back_up,
        "blobopen": begin_blob,
        "set_authorizer": _authorize,
        **({"commit": _commit} if SCRIPTS_CALL_COMMIT else {}),
    },
    rests=True,
)


def hold(target: FileTarget, opens: Callable[[], Any], connection: Any, stands_in: bool) -> Held:
    """Note whose a new connection is, as `DerivedClass.hold` does. A stand-in runs nothing."""
    held = CONNECTIONS.hold(target, opens, connection, stands_in)
    if stands_in:
        # An app's class may not have called sqlite3's `__init__`: nothing runs on such a connection.
        with suppress(sqlite3.ProgrammingError):
            sqlite3.Connection.set_authorizer(connection, _only_transactions)
    return held


def _only_transactions(action: int, *_: Any) -> int:
    """Nothing runs on a stand-in: a statement that reaches it went past its methods."""
    return sqlite3.SQLITE_OK if action == _TRANSACTION else sqlite3.SQLITE_DENY


_TRANSACTION: Final = 22
"""SQLITE_TRANSACTION: to set the isolation level may end a transaction, of which there is none."""
