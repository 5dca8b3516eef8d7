"""What happens at each seam of a connection, as generators of steps that serve sync and async alike.

A live step is the library's own function. `flow` decides about what is sent; whoever reads gets what belongs to
it by what the `Wire` knows, also in a thread that has no session of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.calls.flow import Flow, Step, flow, records, replays
from timetracer_otel.context import get_current_session
from timetracer_otel.libraries.redis.answer import (
    HEALTH_CHECKS,
    Manner,
    await_message,
    connect_replayed,
    read_replayed,
    send_replayed,
)
from timetracer_otel.libraries.redis.call import LIB, new_exchange
from timetracer_otel.libraries.redis.commands import Command, expects_stream, parse
from timetracer_otel.libraries.redis.connection import Listener, Wire, inside, known_wire, wire_of, within
from timetracer_otel.libraries.redis.connects import connect_for_real
from timetracer_otel.libraries.redis.internals import connect_callbacks, is_open, is_reply
from timetracer_otel.libraries.redis.topology import add_facts, asks_for_facts, is_question, remember
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession

__all__ = ["Manner", "connect", "disconnected", "is_idle", "poll", "read", "send"]


def is_idle(kind: str, connection: Any) -> bool:
    """Whether there is nothing to do at a seam, seen at a glance: most calls of most seams are of this kind."""
    wire = known_wire(connection)
    if wire is not None and (wire.replaying is not None or wire.stream is not None):
        return False
    if isinstance(get_current_session(), ReplaySession):
        return False
    if kind == "read":
        return wire is None or (not wire.open and wire.asked is None)
    return is_open(connection)


def connect(manner: Manner, connection: Any, live: Step) -> Flow:
    """``connect``: for real, with all that the handshake sends; or a connection that a replay plays."""
    if inside.get():
        return (yield live)
    wire = known_wire(connection)
    session = _session(connection, wire)
    if replays(LIB, session):
        assert isinstance(session, ReplaySession)
        return (yield from connect_replayed(manner, connection, session))
    if wire is not None and (wire.replaying is not None or not is_open(connection)):
        wire.begin(None)
    recording = session if records(LIB, session) else None
    assert recording is None or isinstance(recording, TraceSession)
    return (yield from connect_for_real(manner.pause, connection, recording, live))


def _session(connection: Any, wire: Wire | None) -> BaseSession | None:
    """The current session; for a thread without one that listens, the session that its subscription belongs to."""
    session = get_current_session()
    if session is None and wire is not None and (wire.listens or connect_callbacks(connection)):
        session = wire.home
    return session


def send(manner: Manner, connection: Any, packed: Any, live: Step) -> Flow:
    """``send_packed_command``: one exchange begins."""
    question = asks_for_facts(connection, packed)
    if question is None:
        return (yield from _send(manner, connection, packed, live))
    yield from _send(manner, connection, packed, live)
    # Only now: the handshake of a new connection reads replies of its own.
    wire_of(connection).asked = question
    return None


def _send(manner: Manner, connection: Any, packed: Any, live: Step) -> Flow:
    wire = known_wire(connection)
    session = _session(connection, wire)
    if session is None:
        if wire is not None:
            wire.sent += 1
            if wire.replaying is not None:
                wire.begin(None)
        return (yield live)
    commands = _parsed(packed)
    if commands is None or (inside.get() and not any(map(expects_stream, commands))):
        return (yield live)
    if replays(LIB, session):
        assert isinstance(session, ReplaySession)
        return (yield from send_replayed(manner, connection, commands, session, live))
    wire = wire_of(connection)
    if wire.replaying is not None:
        wire.begin(None)
    exchange = _contained(partial(new_exchange, connection, wire, commands, live, manner.pause))
    if exchange is None:
        return (yield live)
    if not records(LIB, session):
        return (yield from flow(exchange, session))
    if wire.stream is not None and commands == HEALTH_CHECKS:
        return (yield live)
    wire.sent += 1
    if exchange.clustered and not is_question(connection, exchange):
        assert isinstance(session, TraceSession)
        add_facts(session)
    before = inside.get()
    inside.set(True)
    try:
        return (yield from flow(exchange, session))
    finally:
        inside.set(before)


def _parsed(packed: Any) -> list[Command] | None:
    try:
        return parse(packed)
    except Exception as fault:
        faults.contain("redis.parse", fault)
        return None


def read(manner: Manner, connection: Any, live: Step, plain: bool, timeout_s: float | None) -> Flow:
    """``read_response``: the next reply, or message.

    Args:
        manner: How this seam waits.
        connection: The connection.
        live: The library's own read.
        plain: Whether the reply is wanted as bytes, although the client decodes.
        timeout_s: How long to wait for a message; None for as long as it takes.
    """
    wire = known_wire(connection)
    if wire is None or (wire.replaying is None and not wire.open):
        session = get_current_session()
        if replays(LIB, session) and not inside.get() and connect_callbacks(connection):
            assert isinstance(session, ReplaySession)
            # A subscription of before the replay, read without a look whether there is something: as in `poll`.
            yield from connect_replayed(manner, connection, session)
            wire = known_wire(connection)
    if wire is None:
        return (yield live)
    if wire.replaying is not None and not inside.get() and wire.stream is None:
        if wire.replies and wire.replies[0] is None:
            wire.replies.popleft()
        else:
            wire.asked = None
            return (yield from read_replayed(manner, connection, wire, plain, timeout_s))
    listener = wire.open[0] if wire.open else wire.stream
    if listener is None or inside.get():
        value = yield live
        _remember(manner, connection, wire, value)
        return value
    wire.reading = listener
    try:
        # A proxy reads by the connection that it stands for, which a replay does not know.
        value = (yield from within(live)) if wire.replaying is not None else (yield live)
    except BaseException as error:
        if is_reply(error):
            _note(wire, listener, error, plain)
        else:
            _failed(wire, listener, error)
            if wire.replaying is not None and not is_open(connection):
                wire.end()
        raise
    finally:
        wire.reading = None
    if value is None and timeout_s is not None and listener is wire.stream:
        _contained(listener.note_empty)
    else:
        _note(wire, listener, value, plain)
        _remember(manner, connection, wire, value)
    return value


def _remember(manner: Manner, connection: Any, wire: Wire, value: Any) -> None:
    question, wire.asked = wire.asked, None
    if question is not None:
        _contained(partial(remember, connection, question, value, manner.pause))


def _note(wire: Wire, listener: Listener, value: Any, plain: bool) -> None:
    last = None
    try:
        last = listener.note(value, plain)
    except Exception as fault:
        _contained(listener.faulted)
        faults.contain("redis.read", fault)
    if last is not False and wire.open and wire.open[0] is listener:
        wire.open.popleft()


def _failed(wire: Wire, listener: Listener, error: BaseException) -> None:
    _contained(partial(listener.failed, error))
    if wire.open and wire.open[0] is listener:
        wire.open.popleft()


def _contained(note: Callable[[], Any]) -> Any:
    try:
        return note()
    except Exception as fault:
        faults.contain("redis.read", fault)
        return None


def poll(manner: Manner, connection: Any, live: Step, timeout_s: float, notes: bool) -> Flow:
    """``can_read``: whether there is a message; ``notes``: whether looking in vain is told to the app."""
    if inside.get():
        return (yield live)
    wire = known_wire(connection)
    if wire is None or wire.replaying is None:
        session = _session(connection, wire)
        if replays(LIB, session):
            assert isinstance(session, ReplaySession)
            # The library connects to look, too.
            yield from connect_replayed(manner, connection, session)
            wire = known_wire(connection)
    if wire is not None and wire.replaying is not None and wire.stream is None:
        if wire.played is None:
            # Replies that nobody read make a connection unfit for the next command, as they do for real.
            if wire.replies or not wire.is_real:
                return bool(wire.replies)
            return (yield from within(live))
        return (yield from await_message(manner, wire, wire.played, timeout_s))
    try:
        there = (yield from within(live)) if wire is not None and wire.replaying is not None else (yield live)
    except BaseException as error:
        stream = _listening(wire)
        if stream is not None:
            _contained(partial(stream.failed, error))
        raise
    stream = _listening(wire or known_wire(connection))
    if stream is not None and not there and notes:
        _contained(stream.note_empty)
    return there


def _listening(wire: Wire | None) -> Listener | None:
    return wire.stream if wire is not None and not wire.open else None


def disconnected(connection: Any) -> None:
    """``disconnect``: nothing more will be read."""
    wire = known_wire(connection)
    if wire is not None and not inside.get():
        _contained(wire.end)
