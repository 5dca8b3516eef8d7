"""What happens at each seam of a connection, as generators of steps that serve sync and async alike.

A live step is the library's own function. `flow` decides about what is sent; whoever reads gets what belongs to
it by what the `Wire` knows, also in a thread that has no session of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from timetracer_otel import _faults
from timetracer_otel.context import get_current_session
from timetracer_otel.plugins._flow import Flow, Step, flow, records, replays
from timetracer_otel.plugins._redis._commands import Command, expects_stream, parse
from timetracer_otel.plugins._redis._connects import connect_failed, replay_failed_connect
from timetracer_otel.plugins._redis._exchange import LIB, Exchange
from timetracer_otel.plugins._redis._internals import (
    HEALTH_CHECK,
    connect_callbacks,
    is_clustered,
    is_open,
    is_reply,
    nothing_sent,
    stay_healthy,
    url_of,
)
from timetracer_otel.plugins._redis._operation import current_operation
from timetracer_otel.plugins._redis._topology import FACTS, add_facts, asks_for_facts, claim_facts, fact_for, remember
from timetracer_otel.plugins._redis._wire import Listener, Played, Wire, inside, known_wire, wire_of
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.types import RecordedError

__all__ = ["Manner", "connect", "disconnected", "is_idle", "poll", "read", "send"]


class Manner(NamedTuple):
    """How a seam waits: the steps that differ between sync and async, beside the library's own functions.

    Attributes:
        pause: Waits for so many seconds.
        give_way: Lets other tasks go on, as waiting for a server does; None where there are only threads.
        run_callbacks: Runs what is to be called when a connection was made.
    """

    pause: Callable[[float], Any]
    give_way: Step | None
    run_callbacks: Callable[[Any], Any]


_POLL_S = 0.005


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
        return (yield from _connect_replayed(manner, connection, session))
    if wire is not None and wire.replaying is not None:
        wire.begin(None)
    began_s = time.perf_counter()
    inside.set(True)
    try:
        return (yield live)
    except BaseException as error:
        if records(LIB, session):
            assert isinstance(session, TraceSession)
            connect_failed(connection, session, manner.pause, began_s, error)
        raise
    finally:
        inside.set(False)


def _session(connection: Any, wire: Wire | None) -> BaseSession | None:
    """The current session; for a thread without one that listens, the session that its subscription belongs to."""
    session = get_current_session()
    if session is None and wire is not None and (wire.listens or connect_callbacks(connection)):
        session = wire.home
    return session


def _connect_replayed(manner: Manner, connection: Any, session: ReplaySession) -> Flow:
    yield from replay_failed_connect(connection, session, manner.pause)
    wire = wire_of(connection)
    if wire.replaying is not session:
        wire.begin(session)
        stay_healthy(connection)
        yield partial(manner.run_callbacks, connection)


def send(manner: Manner, connection: Any, packed: Any, live: Step) -> Flow:
    """``send_packed_command``: one exchange begins."""
    question = asks_for_facts(packed)
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
        return (yield from _send_replayed(manner, connection, commands, session))
    wire = wire_of(connection)
    if wire.replaying is not None:
        wire.begin(None)
    exchange = _contained(partial(_exchange, manner, connection, wire, commands, live))
    if exchange is None:
        return (yield live)
    if not records(LIB, session):
        return (yield from flow(exchange, session))
    if wire.stream is not None and commands == _HEALTH_CHECK:
        return (yield live)
    wire.sent += 1
    if exchange.clustered and exchange.call().method not in FACTS:
        assert isinstance(session, TraceSession)
        add_facts(session)
    before = inside.get()
    inside.set(True)
    try:
        return (yield from flow(exchange, session))
    finally:
        inside.set(before)


_HEALTH_CHECK = [[b"PING", HEALTH_CHECK]]


def _send_replayed(manner: Manner, connection: Any, commands: list[Command], session: ReplaySession) -> Flow:
    wire = wire_of(connection)
    if wire.replaying is not session:
        yield from _connect_replayed(manner, connection, session)
    if wire.played is not None and commands == _HEALTH_CHECK:
        return None
    wire.sent += 1
    exchange = _exchange(manner, connection, wire, commands, _no_connection)
    if exchange.clustered:
        claim_facts(session)
        exchange.follow(session)
        fact = fact_for(exchange, session) if session.upcoming(exchange.call()) is None else None
        if fact is not None:
            return exchange.rebuild(fact, session)
    try:
        return (yield from flow(exchange, session))
    except Exception:
        # As the library does when nothing can be sent.
        wire.end()
        raise


def _exchange(manner: Manner, connection: Any, wire: Wire, commands: list[Command], live: Step) -> Exchange:
    operation = current_operation.get()
    clustered = is_clustered(connection) or (operation is not None and operation.clustered)
    return Exchange(connection, wire, commands, url_of(connection), live, manner.pause, clustered)


def _no_connection() -> None:
    raise AssertionError("a replay sends nothing")


def _parsed(packed: Any) -> list[Command] | None:
    try:
        return parse(packed)
    except Exception as fault:
        _faults.contain("redis.parse", fault)
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
    if wire is None:
        return (yield live)
    if wire.replaying is not None:
        return (yield from _read_replayed(manner, connection, wire, plain, timeout_s))
    listener = wire.open[0] if wire.open else wire.stream
    if listener is None or inside.get():
        value = yield live
        _remember(manner, connection, wire, value)
        return value
    wire.reading = listener
    try:
        value = yield live
    except BaseException as error:
        if is_reply(error):
            _note(wire, listener, error, plain)
        else:
            _failed(wire, listener, error)
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
    if question is not None and wire.replaying is None:
        _contained(partial(remember, connection, question, value, manner.pause))


def _note(wire: Wire, listener: Listener, value: Any, plain: bool) -> None:
    last = _contained(partial(listener.note, value, plain))
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
        _faults.contain("redis.read", fault)
        return None


def _read_replayed(manner: Manner, connection: Any, wire: Wire, plain: bool, timeout_s: float | None) -> Flow:
    if manner.give_way is not None:
        try:
            yield manner.give_way
        except BaseException:
            # Cancelled: the library closes a connection whose reply it does not wait for.
            if wire.played is None:
                wire.end()
            raise
    played = wire.played
    if played is not None and not wire.replies:
        if not (yield from _await_step(manner, wire, played, timeout_s)):
            return None
        return _take(played, plain)
    if not wire.replies:
        raise nothing_sent(connection)
    reply, answers = wire.replies.popleft()
    if type(reply) is not RecordedError:
        return answers.restored(reply, plain)
    error = answers.rebuilt(reply)
    if not is_reply(error):
        wire.end()
    raise error


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
            yield from _connect_replayed(manner, connection, session)
            wire = known_wire(connection)
    if wire is not None and wire.replaying is not None:
        if wire.played is None:
            # Replies that nobody read make a connection unfit for the next command, as they do for real.
            return bool(wire.replies)
        return (yield from _await_step(manner, wire, wire.played, timeout_s))
    try:
        there = yield live
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


def _await_step(manner: Manner, wire: Wire, played: Played, timeout_s: float | None) -> Flow:
    """Wait for a message: True where there is one (or an error), False where none came in time."""
    waited_s = 0.0
    while True:
        step = played.upcoming()
        if step is not None:
            sent, kind, _ = step
            if kind == "empty":
                if timeout_s is None:
                    played.skip_empty()
                    continue
                played.advance()
                return False
            if sent <= wire.sent and kind != "cancelled":
                if not played.is_early:
                    return True
                if waited_s >= min(played.wait_s, timeout_s or played.wait_s):
                    played.expect_no_causes()
                    return True
            elif sent <= wire.sent:
                if timeout_s is None:
                    # The app cancelled this read when it was recorded; give it the time to do so again.
                    yield partial(manner.pause, played.wait_s)
                played.advance()
                continue
        # At the end, or what follows is the answer to something that was not sent yet.
        limit_s = played.wait_s if timeout_s is None else timeout_s
        if waited_s >= limit_s:
            if timeout_s is None:
                raise played.answers.refuse(_why_no_message(played, step))
            return False
        pause_s = min(_POLL_S, limit_s - waited_s)
        yield partial(manner.pause, pause_s)
        waited_s += pause_s


def _why_no_message(played: Played, step: Any) -> str:
    if step is not None:
        return "the next recorded message came only after a command that was not sent in this replay"
    if played.is_cut:
        return "the recording kept only the messages before this one (TIMETRACER_MAX_BODY_KB)"
    return "no more messages were recorded"


def _take(played: Played, plain: bool) -> Any:
    step = played.upcoming()
    assert step is not None
    played.advance()
    _, kind, value = step
    if kind == "error" or type(value) is RecordedError:
        raise played.answers.rebuilt(value)
    return played.answers.restored(value, plain)


def disconnected(connection: Any) -> None:
    """``disconnect``: nothing more will be read."""
    wire = known_wire(connection)
    if wire is not None and not inside.get():
        _contained(wire.end)
