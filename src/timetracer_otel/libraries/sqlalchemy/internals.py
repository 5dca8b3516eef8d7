"""What SQLAlchemy, its adapters and OpenTelemetry's instrumentation of it do not promise.

All of its private names stand here, except for the attributes of adapters: those stand in `connections`.

This is how SQLAlchemy 2.0.0 to 2.1.9 works inside:

- A pool opens a connection by calling its ``_invoke_creator``. A *record* of the pool holds that connection in
  ``dbapi_connection``, and opens it in ``__connect``.
- Who asks the pool for a connection gets a *fairy*: an object around the record that hands out cursors.
- ``RootTransaction._connection_begin_impl`` begins a transaction.
- A listener of the pool that runs once initialises the dialect: it asks the server for its version, and more.
- The adapters of asyncio drivers look synchronous to the engine. Beneath, they wait in a *greenlet*: a function that
  can be left and entered again, as a coroutine can. The engine checks that a call awaited something.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from opentelemetry import trace

from timetracer_otel.calls.whose_error import outside
from timetracer_otel.libraries.kits.dbapi.drivers.server_types import TYPES

if TYPE_CHECKING:
    from sqlalchemy import URL
    from sqlalchemy.engine import Dialect

__all__ = [
    "BEGIN",
    "CONNECT",
    "CREATOR",
    "ENTRY_POINTS",
    "MISSING",
    "NOT_IN_ALL",
    "RELIED_UPON",
    "RESET",
    "adapter_cursor_class",
    "address_of_engine",
    "await_",
    "character_set_of",
    "close_connection",
    "connection_span",
    "cursor_connection",
    "driver_name",
    "facts_of",
    "fairy_of",
    "fairy_pool",
    "has_identity",
    "in_greenlet",
    "initialize_again",
    "is_closed_beneath",
    "is_server_side",
    "let_others_run",
    "names_of_values",
    "on_connect",
    "opened_by",
    "otel_span",
    "PINGING",
    "pause",
    "ping_method",
    "pool_classes",
    "pool_dialect",
    "record_pool",
    "restore_facts",
    "unordered_values",
    "url_in_events",
]

RELIED_UPON = {
    "sqlalchemy": (
        "sqlalchemy.engine.base:Connection.__init__(_allow_autobegin)",
        "sqlalchemy.engine.base:Connection.__init__(_allow_revalidate)",
        "sqlalchemy.engine.base:Connection.__init__(_has_events)",
        "sqlalchemy.engine.base:Connection._execution_options",
        "sqlalchemy.engine.base:Connection.get_isolation_level",
        "sqlalchemy.engine.base:Engine.raw_connection",
        "sqlalchemy.engine.base:RootTransaction._connection_begin_impl",
        "sqlalchemy.engine.default:DefaultDialect.initialize",
        "sqlalchemy.engine.default:DefaultExecutionContext._expanded_parameters",
        "sqlalchemy.engine.default:DefaultExecutionContext._is_server_side",
        "sqlalchemy.engine.default:DefaultExecutionContext.create_cursor",
        "sqlalchemy.pool.base:Pool._close_connection",
        "sqlalchemy.pool.base:Pool._dialect",
        "sqlalchemy.pool.base:Pool._invoke_creator",
        "sqlalchemy.pool.base:_AdhocProxiedConnection",
        "sqlalchemy.pool.base:_ConnectionFairy._pool",
        "sqlalchemy.pool.base:_ConnectionFairy._reset",
        "sqlalchemy.pool.base:_ConnectionFairy.cursor",
        "sqlalchemy.pool.base:_ConnectionFairy.dbapi_connection",
        "sqlalchemy.pool.base:_ConnectionRecord._ConnectionRecord__connect",
        "sqlalchemy.pool.base:_ConnectionRecord._ConnectionRecord__pool",
        "sqlalchemy.pool.base:_ConnectionRecord.close",
        "sqlalchemy.pool.base:_ConnectionRecord.dbapi_connection",
        "sqlalchemy.pool.base:_ConnectionRecord.get_connection",
        "sqlalchemy.pool.base:_ConnectionRecord.in_use",
        "sqlalchemy.pool.base:_ConnectionRecord.starttime",
        "sqlalchemy.sql.type_api:TypeEngine._unwrapped_dialect_impl",
        "sqlalchemy.util:immutabledict",
        "sqlalchemy.util.concurrency:await_only",
    ),
    "sqlalchemy.dialects.postgresql.psycopg2": (
        "sqlalchemy.dialects.postgresql.psycopg2:PGDialect_psycopg2.do_executemany",
    ),
    "psycopg": (
        "psycopg:BaseConnection._connect_gen",
        *("psycopg:Error._encoding", "psycopg:Error._info", "psycopg.sql:Composable._obj"),
        *("psycopg.types:TypeInfo.fetch", "psycopg.types.enum:register_enum", "psycopg.types.range:Range._bounds"),
        "psycopg.types.composite:register_composite(factory)",
    ),
    "psycopg2": (
        *("psycopg2:_connect", "psycopg2.extensions:Diagnostics", "psycopg2._range:Range._bounds"),
        *("psycopg2.extensions:register_type", "psycopg2.extensions:quote_ident"),
        *("psycopg2.extras:_solve_conn_curs", "psycopg2.extras:namedtuple"),
        *("psycopg2.extras:CompositeCaster.parse", "psycopg2.extras:RangeCaster.adapter"),
    ),
    "pgvector.psycopg2.register": ("pgvector.psycopg2.register:cursor",),
}
"""By module: names that the plugin cannot do without. Modules that are missing here have none."""

PINGING = {
    "sqlalchemy.dialects.mysql.mysqlconnector": "MySQLDialect_mysqlconnector",
    "sqlalchemy.dialects.mysql.mysqldb": "MySQLDialect_mysqldb",
    "sqlalchemy.dialects.postgresql._psycopg_common": "_PGDialect_common_psycopg",
    "sqlalchemy.dialects.postgresql.asyncpg": "PGDialect_asyncpg",
}
"""By module: the dialects that have a ``do_ping`` of their own, which pools call before 2.0.5 (see `ping_method`)."""

NOT_IN_ALL = {
    "sqlalchemy.engine.base:Connection._dbapi_connection": "each BEGIN is an event of its own in the file",
    "sqlalchemy.util._concurrency_py3k:_AsyncIoGreenlet": "from 2.0.18 on there is `in_greenlet`",
    "sqlalchemy.engine.default:DefaultDialect._do_ping_w_event": "before 2.0.5 a pool pings by `do_ping`",
    "sqlalchemy.dialects.postgresql._psycopg_common:_PGDialect_common_psycopg.do_ping": "unused from 2.0.5 on",
    "sqlalchemy.connectors.asyncio:AsyncAdapt_dbapi_cursor._adapt_connection": "a cursor has its connection itself",
    "sqlalchemy.connectors.asyncio:AsyncAdapt_dbapi_connection._connection": "what is beneath counts as open",
    "sqlalchemy.engine.default:DefaultExecutionContext._otel_span": "the context is searched for a span",
    "sqlalchemy.dialects.mysql.base:MySQLDialect._connection_charset": "a dialect for MySQL alone has it",
    "sqlalchemy.dialects.mysql.base:MySQLDialect._server_ansiquotes": "the same",
    "sqlalchemy.dialects.mysql.base:MySQLDialect._set_mariadb": "the same",
    "sqlalchemy.dialects.postgresql.psycopg2:PGDialect_psycopg2._hstore_oids": "nothing is remembered of hstore",
    "psycopg:Error._pgconn": "before 3.2 an error has no connection of libpq",
    "psycopg.types.composite:_make_nt": "named tuples of composite types are made by the app's own class",
}
"""Names that a release, or a dialect, may lack, and what is done without them."""

_PSYCOPG2 = "sqlalchemy.dialects.postgresql.psycopg2:PGDialect_psycopg2"

ENTRY_POINTS = {
    "sqlalchemy": (
        ("sqlalchemy.engine.base:Engine.raw_connection",),
        ("sqlalchemy.engine.base:Connection.execute",),
        ("sqlalchemy.engine.base:Connection.scalar scalars",),
        ("sqlalchemy.engine.base:Connection.exec_driver_sql",),
        ("sqlalchemy.engine.base:Transaction.commit",),
    ),
    "sqlalchemy.dialects.postgresql.psycopg2": ((f"{_PSYCOPG2}.do_execute do_executemany",),),
    "psycopg": (("psycopg.types:TypeInfo.register",),),
    "psycopg2": ((f"{_PSYCOPG2}.do_execute do_executemany",),),
}
"""By module: where calls are refused in a replay if the plugin cannot see them."""

CONNECT = "_ConnectionRecord__connect"
"""Name of the record's method that opens a connection, as Python writes the ``__connect`` of that class."""
CREATOR = "_invoke_creator"
"""Name of the pool's attribute that holds the function which opens connections."""
RESET = "_reset"
"""Name of the fairy's method that cleans up a connection when it comes back to the pool."""
BEGIN = "_connection_begin_impl"
"""Name of the method by which a transaction begins on its connection.

Not ``Connection._begin_impl``, which it calls: that logs the name of its caller, and must not name us."""

MISSING: Any = object()
"""Stands for an attribute that is not there, where None could be its value."""

_POOL = "_ConnectionRecord__pool"
_OTEL_SCOPE = "opentelemetry.instrumentation.sqlalchemy"


def ping_method(dialects: type[Dialect]) -> str:
    """Name of the dialect's method by which a pool asks whether a connection is alive.

    Before 2.0.5, it is one that some dialects have replaced.
    """
    return "_do_ping_w_event" if hasattr(dialects, "_do_ping_w_event") else "do_ping"


def pool_classes() -> tuple[Any, Any, Any]:
    """The classes of pools, of fairies and of records."""
    pool = importlib.import_module("sqlalchemy.pool.base")
    return pool.Pool, pool._ConnectionFairy, pool._ConnectionRecord


def fairy_of(connection: Any) -> Any:
    """The fairy that a connection of SQLAlchemy's holds now; None where it holds none, or does not tell."""
    return getattr(connection, "_dbapi_connection", None)


def fairy_pool(fairy: Any) -> Any:
    """The pool that a fairy came from."""
    return fairy._pool


def pool_dialect(pool: Any) -> Any:
    """The dialect that an engine gave to its pool; a stub for pools without an engine."""
    return pool._dialect


def has_identity(dialect: Any) -> bool:
    """Whether this is the dialect of an engine, and not the stub of a pool without one."""
    return getattr(dialect, "name", None) is not None and hasattr(dialect, "initialize")


def record_pool(record: Any) -> Any:
    """The pool of a connection record."""
    return getattr(record, _POOL)


def close_connection(record: Any, connection: Any) -> None:
    """Close a connection as the pool of a record closes its own."""
    record_pool(record)._close_connection(connection)


def url_in_events(dialect: Dialect, url: URL | None) -> str:
    """What an engine is called in a cassette: dialect, driver, host and database.

    Port, socket folder and the folder of an SQLite file are left out: they differ from machine to machine.
    """
    host, database = "", ""
    if url is not None:
        # A mock of an engine may have something else than text there.
        host, database = str(url.host or ""), str(url.database or "")
    if dialect.name == "sqlite":
        database = database.replace("\\", "/").partition("?")[0].rpartition("/")[2] or ":memory:"
    driver = driver_name(dialect)
    scheme = f"{dialect.name}+{driver}" if driver else dialect.name
    return f"{scheme}://{host}/{quote(database, safe=':')}"


def driver_name(dialect: Any) -> str:
    """What a dialect calls its driver; empty for a dialect of the app's own that calls it nothing."""
    return getattr(dialect, "driver", None) or ""


_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433, "oracle": 1521}
"""The ports of databases where an engine names none, by dialect."""


def address_of_engine(dialect: Dialect, url: URL) -> str | None:
    """Host and port of an engine as a URL, also of a socket; None where it has no host."""
    host = url.host or url.query.get("host") or url.query.get("unix_socket") or ""
    port = url.port or url.query.get("port") or _PORTS.get(dialect.name)
    if not isinstance(host, str) or not host:
        return None
    if host.startswith("/"):
        # libpq is given the folder of the socket, and the socket's name has the port.
        name = f"/.s.PGSQL.{port}" if dialect.name == "postgresql" else ""
        return f"unix://{host}{name}"
    named = f"[{host}]" if ":" in host else host
    return f"{dialect.name}://{named}:{port}" if port else f"{dialect.name}://{named}"


def in_greenlet() -> bool:
    """Whether the caller runs in a greenlet of SQLAlchemy's, from where it can await."""
    from sqlalchemy.util import concurrency

    inside = getattr(concurrency, "in_greenlet", None)
    if inside is not None:
        return bool(inside())
    # Before 2.0.18.
    old = importlib.import_module("sqlalchemy.util._concurrency_py3k")
    return isinstance(old.getcurrent(), old._AsyncIoGreenlet)


def await_(awaitable: Awaitable[Any]) -> Any:
    """Await from synchronous code beneath an async engine."""
    from sqlalchemy.util.concurrency import await_only

    return await_only(awaitable)


def let_others_run(dialect: Any) -> None:
    """In a replay beneath an async engine: await once, since the engine checks that a call awaited something."""
    if dialect.is_async and in_greenlet():
        await_(asyncio.sleep(0))


def pause(dialect: Any, seconds: float) -> None:
    """Wait: without blocking the event loop, where the engine is an async one."""
    if dialect.is_async and in_greenlet():
        await_(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


def otel_span(context: Any) -> trace.Span | None:
    """The span of a statement, which is not current while it runs.

    OpenTelemetry's instrumentor leaves it on SQLAlchemy's execution context, and there is no public way to it. A span
    that is not found here counts as a second call. So where the instrumentor is loaded and the attribute is missing,
    the context is searched: another release may name the attribute otherwise.
    """
    span = getattr(context, "_otel_span", None)
    if span is None and _OTEL_SCOPE in sys.modules:
        # Names first: asking `isinstance` about each value of a context takes several microseconds.
        named = [value for name, value in getattr(context, "__dict__", {}).items() if "span" in name]
        return next((value for value in named if isinstance(value, trace.Span)), None)
    return span if isinstance(span, trace.Span) else None


def connection_span() -> int:
    """Id of OpenTelemetry's span around ``Engine.connect``, where that is the current one; otherwise 0.

    It is a client span even where the pool had a connection, and no server was called.
    """
    span = trace.get_current_span()
    scope = getattr(span, "instrumentation_scope", None)
    if getattr(scope, "name", None) == _OTEL_SCOPE and getattr(span, "name", None) == "connect":
        return span.get_span_context().span_id
    return 0


def is_server_side(context: Any) -> bool:
    """Whether the rows of an execution stay on the server until they are fetched."""
    return bool(getattr(context, "_is_server_side", False))


_plain_text = str.__str__
"""Of a name of SQLAlchemy's, which may be of a subclass of ``str``: the text alone."""


def names_of_values(context: Any) -> tuple[str, ...]:
    """What the compiled statement calls the values that the driver gets by position; empty where it does not say.

    A list in ``IN (...)`` has one name in the statement, and becomes one for each of its values.
    """
    names = getattr(getattr(context, "compiled", None), "positiontup", None)
    if not names:
        return ()
    expanded = getattr(context, "_expanded_parameters", None)
    if not expanded:
        return tuple(map(_plain_text, names))
    found: list[str] = []
    for name in names:
        found += (str.__str__(part) for part in expanded.get(name, (name,)))
    return tuple(found)


def unordered_values(context: Any) -> frozenset[str]:
    """Names of bound values of MySQL's type SET: SQLAlchemy joins the items of a Python set in the set's order."""
    compiled = getattr(context, "compiled", None)
    if compiled is None or compiled.dialect.name not in ("mysql", "mariadb"):
        return frozenset()
    kind = getattr(sys.modules.get("sqlalchemy.dialects.mysql"), "SET", ())
    binds: Mapping[str, Any] = getattr(compiled, "binds", {})
    dialect = compiled.dialect
    return frozenset(
        str.__str__(name)
        for name, bind in binds.items()
        if isinstance(bind.type._unwrapped_dialect_impl(dialect), kind)
    )


def cursor_connection(cursor: Any) -> Any:
    """The connection of a cursor: the driver's own, or that of an adapter."""
    return getattr(cursor, "connection", None) or getattr(cursor, "_adapt_connection", None)


def adapter_cursor_class(dialect: Any, server_side: bool) -> type[Any] | None:
    """The class of the cursors that SQLAlchemy's adapter of an asyncio driver gives; None where it is not found."""
    module = sys.modules.get(type(dialect.dbapi).__module__)
    kind = "_ss_cursor" if server_side else "_cursor"
    driver = driver_name(dialect).removesuffix("_async")
    found = getattr(module, f"AsyncAdapt_{driver}{kind}", None)
    if not isinstance(found, type) or not hasattr(found, "__getattr__"):
        return found if isinstance(found, type) else None
    # SQLAlchemy 2.0's adapter of psycopg hands on what it does not have to psycopg's own cursor.
    beneath = getattr(sys.modules.get(driver), "AsyncServerCursor" if server_side else "AsyncCursor", None)
    return _with_attributes_of(found, beneath) if isinstance(beneath, type) else found


@lru_cache(maxsize=64)
def _with_attributes_of(adapter: type[Any], beneath: type[Any]) -> type[Any]:
    """A class to look at, with the public attributes of an adapter and of the class that its objects hand on to.

    No class can inherit from both: each has slots of its own.
    """
    # Python does not ask `__getattr__` for special methods.
    own = (name for name in dir(adapter) if not name.startswith("_") or name in ("__enter__", "__exit__", "__iter__"))
    attributes = {name: inspect.getattr_static(beneath, name) for name in dir(beneath) if not name.startswith("_")}
    return type(adapter.__name__, (), attributes | {name: inspect.getattr_static(adapter, name) for name in own})


def is_closed_beneath(connection: Any) -> bool:
    """Whether the asyncio driver's own connection, beneath an adapter, is closed."""
    is_closed = getattr(getattr(connection, "_connection", None), "is_closed", None)
    return is_closed is not None and bool(is_closed())


_TOLD_OR_LEARNED = frozenset({"max_identifier_length", "is_mariadb", "use_ansi"})
"""What a dialect learns from its server, unless the app tells it."""
_USUAL_FACTS = ("server_version_info", "default_schema_name", "default_isolation_level", "max_identifier_length")
_FACT_TYPES = (bool, int, float, str, type(None))


def character_set_of(facts: Mapping[str, Any]) -> str | None:
    """The character set of the connection among the facts of a dialect for MySQL."""
    return facts.get("_connection_charset")


def facts_of(dialect: Any) -> dict[str, Any] | None:
    """What a dialect learned from its server when it was initialised; None where it was not."""
    if "default_schema_name" not in vars(dialect):
        return None
    return _learned(dialect)


def restore_facts(dialect: Any, facts: dict[str, Any]) -> None:
    """Give a dialect that has no server what the recorded dialect learned from one.

    What the app configured this dialect with stays.
    """
    own = _learned(dialect)
    for name, value in facts.items():
        if name not in own and name != TYPES:
            setattr(dialect, name, value)
    if facts.get("is_mariadb") and hasattr(dialect, "_set_mariadb"):
        # Its compilers quote and write some types in another way.
        dialect._set_mariadb(True, facts.get("server_version_info", ()))
    if facts.get("_server_ansiquotes"):
        dialect.identifier_preparer = dialect.preparer(dialect, server_ansiquotes=True)


def _learned(dialect: Any) -> dict[str, Any]:
    """The plain attributes in which a dialect differs from a new one of its class: its server told them."""
    try:
        new = vars(type(dialect)(dbapi=dialect.dbapi))
    except Exception:  # another project's dialect, whose constructor needs more arguments
        return {name: vars(dialect)[name] for name in _USUAL_FACTS if _is_plain(vars(dialect).get(name, ...))}
    from sqlalchemy.util import memoized_property

    kind: Any = type(dialect)
    configured = _configured(kind)
    return {
        name: value
        # A copy: threads that compile statements meanwhile let the dialect remember more of them.
        for name, value in vars(dialect).copy().items()
        if _is_plain(value)
        and name.lstrip("_") not in configured
        # Computed from the driver when it is first asked for, maybe with other attributes that are no plain data.
        and not isinstance(inspect.getattr_static(kind, name, None), memoized_property)
        and not (name in new and type(new[name]) is type(value) and new[name] == value)
    }


@lru_cache(maxsize=64)
def _configured(dialect: Any) -> frozenset[str]:
    """Names of what the app tells a dialect: the parameters of its constructors."""
    names = {"name", "driver", "has_events", "on_connect_isolation_level", "user_defined_max_identifier_length"}
    for base in dialect.__mro__:
        if "__init__" in vars(base):
            names.update(inspect.signature(vars(base)["__init__"]).parameters)
    return frozenset(names - _TOLD_OR_LEARNED)


def _is_plain(value: Any) -> bool:
    if type(value) is tuple:
        return all(type(item) in _FACT_TYPES for item in value)
    return type(value) in _FACT_TYPES


def on_connect(pool: Any, listener: Callable[[Any, Any], None]) -> None:
    """Call a function with each connection that a pool opens, and the record that holds it."""
    from sqlalchemy import event

    event.listen(pool, "connect", lambda connection, record: listener(connection, record))


def opened_by(creator: Callable[[Any], Any], record: Any) -> Any:
    """A connection from a pool's creator, after the listeners of the pool did to it what they do to a new one."""
    connection, held = outside(creator, record), record.dbapi_connection
    # Listeners look for the new connection in the record.
    record.dbapi_connection = connection
    try:
        outside(record_pool(record).dispatch.connect, connection, record)
    except BaseException:
        close_connection(record, connection)
        raise
    finally:
        record.dbapi_connection = held
    return connection


def initialize_again(dialect: Any, record: Any, dbapi_connection: Any, url: URL | None) -> None:
    """Let a dialect that had recorded facts learn from the real server, to which it has a connection now."""
    from sqlalchemy.engine.base import Connection, Engine
    from sqlalchemy.pool.base import _AdhocProxiedConnection
    from sqlalchemy.util import immutabledict

    for name in ("_hstore_oids",):
        vars(dialect).pop(name, None)
    engine = Engine(record_pool(record), dialect, url)  # type: ignore[arg-type]
    options: dict[str, Any] = {
        "connection": _AdhocProxiedConnection(dbapi_connection, record),
        "_has_events": False,
        "_allow_revalidate": False,
        "_allow_autobegin": False,
    }
    connection = Connection(engine, **options)
    connection._execution_options = immutabledict()
    type(dialect).initialize(dialect, connection)
    dialect.do_rollback(connection.connection)
