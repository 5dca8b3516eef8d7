"""Where asyncpg is patched: the protocol beneath its connections, and how connections are opened."""

from __future__ import annotations

import asyncio
import importlib
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from functools import partial
from types import ModuleType
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Staying, Undoable
from timetracer_otel.calls.flow import flow, records, replays
from timetracer_otel.calls.guarded import AppStep, Done, Flow, Noted, OurStep, guarded_async, only, raising
from timetracer_otel.calls.noting import noting, noting_async
from timetracer_otel.calls.whose_error import raise_for_app
from timetracer_otel.libraries.asyncpg import internals
from timetracer_otel.libraries.asyncpg.call import (
    LIB,
    PREPARE,
    Database,
    Exchange,
    HeldConnection,
    Opening,
    Supplied,
    heard_in,
)
from timetracer_otel.libraries.asyncpg.server import Asked, Server, server_of
from timetracer_otel.libraries.kits.dbapi import drivers
from timetracer_otel.libraries.kits.dbapi.boundaries import answered_or_passed
from timetracer_otel.libraries.kits.dbapi.call import raise_made_already, unrecorded
from timetracer_otel.libraries.kits.dbapi.connection_setup import claimed
from timetracer_otel.libraries.kits.dbapi.direct import held_by
from timetracer_otel.libraries.kits.dbapi.facts import recorded_facts
from timetracer_otel.libraries.kits.dbapi.owners import HELD, opening
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = ["patches"]

_GIVES_ROWS: Final = re.compile(r"\A\s*(?:SELECT|VALUES|SHOW|TABLE|WITH)\b|\bRETURNING\b", re.IGNORECASE)

_KNOWN: Final = drivers.ASYNCPG
"""The kit must know the driver's values and errors."""


def patches(module: ModuleType) -> list[Undoable]:
    """The patches of the module ``asyncpg``."""
    opened, connections, protocols = (
        importlib.import_module(f"{module.__name__}.{name}")
        for name in ("connect_utils", "connection", "protocol.protocol")
    )
    connection, protocol = connections.Connection, protocols.Protocol
    return [
        Staying(_HeldByProtocol(connection)),
        # A connection that is opened outside sessions may be used in one: what is known of it must be noted. Some
        # loops look these methods up once, when a connection is opened.
        Staying(Patch(opened, "_connect_addr", partial(_connect, module))),
        Staying(Patch(protocol, "data_received", _received)),
        Staying(Patch(protocol, "connection_lost", _lost)),
        Staying(Patch(connection, "_introspect_types", _types)),
        Staying(Patch(connection, "_introspect_type", _type)),
        Staying(Patch(connection, "set_type_codec", _codec)),
        Staying(Patch(connection, "set_builtin_type_codec", _builtin_codec)),
        Staying(Patch(opened, "_cancel", _cancel)),
        Patch(connection, "_prepare", _prepare),
        *(Patch(protocol, method, partial(_request, method)) for method in internals.GIVEN),
    ]


class _HeldByProtocol:
    """Gives connections, which have slots, the attribute for what is noted of them: their protocols hold it.

    Args:
        connection: The class.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def apply(self) -> None:
        """Add it; harmless when repeated."""
        if HELD not in vars(self._connection):
            setattr(self._connection, HELD, property(_held, _hold))

    def undo(self) -> None:
        """Take it away; harmless when repeated."""
        if HELD in vars(self._connection):
            delattr(self._connection, HELD)


def _hold(connection: Any, held: HeldConnection | None) -> None:
    protocol = internals.protocol_of(connection)
    if protocol is not None:
        setattr(protocol, HELD, held)


def _held(connection: Any) -> HeldConnection | None:
    found: Any = held_by(internals.protocol_of(connection))
    return found  # type: ignore[no-any-return]


def _connect(module: Any, original: Function) -> Function:
    """A connection is opened to one server of those that the app named."""

    def begin(session: BaseSession | None, **given: Any) -> Flow | None:
        if opening.get() is not None:
            return None
        target = Database(module, given["addr"], given["params"].database)
        return _opened(target, session, AppStep(original, **given))

    return guarded_async(LIB, original, begin, outside=True)


def _opened(target: Database, session: BaseSession | None, live: AppStep) -> Flow:
    site = Opening(target, live, raise_made_already)
    if not isinstance(session, ReplaySession) or not replays(LIB, session, lambda: target.address):
        connection = yield from only(live) if session is None else flow(site, session)
        target.connected(connection)
        held = HeldConnection(target, connection)
        if records(LIB, session):
            held.heard_by = session  # type: ignore[assignment]
        _hold(connection, held)
        return connection
    facts = recorded_facts(session, target)
    if facts is None:
        # The cassette does not know the database: a miss.
        return (yield from flow(site, session))
    opened = (yield from answered_or_passed(site, session)) or facts
    target.types.by_oid.update(facts.get("types") or {})
    target.types.by_name.update(facts.get("type_names") or {})
    made: list[Server] = []

    def transport(protocol: Any, loop: Any) -> Server:
        made.append(Server(protocol, loop, opened))
        return made[0]

    # Other tasks run, as they do while a connection is opened.
    yield OurStep(asyncio.sleep, 0)
    password = live.keywords["params"].password
    if callable(password):
        yield AppStep(internals.app_password, password)
    connection = internals.stand_in(transport, **live.keywords)
    held = made[0].held = HeldConnection(target, connection, made[0])
    heard_in(session).servers.add(made[0])
    _hold(connection, held)
    return connection


def _received(original: Function) -> Function:
    def look(protocol: Any, data: Any) -> None:
        held = held_by(protocol)
        if held is not None and not held.stands_in:
            held.came(protocol, bytes(data))  # type: ignore[attr-defined]

    return noting(f"{LIB}.data_received", original, before=look)


def _lost(original: Function) -> Function:
    def look(protocol: Any, _: Any) -> None:
        held = held_by(protocol)
        if held is not None and not held.stands_in:
            held.lost(protocol)  # type: ignore[attr-defined]

    return noting(f"{LIB}.connection_lost", original, before=look)


def _types(original: Function) -> Function:
    """Asyncpg asks the server about types."""

    def begin(_: BaseSession | None, connection: Any, typeoids: Any, *args: Any, **kwargs: Any) -> Any:
        held = _held(connection)
        if held is None:
            return None
        types = held.target.types  # type: ignore[attr-defined]
        if not held.stands_in:
            return _Learned(lambda value: types.learned(value[0]))
        found = held.server.types_of(typeoids)
        if {kind["oid"] for kind in found} < set(typeoids):
            return only(raising(unrecorded(held.target, f"asking for the types {sorted(typeoids)}")))
        return Done((found, _NamedStatement))

    return guarded_async(LIB, original, begin, outside=True)


class _NamedStatement:
    """In the place of the statement by which asyncpg asks about types: it undoes no other one."""

    name = "types"


class _Learned(Noted):
    """Notes what a call gave."""

    __slots__ = ("_note",)

    def __init__(self, note: Any) -> None:
        self._note = note

    def came(self, value: Any) -> Any:
        """Note it."""
        self._note(value)
        return value

    def raised(self, error: BaseException) -> None:
        """Nothing was learned."""


def _type(original: Function) -> Function:
    """Asyncpg asks the server about a type by its name."""

    def begin(_: BaseSession | None, connection: Any, typename: str, schema: str) -> Any:
        held = _held(connection)
        if held is None:
            return None
        types, name = held.target.types, f"{schema}.{typename}"  # type: ignore[attr-defined]
        names = types.by_name
        if not held.stands_in:
            return _Learned(lambda found: types.named(name, [found["oid"], found["elemtype"], bytes(found["kind"])]))
        if name not in names and schema == "pg_catalog" and internals.built_in_type(typename.lower()) is not None:
            # Newer releases of asyncpg know it.
            return None
        if name not in names:
            return only(raising(unrecorded(held.target, f"asking for the type {name}")))
        return Done(internals.type_record(names[name]))

    return guarded_async(LIB, original, begin, outside=True)


def _codec(original: Function) -> Function:
    """The app registers a codec of its own."""

    def begin(_: BaseSession | None, connection: Any, typename: str, **options: Any) -> Any:
        held = _held(connection)
        if held is None or held.stands_in:
            return None
        schema = options.get("schema", "public")

        def note(_: Any) -> None:
            held.has_codecs = True
            names = held.target.types.by_name  # type: ignore[attr-defined]
            oid = names.get(f"{schema}.{typename}", [internals.built_in_type(typename.lower())])[0]
            if options.get("format", "text") == "text":
                held.in_text.add(oid)
            else:
                held.in_text.discard(oid)

        return _Learned(note)

    return guarded_async(LIB, original, begin, outside=True)


def _builtin_codec(original: Function) -> Function:
    """The app chooses another codec of asyncpg's for a type."""

    def note(_: Any, connection: Any, *__: Any) -> None:
        held = _held(connection)
        if held is not None:
            held.has_codecs = True

    return noting_async(f"{LIB}.codec", original, note)


def _cancel(original: Function) -> Function:
    """Asyncpg asks a server, over a connection of its own, to cancel what another one runs."""

    def begin(_: BaseSession | None, **given: Any) -> Any:
        server = server_of(given["backend_secret"])
        if server is None or not server.is_of(given["backend_pid"]):
            return None
        server.cancel()
        return Done(None)

    return guarded_async(LIB, original, begin, outside=True)


def _prepare(original: Function) -> Function:
    """The app prepares a statement."""

    def begin(session: BaseSession | None, connection: Any, query: str, *args: Any, **kwargs: Any) -> Any:
        held = _held(connection)
        if held is None or session is None:
            return None
        protocol = internals.protocol_of(connection)
        live = AppStep(original, connection, query, *args, **kwargs)
        site = Exchange(held, protocol, query, method=PREPARE, live=live, listens=False)
        if not held.stands_in:
            return None if held.replays(session) else flow(site, session)
        return _prepared(site, session, live) if isinstance(session, ReplaySession) else None

    return guarded_async(LIB, original, begin, outside=True)


def _prepared(site: Exchange, session: ReplaySession, live: AppStep) -> Flow:
    value = yield live
    _claimed(site, session)
    return value


def _claimed(site: Exchange, session: ReplaySession) -> None:
    """A statement was prepared, for which there may be an event."""
    if claimed(site, session) is not None:
        heard_in(session).begun += 1


def _request(method: str, original: Function) -> Function:
    """A protocol asks the server for something."""

    def begin(session: BaseSession | None, protocol: Any, *args: Any, **kwargs: Any) -> Any:
        held: HeldConnection | None = held_by(protocol)  # type: ignore[assignment]
        if held is None:
            return None
        given = internals.given_to(method, args, kwargs)
        if not held.stands_in:
            if session is None:
                return None
            if held.replays(session):
                return only(raising(unrecorded(held.target, f"{method} on a connection of another time")))
            return _recorded(held, session, protocol, method, given, original)
        return _asked(held, session, protocol, method, given, original)

    return guarded_async(LIB, original, begin, outside=True)


def _site(held: HeldConnection, protocol: Any, method: str, given: dict[str, Any]) -> Exchange | None:
    """The request as it is matched, with the app's data noted while asyncpg takes them; None for one that is not."""
    state: Any = given.get("state")
    portal = given.get("portal_name", "")
    timeout = given.get("timeout")
    is_late = isinstance(timeout, (int, float)) and timeout <= 0
    if (state is not None and internals.is_internal(state)) or (state is None and is_late):
        # asyncpg asks for itself, or does not begin.
        return None
    if method == "prepare":
        return Exchange(held, protocol, given["query"], method=PREPARE, only_errors=True)
    if method in ("bind_execute", "bind") and state is not None:
        limit = given.get("limit")
        options = {"limit": limit} if limit and not portal else None
        return Exchange(
            *(held, protocol, state.query, tuple(given["args"])),
            options=options,
            state=state,
            portal=portal,
            keeps_rows=True,
        )
    if method == "bind_execute_many" and state is not None:
        many: list[Any] = []
        if type(given["args"]) in (list, tuple):
            many += map(_kept, given["args"])
        elif isinstance(given["args"], Iterable):
            given["args"] = _noting_rows(given["args"], many)
        returns_rows = bool(given.get("return_rows"))
        options = {"returns_rows": True} if returns_rows else None
        return Exchange(held, protocol, state.query, many=many, options=options, state=state, keeps_rows=returns_rows)
    if method == "query":
        if internals.is_reset(held.connection(), given["query"]):
            return None
        # The same statement may be run for its rows.
        options = {"rows": False} if _GIVES_ROWS.search(given["query"]) else None
        return Exchange(held, protocol, given["query"], options=options)
    if method == "copy_out":
        site = Exchange(held, protocol, given["copy_stmt"])
        site.copied = []
        given["sink"] = _noting_data(given["sink"], site.copied)
        return site
    if method == "copy_in":
        sent = Supplied()
        rows: list[Any] | None = None
        if given.get("records") is not None:
            rows = []
            noting = _noting_async if isinstance(given["records"], AsyncIterable) else _noting_rows
            given["records"] = noting(given["records"], rows)
        elif given.get("reader") is not None:
            given["reader"] = _noting_pieces(given["reader"], sent)
        else:
            sent.take(given["data"])
        return Exchange(held, protocol, given["copy_stmt"], many=rows, supplied=sent if rows is None else None)
    return None


# From here to the next function, nothing is made of the app's data: asyncpg takes them through these functions.


def _kept(row: Any) -> Any:
    """A row that the app may fill anew for the next one."""
    return row.copy() if type(row) in (list, dict) else row


def _noting_rows(rows: Any, noted: list[Any]) -> Iterator[Any]:
    for row in rows:
        noted.append(_kept(row))
        yield row


async def _noting_async(rows: Any, noted: list[Any]) -> AsyncIterator[Any]:
    async for row in rows:
        noted.append(_kept(row))
        yield row


async def _noting_pieces(pieces: Any, noted: Supplied) -> AsyncIterator[Any]:
    async for piece in pieces:
        noted.take(piece)
        yield piece


def _noting_data(sink: Any, noted: list[bytes]) -> Any:
    return noting_async(f"{LIB}.copy", sink, before=noted.append)


def _recorded(
    held: HeldConnection, session: BaseSession, protocol: Any, method: str, given: dict[str, Any], original: Function
) -> Any:
    if method in ("execute", "close_portal"):
        site = held.portals.get(given["portal_name"])
        if site is None or not site.is_open:
            return None
        if method == "close_portal":
            held.portals.pop(given["portal_name"]).end()
            return None
        site.listen(held)
        return _Fetch(held, site)
    site = _site(held, protocol, method, given)
    if method == "close_statement":
        held.described.pop(given["state"].name, None)
    if site is None:
        return None
    site.live = AppStep(original, protocol, **given)
    # The app's data are noted on their way, so the call is not made with the arguments as they came.
    site.as_called = method not in ("bind_execute_many", "copy_in", "copy_out")
    return flow(site, session)


class _Fetch(Noted):
    """Notes more rows of a recorded cursor."""

    __slots__ = ("_held", "_site")

    def __init__(self, held: HeldConnection, site: Exchange) -> None:
        self._held, self._site = held, site

    def came(self, value: Any) -> Any:
        """Rows came, and whether there are more."""
        recording = self._site.recording
        if recording is not None:
            self._site.fetched(self._held, recording, internals.is_last(value))
        return value

    def raised(self, error: BaseException) -> None:
        """Fetching raised."""
        self._site.fetch_failed(self._held, error)


def _asked(
    held: HeldConnection,
    session: BaseSession | None,
    protocol: Any,
    method: str,
    given: dict[str, Any],
    original: Function,
) -> Flow:
    server: Server = held.server
    site = _site(held, protocol, method, given)
    asked, before = Asked(method, session, site, given), server.asked
    server.asked = asked
    try:
        value = yield AppStep(original, protocol, **given)
    except BaseException:
        if asked.problem is not None:
            yield AppStep(raise_for_app, asked.problem)
        if not asked.came and site is not None and "state" in given and isinstance(session, ReplaySession):
            # asyncpg refused the values, for which the statement was prepared.
            _claimed(site.preparation(held, protocol, given["state"]), session)
        raise
    finally:
        if server.asked is asked:
            server.asked = before
    return value
