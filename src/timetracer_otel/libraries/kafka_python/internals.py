"""kafka-python's objects as plain values and back, and its clients where there is no cluster.

The only file with its private names, besides `private_names`.
"""

from __future__ import annotations

import copy
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from kafka.consumer.group import KafkaConsumer
from kafka.producer import kafka as _producer_module
from kafka.producer.future import FutureProduceResult, FutureRecordMetadata, RecordMetadata
from kafka.producer.kafka import KafkaProducer
from kafka.structs import TopicPartition

from timetracer_otel.base import faults
from timetracer_otel.calls.guarded import refusal
from timetracer_otel.libraries.kits.kafka.call import Record, Report
from timetracer_otel.libraries.kits.kafka.consumers import WITHOUT_BROKER
from timetracer_otel.libraries.kits.kafka.serialized import Serialized

__all__ = [
    "CONSUMER",
    "ERROR_MODULES",
    "LIB",
    "PARTITION",
    "PRODUCER",
    "Configured",
    "add_told",
    "answered",
    "give_all",
    "given",
    "made_without_broker",
    "report_of",
    "serialized",
    "servers_of",
]

LIB: Final = "kafka_python"
ERROR_MODULES: Final = frozenset({"kafka"})
CONSUMER: Final = KafkaConsumer
PARTITION: Final = TopicPartition
PRODUCER: Final[Any] = KafkaProducer
_producers: Any = _producer_module
_PAIR: Final = 2
_LATER: Final = "_timetracer_later"
_FIELDS: Final = tuple(name for name in RecordMetadata._fields if name not in ("topic", "topic_partition"))


class Configured:
    """A client that is being made, with its settings.

    Args:
        configs: Those that the app names.
    """

    def __init__(self, configs: Mapping[str, Any]) -> None:
        self.config = {**KafkaProducer.DEFAULT_CONFIG, **configs}


def servers_of(client: Any) -> Any:
    """The brokers that an app names for a client."""
    return client.config["bootstrap_servers"]


def made_without_broker(client: Any, configs: Mapping[str, Any]) -> None:
    """Make a client that reaches nobody. The library itself takes it for one that is closed."""
    cls = type(client)
    client.config = config = copy.copy(cls.DEFAULT_CONFIG)
    config.update({name: value for name, value in configs.items() if name in config})
    client._closed = True
    client._metrics = None
    wrapper = getattr(_producers, "SerializeWrapper", None)
    if wrapper is not None and isinstance(client, KafkaProducer):
        for name in ("key_serializer", "value_serializer"):
            if config[name] is not None and not isinstance(config[name], _producers.Serializer):
                config[name] = wrapper(config[name])
    vars(client)[WITHOUT_BROKER] = True


def given(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Record | None:
    """The message that an app gives to ``send``; None where the library raises at once."""

    def send(
        topic: Any,
        value: Any = None,
        key: Any = None,
        headers: Any = None,
        partition: Any = None,
        timestamp_ms: Any = None,
    ) -> Record:
        pairs = [] if headers is None else headers
        if not isinstance(pairs, list) or not all(isinstance(each, tuple) and len(each) == _PAIR for each in pairs):
            # The library refuses them, in a recording: that is the answer.
            pairs = [("", pairs)]
        return Record(topic, key, value, pairs, partition, timestamp_ms)

    try:
        return send(*args, **kwargs)
    except TypeError:
        return None


def serialized(producer: Any, record: Record) -> tuple[Record, Serialized]:
    """A message with the bytes of its key and value, and the same for the producer."""
    made = Serialized()
    before = (record.topic, record.headers)
    key = made.make(producer._serialize, producer.config["key_serializer"], *before, record.key)
    value = made.make(producer._serialize, producer.config["value_serializer"], *before, record.value)
    return record._replace(key=_bytes(key), value=_bytes(value)), made


def _bytes(value: Any) -> Any:
    return bytes(value) if isinstance(value, (bytearray, memoryview)) else value


def report_of(metadata: Any) -> dict[str, Any]:
    """Where a message is."""
    return {name: getattr(metadata, name) for name in _FIELDS}


def add_told(future: Any, told: Any) -> None:
    """Let a function be called with what becomes of a message, or with None and why it was not delivered. It is
    called before the functions of the app, as it is the first.
    """
    future.add_callback(lambda metadata: told(report_of(metadata), None))
    future.add_errback(lambda error: told(None, error))


class _Later:
    """What a producer of a replay tells later: by a thread, as the library does it, or when the app waits for it."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Any, Any, Any, float]] = deque()
        self._lock = threading.RLock()
        self._runs = False

    def add(self, future: Any, metadata: Any, error: BaseException | None, after_s: float) -> None:
        """Tell something that long after now."""
        with self._lock:
            self._waiting.append((future, metadata, error, after_s))
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="timetracer-kafka-reports", daemon=True).start()

    def give_all(self) -> None:
        """Tell all of it now, in the order of the messages."""
        with self._lock:
            while self._waiting:
                told = self._waiting.popleft()
                try:
                    _tell(*told)
                except Exception:
                    self._waiting.appendleft(told)
                    raise

    def _run(self) -> None:
        """The thread's guard."""
        try:
            self._give_in_time()
        except Exception as fault:
            faults.contain("kafka_python.reports", fault)
            self._refuse_all(refusal(LIB, None, fault))

    def _refuse_all(self, error: Exception) -> None:
        """Tell the app of all messages that there is no telling: otherwise it would wait without end."""
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
            self._runs = False
        for future, _, _, _ in waiting:
            if not future.is_done:
                _tell(future, None, error)

    def _give_in_time(self) -> None:
        tick = threading.Event()
        while True:
            with self._lock:
                if not self._waiting:
                    self._runs = False
                    return
                after_s = self._waiting[-1][3]
            tick.wait(after_s)
            self.give_all()


def _tell(future: Any, metadata: Any, error: BaseException | None, after_s: float = 0) -> None:
    produced = future._produce_future
    if error is not None:
        future.failure(error)
    else:
        future.success(metadata)
    # Who waits for the future waits for this one.
    threading.Event.set(produced._latch)


class _Produced(FutureProduceResult):  # type: ignore[misc]
    """What the future of a message waits for in a replay."""

    __slots__ = ("_later",)

    def __init__(self, partition: Any, later: Any) -> None:
        super().__init__(partition)
        self._later = later

    def wait(self, timeout: float | None = None) -> Any:
        """The app waits: tell what is to be told."""
        later = self._later()
        if later is not None:
            try:
                later.give_all()
            except Exception as fault:
                # Otherwise the app would wait for what nobody tells.
                faults.contain("kafka_python.wait", fault)
                raise refusal(LIB, None, fault) from fault
        return super().wait(timeout)


def answered(producer: Any, topic: str, report: Report, after_s: float) -> Any:
    """The future of a message in a replay. It is never done where that was not known in the recording."""
    later = vars(producer).get(_LATER)
    if later is None:
        later = vars(producer)[_LATER] = _Later()
    number: Any = report.fields["partition"] if report.fields else None
    partition = TopicPartition(topic, number)
    metadata = None
    if report.fields is not None:
        metadata = RecordMetadata(topic=topic, topic_partition=partition, **report.fields)
    future = FutureRecordMetadata(_Produced(partition, weakref.ref(later)), 0, None, None, -1, -1, -1)
    if metadata is not None or report.error is not None:
        later.add(future, metadata, report.error, after_s)
    return future


def give_all(producer: Any) -> None:
    """Tell what a producer of a replay has not told yet."""
    later = vars(producer).get(_LATER)
    if later is not None:
        later.give_all()
