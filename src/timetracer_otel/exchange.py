"""What importers and exporters share: HTTP calls as plain values, and the account of what a format cannot hold.

An exporter is an `ExportFormat` (or a function from a cassette to bytes) under the entry point group
``timetracer_otel_exporter``. An importer is an `ImportFormat` under ``timetracer_otel_importer``. Neither writes a
file: the commands ``export`` and ``convert`` do. The exception is a `FolderFormat`, an exporter that makes several
files of many recordings. All that stands here is safe from any thread.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from timetracer_otel.cassette import StoredCassette
from timetracer_otel.constants import (
    ANY_HTTP_CLIENT,
    CONVERSATION,
    FORMAT_VERSION,
    EventType,
)
from timetracer_otel.match.signature import Signer
from timetracer_otel.redact.content_encoding import encode_body, known_encodings
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.report import event_name
from timetracer_otel.report.bodies import charset_of as charset_of_headers
from timetracer_otel.session.observed import event_of_span
from timetracer_otel.types import (
    AppliedPolicies,
    BodySnapshot,
    Call,
    CallSnapshot,
    CaptureStats,
    Cassette,
    DependencyEvent,
    EventResult,
    HeaderMap,
    HeaderPairs,
    RequestSnapshot,
    ResponseSnapshot,
    SessionMeta,
    SpanFacts,
    header_pairs,
)

__all__ = [
    "ExportFormat",
    "Exported",
    "FolderFormat",
    "HttpCall",
    "ImportFormat",
    "Imported",
    "Recording",
    "calls_left_out",
    "charset_of",
    "encoded_again",
    "imported_cassette",
    "observed_call",
    "utc_text",
]

_VERSIONS: dict[Any, str] = {10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2"}
"""The numbers that `http.client` and urllib3 have for versions."""
_LENGTH = b"content-length"
_MOST_NAMED = 20
"""How many calls are named one by one."""
_NO_BODY_STATUSES = frozenset({204, 304})
_SIGNER = Signer(Redactor("off"))


@dataclass(frozen=True, slots=True)
class Exported:
    """What an exporter made of a cassette."""

    data: bytes
    """The whole file."""
    left_out: tuple[str, ...] = ()
    """What the format cannot hold, one line each. Empty where the file holds all of the calls."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an importer made of a file."""

    cassette: Cassette
    """Not redacted: the command applies the user's rules before it writes anything."""
    notes: tuple[str, ...] = ()
    """What of the file the cassette does not hold as it was, one line each."""


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format that cassettes are written in. Calling it gives the bytes alone."""

    write: Callable[[Cassette], Exported]
    suffixes: tuple[str, ...]
    """How names of its files end, in lower case, with the dot: by them ``convert`` picks the format."""
    joinable: bool = False
    """Whether files of it, one behind the other, are a file of all their recordings. A folder of cassettes becomes
    one file then."""

    def __call__(self, cassette: Cassette) -> bytes:
        """The bytes of the file, without the account of what is left out."""
        return self.write(cassette).data


@dataclass(frozen=True, slots=True)
class ImportFormat:
    """A format that cassettes are made of."""

    read: Callable[[bytes], Imported]
    """Raises `CassetteError`, with the place and the cause, for a file that is none of the format."""
    recognises: Callable[[bytes], bool]
    """Whether a whole file is of this format, by its content. Raises nothing."""
    suffixes: tuple[str, ...]
    """As for `ExportFormat`. They decide where several formats recognise a file."""
    read_all: Callable[[bytes], Iterable[Imported]] | None = None
    """As ``read``, for a file that may hold several recordings: it gives each of them by itself."""
    file_in_folder: str = ""
    """The name of the file that holds the recordings, where the format is a folder of files; else empty."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording of a folder."""

    row: StoredCassette
    """What ``list`` says about its file."""
    cassette: Cassette


@dataclass(frozen=True, slots=True)
class FolderFormat:
    """A format of several files, in which all the recordings of a folder are written."""

    write: Callable[[Iterable[Recording], Path], Sequence[str]]
    """Writes its files into a folder that is there and empty, and gives what it left out, one line each. It reads the
    recordings one by one: together they may be larger than the memory. ``convert`` puts the files in their place."""
    suffixes: tuple[str, ...]
    """As for `ExportFormat`: how the name of the folder ends that ``convert`` writes."""


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One HTTP call in the terms that all formats share. Bodies are bytes as on the wire, still content-encoded."""

    method: str
    url: str
    """With its query."""
    status: int | None = None
    """None where no answer came."""
    reason: str = ""
    http_version: str = "HTTP/1.1"
    request_headers: HeaderPairs = ()
    request_body: bytes = b""
    headers: HeaderPairs = ()
    body: bytes = b""
    start_ms: float = 0.0
    """When it began, in milliseconds since the recording began."""
    head_ms: float = 0.0
    """When the head of the answer was there, in milliseconds since the call began."""
    duration_ms: float = 0.0
    not_replayable: str | None = None
    """Why no replay can answer from it; None where it can."""

    @classmethod
    def of(cls, event: DependencyEvent) -> HttpCall:
        """An event of an HTTP client as a call. Parameters of its query stand in the order of their names."""
        signature, result, call, reply = event.signature, event.result, event.call or CallSnapshot(), _reply(event)
        query = [
            (name, str(item))
            for name, value in signature.query.items()
            for item in (value if isinstance(value, list) else [value])
        ]
        head_ms = reply.get("head_ms")
        if not isinstance(head_ms, float) or not isfinite(head_ms):
            chunks = result.body.chunks if result.body is not None else ()
            head_ms = chunks[0][0] if chunks else event.duration_ms
        return cls(
            method=signature.method,
            url=(signature.url or "") + (f"?{urlencode(query, errors='surrogatepass')}" if query else ""),
            status=result.status,
            reason=_text(reply.get("reason_phrase", reply.get("reason"))),
            http_version=_text(reply.get("http_version")) or _VERSIONS.get(reply.get("version"), ""),
            request_headers=header_pairs(call.headers),
            request_body=_data(call.body),
            headers=header_pairs(result.headers),
            body=_data(result.body),
            start_ms=event.start_offset_ms,
            head_ms=min(max(head_ms, 0.0), event.duration_ms),
            duration_ms=event.duration_ms,
            not_replayable=event.not_replayable,
        )

    def event(self, eid: int) -> DependencyEvent:
        """The call as an event that answers the calls of any HTTP client.

        Args:
            eid: Its position in the cassette, from 1.
        """
        call = Call(
            ANY_HTTP_CLIENT, EventType.HTTP_CLIENT, self.method, self.url, self.request_headers, self.request_body
        )
        return DependencyEvent(
            eid=eid,
            event_type=EventType.HTTP_CLIENT,
            start_offset_ms=self.start_ms,
            duration_ms=self.duration_ms,
            signature=_SIGNER.redacted(call).signature,
            result=EventResult(
                status=self.status,
                headers=HeaderMap(self.headers),
                body=_snapshot(self.body, self.duration_ms),
                reply={
                    "http_version": self.http_version.encode("latin-1", "replace"),
                    "reason_phrase": self.reason.encode("latin-1", "replace"),
                    "head_ms": self.head_ms,
                },
            ),
            call=CallSnapshot(
                HeaderMap(self.request_headers), _snapshot(self.request_body) if self.request_body else None
            ),
            not_replayable=self.not_replayable,
        )


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else "" if value is None else str(value)


def _data(body: BodySnapshot | None) -> bytes:
    return body.data if body is not None and isinstance(body.data, bytes) else b""


def _snapshot(data: bytes, at_ms: float = 0.0) -> BodySnapshot:
    chunks = ((at_ms, len(data)),) if data else ()
    return BodySnapshot(True, "bytes", data, size_bytes=len(data), chunks=chunks, end_ms=at_ms)


def imported_cassette(calls: Sequence[HttpCall], recorded_at: str, source: str) -> Cassette:
    """A cassette of calls, in their order.

    Args:
        calls: Their times count from ``recorded_at``.
        recorded_at: When the first of them began, ISO 8601 in UTC.
        source: What the file says of its maker, as ``mitmproxy 11.0``. It stands in the place of the framework.
    """
    events = [call.event(eid) for eid, call in enumerate(calls, 1)]
    duration_ms = max((event.end_offset_ms for event in events), default=0.0)
    return Cassette(
        schema_version=str(FORMAT_VERSION),
        session=SessionMeta(
            id=uuid.uuid4().hex,
            recorded_at=recorded_at,
            service="imported",
            env="",
            framework=source,
            timetracer_version=version("timetracer-otel"),
        ),
        request=RequestSnapshot("", ""),
        response=ResponseSnapshot(0),
        events=events,
        policies=AppliedPolicies(redaction_mode="off"),
        stats=CaptureStats.of(events, duration_ms, {}),
    )


def observed_call(facts: SpanFacts, eid: int, started_ns: int, reason: str) -> DependencyEvent:
    """The event of a call of which a file has the span alone. No replay can answer from it.

    Args:
        facts: The span.
        eid: Its position in the cassette, from 1.
        started_ns: When the recording began, in nanoseconds since the Unix epoch.
        reason: What the file does not hold.
    """
    event = event_of_span(facts, started_ns, _SIGNER, reason)
    event.eid = eid
    return event


def charset_of(content_type: str) -> str:
    """The charset that a ``Content-Type`` names, if it is one that bodies are written in; else UTF-8."""
    return charset_of_headers({"content-type": content_type}) or "utf-8"


def utc_text(moment: datetime | None = None) -> str:
    """A time as cassettes have it: ISO 8601 in UTC. Without a time, that of now. One without a zone counts as UTC."""
    moment = moment if moment is not None else datetime.now(timezone.utc)
    moment = moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
    return moment.isoformat()


def encoded_again(
    decoded: bytes, headers: HeaderPairs, *, method: str = "GET", status: int = 200
) -> tuple[HeaderPairs, bytes, str | None]:
    """A body that a format holds decoded, as a server would send it with these headers.

    A body is encoded again by the content encodings that the headers name. Where one of them is not known here, the
    header goes, and the body stays decoded. ``Content-Length`` is set to the length of what is given.

    Args:
        decoded: The body.
        headers: Of the answer.
        method: Of the request.
        status: Of the answer. An answer that has no body (RFC 9110 section 6.4.1) keeps its headers.

    Returns:
        The header lines, the body, and what was changed in the headers beyond the length; None where nothing was.
    """
    if not decoded and (method == "HEAD" or status in _NO_BODY_STATUSES):
        return tuple(headers), b"", None
    data, note = decoded, None
    named = HeaderMap(headers).get("content-encoding", "")
    encodings = [name for name in (part.strip().lower() for part in named.split(",")) if name not in {"", "identity"}]
    if encodings and decoded:
        if known_encodings(named) != ", ".join(encodings):
            headers = [pair for pair in headers if pair[0].lower() != b"content-encoding"]
            note = f"the header Content-Encoding: {named} is left out: no encoder for it is installed"
        else:
            data = encode_body(decoded, ",".join(encodings))
    length = str(len(data)).encode()
    return tuple((name, length if name.lower() == _LENGTH else value) for name, value in headers), data, note


def calls_left_out(cassette: Cassette, name: str) -> list[str]:
    """What a format that holds HTTP calls alone cannot hold of a cassette, one line for each kind.

    Args:
        cassette: The recording.
        name: Of the format, as it is written in a sentence.
    """
    others: Counter[str] = Counter()
    talks: Counter[str] = Counter()
    failed: list[str] = []
    for event in cassette.events:
        lib = event.signature.lib
        if event.event_type is not EventType.HTTP_CLIENT:
            others[lib] += 1
        elif CONVERSATION in _reply(event):
            talks[lib] += 1
        elif event.result.status is None:
            failed.append(f"#{event.eid} {event_name(event)}")
    lines = [f"{_calls(number)} of {lib}: {name} holds HTTP alone" for lib, number in sorted(others.items())]
    lines += [
        f"the messages of {number} WebSocket{'s' * (number != 1)} of {lib}: {name} holds the handshake alone"
        for lib, number in sorted(talks.items())
    ]
    lines += [f"the error of {what}: {name} has no errors" for what in failed[:_MOST_NAMED]]
    if len(failed) > _MOST_NAMED:
        lines.append(f"the errors of {len(failed) - _MOST_NAMED} more calls: {name} has no errors")
    if cassette.logs:
        lines.append(f"{len(cassette.logs)} log record{'s' * (len(cassette.logs) != 1)}: {name} has none")
    return lines


def _calls(number: int) -> str:
    return f"{number} call{'s' * (number != 1)}"


def _reply(event: DependencyEvent) -> dict[str, Any]:
    reply: Any = event.result.reply
    return reply if isinstance(reply, dict) else {}
