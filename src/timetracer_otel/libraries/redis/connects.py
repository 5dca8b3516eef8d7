"""Connections that could not be made.

A pool connects before it knows the command. The client's operation does know it (`operation_above`). So the failure
stands in the cassette as an event of that command, and a replay raises it from ``connect`` again when the command's
turn comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import Recording, answer, cancelled_within_s
from timetracer_otel.calls.guarded import Flow, Step
from timetracer_otel.libraries.redis.call import LIB, RoundTrip
from timetracer_otel.libraries.redis.commands import Command, has_span, is_subscription
from timetracer_otel.libraries.redis.connection_state import ConnectionState, call_above
from timetracer_otel.libraries.redis.internals import connect_callbacks, seem_closed, url_of
from timetracer_otel.libraries.redis.operation import commands_above, operation_above
from timetracer_otel.libraries.redis.session_state import session_state
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.types import DependencyEvent, EventResult

__all__ = ["connect_for_real", "has_failed_connects", "is_for_new_call", "replay_failed_connect"]

_NO_COMMAND: list[Command] = [[b"CONNECT"]]
"""Stands for the operation where none is known: a subscription that connects again, a pool that is warmed up."""


class _FailedConnect(Recording):
    """A connection that could not be made."""

    __slots__ = ()

    def result(self) -> EventResult:
        result = super().result()
        result.reply = {"phase": "connect"}
        return result


def connect_for_real(wait: Callable[[float], Any], connection: Any, session: TraceSession | None, live: Step) -> Flow:
    """Connect, with all that the handshake sends; a failure is recorded where there is a recording."""
    began_s = time.perf_counter()
    seem_closed(connection)
    guard = hooks.guard
    token = guard.let() if guard is not None else None
    try:
        return (yield from call_above.around(True, live))
    except BaseException as error:
        if session is not None:
            _connect_failed(connection, session, wait, began_s, error)
        raise
    finally:
        if guard is not None:
            guard.unlet(token)


def _connect_failed(
    connection: Any,
    session: TraceSession,
    wait: Callable[[float], Any],
    began_s: float,
    error: BaseException,
) -> None:
    try:
        site = _site(connection, wait)
        site.observe(session)
        recording = _FailedConnect(session, site)
        recording.started_s = began_s
        session.call_began(recording)
        recording.failed(error)
    except Exception as fault:
        faults.contain("redis.connect", fault)


def replay_failed_connect(connection: Any, session: ReplaySession, wait: Callable[[float], Any]) -> Flow:
    """Raise what connecting raised, if the operation under way could not connect when it was recorded."""
    if not has_failed_connects(session):
        return
    site = _site(connection, wait)
    where = hooks.whereabouts(None)
    event = session.upcoming(site.call(), where.path())
    if event is None or not _is_failed_connect(event):
        return
    if operation_above.get() is None and any(
        earlier.eid < event.eid and earlier.signature.url == event.signature.url
        for earlier in session.get_unconsumed_events()
    ):
        return
    if session.claim(event):
        cancelled_s = cancelled_within_s(event)
        if cancelled_s is not None and operation_above.get() is None:
            # The app cancelled something, and this connection happened to be made just then. It may be further now:
            # to connect needs no answer.
            yield partial(site.pause, cancelled_s)
            return
        yield from answer(site, session, event, where.span)


def is_for_new_call(connection: Any, session: ReplaySession) -> bool:
    """Whether a connection is made for a call that was not recorded, as far as that is known before it is made."""
    if operation_above.get() is not None:
        return session.upcoming(_site(connection, _never).call(), hooks.whereabouts(None).path()) is None
    here = url_of(connection)
    if connect_callbacks(connection):
        # Pub/sub connects again, and will subscribe again.
        waiting = session.get_unconsumed_events()
        return not any(is_subscription(event.signature.method) and event.signature.url == here for event in waiting)
    return not any(event.signature.lib == LIB and event.signature.url == here for event in session.events)


def _site(connection: Any, wait: Callable[[float], Any]) -> RoundTrip:
    try:
        commands = commands_above(connection) or _NO_COMMAND
    except Exception:
        # Arguments that cannot be sent, as the library will say by itself.
        commands = _NO_COMMAND
    site = RoundTrip(connection, ConnectionState(), commands, url_of(connection), _never, wait)
    site.connects = True
    site.marks_span = operation_above.get() is not None and has_span(commands)
    return site


def _never(*_: Any) -> Any:
    raise AssertionError("a failed connect is not made again")


def _is_failed_connect(event: DependencyEvent) -> bool:
    if event.signature.lib != LIB:
        return False
    reply = event.result.reply
    return type(reply) is dict and reply.get("phase") == "connect"


def has_failed_connects(session: ReplaySession) -> bool:
    """Whether a cassette has any; asked whenever a connection is taken from a pool."""
    kept = session_state(session)
    if kept.has_failed_connects is None:
        kept.has_failed_connects = any(map(_is_failed_connect, session.events_with("phase")))
    return kept.has_failed_connects
