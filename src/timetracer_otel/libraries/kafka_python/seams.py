"""Where kafka-python is patched: a producer sends a message or asks something, and so does a consumer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.calls.flow import Recording, flow, replays
from timetracer_otel.calls.guarded import AppStep, Done, Flow, Noted, guarded, only, raising
from timetracer_otel.calls.noting import looked
from timetracer_otel.libraries.kafka_python import internals
from timetracer_otel.libraries.kafka_python.internals import LIB
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
from timetracer_otel.libraries.kits.kafka.call import ProduceSite, Record, Report, url_of
from timetracer_otel.libraries.kits.kafka.consumers import TOPICS, WITHOUT_BROKER, begins_without_broker
from timetracer_otel.libraries.kits.kafka.serialized import failing, lent, made_before
from timetracer_otel.session import BaseSession

__all__ = ["patches"]


_ASKING: Final = Asking(LIB, guarded, time.sleep, internals.servers_of, internals.ERROR_MODULES)
_CONNECT: Final = Asked("__init__", CONNECT)
_OF_PRODUCERS: Final = (
    Asked("partitions_for", "METADATA", lambda topic: {"topic": topic}, packed_set, unpacked_set),
    Asked("bootstrap_connected", "CONNECTED"),
    Asked("init_transactions", "INIT"),
    Asked("begin_transaction", "BEGIN"),
    Asked("commit_transaction", "COMMIT"),
    Asked("abort_transaction", "ABORT"),
    Asked("send_offsets_to_transaction", "SEND_OFFSETS", of_offsets),
)
_OF_CONSUMERS: Final = (
    Asked("commit", "COMMIT_OFFSETS", of_offsets),
    Asked("topics", "METADATA", pack=packed_set, unpack=unpacked_set),
    Asked("partitions_for_topic", "METADATA", lambda topic: {"topic": topic}, packed_set, unpacked_set),
    Asked("position", "POSITION", of_partition),
    Asked("beginning_offsets", "BEGINNING_OFFSETS", of_partitions, by_partition, internals.by_partition_again),
    Asked("end_offsets", "END_OFFSETS", of_partitions, by_partition, internals.by_partition_again),
)
_OF_NO_BROKER: Final = ("subscribe", "unsubscribe", "assign", "seek", "pause", "resume")
"""What a consumer without a cluster does nothing for."""


def patches() -> Sequence[Undoable]:
    """The patches of kafka-python."""
    producer, consumer = internals.PRODUCER, internals.CONSUMER
    return [
        *_ASKING.patches(producer, _OF_PRODUCERS),
        *_ASKING.patches(consumer, _OF_CONSUMERS),
        *(Patch(consumer, name, _of_nobody) for name in _OF_NO_BROKER),
        Patch(producer, "__init__", _connecting),
        Patch(producer, "send", _sending),
        Patch(producer, "_serialize", made_before(LIB)),
        *(Patch(producer, name, _waiting) for name in ("flush", "close")),
        Patch(consumer, "__init__", _consuming),
    ]


class _Produce(ProduceSite):
    """A message, of which a future tells."""

    error_modules = internals.ERROR_MODULES

    def __init__(self, producer: Any, record: Record, live: Any) -> None:
        super().__init__(LIB, url_of(internals.servers_of(producer)), record, live, time.sleep)
        self.producer = producer
        self.topic = record.topic
        self.after_s = 0.0
        """How long it took until something was told of it."""

    def returned(self, value: Any, recording: Recording) -> Any:
        """The message waits to be sent."""
        super().returned(value, recording)
        self.partitions = internals.partitions_of_topic(self.producer, self.topic)
        internals.add_told(value, partial(looked, "kafka_python.report", self.told))
        return value

    def again(self) -> bool:
        """Whether it can be sent: a producer that a replay has made reaches nobody."""
        return WITHOUT_BROKER not in vars(self.producer)

    def rebuild(self, event: Any, session: Any) -> Report:
        """The report, and when it came."""
        self.after_s = event.duration_ms / 1000
        return super().rebuild(event, session)


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
        steps = flow(site, session)
        return _answered(steps, site) if is_answered else steps

    return guarded(LIB, original, begin)


def _answered(steps: Flow, site: _Produce) -> Flow:
    report = yield from steps
    if not isinstance(report, Report):
        return report
    return internals.answered(site.producer, site.topic, report, site.after_s)


def _connecting(original: Function) -> Function:
    """An app makes a producer, which connects at once."""

    def begin(session: BaseSession, producer: Any, **configs: Any) -> Flow | Noted:
        made = internals.Configured(configs)
        servers = internals.servers_of(made)
        live = AppStep(original, producer, **configs)
        steps = flow(_ASKING.site(_CONNECT, made, live, connect_args(servers)), session)
        return _made(steps, producer, configs) if replays(LIB, session, lambda: url_of(servers)) else steps

    return guarded(LIB, original, begin)


def _made(steps: Flow, producer: Any, configs: dict[str, Any]) -> Flow:
    try:
        yield from steps
    finally:
        if not hasattr(producer, "config"):
            internals.made_without_broker(producer, configs)
    return None


def _waiting(original: Function) -> Function:
    """An app waits for the messages that it has sent."""

    def begin(_: BaseSession | None, producer: Any, *args: Any, **kwargs: Any) -> Done | None:
        internals.give_all(producer)
        return Done(None) if vars(producer).get(WITHOUT_BROKER) else None

    return guarded(LIB, original, begin, outside=True)


def _consuming(original: Function) -> Function:
    """An app makes a consumer, which connects at once."""

    def begin(session: BaseSession, consumer: Any, *topics: Any, **configs: Any) -> Done | None:
        if not begins_without_broker(LIB, session):
            return None
        internals.made_without_broker(consumer, configs)
        vars(consumer)[TOPICS] = set(topics)
        return Done(None)

    return guarded(LIB, original, begin)


def _of_nobody(original: Function) -> Function:
    def begin(_: BaseSession | None, consumer: Any, named: Any = (), *args: Any, **kwargs: Any) -> Done | None:
        if not vars(consumer).get(WITHOUT_BROKER):
            return None
        if original.__name__ in ("subscribe", "assign"):
            named = kwargs.get("topics", kwargs.get("partitions", named))
            vars(consumer)[TOPICS] = {getattr(each, "topic", each) for each in named or ()}
        return Done(None)

    return guarded(LIB, original, begin, outside=True)
