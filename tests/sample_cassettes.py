"""Cassettes built by hand, one of each kind that the reports have something to say about."""

from __future__ import annotations

import gzip
import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from timetracer_otel.constants import BodyEnd, EventType
from timetracer_otel.types import (
    BodySnapshot,
    CallSnapshot,
    CaptureStats,
    Cassette,
    DependencyEvent,
    EventResult,
    EventSignature,
    HeaderMap,
    RecordedError,
    RequestSnapshot,
    ResponseSnapshot,
    SessionMeta,
    SpanFacts,
)

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def body(data: bytes, chunks: Sequence[tuple[float, int]] = (), end: BodyEnd = BodyEnd.COMPLETE) -> BodySnapshot:
    return BodySnapshot(
        captured=True,
        encoding="bytes",
        data=data,
        size_bytes=len(data),
        hash=hashlib.sha256(data).hexdigest(),
        chunks=tuple(chunks) or ((1.0, len(data)),),
        end=end,
    )


def http_event(
    eid: int,
    url: str,
    *,
    method: str = "GET",
    start_ms: float = 0.0,
    took_ms: float = 10.0,
    status: int | None = 200,
    query: dict[str, Any] | None = None,
    request_headers: Sequence[tuple[bytes, bytes]] = (),
    request_body: bytes | None = None,
    headers: Sequence[tuple[bytes, bytes]] = ((b"Content-Type", b"application/json"),),
    response: BodySnapshot | None = None,
    error: RecordedError | None = None,
    span: str | None = None,
    parent: str | None = None,
    path: tuple[str, ...] = (),
    not_replayable: str | None = None,
) -> DependencyEvent:
    span_id = span or f"{eid:016x}"
    return DependencyEvent(
        eid=eid,
        event_type=EventType.HTTP_CLIENT,
        start_offset_ms=start_ms,
        duration_ms=took_ms,
        signature=EventSignature(lib="httpx", method=method, url=url, query=query or {}),
        result=EventResult(
            status=status,
            headers=HeaderMap(headers if status is not None else ()),
            body=response if response is not None or status is None else body(b'{"a":1e2}'),
            error=None if error is None else error.message,
            error_type=None if error is None else error.cls,
            exception=error,
            reply=None if status is None else {"http_version": b"HTTP/1.1", "reason_phrase": b"OK"},
        ),
        call=CallSnapshot(
            headers=HeaderMap(request_headers),
            body=None if request_body is None else body(request_body),
        ),
        span=SpanFacts(
            trace_id=TRACE_ID,
            span_id=span_id,
            parent_span_id=parent,
            name=method,
            kind="CLIENT",
            scope="opentelemetry.instrumentation.httpx",
            attributes={"http.request.method": method},
            sampled=True,
        ),
        path=path,
        not_replayable=not_replayable,
    )


def observed_event(eid: int, **times: Any) -> DependencyEvent:
    """The span of a client that no plugin captures."""
    return DependencyEvent(
        eid=eid,
        event_type=EventType.CUSTOM,
        start_offset_ms=times.pop("start_ms", 0.0),
        duration_ms=times.pop("took_ms", 1.0),
        signature=EventSignature(lib="pika", method="Reserve", url="stock:50051"),
        result=EventResult(status=0),
        span=SpanFacts(TRACE_ID, f"{eid:016x}", name="/stock.Stock/Reserve", kind="CLIENT", **times),
        not_replayable="only observed: no plugin captures the calls of pika",
    )


def cassette(events: Sequence[DependencyEvent], **changes: Any) -> Cassette:
    """A cassette of the request ``POST /checkout``."""
    values: dict[str, Any] = {
        "schema_version": "1",
        "session": SessionMeta(
            id="5a4d2c1e-0000-4000-8000-000000000000",
            recorded_at="2026-03-01T12:00:00.250000+00:00",
            service="shop",
            env="test",
            timetracer_version="0.1.0",
            python_version="3.12.1",
            trace_id=TRACE_ID,
            versions={"httpx": "0.28.1"},
        ),
        "request": RequestSnapshot(method="POST", path="/checkout"),
        "response": ResponseSnapshot(status=200, duration_ms=100.0),
        "events": list(events),
        "stats": CaptureStats(
            event_counts=dict(Counter(event.event_type.value for event in events)),
            total_events=len(events),
            total_duration_ms=100.0,
        ),
    }
    return Cassette(**{**values, **changes})


def checkout() -> Cassette:
    """Five calls: a plain one, a gzipped stream with a nested call in it, one that timed out, one only observed."""
    packed = gzip.compress(
        b'{"items":["caf\xc3\xa9","tea"]}', compresslevel=0, mtime=0
    )  # stored: as long with any zlib
    return cassette(
        [
            http_event(1, "http://127.0.0.1:8001/users/7", took_ms=20.0, path=("POST /checkout",)),
            http_event(
                2,
                "http://127.0.0.1:8001/cart",
                start_ms=25.0,
                took_ms=50.0,
                query={"page": ["1", "2"], "user": "7"},
                headers=((b"content-type", b"application/json"), (b"Content-Encoding", b"gzip")),
                response=body(packed, [(10.0, 10), (49.0, len(packed) - 10)]),
                path=("POST /checkout",),
            ),
            http_event(
                3,
                "http://127.0.0.1:8001/token",
                start_ms=30.0,
                took_ms=5.0,
                method="POST",
                request_headers=((b"Content-Type", b"application/x-www-form-urlencoded"), (b"Cookie", b"a=1; b=2")),
                request_body=b"grant=code&code=%5BREDACTED%5D",
                headers=((b"Set-Cookie", b"a=1; Path=/; HttpOnly"), (b"Set-Cookie", b"b=2; Secure")),
                response=body(b"\x00\x01\x02\xff"),
                parent=f"{2:016x}",
                path=("POST /checkout", "GET"),
            ),
            http_event(
                4,
                "http://127.0.0.1:8001/slow",
                start_ms=80.0,
                took_ms=15.0,
                status=None,
                error=RecordedError("httpx:ReadTimeout", "timed out", ("timed out",)),
                path=("POST /checkout", "retry"),
            ),
            observed_event(5, start_ms=96.0, took_ms=1.0),
        ]
    )
