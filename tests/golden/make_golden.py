"""Write the golden cassettes of the current format version: ``python tests/golden/make_golden.py``.

Golden files are what released versions wrote, and every later release must read them: a file that is there
is never replaced. Where one would be written differently today, the script says so and fails; what is new
needs a new name (and, where a reader of the older version could not read it, a new format version).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import sys
import tempfile
import uuid
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from timetracer_otel.cassette import AppendWriter, save_cassette
from timetracer_otel.cassette.reader import load
from timetracer_otel.constants import BodyEnd, CompressionType, EventType
from timetracer_otel.types import (
    AppliedPolicies,
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
    Scrubbing,
    SentRows,
    SessionMeta,
    SpanFacts,
)

HERE = Path(__file__).parent
CUT_BYTES = 100
"""How much is missing at the end of the cut file: its footer and a part of its last event."""

VALUES = {
    "plain": [None, True, False, 0, -1, 2**64 - 1, -(2**63), 0.5, -0.0, float("inf"), "text", "ä€😀", b"\x00\xff"],
    "int": [2**64, -(2**63) - 1, 10**40],
    "tuple": (1, (2, ())),
    "set": {1, 2, 3},
    "frozenset": frozenset({"a", "b"}),
    "decimal": [Decimal("1.10"), Decimal("-0"), Decimal("1E+40"), Decimal("Infinity")],
    "datetime": [
        dt.datetime(2024, 2, 29, 12, 30, 15, 123456),  # noqa: DTZ001 - a naive one
        dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.timezone.utc),
        dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.timezone(dt.timedelta(hours=-5, minutes=-30), "here")),
        dt.datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    ],
    "date": dt.date(1, 1, 1),
    "time": [dt.time(23, 59, 59, 999999), dt.time(1, 2, tzinfo=dt.timezone.utc)],
    "timedelta": dt.timedelta(days=-1, microseconds=1),
    "uuid": uuid.UUID("12345678-1234-5678-1234-567812345678"),
    "ip": [
        ipaddress.ip_address("192.0.2.1"),
        ipaddress.ip_address("fe80::1%eth0"),
        ipaddress.ip_network("192.0.2.0/24"),
        ipaddress.ip_network("2001:db8::/32"),
        ipaddress.ip_interface("192.0.2.1/24"),
        ipaddress.ip_interface("2001:db8::1/64"),
    ],
    "complex": complex(1.5, -0.0),
    "bytearray": bytearray(b"ba"),
    "range": range(0, 10, 2),
    "surrogates": "caf\udce9",
    "keys": {1: "int", (1, 2): "tuple", None: "none", "z": 1, "a": 2},
}


def golden() -> Cassette:
    """One cassette in which every key of the format and every extension type but memoryview occurs."""
    error = RecordedError(
        cls="httpx:ReadTimeout",
        message="timed out",
        args=("timed out",),
        attributes={"_request": None},
        enums={"status": "http:HTTPStatus.GATEWAY_TIMEOUT"},
        cause=RecordedError(cls="builtins:TimeoutError", message="timed out", args=("timed out",)),
    )
    http = DependencyEvent(
        eid=1,
        event_type=EventType.HTTP_CLIENT,
        start_offset_ms=1.5,
        duration_ms=20.25,
        signature=EventSignature(
            "httpx", "GET", "https://api.example.com/v1/users", {"page": "2", "tag": ["a", "b"]}, "11" * 32, "22" * 32
        ),
        result=EventResult(
            status=200,
            headers=HeaderMap(
                [(b"Content-Type", b"application/json"), (b"Set-Cookie", b"a=1"), (b"set-cookie", b"b")]
            ),
            body=BodySnapshot(
                captured=True,
                encoding="bytes",
                data=b'{"a":1e2}\n\x00\xff',
                size_bytes=12,
                hash="33" * 32,
                chunks=((18.0, 9), (19.5, 3)),
                end_ms=20.0,
            ),
            reply={"http_version": b"HTTP/1.1", "reason_phrase": b"OK"},
        ),
        call=CallSnapshot(HeaderMap([(b"Accept", b"*/*")]), BodySnapshot(captured=True, encoding="bytes", data=b"")),
        span=SpanFacts(
            trace_id="0af7651916cd43dd8448eb211c80319c",
            span_id="b7ad6b7169203331",
            parent_span_id="00f067aa0ba902b7",
            name="GET",
            kind="CLIENT",
            status="ERROR",
            status_description="because",
            attributes={"http.request.method": "GET", "server.port": 443, "tags": ("a", "b")},
            scope="opentelemetry.instrumentation.httpx",
            start_ns=1_709_209_815_000_000_000,
            end_ns=1_709_209_815_020_000_000,
            sampled=True,
        ),
        path=("GET /users", "load"),
    )
    query = DependencyEvent(
        eid=2,
        event_type=EventType.DB_QUERY,
        start_offset_ms=22.0,
        duration_ms=3.0,
        signature=EventSignature("sqlalchemy", "SELECT", "postgresql/main"),
        result=EventResult(reply=VALUES),
        call=CallSnapshot(args={"statement": "SELECT 1", "parameters": (1,)}),
    )
    failed = DependencyEvent(
        eid=3,
        event_type=EventType.HTTP_CLIENT,
        start_offset_ms=30.0,
        duration_ms=5.0,
        signature=EventSignature("httpx", "POST", "https://api.example.com/slow"),
        result=EventResult(
            body=BodySnapshot(captured=True, data=b"half", truncated=True, end=BodyEnd.FAILED, error=error),
            error="timed out",
            error_type="httpx:ReadTimeout",
            exception=error,
        ),
    )
    observed = DependencyEvent(
        eid=4,
        event_type=EventType.CUSTOM,
        start_offset_ms=40.0,
        duration_ms=0.0,
        signature=EventSignature("grpc", "Say"),
        result=EventResult(),
        not_replayable="observed from its span: there is no plugin for it",
    )
    return Cassette(
        schema_version="1",
        session=SessionMeta(
            id="3f2b8c1d9e",
            recorded_at="2024-02-29T12:30:15.000000+00:00",
            service="users",
            env="test",
            framework="fastapi",
            timetracer_version="0.1.0",
            python_version="3.12.1",
            git_sha="abc1234",
            trace_id="0af7651916cd43dd8448eb211c80319c",
            versions={"httpx": "0.28.1"},
        ),
        request=RequestSnapshot(
            method="GET",
            path="/users/7",
            route_template="/users/{id}",
            headers={"host": "localhost"},
            query={"q": "x"},
            body=BodySnapshot(captured=False),
            client_ip="192.0.2.7",
            user_agent="curl/8",
        ),
        response=ResponseSnapshot(
            status=500, headers={"content-type": "text/plain"}, body=BodySnapshot(captured=False), duration_ms=45.5
        ),
        events=[http, query, failed, observed],
        policies=AppliedPolicies("default", ["authorization"], 64, "on_error", "never", 0.5, True),
        stats=CaptureStats({"http.client": 2, "db.query": 1, "custom": 1}, 4, 28.25, {"buffer full": 2}),
        error_info={"type": "ValueError", "message": "boom"},
    )


def golden_renamed() -> Cassette:
    """The same, as later recorders of this version write it: with pseudonyms, seeds, and what was scrubbed."""
    cassette = golden()
    (http, *others) = cassette.events
    state = (3, (*range(2**32 - 624, 2**32), 624), 0.25)
    return replace(
        cassette,
        session=replace(
            cassette.session,
            process=["5f6e7d8c", "0123abcd"],
            hash_seed="7",
            hash_randomization=True,
            random_state=state,
        ),
        policies=replace(cassette.policies, redaction_rules=["headers", "name:ssn"], pseudonymised=True),
        events=[replace(http, pseudonyms=("sk-proj-4hZq", "ö-pseudonym")), *others],
        pseudonyms=("sk-proj-4hZq", "ö-pseudonym"),
        scrubbed=(
            Scrubbing("2024-03-01T00:00:00+00:00", "0.1.0", "default", ["headers"], 3),
            Scrubbing("2024-04-01T00:00:00+00:00", "0.2.0", "strict", ["headers", "name:ssn"], 0),
        ),
    )


def golden_sent() -> Cassette:
    """One with rows as PostgreSQL sent them."""
    cassette = golden()
    first = cassette.events[0]
    return replace(cassette, events=[replace(first, result=replace(first.result, reply={"rows": SENT}))])


SENT = SentRows(
    [23, 25, 16, 1184, 701],
    2,
    bytes.fromhex(
        "4400000034 0005 00000004 00000007 00000005 74c3a96521 00000001 01 00000008 0000000000000001"
        "00000008 3ff8000000000000 440000001a 0005 ffffffff ffffffff ffffffff ffffffff ffffffff"
    ),
)
SENT_VALUES = [
    [7, "tée!", True, dt.datetime(2000, 1, 1, 0, 0, 0, 1, dt.timezone.utc), 1.5],
    [None, None, None, None, None],
]


def write_all(folder: Path) -> None:
    """Write every golden file of this version into a folder."""
    cassette = golden()
    save_cassette(golden_renamed(), folder / "v1-renamed.msgpack")
    save_cassette(golden_sent(), folder / "v1-sent-rows.msgpack")
    save_cassette(cassette, folder / "v1.msgpack")
    save_cassette(cassette, folder / "v1.msgpack.gz", CompressionType.GZIP)
    save_cassette(cassette, folder / "v1.msgpack.zst", CompressionType.ZSTD)
    with AppendWriter(folder / "v1-appended.msgpack", cassette) as writer:
        for event in reversed(cassette.events):
            writer.append(event)
        writer.finish(cassette)
    whole = (folder / "v1.msgpack").read_bytes()
    (folder / "v1-cut.msgpack").write_bytes(whole[: whole.rindex(b"\xa6footer") - 1 - CUT_BYTES])


def _stream(file: Path) -> bytes:
    # Releases of zlib and zstd pack the same stream to different bytes.
    return load(file).data


def main() -> int:
    """Write what is missing; 1 where a file that is there would be written differently."""
    differing = []
    with tempfile.TemporaryDirectory() as scratch:
        write_all(Path(scratch))
        for made in sorted(Path(scratch).iterdir()):
            kept = HERE / made.name
            if not kept.exists():
                kept.write_bytes(made.read_bytes())
                print(f"written: {made.name}")
            elif _stream(kept) != _stream(made):
                differing.append(made.name)
    for name in differing:
        print(f"kept, though it would be written differently now: {name}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
