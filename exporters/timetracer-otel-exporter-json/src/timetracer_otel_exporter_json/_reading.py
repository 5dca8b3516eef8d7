"""A cassette of timetracer as one of ours. What its file has lost is not answered in a replay: the event says why."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from math import isfinite
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.exchange import HttpCall, Imported, encoded_again, imported_cassette, utc_text
from timetracer_otel.types import (
    BodySnapshot,
    CaptureStats,
    Cassette,
    DependencyEvent,
    EventResult,
    EventSignature,
    HeaderMap,
    HeaderPairs,
    RequestSnapshot,
    ResponseSnapshot,
    SessionMeta,
)
from timetracer_otel_exporter_json._bodies import NOTHING, Found, body_of
from timetracer_otel_exporter_json._files import SCHEMAS, loaded

__all__ = ["read"]

_NOTES_ALL_BODIES: Final = "httpx"
"""The library for which a request without a hash is one without a body. For the others, timetracer passes over forms
of files and bodies that are false in Python."""
_MAY_HAVE_BODY: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_NO_BODY_STATUSES: Final = frozenset({204, 304})
_ABSOLUTE: Final = re.compile(r"https?://[^/]", re.IGNORECASE)
_IN_PATHS: Final = "/%:@!$&'()*+,;=~[]"
"""Characters that a client leaves as they are (RFC 3986 section 3.3). Those that encode others among them."""
_WHY_NOT: Final = {
    EventType.DB_QUERY: "timetracer keeps neither the statement nor its rows",
    EventType.REDIS: "timetracer keeps a reply as text, whatever its type, and its arguments as a hash",
    EventType.CUSTOM: "timetracer keeps no value of a plugin's own",
}


def read(data: bytes) -> Imported:
    """A cassette of a file's events, in the order in which they began.

    Raises:
        CassetteError: The file is none of timetracer, or of another schema, or something in it is none.
    """
    try:
        content = loaded(data)
    except ValueError as fault:
        raise CassetteError(f"The file is no cassette of timetracer: {fault}. Record it again.") from fault
    schema = content["schema_version"]
    if schema not in SCHEMAS:
        raise CassetteError(
            f"The file is a cassette of timetracer of schema {schema!r}, and only {' and '.join(SCHEMAS)} are read. "
            "Record it with timetracer-otel."
        )
    notes: list[str] = []
    try:
        events = [_event(number, event, notes) for number, event in enumerate(_in_order(content["events"]), 1)]
        return Imported(_cassette(content, events), tuple(notes))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as fault:
        raise CassetteError(
            f"The file is no cassette of timetracer: {type(fault).__name__}: {fault}. Record it again."
        ) from fault


def _in_order(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As they began. timetracer has them as they ended."""
    return sorted(events, key=lambda event: _ms(event["start_offset_ms"]))


def _event(eid: int, event: dict[str, Any], notes: list[str]) -> DependencyEvent:
    kind, signature = EventType(event["type"]), event["signature"]
    result: dict[str, Any] = event.get("result") or {}
    if kind is EventType.HTTP_CLIENT:
        made, said = _http(event, signature, result)
        made = replace(made, eid=eid)
    else:
        said = []
        made = DependencyEvent(
            eid=eid,
            event_type=kind,
            start_offset_ms=_ms(event["start_offset_ms"]),
            duration_ms=_ms(event["duration_ms"]),
            signature=EventSignature(str(signature["lib"]), str(signature["method"]), _text(signature.get("url"))),
            result=EventResult(),
            not_replayable=_WHY_NOT[kind],
        )
    if result.get("error") is not None or result.get("error_type") is not None:
        made.result.error, made.result.error_type = _text(result.get("error")), _text(result.get("error_type"))
        made = replace(made, not_replayable="timetracer keeps the name and the text of an error, and no exception")
    where = f"#{eid} {made.signature.method} {(made.signature.url or '')[:200]}"
    if made.not_replayable is not None:
        notes.append(f"{where} cannot be replayed: {made.not_replayable}")
    notes += [f"{where}: {line}" for line in said]
    return made


def _http(
    event: dict[str, Any], signature: dict[str, Any], result: dict[str, Any]
) -> tuple[DependencyEvent, list[str]]:
    method, url = str(signature["method"]), str(signature.get("url") or "")
    status = int(result["status"]) if result.get("status") is not None else None
    headers = _lines(result.get("headers") or {})
    body = body_of(result["body"]) if result.get("body") else _unnoted_body(signature["lib"], method, status, headers)
    said = []
    if body.missing is None and not body.is_exact:
        said.append("the JSON of its answer is written anew: its spacing, or its escapes, were not kept")
    headers, data, _ = encoded_again(body.data, headers, method=method, status=status or 0)
    call = HttpCall(
        method=method,
        url=_as_sent(url, signature.get("query") or {}),
        status=status,
        headers=headers,
        body=data,
        start_ms=_ms(event["start_offset_ms"]),
        head_ms=_ms(event["duration_ms"]),
        duration_ms=_ms(event["duration_ms"]),
        not_replayable=_why_not(method, url, status, signature, body),
    )
    return call.event(0), said


def _why_not(method: str, url: str, status: int | None, signature: dict[str, Any], body: Found) -> str | None:
    """What the file has lost of a call that a replay would need."""
    if _ABSOLUTE.match(url) is None:
        return "timetracer kept no whole address of it"
    if signature.get("body_hash") is not None:
        return "timetracer keeps a hash of a request's body, and no body to compare"
    if signature["lib"] != _NOTES_ALL_BODIES and method in _MAY_HAVE_BODY:
        return "timetracer does not note of each request whether it had a body"
    if status is None:
        return "timetracer kept no answer"
    return f"the body of its answer {body.missing}" if body.missing is not None else None


def _unnoted_body(lib: Any, method: str, status: int | None, headers: HeaderPairs) -> Found:
    """A body of which the file has nothing: an empty one, or one that httpx read as a stream."""
    is_empty = method == "HEAD" or status in _NO_BODY_STATUSES or HeaderMap(headers).get("content-length") == "0"
    if is_empty or lib != _NOTES_ALL_BODIES:
        return NOTHING
    return Found(missing="was empty or a stream, which timetracer does not tell apart")


def _as_sent(url: str, query: Mapping[str, Any]) -> str:
    """An address as a client sends it. For requests and aiohttp it stands in the file as the app gave it."""
    parts, query_text = urlsplit(url), urlencode(list(_parameters(query)))
    return f"{parts.scheme}://{parts.netloc}{quote(parts.path, safe=_IN_PATHS)}" + (f"?{query_text}" if query else "")


def _parameters(query: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in query.items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None:  # requests sends no such parameter.
                yield name, str(item)


def _cassette(content: dict[str, Any], events: list[DependencyEvent]) -> Cassette:
    session, request = content["session"], content.get("request") or {}
    response: dict[str, Any] = content.get("response") or {}
    maker = session.get("timetracer_version") or session.get("timetrace_version") or ""
    made = imported_cassette((), _moment(session["recorded_at"]), f"timetracer {maker}".strip())
    duration_ms = max([_ms(response.get("duration_ms", 0.0)), *(event.end_offset_ms for event in events)])
    return replace(
        made,
        session=_session(made.session, session),
        request=RequestSnapshot(
            method=str(request.get("method", "")),
            path=str(request.get("path", "")),
            route_template=_text(request.get("route_template")),
            headers=HeaderMap(_lines(request.get("headers") or {})),
            query={str(name): str(value) for name, value in (request.get("query") or {}).items()},
            body=_snapshot(request),
            client_ip=_text(request.get("client_ip")),
            user_agent=_text(request.get("user_agent")),
        ),
        response=ResponseSnapshot(
            status=int(response.get("status", 0)),
            headers=HeaderMap(_lines(response.get("headers") or {})),
            body=_snapshot(response),
            duration_ms=_ms(response.get("duration_ms", 0.0)),
        ),
        events=events,
        stats=CaptureStats.of(events, duration_ms, {}),
    )


def _session(made: SessionMeta, session: dict[str, Any]) -> SessionMeta:
    try:
        made = replace(made, id=uuid.UUID(str(session["id"])).hex)
    except ValueError:
        pass  # Another tool wrote it. It has a new one.
    return replace(
        made,
        service=str(session.get("service") or made.service),
        env=str(session.get("env") or ""),
        python_version=str(session.get("python_version") or ""),
        git_sha=_text(session.get("git_sha")),
    )


def _snapshot(message: dict[str, Any]) -> BodySnapshot | None:
    """The body of the request that came in, or of its response. Redacted JSON is not the body that it was."""
    if not message.get("body"):
        return None
    found = body_of(message["body"])
    if found.missing is not None or not found.is_exact:
        return BodySnapshot(False, size_bytes=found.size_bytes)
    return BodySnapshot(True, "bytes", found.data, size_bytes=len(found.data), chunks=((0.0, len(found.data)),))


def _lines(headers: Mapping[str, Any]) -> HeaderPairs:
    return tuple((_header(name), _header(value)) for name, value in headers.items())


def _header(value: Any) -> bytes:
    return str(value).encode("utf-8", "surrogatepass")


def _moment(text: Any) -> str:
    # Before Python 3.11, fromisoformat knows no Z.
    return utc_text(datetime.fromisoformat(re.sub(r"Z$", "+00:00", str(text))))


def _ms(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value) or value < 0:
        raise ValueError(f"{value!r} is no number of milliseconds")
    return float(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
