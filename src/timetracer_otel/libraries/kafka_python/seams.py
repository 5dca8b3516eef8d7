"""Where kafka-python is patched: a producer sends a message or asks something, and so does a consumer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.calls.flow import flow, replays
from timetracer_otel.calls.guarded import AppStep, Done, Flow, Noted, guarded
from timetracer_otel.calls.noting import looked
from timetracer_otel.libraries.kafka_python import internals
from timetracer_otel.libraries.kafka_python.internals import LIB
from timetracer_otel.libraries.kits.kafka.asked import (
    CONNECT,
    Asked,
    Asking,
    connect_args,
    of_partition,
    packed_set,
    unpacked_set,
)
from timetracer_otel.libraries.kits.kafka.call import url_of
from timetracer_otel.libraries.kits.kafka.consumers import TOPICS, WITHOUT_BROKER, begins_without_broker
from timetracer_otel.libraries.kits.kafka.in_python import OF_PRODUCERS, FutureSite, Sending, asked_of_consumers
from timetracer_otel.libraries.kits.kafka.serialized import made_before
from timetracer_otel.session import BaseSession

__all__ = ["patches"]


_ASKING: Final = Asking(LIB, guarded, time.sleep, internals.servers_of, internals.ERROR_MODULES)
_CONNECT: Final = Asked("__init__", CONNECT)
_OF_CONSUMERS: Final = (
    *asked_of_consumers(internals.PARTITION),
    Asked("partitions_for_topic", "METADATA", lambda topic: {"topic": topic}, packed_set, unpacked_set),
    Asked("position", "POSITION", of_partition),
)
_OF_NO_BROKER: Final = ("subscribe", "unsubscribe", "assign", "seek", "pause", "resume")
"""What a consumer without a cluster does nothing for."""


def patches() -> Sequence[Undoable]:
    """The patches of kafka-python."""
    producer, consumer = internals.PRODUCER, internals.CONSUMER
    return [
        *_ASKING.patches(producer, OF_PRODUCERS),
        *_ASKING.patches(consumer, _OF_CONSUMERS),
        *(Patch(consumer, name, _of_nobody) for name in _OF_NO_BROKER),
        Patch(producer, "__init__", _connecting),
        Patch(producer, "send", _SENDING.wrap),
        Patch(producer, "_serialize", made_before(LIB)),
        *(Patch(producer, name, _waiting) for name in ("flush", "close")),
        Patch(consumer, "__init__", _consuming),
    ]


def _listen(future: Any, site: FutureSite) -> None:
    internals.add_told(future, partial(looked, "kafka_python.report", site.told))


_SENDING: Final = Sending(
    _ASKING,
    internals.given,
    internals.serialized,
    _listen,
    lambda site, report: internals.answered(site.producer, site.topic, report, site.after_s),
)


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
