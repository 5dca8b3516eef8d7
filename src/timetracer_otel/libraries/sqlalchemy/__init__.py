"""SQLAlchemy (2.0 and newer): everything that an engine asks its database, sync and async.

The seams lie beneath SQLAlchemy, at the driver's cursor. The ORM, types, pools, events and transactions run for real
in a replay; see ``docs/sqlalchemy.md``. Cursors, connections, answers and errors are those of the kit
(``libraries/kits/dbapi``); this folder states what only SQLAlchemy knows.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.registry import Connector
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.exceptions import PluginNotFoundError
from timetracer_otel.libraries.sqlalchemy.internals import ENTRY_POINTS, PINGING, RELIED_UPON, has_identity
from timetracer_otel.libraries.sqlalchemy.secrets import FORM

__all__ = ["disable_sqlalchemy", "enable_sqlalchemy", "plugin"]

_LIB = "sqlalchemy"


def _patches(module: Any) -> list[Any]:
    from timetracer_otel.libraries.sqlalchemy.seams import patches

    return patches(module)


def _connectors(module: ModuleType) -> Sequence[Connector]:
    """The functions of a driver that ask C code for connections, for ``block_network``."""
    from timetracer_otel.libraries.kits.dbapi.drivers import connectors_of

    return connectors_of(module)


def _takes_part(owner: Any) -> bool:
    """Whether an engine, or the one of a connection, transaction or dialect, is one that was enabled."""
    from timetracer_otel.libraries.sqlalchemy.engines import engines

    engine = getattr(owner, "engine", None) or getattr(getattr(owner, "connection", None), "engine", None)
    dialect = getattr(engine, "dialect", owner)
    return not has_identity(dialect) or engines.target(dialect) is not None


plugin: LibraryPlugin = LibraryPlugin(
    name=_LIB,
    group="db",
    modules=(
        *("sqlalchemy", "sqlalchemy.dialects.postgresql.psycopg2", *PINGING),
        *("psycopg", "psycopg2", "pgvector.psycopg2.register"),
    ),
    patches=_patches,
    check=lambda module: missing_names(RELIED_UPON.get(module.__name__, ())),
    entry_points=ENTRY_POINTS,
    concerns=_takes_part,
    packages=("sqlalchemy",),
    connectors=dict.fromkeys(("psycopg", "psycopg2"), _connectors),
    form=FORM,
    rests=True,
    knows={
        "sqlalchemy": "2.0 to 2.1",
        "psycopg": "3.1 to 3.3",
        "psycopg2": "2.9",
        "pgvector": "0.5",
    },
    instrumentors=("opentelemetry.instrumentation.sqlalchemy:SQLAlchemyInstrumentor",),
    # It declares sqlalchemy < 2.1, and works with 2.1: the contract tests run with both.
    newer_than_declared=True,
    # It takes `create_engine`, and wraps it once more. The first of the two spans of a statement would never end.
    import_first=("sqlalchemy.ext.asyncio",),
)


def enable_sqlalchemy(engine: Any = None) -> None:
    """Let sessions record and replay what engines ask their databases. Engines that exist already count too.

    OpenTelemetry's own instrumentation of SQLAlchemy is switched on as well, where a real tracer provider is set and
    nobody did so before. Harmless when repeated, and before or after that instrumentation.

    Args:
        engine: An engine or async engine. Only this one takes part, and those given in earlier calls. Where it is
            left out, every engine takes part.

    Raises:
        PluginNotFoundError: SQLAlchemy is not installed.
    """
    if importlib.util.find_spec("sqlalchemy") is None:
        raise PluginNotFoundError(_LIB)
    from timetracer_otel.libraries.sqlalchemy.engines import engines

    sync_engine = getattr(engine, "sync_engine", engine)
    engines.select(sync_engine)
    if sync_engine is None:
        plugin.enable()
    else:
        # OpenTelemetry's instrumentor sees the engines that are made from now on, and the one that it is given.
        plugin.enable(engine=sync_engine)


def disable_sqlalchemy(engine: Any = None) -> None:
    """Undo `enable_sqlalchemy`, and switch off OpenTelemetry's instrumentation if that switched it on.

    Args:
        engine: Undo it for this engine alone, if others were given to `enable_sqlalchemy` as well.
    """
    from timetracer_otel.libraries.sqlalchemy.engines import engines

    if engine is not None and engines.leave_out(getattr(engine, "sync_engine", engine)):
        return
    engines.select(None)
    plugin.disable()
