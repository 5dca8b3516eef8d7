"""kafka-python: the methods by which a loop of the app asks for messages."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from timetracer_otel.base.patching import Function, Seams
from timetracer_otel.calls.guarded import AppStep
from timetracer_otel.calls.noting import noting
from timetracer_otel.incoming.guarded import around
from timetracer_otel.incoming.kafka_loops import Loops
from timetracer_otel.incoming.kafka_messages import GivenRecord
from timetracer_otel.incoming.seams import on
from timetracer_otel.libraries.kits.kafka.consumers import TOPICS

__all__ = ["SEAMS"]


class _Loops(Loops):
    def topics_of(self, consumer: Any) -> Collection[str] | None:
        topics: Collection[str] | None = vars(consumer).get(TOPICS)
        return topics or None

    def made(self, given: GivenRecord) -> Any:
        fetcher: Any = sys.modules["kafka.consumer.fetcher"]
        known = {name: getattr(given, name) for name in GivenRecord.__slots__}
        sizes = {
            "serialized_key_size": len(given.key) if isinstance(given.key, bytes) else -1,
            "serialized_value_size": len(given.value) if isinstance(given.value, bytes) else -1,
            "serialized_header_size": sum(len(name.encode()) + len(each or b"") for name, each in given.headers)
            or -1,
        }
        return fetcher.ConsumerRecord(**{**dict.fromkeys(fetcher.ConsumerRecord._fields), **known, **sizes})

    def by_partition(self, records: Sequence[Any]) -> Any:
        structs: Any = sys.modules["kafka.structs"]
        found: dict[Any, list[Any]] = {}
        for each in records:
            found.setdefault(structs.TopicPartition(each.topic, each.partition), []).append(each)
        return found

    def ends(self, several: bool, step: AppStep) -> AppStep:
        if several:
            return AppStep(_nothing, *step.args[1:], **step.keywords)
        # As where the consumer is closed: a loop ends by it.
        return AppStep(_end)


def _nothing(timeout_ms: float = 0, *_: Any, **__: Any) -> dict[Any, Any]:
    """There are no more messages. The app asks on and on, as of an empty topic."""
    time.sleep(min(timeout_ms / 1000, threading.TIMEOUT_MAX))
    return {}


def _end() -> None:
    raise StopIteration("the verification has ended")


_loops = _Loops("kafka_python", around)


def _closing(original: Function) -> Function:
    """The app closes a consumer."""
    return noting("kafka_python", original, before=_loops.left)


_WRAPS: dict[str, Callable[[Function], Function]] = {
    "__next__": partial(_loops.asking, False),
    "poll": partial(_loops.asking, True),
    "close": _closing,
}
SEAMS = tuple(
    Seams("kafka_python", ["kafka.consumer.group"], on("KafkaConsumer", name, wrap)) for name, wrap in _WRAPS.items()
)
