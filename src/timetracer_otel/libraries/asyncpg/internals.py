"""Private names of asyncpg (0.29 to 0.32): the protocol beneath its connections, and how they are opened.

asyncpg's ``Connection`` is Python; what it asks its server goes by the methods of a ``Protocol`` in C, which gets the
server's bytes by ``data_received``, as a protocol of asyncio does.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from timetracer_otel.libraries.asyncpg import wire

__all__ = [
    "GIVEN",
    "RELIED_UPON",
    "Codecs",
    "app_password",
    "built_in_type",
    "described",
    "field_of",
    "given_to",
    "has_timeout",
    "is_in_doubt",
    "is_internal",
    "is_last",
    "is_plain_record",
    "is_record",
    "is_reset",
    "protocol_of",
    "rows_in",
    "settings_of",
    "stand_in",
    "state_of",
    "type_record",
]

RELIED_UPON = (
    "asyncpg.connect_utils:_cancel(backend_secret)",
    "asyncpg.connect_utils:_connect_addr(params)",
    "asyncpg.connection:Connection._introspect_type(typename)",
    "asyncpg.connection:Connection._introspect_types(typeoids)",
    "asyncpg.connection:Connection._prepare(query)",
    "asyncpg.exceptions._base:PostgresMessageMeta._field_map",
    "asyncpg.protocol.protocol:Protocol.bind",
    "asyncpg.protocol.protocol:Protocol.bind_execute",
    "asyncpg.protocol.protocol:Protocol.bind_execute_many",
    "asyncpg.protocol.protocol:Protocol.close_portal",
    "asyncpg.protocol.protocol:Protocol.close_statement",
    "asyncpg.protocol.protocol:Protocol.connection_lost",
    "asyncpg.protocol.protocol:Protocol.copy_in",
    "asyncpg.protocol.protocol:Protocol.copy_out",
    "asyncpg.protocol.protocol:Protocol.data_received",
    "asyncpg.protocol.protocol:Protocol.execute",
    "asyncpg.protocol.protocol:Protocol.prepare",
    "asyncpg.protocol.protocol:Protocol.query",
    "asyncpg.protocol.protocol:_create_record",
)

GIVEN: Mapping[str, Sequence[str]] = {
    "prepare": ("stmt_name", "query", "timeout"),
    "bind_execute": ("state", "args", "portal_name", "limit", "return_extra", "timeout"),
    "bind_execute_many": ("state", "args", "portal_name", "timeout", "return_rows"),
    "bind": ("state", "args", "portal_name", "timeout"),
    "execute": ("state", "portal_name", "limit", "return_extra", "timeout"),
    "close_portal": ("portal_name", "timeout"),
    "close_statement": ("state", "timeout"),
    "query": ("query", "timeout"),
    "copy_out": ("copy_stmt", "sink", "timeout"),
    "copy_in": ("copy_stmt", "reader", "data", "records", "record_stmt", "timeout"),
}
"""By method of a protocol: what its arguments are called."""

_SETTINGS = (
    *("server_version", "server_encoding", "client_encoding", "DateStyle", "TimeZone", "integer_datetimes"),
    *("standard_conforming_strings", "IntervalStyle", "application_name", "is_superuser", "session_authorization"),
    *("default_transaction_read_only", "in_hot_standby", "scram_iterations", "search_path"),
    *("padb_revision", "crdb_version", "crate_version"),
)
"""What a server says of itself to each client."""


def given_to(method: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a protocol's method by name."""
    return {**dict(zip(GIVEN[method], args, strict=False)), **kwargs}


def protocol_of(connection: Any) -> Any:
    """The protocol beneath a connection; None where the connection was aborted."""
    return connection._protocol


def settings_of(protocol: Any) -> dict[str, str]:
    """What the server has said of itself."""
    settings = protocol.get_settings()
    return {name: getattr(settings, name) for name in _SETTINGS if hasattr(settings, name)}


def is_internal(state: Any) -> bool:
    """Whether asyncpg runs a statement for itself, to learn of types."""
    return bool(state.ignore_custom_codec)


def is_record(value: Any) -> bool:
    """Whether a value is a record of asyncpg's."""
    core = sys.modules.get("asyncpg")
    return core is not None and isinstance(value, core.Record)


def is_plain_record(row: Any) -> bool:
    """Whether a row is a record of asyncpg's, and of no class of the app's."""
    core = sys.modules.get("asyncpg")
    return core is not None and type(row) is core.Record


def is_reset(connection: Any, statement: str) -> bool:
    """Whether a pool cleans up behind its user by this statement."""
    if connection is None:
        return False
    # asyncpg has had it under a public name since 0.30.
    ask = getattr(connection, "get_reset_query", None) or connection._get_reset_query
    return bool(statement == ask())


def described(state: Any) -> tuple[list[list[Any]], list[int]]:
    """The columns of a prepared statement, by name and type, and the types of its parameters."""
    columns = [[attribute.name, attribute.type.oid] for attribute in state._get_attributes()]
    return columns, [kind.oid for kind in state._get_parameters() or ()]


def is_in_doubt(error: BaseException) -> bool:
    """Whether an error may come from the server, or from what happened while it was waited for."""
    if isinstance(error, (TimeoutError, asyncio.TimeoutError, OSError)) or not isinstance(error, Exception):
        return True
    # What asyncpg raises by itself has no fields of a server's message.
    return "severity" in vars(error) or type(error).__name__ == "ConnectionDoesNotExistError"


def field_of(error: BaseException) -> dict[str, str] | None:
    """The fields of the server's message that an error was made of, by their codes; None where it was none."""
    kept = vars(error)
    if "severity" not in kept:
        return None
    from asyncpg.exceptions import _base

    codes = _base.PostgresMessageMeta._field_map.items()
    return {code: kept[name] for code, name in codes if isinstance(kept.get(name), str)}


def has_timeout(protocol: Any, timeout: Any) -> bool:
    """Whether asyncpg itself ends a call after some time."""
    from asyncpg.protocol import NO_TIMEOUT

    return timeout is not NO_TIMEOUT and protocol._get_timeout(timeout) is not None


def built_in_type(name: str) -> int | None:
    """The number of a type of PostgreSQL's own."""
    from asyncpg.protocol import BUILTIN_TYPE_NAME_MAP

    found: int | None = BUILTIN_TYPE_NAME_MAP.get(name)
    return found


def state_of(prepared: Any) -> Any:
    """What asyncpg knows of a prepared statement."""
    return prepared._state


def rows_in(answer: Any) -> Sequence[Any] | None:
    """The rows in the answer to a statement; None where it has none."""
    rows = answer[0] if isinstance(answer, tuple) else answer
    return rows if type(rows) is list else None


def is_last(answer: Any) -> bool:
    """Whether a cursor on the server has given all its rows."""
    return bool(answer[2]) if isinstance(answer, tuple) else False


def type_record(parts: Sequence[Any]) -> Any:
    """What asyncpg learns of a type by its name: oid, oid of its elements, kind."""
    core: Any = importlib.import_module("asyncpg.protocol.protocol")
    return core._create_record({"oid": 0, "elemtype": 1, "kind": 2}, tuple(parts))


async def app_password(password: Callable[[], Any]) -> Any:
    """Ask the app for its password, as is done for a real connection: it may make calls to find that."""
    given = password()
    return await given if inspect.isawaitable(given) else given


def stand_in(transport_for: Callable[[Any, Any], Any], **given: Any) -> Any:
    """A connection of asyncpg over something that stands for its transport.

    Args:
        transport_for: Makes that, from the protocol and the loop.
        given: What ``_connect_addr`` was given.
    """
    from asyncpg.protocol import Protocol

    loop, params = given["loop"], given["params"]
    connected = loop.create_future()
    protocol = Protocol(given["addr"], connected, params, given["record_class"], loop)
    transport = transport_for(protocol, loop)
    protocol.connection_made(transport)
    transport.let_in()
    connected.result()
    connection = given["connection_class"](protocol, transport, loop, given["addr"], given["config"], params)
    protocol.set_connection(connection)
    return connection


class _NoLoop:
    """In the place of a loop: a protocol that is fed by hand waits for nothing."""

    def get_debug(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)  # type: ignore[arg-type]

    def call_soon(self, *_: Any, **__: Any) -> None:
        """Nobody waits to be called."""


class Codecs:
    """asyncpg's own codecs away from any connection: values of rows as bytes, and back. Not safe from two threads.

    It is a protocol without a server: values are bound to a statement, or come as its rows.

    Args:
        types: What asyncpg knows of types that are not built in.
    """

    def __init__(self, types: Iterable[Mapping[str, Any]]) -> None:
        from asyncpg.protocol import NO_TIMEOUT, Protocol, Record

        self._none, self._record = NO_TIMEOUT, Record
        self._sent = bytearray()
        loop: Any = _NoLoop()
        nobody: Any = SimpleNamespace(user="", password="", database="", server_settings=None)
        self._protocol: Any = Protocol(("", 0), loop.create_future(), nobody, Record, loop)
        self._protocol.connection_made(self)
        self._protocol.data_received(wire.started({"client_encoding": "UTF8"}, 0, 0))
        known = list(types)
        if known:
            self._protocol.get_settings().register_data_types(known)

    def get_extra_info(self, *_: Any) -> None:
        """As a transport: nothing."""

    def write(self, data: Any) -> None:
        """As a transport: note what is sent."""
        self._sent += data

    def abort(self) -> None:
        """As a transport: there is nothing to close."""

    def _run(self, asked: Any, answer: bytes) -> Any:
        try:
            asked.send(None)
            self._protocol.data_received(answer)
            asked.send(None)
        except StopIteration as stop:
            return stop.value
        raise RuntimeError("asyncpg waits for more than an answer")

    def _statement(self, columns: Sequence[int], bound: Sequence[int]) -> Any:
        answer = _PARSED + wire.parameters(bound)
        answer += wire.rows_described([[str(n), oid] for n, oid in enumerate(columns)]) if columns else _NO_DATA
        asked = self._protocol.prepare("s", "", self._none, record_class=self._record)
        state = self._run(asked, answer)
        unknown = state._init_types()
        if unknown:
            raise LookupError(f"types that are not known: {unknown}")
        state._init_codecs()
        return state

    def values(self, oids: Sequence[int], rows: Sequence[wire.Cells]) -> list[Any]:
        """The values of rows, as asyncpg makes them without codecs of the app's."""
        state = self._statement(oids, ())
        sent = b"".join(map(wire.row, rows))
        asked = self._protocol.bind_execute(state, (), "", 0, False, self._none)
        return self._run(asked, sent + wire.command_complete("SELECT") + wire.ready("I"))  # type: ignore[no-any-return]

    def cells(self, oids: Sequence[int], rows: Sequence[Sequence[Any]]) -> list[list[bytes | None]]:
        """The bytes of rows of values."""
        made: list[list[bytes | None]] = []
        at_once = max(1, _MOST_BOUND // len(oids))
        for first in range(0, len(rows), at_once):
            some = rows[first : first + at_once]
            state = self._statement((), list(oids) * len(some))
            del self._sent[:]
            asked = self._protocol.bind_execute(state, list(itertools.chain(*some)), "", 0, False, self._none)
            self._run(asked, wire.command_complete("SELECT") + wire.ready("I"))
            sent = bytes(self._sent)
            bound = next(sent[begin:end] for kind, begin, end in wire.messages(sent) if kind == b"B")
            flat = wire.bound_values(bound)
            made += [flat[at : at + len(oids)] for at in range(0, len(flat), len(oids))]
        return made


_PARSED = wire.message(b"1")
_NO_DATA = wire.message(b"n")
_MOST_BOUND = 32_000
"""Values that asyncpg binds to one statement."""
