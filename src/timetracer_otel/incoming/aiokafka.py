"""aiokafka: the methods by which a loop of the app asks for messages."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from timetracer_otel.base.patching import Function, Seams
from timetracer_otel.calls.guarded import AppStep, OurStep
from timetracer_otel.calls.noting import noting_async
from timetracer_otel.incoming.guarded import around_async
from timetracer_otel.incoming.kafka_loops import Loops
from timetracer_otel.incoming.kafka_messages import GivenRecord
from timetracer_otel.incoming.seams import on

__all__ = ["SEAMS"]


class _Loops(Loops):
    def topics_of(self, consumer: Any) -> Collection[str] | None:
        subscription = consumer._subscription
        pattern = getattr(subscription, "subscribed_pattern", None)
        topics: Collection[str] = subscription.topics
        return None if pattern is not None or not topics else topics

    def made(self, given: GivenRecord) -> Any:
        structs: Any = sys.modules["aiokafka.structs"]
        sizes = [len(each) if isinstance(each, bytes) else -1 for each in (given.key, given.value)]
        return structs.ConsumerRecord(
            given.topic,
            given.partition,
            given.offset,
            given.timestamp,
            given.timestamp_type,
            given.key,
            given.value,
            None,
            *sizes,
            tuple(given.headers),
        )

    def by_partition(self, records: Sequence[Any]) -> Any:
        structs: Any = sys.modules["aiokafka.structs"]
        found: dict[Any, list[Any]] = {}
        for each in records:
            found.setdefault(structs.TopicPartition(each.topic, each.partition), []).append(each)
        return found

    def waits(self, function: Callable[..., Any], *args: Any) -> OurStep:
        return OurStep(asyncio.to_thread, function, *args)

    def waits_for_ever(self) -> OurStep:
        return OurStep(asyncio.Event().wait)

    def ends(self, several: bool, step: AppStep) -> AppStep:
        if several:
            return AppStep(_nothing, **step.keywords)
        errors: Any = sys.modules["aiokafka.errors"]
        # As where the consumer is stopped: a loop ends by it.
        return AppStep(_raise, errors.ConsumerStoppedError())


async def _nothing(timeout_ms: float = 0, **_: Any) -> dict[Any, Any]:
    """There are no more messages. The app asks on and on, as of an empty topic."""
    await asyncio.sleep(timeout_ms / 1000)
    return {}


async def _raise(error: Exception) -> None:
    raise error


_loops = _Loops("aiokafka", around_async)


def _stopping(original: Function) -> Function:
    """The app stops a consumer."""
    return noting_async("aiokafka", original, before=_loops.left)


_WRAPS: dict[str, Callable[[Function], Function]] = {
    "getone": partial(_loops.asking, False),
    "getmany": partial(_loops.asking, True),
    "stop": _stopping,
}
SEAMS = tuple(
    Seams("aiokafka", ["aiokafka.consumer.consumer"], on("AIOKafkaConsumer", name, wrap))
    for name, wrap in _WRAPS.items()
)
