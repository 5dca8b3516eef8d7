"""Where psycopg is patched: the generators beneath its connections and cursors."""

from __future__ import annotations

import importlib
from functools import partial
from types import ModuleType
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Staying, Undoable
from timetracer_otel.calls.guarded import AppStep, answered, guarded, guarded_async
from timetracer_otel.calls.noting import noting
from timetracer_otel.libraries.kits.dbapi import drivers
from timetracer_otel.libraries.kits.dbapi.owners import answers
from timetracer_otel.libraries.kits.dbapi.recording_cursor import is_used_directly
from timetracer_otel.libraries.psycopg import (
    connection,
    copies,
    internals,
    notifications,
    pipelines,
    quoting,
    servers,
    statements,
)
from timetracer_otel.libraries.psycopg.call import LIB
from timetracer_otel.libraries.psycopg.results import RecordedResult
from timetracer_otel.session import BaseSession

__all__ = ["patches"]

_KNOWN: Final = drivers.PSYCOPG
"""The kit must know the driver's values and errors."""
_QUOTE: Final = ("psycopg.pq", "psycopg.sql", "psycopg.types.string")
"""Modules in which psycopg asks for what quotes values."""


def patches(module: ModuleType) -> list[Undoable]:
    """The patches of the module ``psycopg``."""
    is_used_directly(LIB)
    answers[LIB] = connection.takes_part

    def patch(of: Any, name: str, wrap: Any) -> Patch:
        return Patch(internals.owner_of(of, name), name, wrap)

    found: list[Undoable] = [
        connection.Exchanges(),
        # A connection that is opened outside sessions may be used in one: whose it is must be known.
        Staying(Patch(module, "connect", partial(connection.connect, module, guarded, module.Connection))),
        Staying(Patch(module.Connection, "connect", partial(connection.connect, module, guarded, None))),
        Staying(Patch(module.AsyncConnection, "connect", partial(connection.connect, module, guarded_async, None))),
        patch(module.Connection, "_exec_command", connection.command),
        patch(module.Cursor, "_execute_gen", statements.statement),
        patch(module.Cursor, "executemany", partial(statements.many, guarded)),
        patch(module.AsyncCursor, "executemany", partial(statements.many, guarded_async)),
        patch(module.Cursor, "_stream_send_gen", statements.stream),
        patch(module.Cursor, "_stream_fetchone_gen", statements.streamed),
        patch(module.Cursor, "_select_current_result", _selected),
        patch(module.Cursor, "_close", statements.close),
        patch(module.ClientCursor, "mogrify", _mogrified),
        patch(module.ServerCursor, "_declare_gen", servers.declare),
        patch(module.ServerCursor, "_fetch_gen", servers.fetch),
        patch(module.ServerCursor, "_close_gen", servers.close),
        patch(module.ServerCursor, "_scroll_gen", servers.scroll),
        patch(module.Pipeline, "_enter_gen", pipelines.enter),
        patch(module.Pipeline, "_process_results", pipelines.processed),
        Patch(module.sql.Literal, "as_bytes", _quoted),
    ]
    beneath = internals.module_of(module.Pipeline, "_enqueue_sync")
    for name, wrap in (
        ("pipeline_communicate", pipelines.communicate),
        ("fetch_many", pipelines.fetch_many),
        ("send", pipelines.send),
    ):
        found.append(Patch(beneath, name, wrap))
    for kind in (module.Connection, module.AsyncConnection):
        found.append(Patch(internals.module_of(kind, "commit"), "notifies", notifications.notifies))
        found.append(patch(kind, "notifies", notifications.waits))
    adapt, composite = (importlib.import_module(f"{module.__name__}.{name}") for name in ("adapt", "types.composite"))
    found += [
        Patch(adapt.RecursiveLoader, "__init__", _loader),
        *(Patch(importlib.import_module(name), "Escaping", quoting.escaping) for name in _QUOTE),
        Patch(composite, "Transformer", lambda original: answered(LIB, original, internals.nested)),
    ]
    return [*found, *copies.patches(module, patch)]


def _loader(original: Function) -> Function:
    """A loader of values that have values begins."""

    def begin(_: BaseSession | None, loader: Any, oid: int, context: Any = None) -> AppStep | None:
        return AppStep(internals.begin_loader, loader, oid, context) if internals.is_row_maker(context) else None

    return guarded(LIB, original, begin, outside=True)


def _mogrified(original: Function) -> Function:
    """A cursor puts values into a statement on the client, as libpq would quote them."""

    def begin(_: BaseSession | None, cursor: Any, *args: Any, **kwargs: Any) -> AppStep | None:
        if not getattr(internals.libpq_of(cursor), "is_stand_in", False):
            return None
        return AppStep(internals.mogrified, cursor, *args, **kwargs)

    return guarded(LIB, original, begin, outside=True)


def _selected(original: Function) -> Function:
    """A cursor goes to one of its results. Rows of a recorded one are made without code in C."""

    def look(cursor: Any, index: int = 0, *_: Any) -> None:
        if type(internals.results_of(cursor)[index]) is RecordedResult:
            internals.by_python(cursor)

    return noting(f"{LIB}.result", original, before=look)


def _quoted(original: Function) -> Function:
    """Names and values are put into a statement. Libpq does it by its connection, which a stand-in has none of."""

    def begin(_: BaseSession | None, part: Any, context: Any = None) -> AppStep | None:
        connection = getattr(context, "connection", None) if context is not None else None
        if connection is None or not getattr(connection.pgconn, "is_stand_in", False):
            return None
        return AppStep(internals.as_literal, part, context)

    return guarded(LIB, original, begin, outside=True)
