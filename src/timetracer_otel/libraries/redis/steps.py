"""What happens at each seam of a connection, as generators of steps that serve sync and async alike.

A live step is the library's own function. `flow` decides about what is sent. The `ConnectionState` decides what a
read gets, also in a thread that has no session of its own. Example: ``PubSub.run_in_thread`` reads in such a thread.
"""

from __future__ import annotations

from typing import Any

from timetracer_otel.calls.flow import flow, records, replays
from timetracer_otel.calls.guarded import Flow, Step, only
from timetracer_otel.current import get_current_session
from timetracer_otel.libraries.redis.answer import (
    HEALTH_CHECKS,
    Manner,
    await_message,
    connect_replayed,
    read_replayed,
    send_replayed,
    sent,
)
from timetracer_otel.libraries.redis.call import LIB, RoundTrip, new_round_trip
from timetracer_otel.libraries.redis.commands import Command, expects_stream, parse
from timetracer_otel.libraries.redis.connection_state import (
    ConnectionState,
    Listener,
    call_above,
    known_state,
    state_of,
)
from timetracer_otel.libraries.redis.connects import connect_for_real
from timetracer_otel.libraries.redis.internals import (
    Pushed,
    connect_callbacks,
    is_open,
    is_reply,
    push_handler,
    set_push_handler,
    url_of,
)
from timetracer_otel.libraries.redis.noted_trip import line_of
from timetracer_otel.libraries.redis.topology import add_facts, asks_for_facts, is_question, remember
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession

__all__ = [
    "Manner",
    "connect",
    "disconnected",
    "give_up",
    "poll",
    "read",
    "send",
]


def connect(current: BaseSession | None, manner: Manner, connection: Any, live: Step) -> Flow:
    """``connect``: for real, with all that the handshake sends; or a connection that a replay plays."""
    if call_above.get():
        return (yield live)
    state = known_state(connection)
    session = _session(current, connection, state)
    if _replays(connection, session):
        assert isinstance(session, ReplaySession)
        return (yield from connect_replayed(manner, connection, session))
    if state is not None and (state.replaying is not None or not is_open(connection)):
        state.begin(None)
    recording = session if records(LIB, session) else None
    assert recording is None or isinstance(recording, TraceSession)
    return (yield from connect_for_real(manner.pause, connection, recording, live))


def _replays(connection: Any, session: BaseSession | None) -> bool:
    """Whether the calls of a connection are answered from a cassette."""
    return replays(LIB, session, lambda: url_of(connection))


def _session(session: BaseSession | None, connection: Any, state: ConnectionState | None) -> BaseSession | None:
    """The current session; for a thread without one that listens, the session that its subscription belongs to."""
    if session is None and state is not None and (state.listens or connect_callbacks(connection)):
        session = state.home
    return session


def send(
    current: BaseSession | None, manner: Manner, connection: Any, packed: Any, live: Step, checks: bool = False
) -> Flow:
    """``send_packed_command``: a round trip begins.

    Args:
        current: The current session.
        manner: How this seam waits.
        connection: The connection.
        packed: What is sent.
        live: The library's own function.
        checks: Whether it makes a health check first, where one is due.
    """
    question = asks_for_facts(connection, packed)
    if question is None:
        at_once = sent(manner, current, connection, packed, live)
        if at_once is not None:
            return at_once
        return _send(current, manner, connection, packed, live, checks)
    return _asked(question, connection, _send(current, manner, connection, packed, live, checks))


def _asked(question: list[Command], connection: Any, sending: Flow) -> Flow:
    yield from sending
    # Only now: the handshake of a new connection reads replies of its own.
    state = state_of(connection)
    state.settle()
    state.asked = question


def _send(
    current: BaseSession | None, manner: Manner, connection: Any, packed: Any, live: Step, checks: bool
) -> Flow:
    state = known_state(connection)
    if state is not None:
        state.settle()
    session = current if current is not None else _session(None, connection, state)
    if session is None:
        if state is not None:
            state.sent += 1
            if state.replaying is not None:
                state.begin(None)
        return only(live)
    commands = parse(packed)
    if call_above.get() and not any(map(expects_stream, commands)):
        return only(live)
    if isinstance(session, ReplaySession) and _replays(connection, session):
        return send_replayed(manner, connection, commands, session, live, checks)
    if state is None:
        state = state_of(connection)
    if state.replaying is not None:
        state.begin(None)
    trip = new_round_trip(connection, state, commands, live, manner.pause)
    if not records(LIB, session):
        return flow(trip, session)
    if state.stream is not None and commands == HEALTH_CHECKS:
        return only(live)
    state.sent += 1
    if trip.clustered and not is_question(connection, trip):
        assert isinstance(session, TraceSession)
        add_facts(session)
    return _recorded(trip, session, state, connection)


def _recorded(trip: RoundTrip, session: BaseSession, state: ConnectionState, connection: Any) -> Flow:
    before = call_above.get()
    call_above.set(True)
    try:
        value = yield from flow(trip, session)
    finally:
        call_above.set(before)
    if trip.unnoted:
        state.give_up(session)
    else:
        state.line = line_of(connection, state, trip)
    return value


def read(
    session: BaseSession | None, manner: Manner, connection: Any, live: Step, plain: bool, timeout_s: float | None
) -> Flow:
    """``read_response``: the next reply, or message.

    Args:
        session: The current session.
        manner: How this seam waits.
        connection: The connection.
        live: The library's own read.
        plain: Whether the reply is wanted as bytes, although the client decodes.
        timeout_s: How long to wait for a message; None for as long as it takes.
    """
    state = known_state(connection)
    if state is not None:
        state.settle()
    unknown = state is None or (state.replaying is None and not state.open)
    if unknown and _replays(connection, session) and not call_above.get() and connect_callbacks(connection):
        assert isinstance(session, ReplaySession)
        # The app subscribed before the replay began, and reads without asking `poll` first: connect as there.
        yield from connect_replayed(manner, connection, session)
        state = known_state(connection)
    if state is None:
        return (yield live)
    if state.replaying is not None and not call_above.get() and state.stream is None:
        if state.replies and state.replies[0] is None:
            state.replies.popleft()
        else:
            state.asked = None
            message = yield from read_replayed(manner, connection, state, plain, timeout_s)
            handler = push_handler(connection) if state.played is not None and type(message) is list else None
            return message if handler is None else (yield manner.push(connection, handler, message))
    listener = state.open[0] if state.open else state.stream
    if listener is None or call_above.get():
        value = yield live
        _remember(manner, connection, state, value)
        return value
    listener.is_read = True
    handler = push_handler(connection) if listener is state.stream else None
    pushed = Pushed(handler) if handler is not None else None
    if pushed is not None:
        set_push_handler(connection, pushed)
    try:
        # The proxy of client-side caching reads by the connection that it stands for, which is none of the replay's.
        value = (yield from call_above.around(True, live)) if state.replaying is not None else (yield live)
    except BaseException as error:
        if pushed is not None and pushed.messages:
            # It is the handler's: the message came.
            _note(state, listener, pushed.messages[0], plain)
        elif is_reply(error):
            _note(state, listener, error, plain)
        else:
            _failed(state, listener, error)
            if state.replaying is not None and not is_open(connection):
                state.end()
        raise
    finally:
        listener.is_read = False
        if pushed is not None and push_handler(connection) is pushed:
            set_push_handler(connection, pushed.handler)
    if pushed is not None and pushed.messages:
        _note(state, listener, pushed.messages[0], plain)
    elif value is None and timeout_s is not None and listener is state.stream:
        listener.note_empty()
    else:
        _note(state, listener, value, plain)
        _remember(manner, connection, state, value)
    return value


def _remember(manner: Manner, connection: Any, state: ConnectionState, value: Any) -> None:
    question, state.asked = state.asked, None
    if question is not None:
        remember(connection, question, value, manner.pause)


def _note(state: ConnectionState, listener: Listener, value: Any, plain: bool) -> None:
    if listener.note(value, plain) and state.open and state.open[0] is listener:
        state.open.popleft()


def _failed(state: ConnectionState, listener: Listener, error: BaseException) -> None:
    listener.reading_failed(error)
    if state.open and state.open[0] is listener:
        state.open.popleft()


def poll(
    current: BaseSession | None, manner: Manner, connection: Any, live: Step, timeout_s: float, notes: bool
) -> Flow:
    """``can_read``: whether there is a message.

    Args:
        current: The current session.
        manner: How this seam waits.
        connection: The connection.
        live: The library's own look.
        timeout_s: How long to wait for a message.
        notes: Whether the app is told that there was none.
    """
    if call_above.get():
        return (yield live)
    state = known_state(connection)
    if state is None or state.replaying is None:
        session = _session(current, connection, state)
        if _replays(connection, session):
            assert isinstance(session, ReplaySession)
            # The library connects to look, too.
            yield from connect_replayed(manner, connection, session)
            state = known_state(connection)
    if state is not None and state.replaying is not None and state.stream is None:
        if state.played is None:
            # Replies that nobody read make a connection unfit for the next command, as they do for real.
            if state.replies or not state.is_real:
                return bool(state.replies)
            return (yield from call_above.around(True, live))
        return (yield from await_message(manner, state, state.played, timeout_s))
    # Where looking fails, the library closes the connection first, which ends what is known of it.
    stream = _listening(state)
    try:
        there = (
            (yield from call_above.around(True, live))
            if state is not None and state.replaying is not None
            else (yield live)
        )
    except BaseException as error:
        if stream is not None:
            stream.reading_failed(error)
        raise
    stream = _listening(state or known_state(connection))
    if stream is not None and not there and notes:
        stream.note_empty()
    return there


def _listening(state: ConnectionState | None) -> Listener | None:
    return state.stream if state is not None and not state.open else None


def give_up(fault: Exception, connection: Any, *_: Any) -> None:
    """A fault struck in a seam of a connection: which reply belongs to which command is not known from then on."""
    state_of(connection).give_up(get_current_session())


def disconnected(connection: Any) -> None:
    """``disconnect``: nothing more will be read."""
    state = known_state(connection)
    if state is not None and not call_above.get():
        state.end()
