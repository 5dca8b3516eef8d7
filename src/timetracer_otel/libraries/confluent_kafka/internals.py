"""confluent-kafka's objects as plain values and back, and its clients where there is no cluster.

The only file with its private names, besides `private_names`.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import admin as _admin_module
from confluent_kafka import cimpl

from timetracer_otel.base.c_classes import can_be_changed
from timetracer_otel.cassette import rebuild_error, record_error
from timetracer_otel.types import RecordedError

__all__ = [
    "CONSUMER",
    "LIB",
    "PRODUCER",
    "Client",
    "Known",
    "client_of",
    "error_again",
    "exception_of",
    "forget_all",
    "kafka_error",
    "known",
    "made_error",
    "message_of",
    "metadata_again",
    "of_offsets",
    "of_partitions",
    "offsets_again",
    "packed_metadata",
    "packed_offsets",
    "report_of",
    "unusable",
    "with_default",
    "without_broker",
]

LIB: Final = "confluent_kafka"
PRODUCER: Final = cimpl.Producer
CONSUMER: Final = cimpl.Consumer
_admin: Any = _admin_module
"""Its classes are exported, though not by name."""
_SERVERS: Final = ("bootstrap.servers", "metadata.broker.list")
_LINGERS: Final = ("linger.ms", "queue.buffering.max.ms")
_LINGER_MS: Final = 5.0
_LIMITS: Final = ("message.timeout.ms", "delivery.timeout.ms")
"""https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md: both name the same."""
_REPORTS: Final = ("on_delivery", "dr_cb")
_THROTTLED: Final = "throttle_cb"
_EXCEPTION: Final = "cimpl:KafkaException"


@dataclass(slots=True)
class Client:
    """What is noted of a producer or a consumer. Objects in C have no attributes of their own."""

    servers: str = ""
    on_delivery: Callable[..., Any] | None = None
    """The function of the app for reports of messages that have none of their own."""
    is_known: bool = True
    """Whether it was made while the seams were in."""
    presence: weakref.ref[_Presence] | None = None
    """Where a replay has made it: what is gone when the client is."""
    polls: int = 0
    """How often the app has polled or flushed."""
    numbers: Any = field(default_factory=itertools.count)
    """Numbers the reports."""

    @property
    def is_alone(self) -> bool:
        """Whether a replay has made it, and it is still there: it reaches no broker."""
        return self.presence is not None and self.presence() is not None


class _Presence:
    """A function of a client's settings, which the client holds: nothing refers weakly to the client itself.

    It is the one for throttled requests, which are those of a broker.

    Args:
        function: That of the app.
    """

    def __init__(self, function: Callable[..., Any] | None) -> None:
        self._function = function

    def __call__(self, event: Any) -> Any:
        return None if self._function is None else self._function(event)


Known = dict[int, Client]
known: Final[Known] = {}
"""By identity. Whoever is made at the same place later takes the entry; `forget_all` empties it when nobody notes."""


def unusable(_: Any) -> list[str]:
    """The classes whose methods cannot be replaced, or of which no object can be made, as before 2.13.2."""
    found: list[type[Any]] = [each for each in (PRODUCER, CONSUMER) if not can_be_changed(each)]
    try:
        cimpl.Message(topic="", leader_epoch=0)
    except TypeError:
        found.append(cimpl.Message)
    return [f"confluent_kafka.cimpl:{each.__name__}" for each in found]


def forget_all() -> bool:
    """Forget all clients but those that a replay has made and that the app still has; gives whether there are any."""
    alone = {number: client for number, client in known.items() if client.is_alone}
    known.clear()
    known.update(alone)
    return bool(alone)


def client_of(made: Any) -> Client:
    """What is noted of a client."""
    found = known.get(id(made))
    if found is None:
        found = known[id(made)] = Client(is_known=False)
    return found


def _settings(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    given = args[0] if args and isinstance(args[0], Mapping) else kwargs.get("conf")
    return {**(given if isinstance(given, Mapping) else {}), **{n: v for n, v in kwargs.items() if n != "conf"}}


def with_default(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Client:
    """What is to be noted of a client that is made with these arguments."""
    settings = _settings(args, kwargs)
    servers = next((str(settings[name]) for name in _SERVERS if settings.get(name)), "")
    return Client(servers, next((settings[name] for name in _REPORTS if callable(settings.get(name))), None))


def _undelivered_soon(settings: Mapping[str, Any]) -> dict[str, Any]:
    """How long a producer without a broker keeps a message: an app may send one by it when the replay is over. By
    default that takes five minutes, for which ``flush()`` waits. A limit that librdkafka refuses is left as it is.
    """

    def number(name: str, default: float) -> float:
        try:
            return float(settings[name])
        except (KeyError, TypeError, ValueError):
            return default

    least = max(number(name, _LINGER_MS) for name in _LINGERS) + 1
    limits = [name for name in _LIMITS if name in settings] or _LIMITS[:1]
    # No limit is 0.
    return {name: int(least) for name in limits if not 0 < number(name, 0) < least}


def without_broker(
    client: Client, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, consumes: bool
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a client that reaches nobody: librdkafka connects to the brokers that it knows.

    Args:
        client: What is noted of it.
        args: Those of the app.
        kwargs: The same.
        consumes: Whether it is a consumer.
    """

    def cut(settings: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in settings.items() if name not in _SERVERS}
        kept[_THROTTLED] = presence = _Presence(settings.get(_THROTTLED))
        client.presence = weakref.ref(presence)
        return {"log_level": 0, **kept, **({} if consumes else _undelivered_soon(settings))}

    if args and isinstance(args[0], Mapping):
        return (cut(args[0]), *args[1:]), dict(kwargs)
    if isinstance(kwargs.get("conf"), Mapping):
        return args, {**kwargs, "conf": cut(kwargs["conf"])}
    return args, cut(kwargs)


def kafka_error(error: Any) -> list[Any]:
    """A ``KafkaError`` as plain values."""
    return [error.code(), error.str(), error.fatal(), error.retriable(), error.txn_requires_abort()]


def error_again(packed: Any) -> Any:
    """The same the other way round."""
    return None if packed is None else cimpl.KafkaError(*packed)


def made_error(error: BaseException) -> RecordedError:
    """An exception as a value. A ``KafkaException`` holds a ``KafkaError``."""
    held = error.args[0] if isinstance(error, cimpl.KafkaException) and len(error.args) == 1 else None
    if type(held) is not cimpl.KafkaError:
        return record_error(error)
    return RecordedError(_EXCEPTION, str(error), (tuple(kafka_error(held)),))


def exception_of(error: RecordedError) -> BaseException:
    """The same the other way round."""
    if error.cls == _EXCEPTION and error.args and type(error.args[0]) is tuple:
        made: BaseException = cimpl.KafkaException(error_again(error.args[0]))
        return made
    return rebuild_error(error, frozenset({"cimpl", "confluent_kafka"}))


def report_of(error: Any, message: Any) -> dict[str, Any]:
    """A delivery report as plain values. What of the message the app has given itself is left out."""
    return {
        "error": None if error is None else kafka_error(error),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": list(message.timestamp()),
        "latency": message.latency(),
        "leader_epoch": message.leader_epoch(),
        "has_headers": message.headers() is not None,
    }


def message_of(report: Mapping[str, Any], topic: Any, key: Any, value: Any, headers: Any) -> Any:
    """The message of a delivery report."""
    given: dict[str, Any] = {
        "topic": topic,
        "partition": report["partition"],
        "offset": report["offset"],
        "key": _bytes(key),
        "value": _bytes(value),
        "headers": [(name, _bytes(each)) for name, each in headers] if report["has_headers"] else None,
        "error": error_again(report["error"]),
        "timestamp": tuple(report["timestamp"]),
        "latency": report["latency"],
        "leader_epoch": report["leader_epoch"],
    }
    return cimpl.Message(**{name: each for name, each in given.items() if each is not None})


def _bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def of_partitions(partitions: Any, *_: Any, **__: Any) -> dict[str, Any]:
    """The arguments of a method that names partitions."""
    return {"partitions": [[each.topic, each.partition] for each in partitions]}


def of_offsets(
    message: Any = None, offsets: Any = None, asynchronous: Any = True, *, positions: Any = None, **_: Any
) -> dict[str, Any]:
    """The arguments of a method that commits offsets."""
    named = offsets if offsets is not None else positions
    if message is not None:
        named = [cimpl.TopicPartition(message.topic(), message.partition(), message.offset() + 1)]
    return {} if named is None else {"offsets": _packed(named), "asynchronous": bool(asynchronous)}


def _packed(found: Any) -> Any:
    return [[each.topic, each.partition, each.offset, each.metadata, _error(each.error)] for each in found]


def packed_offsets(found: Any) -> Any:
    """A list of partitions with their offsets, or None."""
    return None if found is None else _packed(found)


def offsets_again(packed: Any) -> Any:
    """The same the other way round."""
    if packed is None:
        return None
    made = []
    for topic, partition, offset, metadata, error in packed:
        each = cimpl.TopicPartition(topic, partition, offset)
        if metadata is not None:
            each.metadata = metadata
        if error is not None:
            each.error = error_again(error)
        made.append(each)
    return made


def packed_metadata(found: Any) -> dict[str, Any]:
    """What a cluster is, as plain values."""
    return {
        "cluster_id": found.cluster_id,
        "controller_id": found.controller_id,
        "orig_broker_id": found.orig_broker_id,
        "orig_broker_name": found.orig_broker_name,
        "brokers": [[each.id, each.host, each.port] for each in found.brokers.values()],
        "topics": [
            [each.topic, _error(each.error), [_packed_partition(one) for one in each.partitions.values()]]
            for each in found.topics.values()
        ],
    }


def _packed_partition(one: Any) -> list[Any]:
    return [one.id, one.leader, list(one.replicas), list(one.isrs), _error(one.error)]


def _error(error: Any) -> Any:
    return None if error is None else kafka_error(error)


def metadata_again(packed: Mapping[str, Any]) -> Any:
    """The same the other way round."""
    made = _admin.ClusterMetadata()
    for name in ("cluster_id", "controller_id", "orig_broker_id", "orig_broker_name"):
        setattr(made, name, packed[name])
    for number, host, port in packed["brokers"]:
        broker = made.brokers[number] = _admin.BrokerMetadata()
        broker.id, broker.host, broker.port = number, host, port
    for name, error, partitions in packed["topics"]:
        topic = made.topics[name] = _admin.TopicMetadata()
        topic.topic, topic.error = name, error_again(error)
        for number, leader, replicas, isrs, problem in partitions:
            one = topic.partitions[number] = _admin.PartitionMetadata()
            one.id, one.leader, one.replicas, one.isrs = number, leader, replicas, isrs
            one.error = error_again(problem)
    return made
