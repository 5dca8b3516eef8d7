"""Where aiokafka is patched: a producer sends a message or asks something, and so does a consumer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.calls.flow import Recording, flow, pass_or_refuse, replays
from timetracer_otel.calls.guarded import AppStep, Done, Flow, Noted, OurStep, guarded_async, only, raising
from timetracer_otel.calls.noting import looked
from timetracer_otel.libraries.aiokafka import internals
from timetracer_otel.libraries.aiokafka.internals import LIB
from timetracer_otel.libraries.kits.kafka.asked import (
    CONNECT,
    Asked,
    Asking,
    by_partition,
    connect_args,
    of_offsets,
    of_partition,
    of_partitions,
    packed_set,
    unpacked_set,
)
from timetracer_otel.libraries.kits.kafka.call import ProduceSite, Record, Report, Topics, span_in, url_of
from timetracer_otel.libraries.kits.kafka.consumers import WITHOUT_BROKER, begins_without_broker
from timetracer_otel.libraries.kits.kafka.serialized import failing, lent, made_before
from timetracer_otel.session import BaseSession, ReplaySession

__all__ = ["patches"]


_ASKING: Final = Asking(LIB, guarded_async, asyncio.sleep, internals.servers_of, internals.ERROR_MODULES)
_CONNECT: Final = Asked("start", CONNECT)
_OF_PRODUCERS: Final = (
    Asked("partitions_for", "METADATA", lambda topic: {"topic": topic}, packed_set, unpacked_set),
    Asked("begin_transaction", "BEGIN"),
    Asked("commit_transaction", "COMMIT"),
    Asked("abort_transaction", "ABORT"),
    Asked("send_offsets_to_transaction", "SEND_OFFSETS", of_offsets),
)
_OF_CONSUMERS: Final = (
    Asked("commit", "COMMIT_OFFSETS", of_offsets),
    Asked("committed", "COMMITTED", of_partition),
    Asked("topics", "METADATA", pack=packed_set, unpack=unpacked_set),
    Asked("beginning_offsets", "BEGINNING_OFFSETS", of_partitions, by_partition, internals.by_partition_again),
    Asked("end_offsets", "END_OFFSETS", of_partitions, by_partition, internals.by_partition_again),
)

_TURNS: Final = 2


def patches() -> Sequence[Undoable]:
    """The patches of aiokafka."""
    producer, consumer = internals.PRODUCER, internals.CONSUMER
    return [
        *_ASKING.patches(producer, _OF_PRODUCERS),
        *_ASKING.patches(consumer, _OF_CONSUMERS),
        *(Patch(producer, name, _waiting) for name in ("flush", "stop")),
        Patch(producer, "start", _starting),
        Patch(producer, "send", _sending),
        Patch(producer, "send_batch", _refused),
        Patch(producer, "_serialize", made_before(LIB)),
        Patch(internals.CLIENT, "_wait_on_metadata", _knowing),
        Patch(consumer, "start", _consuming),
    ]


class _Produce(ProduceSite):
    """A message, of which a future tells."""

    error_modules = internals.ERROR_MODULES

    def __init__(self, producer: Any, record: Record, live: Any) -> None:
        super().__init__(LIB, url_of(internals.servers_of(producer)), record, live, asyncio.sleep)
        self.producer = producer
        self.topic = record.topic

    def returned(self, value: Any, recording: Recording) -> Any:
        """The message waits to be sent."""
        super().returned(value, recording)
        self.partitions = internals.partitions_of_topic(self.producer, self.topic)
        value.add_done_callback(partial(looked, "aiokafka.report", self._done))
        return value

    def again(self) -> bool:
        """Whether it can be sent: a producer that a replay has started reaches nobody."""
        return WITHOUT_BROKER not in vars(self.producer)

    def _done(self, future: Any) -> None:
        if not future.cancelled():
            error = internals.error_of(future)
            self.told(None if error is not None else internals.report_of(future.result()), error)


def _sending(original: Function) -> Function:
    """An app sends a message."""

    def begin(session: BaseSession, producer: Any, *args: Any, **kwargs: Any) -> Flow | Noted | None:
        given = internals.given(args, kwargs)
        if given is None:
            return None
        is_answered = replays(LIB, session, lambda: url_of(internals.servers_of(producer)))
        record, made = internals.serialized(producer, given)
        live = AppStep(original, producer, *args, **kwargs)
        if made.error is not None:
            return only(raising(made.error)) if is_answered else failing(made, live)
        site = _Produce(producer, record, live)
        site.lend = partial(lent, made)
        site.span = span_in(given.headers)
        steps = flow(site, session)
        return _answered(steps, producer, given.topic) if is_answered else steps

    return guarded_async(LIB, original, begin)


def _answered(steps: Flow, producer: Any, topic: str) -> Flow:
    report = yield from steps
    return internals.future_of(producer, topic, report) if isinstance(report, Report) else report


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


def _refused(original: Function) -> Function:
    """A batch that the app has made itself: its messages are encoded already."""

    def begin(session: BaseSession, *args: Any, **kwargs: Any) -> Flow | Done | None:
        error = pass_or_refuse(
            LIB, "send_batch() of aiokafka is not captured.", "Send its messages one by one by send().", session
        )
        return None if error is None else only(raising(error))

    return guarded_async(LIB, original, begin)


def _consuming(original: Function) -> Function:
    """An app starts a consumer."""

    def begin(session: BaseSession, consumer: Any) -> Done | None:
        if not begins_without_broker(LIB, session):
            return None
        vars(consumer)[WITHOUT_BROKER] = True
        return Done(None)

    return guarded_async(LIB, original, begin)
