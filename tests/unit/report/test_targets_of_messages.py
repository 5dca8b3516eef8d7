"""What the name of a message says: where it goes."""

from __future__ import annotations

from typing import Any

import pytest

from timetracer_otel.constants import EventType
from timetracer_otel.report.targets import event_target
from timetracer_otel.types import CallSnapshot, DependencyEvent, EventResult, EventSignature


@pytest.mark.parametrize(
    ("lib", "args", "expected"),
    [
        ("confluent_kafka", {"topic": "orders", "key": b"k", "value": b"1"}, "orders"),
        ("aiokafka", {}, ""),
        ("pika", {"exchange": "shop", "routing_key": "tea.green", "body": b"1"}, "shop tea.green"),
        ("aio_pika", {"exchange": "", "routing_key": "orders", "body": b"1"}, "orders"),
        ("pika", {"queue": "orders", "durable": True}, "orders"),
        ("some_plugin", {"topic": "orders"}, ""),
    ],
)
def test_it_names_the_topic_the_queue_or_the_exchange_with_its_key(lib: str, args: Any, expected: str) -> None:
    event = DependencyEvent(
        eid=1,
        event_type=EventType.CUSTOM,
        start_offset_ms=0.0,
        duration_ms=1.0,
        signature=EventSignature(lib=lib, method="PRODUCE", url="kafka://localhost:9092"),
        result=EventResult(),
        call=CallSnapshot(args=args),
    )
    assert event_target(event) == expected
