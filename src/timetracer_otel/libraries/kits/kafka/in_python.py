"""Clients of Kafka that are written in Python: aiokafka and kafka-python.

Their producers give a future for each message, which tells what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.flow import Recording, flow, replays
from timetracer_otel.calls.guarded import AppStep, Flow, Noted, only, raising
from timetracer_otel.libraries.kits.kafka.asked import (
    Asked,
    Asking,
    by_partition,
    of_offsets,
    of_partitions,
    packed_set,
    unpacked_set,
)
from timetracer_otel.libraries.kits.kafka.call import ProduceSite, Record, Report, span_in, url_of
from timetracer_otel.libraries.kits.kafka.consumers import WITHOUT_BROKER
from timetracer_otel.libraries.kits.kafka.serialized import Serialized, failing, lent
from timetracer_otel.session import BaseSession

__all__ = ["OF_PRODUCERS", "FutureSite", "Sending", "asked_of_consumers"]

OF_PRODUCERS: Final = (
    Asked("partitions_for", "METADATA", lambda topic: {"topic": topic}, packed_set, unpacked_set),
    Asked("bootstrap_connected", "CONNECTED"),
    Asked("init_transactions", "INIT"),
    Asked("begin_transaction", "BEGIN"),
    Asked("commit_transaction", "COMMIT"),
    Asked("abort_transaction", "ABORT"),
    Asked("send_offsets_to_transaction", "SEND_OFFSETS", of_offsets),
)
"""What apps ask of producers. Not each client has all of it."""


def asked_of_consumers(partition: Callable[[str, int], Any]) -> tuple[Asked, ...]:
    """What apps ask of the consumers of both.

    Args:
        partition: The client's class of a partition, ``TopicPartition``.
    """

    def by_partition_again(found: Any) -> dict[Any, Any]:
        return {partition(topic, number): value for topic, number, value in found}

    return (
        Asked("commit", "COMMIT_OFFSETS", of_offsets),
        Asked("topics", "METADATA", pack=packed_set, unpack=unpacked_set),
        Asked("beginning_offsets", "BEGINNING_OFFSETS", of_partitions, by_partition, by_partition_again),
        Asked("end_offsets", "END_OFFSETS", of_partitions, by_partition, by_partition_again),
    )


class FutureSite(ProduceSite):
    """A message, of which a future tells.

    Args:
        sending: How its client sends.
        producer: Who sends it.
        record: The message, serialized.
        live: Sends it.
    """

    def __init__(self, sending: Sending, producer: Any, record: Record, live: Any) -> None:
        asking = sending.asking
        super().__init__(asking.lib, url_of(asking.servers_of(producer)), record, live, asking.pause)
        self.error_modules = asking.error_modules
        self.producer = producer
        self.topic = record.topic
        self.after_s = 0.0
        """How long it took until something was told of it."""
        self._listen = sending.listen

    def returned(self, value: Any, recording: Recording) -> Any:
        """The message waits to be sent."""
        super().returned(value, recording)
        self.partitions = self.producer._metadata.partitions_for_topic(self.topic)
        self._listen(value, self)
        return value

    def again(self) -> bool:
        """Whether it can be sent: a producer that a replay has made or started reaches nobody."""
        return WITHOUT_BROKER not in vars(self.producer)

    def rebuild(self, event: Any, session: Any) -> Report:
        """The report, and when it came."""
        self.after_s = event.duration_ms / 1000
        return super().rebuild(event, session)


class Sending(NamedTuple):
    """How the producers of a client send messages."""

    asking: Asking
    given: Callable[[tuple[Any, ...], Mapping[str, Any]], Record | None]
    """Gives the message of the arguments of ``send``; None where the library raises at once."""
    serialized: Callable[[Any, Record], tuple[Record, Serialized]]
    """Runs the serializers of a producer."""
    listen: Callable[[Any, FutureSite], object]
    """Lets a future tell a site what becomes of its message."""
    future: Callable[[FutureSite, Report], Any]
    """Makes the future of a replay."""

    def wrap(self, original: Function) -> Function:
        """An app sends a message."""
        asking = self.asking

        def begin(session: BaseSession, producer: Any, *args: Any, **kwargs: Any) -> Flow | Noted | None:
            given = self.given(args, kwargs)
            if given is None:
                return None
            is_answered = replays(asking.lib, session, lambda: url_of(asking.servers_of(producer)))
            record, made = self.serialized(producer, given)
            live = AppStep(original, producer, *args, **kwargs)
            if made.error is not None:
                return only(raising(made.error)) if is_answered else failing(made, live)
            site = FutureSite(self, producer, record, live)
            site.lend = partial(lent, made)
            site.span = span_in(given.headers)
            steps = flow(site, session)
            return self._answered(steps, site) if is_answered else steps

        return asking.guard(asking.lib, original, begin)

    def _answered(self, steps: Flow, site: FutureSite) -> Flow:
        report = yield from steps
        return self.future(site, report) if isinstance(report, Report) else report
