"""Where aiormq is patched: a method or a message goes out, a frame comes in, a connection is opened."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from timetracer_otel.base import faults
from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.calls.flow import flow, replays
from timetracer_otel.calls.guarded import AppStep, Flow, Noted, guarded_async
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.calls.noting import looked, noting_async
from timetracer_otel.libraries.aio_pika import internals
from timetracer_otel.libraries.aio_pika.internals import LIB, StandInBroker, Wire
from timetracer_otel.libraries.kits.amqp.call import Answers, ConnectSite, SentSite
from timetracer_otel.libraries.kits.amqp.said import SETTLING, Said, is_event
from timetracer_otel.libraries.kits.amqp.stand_in import refused
from timetracer_otel.session import BaseSession

__all__ = ["patches"]


def patches() -> Sequence[Undoable]:
    """The patches of aiormq."""
    channel = internals.CHANNEL
    return [
        Patch(channel, "rpc", _asking),
        Patch(channel, "basic_publish", _publishing),
        *(Patch(channel, name, partial(_settling, name)) for name in ("basic_ack", "basic_nack", "basic_reject")),
        Patch(channel, "_get_frame", lambda original: noting_async("aio_pika.frame", original, _came)),
        Patch(internals.CONNECTION, "connect", _connecting),
    ]


def _came(received: Any, channel: Any) -> None:
    wire = internals.wire_of(channel)
    said = wire.received(received)
    if said is not None:
        wire.line.received(said)


class _Call:
    """A method that is being sent: the first frames that its call puts into the queue.

    Args:
        site: The call.
        channel: Its channel.
        answers: In a replay: what was recorded.
    """

    def __init__(self, site: SentSite, channel: Any, answers: Answers | None = None) -> None:
        self.site = site
        self.answers = answers
        self.is_out = False
        self._channel = channel

    def sent(self) -> None:
        """It has gone out, as far as the client knows."""
        self.is_out = True
        channel, wire, site = self._channel, internals.wire_of(self._channel), self.site
        publishes = site.method.name == "Basic.Publish"
        tag = channel.delivery_tag if publishes and channel.publisher_confirms else None
        if self.answers is None:
            wire.line.sent(site.method, site, tag)
            return
        sent = site.method
        if publishes and sent.properties is not None:
            names = [name for name, number in channel.message_id_delivery_tag.items() if number == tag]
            sent = sent._replace(properties={**sent.properties, "message_id": names[0]}) if names else sent
        if tag is not None and not internals.is_stand_in(channel):
            wire.unsent += 1
        wire.line.answered(sent, self.answers, partial(_give, channel, wire), tag)


_call_above: Final[CallAbove[_Call]] = CallAbove("aio_pika")
"""Set while a channel sends for an app: aiormq tells nobody what the frames in its queue belong to."""


class _Queue:
    """The queue of frames that a channel's connection is to send. It passes on what is sent for real."""

    def __init__(self, queue: Any, channel: Any) -> None:
        self._queue = queue
        self._channel = channel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def put(self, frames: Any) -> None:
        """The frames of one method."""
        call = _call_above.get()
        if call is None or call.is_out or call.answers is None:
            looked("aio_pika.number", internals.numbered_as_sent, self._channel, frames)
        if call is None or call.is_out:
            await self._queue.put(frames)
            return
        if call.answers is None:
            await self._queue.put(frames)
        else:
            frames.drain()
        try:
            call.sent()
        except Exception as fault:
            if call.answers is not None:
                # This is called by the client: nobody else makes a miss of it.
                raise refused(LIB, fault) from fault
            faults.contain("aio_pika.sent", fault)


def _give(channel: Any, wire: Wire, said: Said) -> None:
    """Let a channel receive something, when its task runs next."""
    wire.coming += internals.frames_of(said)
    if wire.pump is None or wire.pump.done():
        wire.pump = asyncio.get_running_loop().create_task(_pump(channel, wire))


async def _pump(channel: Any, wire: Wire) -> None:
    while wire.coming:
        await channel.frames.put((0, wire.coming.pop(0)))


def _prepared(channel: Any) -> None:
    if not isinstance(channel.write_queue, _Queue):
        channel.write_queue = _Queue(channel.write_queue, channel)


def _steps(said: Said, channel: Any, live: AppStep, session: BaseSession) -> Flow | Noted:
    _prepared(channel)
    site = SentSite(LIB, internals.url_of(channel.connection), said, live, asyncio.sleep, session)
    site.error_modules = internals.ERROR_MODULES
    site.lend = partial(_call_above.lend, _Call(site, channel))
    if replays(LIB, session, lambda: site.address):
        return _answered(site, session, channel, live)
    return flow(site, session)


def _answered(site: SentSite, session: BaseSession, channel: Any, live: AppStep) -> Flow:
    """Answer a method in a replay: aiormq sends it, and gets what was recorded. What settles a message of a real
    broker goes out beside that.
    """
    answers = yield from flow(site, session)
    if not isinstance(answers, Answers):
        return answers
    if site.method.name in SETTLING:
        value = yield live
        internals.wire_of(channel).line.settled()
        return value
    return (yield from _call_above.around(_Call(site, channel, answers), live))


def _asking(original: Function) -> Function:
    """A method goes out that the broker answers."""

    def begin(session: BaseSession, channel: Any, frame: Any, *args: Any, **kwargs: Any) -> Flow | Noted | None:
        if not is_event(frame.name):
            return None
        return _steps(internals.said_of(frame), channel, AppStep(original, channel, frame, *args, **kwargs), session)

    return guarded_async(LIB, original, begin)


def _publishing(original: Function) -> Function:
    """A message goes out."""

    def begin(session: BaseSession, channel: Any, body: bytes, *args: Any, **kwargs: Any) -> Flow | Noted | None:
        said = internals.published(body, kwargs)
        return _steps(said, channel, AppStep(original, channel, body, *args, **kwargs), session)

    return guarded_async(LIB, original, begin)


def _settling(name: str, original: Function) -> Function:
    """The app says what becomes of a message."""
    method = f"Basic.{name.removeprefix('basic_').title()}"
    defaults = {"basic_ack": {"multiple": False}, "basic_nack": {"multiple": False, "requeue": True}}.get(
        name, {"requeue": True}
    )

    def begin(session: BaseSession, channel: Any, *args: Any, **kwargs: Any) -> Flow | Noted | None:
        given = dict(zip(("delivery_tag", *defaults), args, strict=False)) | kwargs
        said = Said(method, {field: given.get(field, default) for field, default in defaults.items()})
        return _steps(said, channel, AppStep(original, channel, *args, **kwargs), session)

    return guarded_async(LIB, original, begin)


def _connecting(original: Function) -> Function:
    """A connection is opened."""

    def begin(session: BaseSession, connection: Any, *args: Any, **kwargs: Any) -> Flow | Noted | None:
        live = AppStep(original, connection, *args, **kwargs)

        def greeting() -> tuple[dict[str, Any], dict[str, Any]]:
            return connection.server_properties, internals.said_of(connection.connection_tune).fields

        site = ConnectSite(LIB, [internals.url_of(connection)], live, asyncio.sleep, greeting)
        site.error_modules = internals.ERROR_MODULES
        steps = flow(site, session)
        return _connected(steps, connection, live) if replays(LIB, session, lambda: site.address) else steps

    return guarded_async(LIB, original, begin)


def _connected(steps: Flow, connection: Any, live: AppStep) -> Flow:
    facts = yield from steps
    if not isinstance(facts, tuple):
        return facts
    connection._transport_factory = StandInBroker(connection, *facts)
    return (yield live)
