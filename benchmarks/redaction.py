"""What redaction costs, of making and writing an event: ``python benchmarks/redaction.py``, or within ``make bench``.

Events of each kind are made and packed with redaction and without it, in turn, so that a machine that slows down
slows both. The share is the median over the rounds, in processor time. The aim is 25 % at most.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from timetracer_otel.cassette import cassette_to_bytes
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import EventType
from timetracer_otel.session import TraceSession
from timetracer_otel.types import BodySnapshot, Call, EventResult, HeaderMap

AIM = 0.25
HEADERS = (
    (b"Host", b"api.example.com"),
    (b"Accept", b"*/*"),
    (b"Accept-Encoding", b"gzip, deflate"),
    (b"User-Agent", b"python-httpx/0.28.1"),
)
SECRET = (b"Authorization", b"Bearer Zq8vT41xKw0pLm7abcdef0123456789")
ANSWER = ((b"Content-Type", b"application/json"), (b"X-Request-Id", b"0af7651916cd43dd8448eb211c80319c"))
ITEMS = json.dumps([{"id": number, "name": f"Item number {number}", "price": 12.5} for number in range(10)]).encode()
ROWS = [(number, f"name of {number}", f"user{number}@example.com", number * 1.5, "text") for number in range(1000)]


class Ended:
    """A call that has ended, as a plugin keeps it."""

    trace_id = span_id = eid = 0
    path: tuple[str, ...] = ("GET /items",)
    not_replayable: str | None = None
    started_s = 1.0
    returned_s: float | None = 1.1
    ended_s = 1.2

    def __init__(self, call: Call, result: Callable[[], EventResult]) -> None:
        self._call, self._result = call, result

    def call(self) -> Call:
        """The call."""
        return self._call

    def result(self) -> EventResult:
        """A new result, since redaction changes it."""
        return self._result()


def http(number: int, *, with_secret: bool) -> Ended:
    """A GET that answers with ten items."""
    headers = (*HEADERS, SECRET) if with_secret else HEADERS
    call = Call("httpx", EventType.HTTP_CLIENT, "GET", f"https://api.example.com/v1/items/{number % 50}?n=1", headers)
    body = BodySnapshot(True, "bytes", ITEMS, size_bytes=len(ITEMS), chunks=((1.0, len(ITEMS)),))
    return Ended(
        call, lambda: EventResult(status=200, headers=HeaderMap(ANSWER), body=body, reply={"v": b"HTTP/1.1"})
    )


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
    return Ended(call, lambda: EventResult(reply={"replies": [b"some value of a user"]}))


KINDS: dict[str, tuple[int, Callable[[int], Ended]]] = {
    "HTTP": (400, lambda number: http(number, with_secret=False)),
    "HTTP, with a token": (400, lambda number: http(number, with_secret=True)),
    "SELECT of one row": (400, lambda number: sql(number, ROWS[:1])),
    "SELECT of 1,000 rows": (10, lambda number: sql(number, ROWS)),
    "Redis GET": (400, redis),
}
"""How many events of a kind one recording has, and how a call of it is made."""


def seconds(config: TraceConfig, calls: list[Ended]) -> float:
    """Processor time of making a cassette of these calls and of packing it."""
    session = TraceSession(config)
    for call in calls:
        session.call_began(call)
    began_s = time.process_time()
    cassette_to_bytes(session.to_cassette())
    return time.process_time() - began_s


def main() -> None:
    """Print a table, and which kinds miss the aim."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    settings = {mode: TraceConfig(redact=mode) for mode in ("off", "default")}
    missed = []
    print("| events | without redaction, µs | with it, µs | share |\n| --- | ---: | ---: | ---: |")
    for kind, (events, make) in KINDS.items():
        calls = [make(number) for number in range(events)]
        taken: dict[str, list[float]] = {mode: [] for mode in settings}
        for _ in range(rounds):
            for mode, config in settings.items():
                taken[mode].append(seconds(config, calls))
        share = median(
            (redacted - plain) / redacted for plain, redacted in zip(taken["off"], taken["default"], strict=True)
        )
        plain_us, redacted_us = (median(taken[mode]) / events * 1e6 for mode in settings)
        print(f"| {kind} | {plain_us:.0f} | {redacted_us:.0f} | {share:.0%} |")
        if share > AIM:
            missed.append(kind)
    print(f"\nThe aim is {AIM:.0%} at most. Missed: {', '.join(missed) or 'none'}.")


if __name__ == "__main__":
    main()
