"""What the name of a call says of what it is about: the table, the key, or where a message goes."""

from __future__ import annotations

from typing import Any

import pytest

from timetracer_otel.constants import EventType
from timetracer_otel.report import event_name
from timetracer_otel.report.targets import event_target, table_of
from timetracer_otel.types import CallSnapshot, DependencyEvent, EventResult, EventSignature


def event(kind: EventType, lib: str, method: str, url: str, args: Any) -> DependencyEvent:
    return DependencyEvent(
        eid=1,
        event_type=kind,
        start_offset_ms=0.0,
        duration_ms=1.0,
        signature=EventSignature(lib=lib, method=method, url=url),
        result=EventResult(),
        call=CallSnapshot(args=args),
    )


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
    assert event_target(event(EventType.CUSTOM, lib, "PRODUCE", "kafka://localhost:9092", args)) == expected


@pytest.mark.parametrize(
    ("method", "args", "expected"),
    [
        ("GET", ["GET", "user:7"], "redis GET user:7"),
        ("GET", [b"GET", b"user:\xff"], "redis GET user:\\xff"),
        ("PUBLISH", ["PUBLISH", "orders.made", b"7"], "redis PUBLISH orders.made"),
        ("PING", ["PING"], "redis PING redis://cache/0"),
        ("SET", ["SET", "k" * 70, "v"], f"redis SET {'k' * 59}…"),
        ("PIPELINE", [["MULTI"], ["SET", "a", 1], ["INCR", "b"], ["EXEC"]], "redis PIPELINE (SET a, INCR b)"),
        (
            "PIPELINE",
            [["GET", "a"], ["GET", "b"], ["GET", "c"], ["GET", "d"]],
            "redis PIPELINE (GET a, GET b, GET c, 1 more)",
        ),
    ],
)
def test_it_names_the_key_the_channel_or_the_commands_of_a_pipeline(method: str, args: Any, expected: str) -> None:
    made = event(EventType.REDIS, "redis", method, "redis://cache/0", args)
    # The address stands where there is nothing else.
    assert event_name(made, with_place=False) == expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("INSERT INTO orders (item) VALUES (?)", "orders"),
        ("INSERT OR REPLACE INTO orders VALUES (?)", "orders"),
        ('insert into "shop" . "orders" (item) values (%s)', "shop.orders"),
        ("SELECT * FROM `order items` WHERE a = 'x FROM y'", "order items"),
        ("SELECT 'FROM nothing' /* FROM a */ -- FROM b\nFROM orders", "orders"),
        ("SELECT 1", ""),
        ("UPDATE ONLY orders SET a = 1", "orders"),
        ("DELETE FROM orders WHERE id = 1", "orders"),
        ("WITH a AS (SELECT 1 FROM first) SELECT * FROM a", "first"),
        ("CREATE TABLE IF NOT EXISTS orders (id INTEGER)", "orders"),
        ("TRUNCATE orders", "orders"),
        ("COPY orders (id) FROM STDIN", "orders"),
        ("NOTIFY made, '7'", "made"),
        ("COMMIT", ""),
    ],
)
def test_it_names_the_table_of_a_statement(statement: str, expected: str) -> None:
    verb = statement.split()[0].upper()
    assert table_of(verb, statement) == expected
    made = event(EventType.DB_QUERY, "sqlite3", verb, "sqlite3:///shop.db", {"statement": statement})
    assert event_name(made, with_place=False) == f"sqlite3 {verb} {expected or 'sqlite3:///shop.db'}"
