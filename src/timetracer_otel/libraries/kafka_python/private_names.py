"""The names of kafka-python that the plugin relies upon. They are looked for before anything is patched."""

from __future__ import annotations

from typing import Final

__all__ = ["RELIED_UPON"]

_PRODUCER: Final = "kafka.producer.kafka:KafkaProducer"
_CONSUMER: Final = "kafka.consumer.group:KafkaConsumer"
_FUTURE: Final = "kafka.producer.future"

RELIED_UPON: Final = (
    *(f"{_PRODUCER}.{name}" for name in ("__init__", "close(timeout)", "flush(timeout)", "partitions_for(topic)")),
    *(f"{_PRODUCER}.send({name})" for name in ("topic", "value", "key", "headers", "partition", "timestamp_ms")),
    f"{_PRODUCER}._serialize(headers)",
    f"{_PRODUCER}.__enter__",
    *(f"{_PRODUCER}.{name}" for name in ("DEFAULT_CONFIG", "_closed", "_metadata", "_metrics", "config")),
    *(f"{_CONSUMER}.{name}" for name in ("__init__", "__next__", "commit(offsets)", "poll", "subscribe(topics)")),
    *(f"{_CONSUMER}.{name}" for name in ("DEFAULT_CONFIG", "_closed", "_metrics", "config")),
    f"{_FUTURE}:FutureProduceResult.wait(timeout)",
    f"{_FUTURE}:FutureProduceResult.success(value)",
    f"{_FUTURE}:FutureRecordMetadata",
    f"{_FUTURE}:RecordMetadata",
)
