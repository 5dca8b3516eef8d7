"""Where pika is patched: a method goes out, a frame comes in, a connection is opened."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import pika.compat

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import flow, replays
from timetracer_otel.calls.guarded import AppStep, Done, Flow, Noted, guarded
from timetracer_otel.calls.noting import noting
from timetracer_otel.libraries.kits.amqp.call import Answers, SentSite
from timetracer_otel.libraries.kits.amqp.said import SETTLING, is_event
from timetracer_otel.libraries.pika import internals
from timetracer_otel.libraries.pika.connecting import connecting
from timetracer_otel.libraries.pika.internals import LIB, Wire
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = ["patches"]


def patches() -> Sequence[Undoable]:
    """The patches of pika."""
    return [
        Patch(internals.CONNECTION, "_send_method", _sending),
        Patch(internals.CONNECTION, "_process_frame", lambda original: noting("pika.frame", original, before=_came)),
        Patch(internals.WORKFLOW, "start", connecting),
        Patch(pika.compat, internals.PAIR, _waking),
    ]


def _waking(original: Function) -> Function:
    """A loop makes itself a pair of sockets, by which other threads wake it. pika connects them by TCP, which looks
    like a connection to somebody else.
    """

    def begin(session: BaseSession | None) -> Flow | None:
        if not isinstance(session, ReplaySession):
            return None
        if not hasattr(socket, "AF_UNIX"):
            return _within(AppStep(original))
        pair = socket.socketpair()
        for each in pair:
            each.setblocking(False)
        return Done(pair)

    return guarded(LIB, original, begin)


def _within(step: AppStep) -> Flow:
    with hooks.let_out():
        return (yield step)


def _came(connection: Any, received: Any) -> None:
    """A frame has come."""
    if received.frame_type < 0:
        return
    wire = internals.wire_of(connection)
    came = wire.received(received)
    if came is None:
        return
    channel, said = came
    if channel:
        if channel in wire.lines:
            wire.lines[channel].received(said)
    elif said.name in ("Connection.Start", "Connection.Tune"):
        wire.greeting[said.name] = said.fields
    elif said.name == "Connection.Close":
        for line in wire.lines.values():
            line.received(said)


def _sending(original: Function) -> Function:
    """A method goes out, with its message. All are counted: a broker confirms messages by their numbers."""

    def begin(
        session: BaseSession | None, connection: Any, channel: int, method: Any, content: Any = None
    ) -> Flow | Noted | None:
        if not channel:
            return None
        wire, said = internals.wire_of(connection), internals.said_of(method, content)
        if said.name == "Channel.Open":
            wire.lines.pop(channel, None)
        line = wire.line(connection, channel)
        if session is None or not is_event(said.name):
            return _Gone(partial(line.sent, said, None))
        live = AppStep(original, connection, channel, method, content)
        site = SentSite(LIB, internals.url_of(connection.params), said, live, time.sleep, session)
        site.error_modules = internals.ERROR_MODULES
        site.on_sent = partial(line.sent, said)
        if not replays(LIB, session, lambda: site.address):
            return flow(site, session)
        return _answered(site, session, wire, connection, channel)

    return guarded(LIB, original, begin, outside=True)


class _Gone(Noted):
    """A method that belongs to no session."""

    def __init__(self, sent: Any) -> None:
        self._sent = sent

    def came(self, value: Any) -> Any:
        """It has gone out."""
        self._sent()
        return value

    def raised(self, error: BaseException) -> None:
        """It has not."""


def _answered(site: SentSite, session: BaseSession, wire: Wire, connection: Any, channel: int) -> Flow:
    """Answer a method in a replay. What settles a message of a real broker goes out beside that."""
    settles, live = site.method.name in SETTLING, site.live
    answers = yield from flow(site, session)
    if not isinstance(answers, Answers):
        return answers
    line = wire.line(connection, channel)
    if settles:
        line.settled()
        if not wire.stand_in:
            yield live
    else:
        line.answered(site.method, answers, partial(internals.say, connection, channel))
    return None
