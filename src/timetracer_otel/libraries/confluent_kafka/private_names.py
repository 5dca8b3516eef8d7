"""The names of confluent-kafka that the plugin relies upon. They are looked for before anything is patched."""

from __future__ import annotations

from typing import Final

__all__ = ["RELIED_UPON"]

_PRODUCER: Final = "confluent_kafka.cimpl:Producer"
_CONSUMER: Final = "confluent_kafka.cimpl:Consumer"

RELIED_UPON: Final = (
    *(f"{_PRODUCER}.{name}" for name in ("__init__", "__len__", "flush", "list_topics", "poll", "produce")),
    *(f"{_CONSUMER}.{name}" for name in ("__init__", "commit", "poll")),
    "confluent_kafka.cimpl:KafkaError",
    "confluent_kafka.cimpl:KafkaException",
    "confluent_kafka.cimpl:Message",
    "confluent_kafka.cimpl:TopicPartition",
    *(f"confluent_kafka.admin:{name}" for name in ("BrokerMetadata", "ClusterMetadata", "PartitionMetadata")),
    "confluent_kafka.admin:TopicMetadata",
)
