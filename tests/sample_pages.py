"""Recordings with something of everything that the page of ``timetracer-otel view`` shows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.sample_cassettes import cassette, checkout, http_event
from timetracer_otel.constants import EventType
from timetracer_otel.types import (
    CallSnapshot,
    Cassette,
    DependencyEvent,
    EventResult,
    EventSignature,
    LogEntry,
    SpanFacts,
)

__all__ = ["HOSTILE", "many", "of_everything", "redis_event", "sql_event"]

HOSTILE = (
    "</script><script>window.pwned=1</script><!--<script>",
    "<img src=x onerror='window.pwned=2'><svg onload=window.pwned=3>",
    "\u2028window.pwned=4//\u202e\ud800 ]]> &lt;b&gt; {data} {{x}}",
    "javascript:window.pwned=5",
)
"""Texts that would do something in a page that took them for markup or code."""
_SELECT = (
    "SELECT o.id, o.total, c.name FROM orders AS o LEFT JOIN customers c ON c.id = o.customer_id "
    "WHERE o.user_id = %(user_id)s AND o.made BETWEEN '2026-01-01' AND now() ORDER BY o.made DESC LIMIT 20"
)


def sql_event(
    eid: int, statement: str, *, start_ms: float, took_ms: float = 2.0, ended_ms: float | None = None, **reply: Any
) -> DependencyEvent:
    """A statement, with its rows in ``reply``."""
    args = {"statement": statement, "parameters": {"user_id": 7}}
    span = SpanFacts(
        trace_id="ab" * 16, span_id=f"{eid:016x}", parent_span_id="b7" * 8, name="SELECT shop", kind="CLIENT"
    )
    return DependencyEvent(
        eid,
        EventType.DB_QUERY,
        start_ms,
        took_ms,
        EventSignature("psycopg", statement.split()[0], "postgresql://db:5432/shop"),
        EventResult(reply=reply),
        call=CallSnapshot(args=args),
        span=span,
        path=("POST /checkout",),
        ended_ms=ended_ms,
    )


def redis_event(eid: int, *commands: list[Any], start_ms: float) -> DependencyEvent:
    """A round trip of one command or several."""
    return DependencyEvent(
        eid,
        EventType.REDIS,
        start_ms,
        0.4,
        EventSignature("redis", commands[0][0], "redis://cache:6379/0"),
        EventResult(reply={"resp": 2, "replies": [b"OK"] * len(commands)}),
        call=CallSnapshot(args=commands[0] if len(commands) == 1 else list(commands)),
        path=("POST /checkout",),
    )


def of_everything() -> Cassette:
    """A request with calls of each kind, log records, a pseudonym, and an open cursor."""
    made = checkout()
    rows = [(1, Decimal("19.90"), "Ada"), (2, Decimal("5.00"), None)]
    columns = [[name, 23] for name in ("id", "total", "name")]
    first = len(made.events) + 1
    made.events = [
        *made.events,
        sql_event(first, _SELECT, start_ms=40.0, took_ms=12.0, ended_ms=35.0, description=columns, rows=rows),
        redis_event(first + 1, ["SET", "cart:7", b'{"items": []}', "EX", "60"], start_ms=70.0),
        redis_event(first + 2, ["HGETALL", "user:7"], ["INCR", "visits"], start_ms=72.0),
    ]
    made.logs = (
        LogEntry(5.0, "INFO", 20, "shop.orders", "checkout begun with tok-5f2c9a77"),
        LogEntry(44.0, "WARNING", 30, "shop.stock", "only 2 left"),
        LogEntry(97.0, "ERROR", 40, "shop.pay", "payment failed", "Traceback:\nTimeoutError: timed out"),
    )
    made.pseudonyms = ("tok-5f2c9a77",)
    return made


def many(number: int) -> Cassette:
    """A request with so many calls."""
    events = []
    for eid in range(1, number + 1):
        if eid % 3 == 0:
            event = redis_event(eid, ["GET", f"item:{eid}"], start_ms=eid * 1.5)
        elif eid % 3 == 1:
            event = sql_event(eid, f"SELECT name FROM items WHERE id = {eid}", start_ms=eid * 1.5)
        else:
            status = 500 if eid % 500 == 2 else 200
            event = http_event(eid, f"http://api/items/{eid}", start_ms=eid * 1.5, status=status)
        event.path = ("GET /all", f"page {eid // 100}")
        events.append(event)
    made = cassette(events)
    made.logs = tuple(LogEntry(number * 7.0, "INFO", 20, "shop", f"line {number}") for number in range(200))
    return made
