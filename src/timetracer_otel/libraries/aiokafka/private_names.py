"""The names of aiokafka that the plugin relies upon. They are looked for before anything is patched."""

from __future__ import annotations

from typing import Final

__all__ = ["RELIED_UPON"]

_PRODUCER: Final = "aiokafka.producer.producer:AIOKafkaProducer"
_BATCH: Final = "aiokafka.producer.message_accumulator:BatchBuilder"
_CONSUMER: Final = "aiokafka.consumer.consumer:AIOKafkaConsumer"

RELIED_UPON: Final = (
    *(f"{_PRODUCER}.{name}" for name in ("start", "stop", "flush", "send_batch(batch)", "partitions_for(topic)")),
    *(f"{_PRODUCER}.send({name})" for name in ("topic", "value", "key", "partition", "timestamp_ms", "headers")),
    *(f"{_PRODUCER}.{name}" for name in ("begin_transaction", "commit_transaction", "abort_transaction")),
    *(f"{_PRODUCER}.send_offsets_to_transaction({name})" for name in ("offsets", "group_id")),
    f"{_PRODUCER}.create_batch",
    f"{_PRODUCER}._metadata",
    f"{_PRODUCER}._sender",
    f"{_PRODUCER}._serialize(headers)",
    *(f"{_BATCH}.append({name})" for name in ("timestamp", "key", "value", "headers")),
    *(f"{_BATCH}.{name}" for name in ("_serialize(key)", "_serialize(value)", "close", "record_count")),
    *(f"{_CONSUMER}.{name}" for name in ("start", "commit(offsets)", "committed(partition)", "getone", "getmany")),
    *(f"{_CONSUMER}.{name}" for name in ("topics", "beginning_offsets(partitions)", "end_offsets(partitions)")),
    "aiokafka.client:AIOKafkaClient._bootstrap_servers",
    "aiokafka.client:AIOKafkaClient._wait_on_metadata(topic)",
    "aiokafka.client:AIOKafkaClient.cluster",
    "aiokafka.cluster:ClusterMetadata._partitions",
    "aiokafka.producer.sender:Sender.sender_task",
    "aiokafka.structs:PartitionMetadata",
    "aiokafka.structs:RecordMetadata",
    "aiokafka.structs:TopicPartition",
)
