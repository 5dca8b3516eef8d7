"""Calls that have ended, made without a library: for benchmarks of what happens after a call."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from timetracer_otel.constants import EventType
from timetracer_otel.types import BodySnapshot, Call, EventResult, HeaderMap

HEADERS = (
    (b"Host", b"api.example.com"),
    (b"Accept", b"*/*"),
    (b"Accept-Encoding", b"gzip, deflate"),
    (b"User-Agent", b"python-httpx/0.28.1"),
)
SECRET = (b"Authorization", b"Bearer Zq8vT41xKw0pLm7abcdef0123456789")
ROWS = [(number, f"name of {number}", f"user{number}@example.com", number * 1.5, "text") for number in range(1000)]


class Ended:
    """A call that has ended, as a plugin keeps it."""

    trace_id = span_id = eid = 0
    thread: int | None = None
    path: tuple[str, ...] = ("GET /items",)
    not_replayable: str | None = None
    transaction: object | None = None
    boundary: str | None = None
    started_s = 1.0
    returned_s: float | None = 1.1
    goes_on = False
    latest_s: float | None = None
    ended_s = 1.2

    def __init__(self, call: Call, result: Callable[[], EventResult]) -> None:
        self._call, self._result = call, result

    def call(self) -> Call:
        """The call."""
        return self._call

    def result(self) -> EventResult:
        """A new result, since redaction changes it."""
        return self._result()


def http(number: int, *, with_secret: bool = False) -> Ended:
    """A GET that answers with ten items. What differs between answers of a real service does so here."""
    headers = (*HEADERS, SECRET) if with_secret else HEADERS
    call = Call("httpx", EventType.HTTP_CLIENT, "GET", f"https://api.example.com/v1/items/{number % 50}?n=1", headers)
    items = [{"id": item, "name": f"Item number {item}", "price": 12.5} for item in range(number, number + 10)]
    data = json.dumps(items).encode()
    body = BodySnapshot(True, "bytes", data, size_bytes=len(data), chunks=((1.0, len(data)),))
    identity = hashlib.md5(data, usedforsecurity=False).hexdigest().encode()
    answer = ((b"Content-Type", b"application/json"), (b"X-Request-Id", identity))
    return Ended(
        call, lambda: EventResult(status=200, headers=HeaderMap(answer), body=body, reply={"v": b"HTTP/1.1"})
    )


def large(size: int) -> Ended:
    """A GET that answers with a long list, cut off after so many bytes."""
    call = Call("httpx", EventType.HTTP_CLIENT, "GET", "https://api.example.com/v1/items", ((b"Accept", b"*/*"),))
    count = size // 70
    items = [
        {"id": at, "name": f"Item number {at}", "price": 12.5, "mail": f"user{at}@example.com"} for at in range(count)
    ]
    data = json.dumps(items).encode()[:size]
    headers = HeaderMap(((b"Content-Type", b"application/json"),))

    def result() -> EventResult:
        body = BodySnapshot(True, "bytes", data, size_bytes=len(data), chunks=((1.0, len(data)),))
        return EventResult(status=200, headers=headers, body=body)

    return Ended(call, result)


def sql(number: int, rows: list[Any]) -> Ended:
    """A SELECT."""
    statement = "SELECT items.id, items.name FROM items WHERE items.id = :id_1"
    args = {"statement": statement, "parameters": {"id_1": number}}
    call = Call("sqlalchemy", EventType.DB_QUERY, "SELECT", "postgresql://h/shop", args=args)
    columns = [(name,) for name in ("id", "name", "mail", "price", "text")]
    return Ended(call, lambda: EventResult(reply={"description": columns, "rows": rows}))


def redis(number: int) -> Ended:
    """A GET of a key."""
    call = Call("redis", EventType.REDIS, "GET", "redis://h/0", args=["GET", f"user:{number}"])
    value = f"some value of user {number}".encode()
    return Ended(call, lambda: EventResult(reply={"replies": [value]}))
