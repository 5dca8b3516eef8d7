"""Where aiokafka is patched: a producer sends a message or asks something, and so does a consumer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.calls.flow import flow, replays
from timetracer_otel.calls.guarded import AppStep, Done, Flow, Noted, OurStep, guarded_async
from timetracer_otel.calls.noting import looked
from timetracer_otel.libraries.aiokafka import batches, internals
from timetracer_otel.libraries.aiokafka.internals import LIB
from timetracer_otel.libraries.kits.kafka.asked import CONNECT, Asked, Asking, connect_args, of_partition
from timetracer_otel.libraries.kits.kafka.call import Topics, url_of
from timetracer_otel.libraries.kits.kafka.consumers import WITHOUT_BROKER, begins_without_broker
from timetracer_otel.libraries.kits.kafka.in_python import OF_PRODUCERS, FutureSite, Sending, asked_of_consumers
from timetracer_otel.libraries.kits.kafka.serialized import made_before
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = ["patches"]


_ASKING: Final = Asking(LIB, guarded_async, asyncio.sleep, internals.servers_of, internals.ERROR_MODULES)
_CONNECT: Final = Asked("start", CONNECT)
_OF_CONSUMERS: Final = (*asked_of_consumers(internals.PARTITION), Asked("committed", "COMMITTED", of_partition))
_TURNS: Final = 2


def patches() -> Sequence[Undoable]:
    """The patches of aiokafka."""
    producer, consumer = internals.PRODUCER, internals.CONSUMER
    return [
        *_ASKING.patches(producer, OF_PRODUCERS),
        *_ASKING.patches(consumer, _OF_CONSUMERS),
        *(Patch(producer, name, _waiting) for name in ("flush", "stop")),
        Patch(producer, "start", _starting),
        Patch(producer, "send", _SENDING.wrap),
        Patch(producer, "create_batch", batches.beginning),
        Patch(producer, "send_batch", batches.sending(_SENDING)),
        Patch(internals.BATCH, "_serialize", batches.serializing),
        Patch(internals.BATCH, "append", batches.appending),
        Patch(producer, "_serialize", made_before(LIB)),
        Patch(internals.CLIENT, "_wait_on_metadata", _knowing),
        Patch(consumer, "start", _consuming),
    ]


def _listen(future: Any, site: FutureSite) -> None:
    future.add_done_callback(partial(looked, "aiokafka.report", _done, site))


def _done(site: FutureSite, future: Any) -> None:
    if not future.cancelled():
        error = internals.error_of(future)
        site.told(None if error is not None else internals.report_of(future.result()), error)


_SENDING: Final = Sending(
    _ASKING,
    internals.given,
    internals.serialized,
    _listen,
    lambda site, report: internals.future_of(site.topic, report),
)


def _knowing(original: Function) -> Function:
    """A client asks for the partitions of a topic, as OpenTelemetry's instrumentation lets it. In a replay they are
    those of the recording.
    """

    def begin(session: BaseSession, client: Any, topic: str) -> Done | None:
        if not replays(LIB, session):
            return None
        assert isinstance(session, ReplaySession)
        partitions = session.state(LIB, Topics).of(LIB, session).get(topic)
        if partitions is not None:
            internals.know(client, topic, partitions)
            return Done(set(partitions))
        return Done(None) if WITHOUT_BROKER in vars(client) else None

    return guarded_async(LIB, original, begin)


def _starting(original: Function) -> Function:
    """An app starts a producer, which connects."""

    def begin(session: BaseSession, producer: Any) -> Flow | Noted:
        servers = internals.servers_of(producer)
        site = _ASKING.site(_CONNECT, producer, AppStep(original, producer), connect_args(servers))
        steps = flow(site, session)
        return _started(steps, producer) if replays(LIB, session, lambda: url_of(servers)) else steps

    return guarded_async(LIB, original, begin)


def _started(steps: Flow, producer: Any) -> Flow:
    yield from steps
    if not internals.has_started(producer):
        vars(producer)[WITHOUT_BROKER] = vars(producer.client)[WITHOUT_BROKER] = True
    return None


def _waiting(original: Function) -> Function:
    """An app waits for the messages that it has sent. In a replay they are answered when the loop runs next."""

    def begin(session: BaseSession, producer: Any) -> Flow | None:
        return _in_turn(AppStep(original, producer)) if replays(LIB, session) else None

    return guarded_async(LIB, original, begin)


def _in_turn(step: AppStep) -> Flow:
    # In the first turn futures are done, in the next one their functions are called.
    for _ in range(_TURNS):
        yield OurStep(asyncio.sleep, 0)
    return (yield step)


def _consuming(original: Function) -> Function:
    """An app starts a consumer."""

    def begin(session: BaseSession, consumer: Any) -> Done | None:
        if not begins_without_broker(LIB, session):
            return None
        vars(consumer)[WITHOUT_BROKER] = True
        return Done(None)

    return guarded_async(LIB, original, begin)
