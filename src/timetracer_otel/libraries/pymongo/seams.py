"""Where pymongo is patched: a message goes out, one comes in, a server is chosen, a socket is opened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, Final

from opentelemetry import context as otel_context

from timetracer_otel.base import faults
from timetracer_otel.base.patching import Function, Patch, Staying, Undoable
from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import flow, replays
from timetracer_otel.calls.guarded import AppStep, Done, Flow, Noted, guarded, guarded_async, lending, lending_async
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.calls.noting import noting, noting_async
from timetracer_otel.current import context_with
from timetracer_otel.libraries.kits.dbapi.boundaries import answered_or_passed
from timetracer_otel.libraries.pymongo import internals
from timetracer_otel.libraries.pymongo.call import (
    LIB,
    NEEDS_NO_ANSWER,
    AnotherReply,
    CommandSite,
    Selection,
    SelectionSite,
    line_of,
)
from timetracer_otel.libraries.pymongo.internals import Flavour
from timetracer_otel.libraries.pymongo.look_ups import LookUpSite
from timetracer_otel.libraries.pymongo.topology import for_real_above, hello_at, is_held, release, selected
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = ["patches"]

_connection_above: Final[CallAbove[tuple[Any, tuple[Any, ...]]]] = CallAbove("pymongo-connection")
"""Set while a connection sends a message: what sends it is told the socket alone."""


def patches(module: ModuleType) -> list[Undoable]:
    """The patches of pymongo."""
    found: list[Undoable] = []
    for flavour in internals.flavours():
        pool, topology = flavour.pool, flavour.topology.Topology
        lends = partial(lending_async if flavour.asynchronous else lending, LIB, above=_connection_above, what=None)
        guard = partial(guarded_async if flavour.asynchronous else guarded, LIB, outside=True)
        notes = noting_async if flavour.asynchronous else noting
        found += [
            # A connection that is opened outside sessions may be used in one.
            Staying(Patch(flavour.connection, "_hello", partial(notes, "pymongo.hello", after=internals.note_hello))),
            Patch(flavour.connection, "send_message", lends),
            Patch(pool, flavour.connect, partial(_connect, guard, flavour)),
            Patch(topology, "select_servers", partial(_select, guard)),
            Patch(topology, "on_change", partial(_change, flavour.asynchronous)),
            Patch(flavour.auth, "authenticate", partial(_sign_in, guard)),
            Patch(flavour.resolver, "_resolve", partial(_look_up, guard, flavour)),
            # It starts a task or a thread, and waits for nothing.
            Patch(flavour.executor, "open", _begin_in_background),
        ]
        if len(flavour.sending) > 1:
            found.append(Patch(pool, "command", lends))
        for sending in flavour.sending:
            found += [
                Patch(sending, flavour.send, partial(_send, guard, flavour)),
                Patch(sending, flavour.receive, partial(_receive, guard, flavour)),
            ]
    return found


def _pause_of(flavour: Flavour) -> Callable[[float], Any]:
    return asyncio.sleep if flavour.asynchronous else time.sleep


def _send(guard: Any, flavour: Flavour, original: Function) -> Function:
    """A message goes out."""
    pause = _pause_of(flavour)

    def begin(session: BaseSession | None, socket: Any, data: bytes, *args: Any, **kwargs: Any) -> Flow | None:
        above = _connection_above.get()
        if above is None:
            return None
        connection = above[1][0]
        stand_in = internals.stand_in_of(connection)
        if internals.is_handshake(connection):
            if stand_in is None:
                return None
            line_of(connection).replies.append(internals.reply_of(stand_in.hello))
            return Done(None)
        sent = internals.sent(data) if session is not None else None
        if session is None or sent is None:
            return None
        site = CommandSite(connection, sent, AppStep(original, socket, data, *args, **kwargs), pause)
        if stand_in is not None:
            site.connects = partial(_open_for_real, flavour, connection, site, original, data)
        if sent.name in NEEDS_NO_ANSWER and replays(LIB, session, lambda: site.address):
            assert isinstance(session, ReplaySession)
            # Over a real connection, new calls were made that are to be undone.
            if stand_in is not None or not session.adds_new_calls:
                return answered_or_passed(site, session)
        return flow(site, session)

    return guard(original, begin)  # type: ignore[no-any-return]


def _open_for_real(flavour: Flavour, connection: Any, site: CommandSite, original: Function, data: bytes) -> Flow:
    """Open the real socket of a connection of a replay, for a command that its cassette does not hold."""
    with for_real_above.making(True), hooks.let_out():
        opens = getattr(flavour.pool, flavour.connect)
        interface = yield AppStep(opens, connection.address, connection.opts)
        internals.connect_again(connection, interface)
        yield AppStep(connection.hello)
        yield AppStep(connection.authenticate)
    site.live = AppStep(original, connection.conn.get_conn, data)


def _receive(guard: Any, flavour: Flavour, original: Function) -> Function:
    """A message comes in."""

    def begin(session: BaseSession | None, connection: Any, *args: Any, **kwargs: Any) -> Flow | Noted | None:
        line = line_of(connection)
        if line.replies:
            return Done(line.replies.popleft())
        waiting, line.waiting = line.waiting, None
        if waiting is None and line.last is not None and session is not None:
            return flow(
                AnotherReply.to(line.last, connection, AppStep(original, connection, *args, **kwargs)), session
            )
        return waiting

    return guard(original, begin)  # type: ignore[no-any-return]


def _select(guard: Any, original: Function) -> Function:
    """A client chooses a server."""

    def begin(
        session: BaseSession | None, topology: Any, selector: Any, *args: Any, **kwargs: Any
    ) -> Flow | Noted | None:
        live = AppStep(original, topology, selector, *args, **kwargs)
        if not isinstance(session, ReplaySession):
            release(topology)
            return Selection(session, topology) if session is not None else None
        site = SelectionSite(topology, live)
        if for_real_above.get() or not replays(LIB, session, lambda: site.address):
            return None
        site.lend = partial(for_real_above.lend, True)
        address = args[2] if len(args) > 2 else kwargs.get("address")
        return selected(session, topology, selector, address, site)

    return guard(original, begin)  # type: ignore[no-any-return]


def _change(asynchronous: bool, original: Function) -> Function:
    """A monitor tells what it found out about a server. A guard: what is ours runs in a `try`."""

    def change(topology: Any, *args: Any, **kwargs: Any) -> Any:
        return None if _is_left_out(topology) else original(topology, *args, **kwargs)

    async def change_async(topology: Any, *args: Any, **kwargs: Any) -> Any:
        return None if _is_left_out(topology) else await original(topology, *args, **kwargs)

    return change_async if asynchronous else change


def _is_left_out(topology: Any) -> bool:
    try:
        return is_held(topology)
    except Exception as fault:
        faults.contain("pymongo.change", fault)
        return False


def _connect(guard: Any, flavour: Flavour, original: Function) -> Function:
    """A pool opens a socket."""
    kind = internals.AsyncStandIn if flavour.asynchronous else internals.StandIn

    def begin(session: BaseSession | None, address: Any, *args: Any, **kwargs: Any) -> Flow | None:
        if not isinstance(session, ReplaySession) or for_real_above.get() or not replays(LIB, session):
            return None
        hello = hello_at(session, address)
        if hello is not None:
            return Done(kind(hello))
        return _for_real(AppStep(original, address, *args, **kwargs)) if session.adds_new_calls else None

    return guard(original, begin)  # type: ignore[no-any-return]


def _for_real(step: AppStep) -> Flow:
    with for_real_above.making(True), hooks.let_out():
        return (yield step)


def _sign_in(guard: Any, original: Function) -> Function:
    """A connection signs in. In a replay, nobody asks who it is."""

    def begin(session: BaseSession | None, credentials: Any, conn: Any, *args: Any, **kwargs: Any) -> Flow | None:
        return Done(None) if internals.stand_in_of(conn) is not None else None

    return guard(original, begin)  # type: ignore[no-any-return]


def _look_up(guard: Any, flavour: Flavour, original: Function) -> Function:
    """A client asks the DNS for the servers behind a name."""

    def begin(session: BaseSession | None, name: str, kind: str, *args: Any, **kwargs: Any) -> Flow | None:
        live = AppStep(original, name, kind, *args, **kwargs)
        return flow(LookUpSite(name, kind, live, _pause_of(flavour)), session) if session is not None else None

    return guard(original, begin)  # type: ignore[no-any-return]


def _begin_in_background(original: Function) -> Function:
    """A client starts a thread or a task of its own, which looks at servers or cleans up. It is no part of a session,
    and does not start in a replay.
    """

    def begin(session: BaseSession | None, executor: Any) -> Flow | None:
        if session is None:
            return None
        if replays(LIB, session) and not for_real_above.get() and not internals.is_for_events(executor):
            return Done(None)
        return _apart(AppStep(original, executor))

    return guarded(LIB, original, begin)


def _apart(step: AppStep) -> Flow:
    token = otel_context.attach(context_with(None))
    try:
        return (yield step)
    finally:
        otel_context.detach(token)
