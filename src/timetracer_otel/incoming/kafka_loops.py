"""Loops of an app that ask a consumer of Kafka for messages, whichever client it is of.

A message lasts from when it is handed out until the loop asks for the next one, or the consumer is closed. So do
several messages that one call gives: they are one request. While ``timetracer-otel verify`` runs, messages come from
there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from timetracer_otel.base.notes import noted_of
from timetracer_otel.base.patching import Function
from timetracer_otel.calls.guarded import AppStep, Flow, OurStep, only
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.calls.noting import looked
from timetracer_otel.config import job_source
from timetracer_otel.incoming.job_scope import IncomingJob
from timetracer_otel.incoming.kafka_batches import as_incoming, given_again, topics_in
from timetracer_otel.incoming.kafka_messages import GivenRecord, Verified, kafka_message
from timetracer_otel.incoming.messages import Handling, IncomingMessage, begins_root
from timetracer_otel.libraries.kits.kafka.consumers import WITHOUT_BROKER

__all__ = ["Loops"]

_HANDLING = "_timetracer_handling"


class Loops:
    """The loops over consumers of one client. A client states what is its own in a subclass.

    Args:
        framework: The client.
        guard: `around`, or `around_async` where the methods of its consumers are coroutine functions.
    """

    def __init__(self, framework: str, guard: Callable[..., Function]) -> None:
        self._framework = framework
        self._guard = guard
        self._verified = Verified(framework, given_again, topics_in)
        self._asks: CallAbove[bool] = CallAbove(f"{framework}-loop")
        """Set while a consumer is asked: one of its methods may call another one."""

    # What a client states

    def topics_of(self, consumer: Any) -> Collection[str] | None:
        """The topics that a consumer was told; None where they are not known."""
        raise NotImplementedError

    def made(self, given: GivenRecord) -> Any:
        """A message of the client's."""
        raise NotImplementedError

    def by_partition(self, records: Sequence[Any]) -> Any:
        """What the client gives for these messages where it is asked for several."""
        raise NotImplementedError

    def waits(self, function: Callable[..., Any], *args: Any) -> OurStep:
        """The step that waits for a function, as the client waits."""
        return OurStep(function, *args)

    def waits_for_ever(self) -> OurStep:
        """The step that waits until it is cancelled or interrupted."""
        return OurStep(threading.Event().wait)

    def ends(self, several: bool, step: AppStep) -> AppStep:
        """What a loop meets where a verification has no more messages.

        Args:
            several: Whether it asks for several messages at once.
            step: Asks the client.
        """
        raise NotImplementedError

    def handling(self, consumer: Any) -> Handling:
        """What is noted of a consumer's message."""
        return noted_of(consumer, Handling, _HANDLING)

    def is_without_broker(self, consumer: Any) -> bool:
        """Whether a replay has not started a consumer."""
        return bool(vars(consumer).get(WITHOUT_BROKER))

    def message(self, record: Any) -> IncomingMessage:
        """A message of the client's as a request."""
        place, timestamp = (record.partition, record.offset), (record.timestamp, record.timestamp_type)
        return kafka_message(
            self._framework, record.topic, place, timestamp, record.key, record.headers, record.value
        )

    def records_in(self, found: Any, several: bool) -> list[Any]:
        """The messages that the client has given.

        Args:
            found: What it gave.
            several: Whether it was asked for several.
        """
        return [record for each in found.values() for record in each] if several else [found]

    # What all of them do

    def asking(self, several: bool, original: Function) -> Function:
        """A loop asks for what a consumer has next.

        Args:
            several: Whether for several messages at once. They have one session.
            original: The method of the consumer.
        """

        def begin(_: None, consumer: Any, *args: Any, **kwargs: Any) -> Flow | None:
            if self._asks.get():
                return None
            looked(f"{self._framework}.done", self.done, consumer)
            step = AppStep(original, consumer, *args, **kwargs)
            if not begins_root():
                return self._asks.around(True, step)
            source = job_source()
            if source is not None:
                return self._from_verify(several, source, consumer, step)
            if self.is_without_broker(consumer):
                return only(self.waits_for_ever())
            return self._handed(several, consumer, step)

        return self._guard(self._framework, original, begin)

    def _handed(self, several: bool, consumer: Any, step: AppStep) -> Flow:
        found = yield from self._asks.around(True, step)
        self._given(consumer, partial(self.records_in, found, several))
        return found

    def _from_verify(self, several: bool, source: str, consumer: Any, step: AppStep) -> Flow:
        next_of = partial(self._verified.next, several=several)
        given = yield self.waits(next_of, source, consumer, self.topics_of(consumer))
        if given is None:
            return (yield self.ends(several, step))
        records = [self.made(each) for each in given]
        self._given(consumer, lambda: records)
        return self.by_partition(records) if several else records[0]

    def _given(self, consumer: Any, records_of: Callable[[], Sequence[Any]]) -> None:
        def incoming() -> IncomingJob | None:
            return as_incoming(self._framework, [self.message(each) for each in records_of()])

        self.handling(consumer).given(incoming)

    def done(self, consumer: Any, *_: Any) -> None:
        """The app is done with the message of a consumer; harmless without one."""
        self.handling(consumer).done()

    def left(self, consumer: Any, *_: Any) -> None:
        """The app closes a consumer."""
        self.done(consumer)
        self._verified.leaves(consumer)
