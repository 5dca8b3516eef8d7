"""One HTTP call as a HAR entry. Section numbers are those of the HAR 1.2 specification's headings."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from timetracer_otel.exceptions import CassetteError
from timetracer_otel.exchange import HttpCall
from timetracer_otel.report import as_text, decode_body
from timetracer_otel.types import BodySnapshot, header_pairs
from timetracer_otel_exporter_har._cookies import request_cookies, response_cookies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from timetracer_otel.types import DependencyEvent

__all__ = ["entry", "started_at"]

_UNKNOWN = -1
"""What HAR writes for sizes and times that are not known."""


def started_at(recorded_at: str, offset_ms: float) -> str:
    """When something began, in ISO 8601 with the zone (``startedDateTime``).

    Raises:
        CassetteError: The cassette does not tell: its time is none.
    """
    try:
        began = datetime.fromisoformat(recorded_at.replace("Z", "+00:00")) + timedelta(milliseconds=offset_ms)
    except (ValueError, OverflowError) as fault:
        raise CassetteError(
            f"recorded_at is {recorded_at!r}: no time that HAR could say ({fault}). Record again."
        ) from fault
    return began.isoformat()


def entry(event: DependencyEvent, recorded_at: str, page: str | None) -> dict[str, Any]:
    """One entry (``entries``).

    Args:
        event: An HTTP call.
        recorded_at: When the recording began, in ISO 8601.
        page: Id of the page it belongs to, if there is one.
    """
    timings = _timings(event)
    made: dict[str, Any] = {
        "startedDateTime": started_at(recorded_at, event.start_offset_ms),
        "time": sum(part for part in timings.values() if part != _UNKNOWN),
        "request": _request(event),
        "response": _response(event),
        "cache": {},
        "timings": timings,
    }
    if page is not None:
        made["pageref"] = page
    if event.not_replayable is not None:
        made["_notReplayable"] = event.not_replayable
    return made


def _timings(event: DependencyEvent) -> dict[str, float]:
    wait = HttpCall.of(event).head_ms
    return {
        "blocked": _UNKNOWN,
        "dns": _UNKNOWN,
        "connect": _UNKNOWN,
        "send": 0.0,
        "wait": wait,
        "receive": event.duration_ms - wait,
        "ssl": _UNKNOWN,
    }


def _request(event: DependencyEvent) -> dict[str, Any]:
    call = HttpCall.of(event)
    headers = event.call.headers if event.call is not None else {}
    body = event.call.body if event.call is not None else None
    made: dict[str, Any] = {
        "method": call.method,
        "url": call.url,
        "httpVersion": call.http_version or "unknown",
        "cookies": request_cookies(headers.get("cookie", "")),
        "headers": _headers(headers),
        "queryString": [{"name": name, "value": value} for name, value in _query(call.url)],
        "headersSize": _UNKNOWN,
        "bodySize": _wire_size(body),
    }
    if body is not None and isinstance(body.data, bytes) and body.data:
        made["postData"] = _post_data(body.data, headers)
    return made


def _query(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).query, keep_blank_values=True, errors="surrogatepass")


def _post_data(data: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    mime_type = headers.get("content-type", "")
    text = None if headers.get("content-encoding") else as_text(data, headers)
    if text is None:
        # HAR 1.2 has no encoding for request bodies; a name of our own says how to read this one.
        return {"mimeType": mime_type, "text": base64.b64encode(data).decode("ascii"), "_encoding": "base64"}
    if mime_type.split(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        params = [{"name": name, "value": value} for name, value in parse_qsl(text, keep_blank_values=True)]
        return {"mimeType": mime_type, "params": params, "text": text}
    return {"mimeType": mime_type, "text": text}


def _response(event: DependencyEvent) -> dict[str, Any]:
    result, call = event.result, HttpCall.of(event)
    made: dict[str, Any] = {
        "status": result.status or 0,
        "statusText": call.reason,
        "httpVersion": call.http_version or "unknown",
        "cookies": response_cookies(result.headers),
        "headers": _headers(result.headers),
        "content": _content(result.body, result.headers),
        "redirectURL": result.headers.get("location", ""),
        "headersSize": _UNKNOWN,
        "bodySize": _wire_size(result.body),
    }
    if result.error is not None or result.error_type is not None:
        made["_error"] = ": ".join(part for part in (result.error_type, result.error) if part)
    if result.body is not None and len(result.body.chunks) > 1:
        made["_chunks"] = [[time_ms, size_bytes] for time_ms, size_bytes in result.body.chunks]
    return made


def _content(body: BodySnapshot | None, headers: Mapping[str, str]) -> dict[str, Any]:
    mime_type = headers.get("content-type", "x-unknown")
    if body is None or not isinstance(body.data, bytes):
        kept = body is None or not body.size_bytes
        return {"size": 0, "mimeType": mime_type} | ({} if kept else {"comment": "the body was not kept"})
    decoded = decode_body(body.data, headers)
    content: dict[str, Any] = {"size": len(decoded.data), "mimeType": mime_type}
    if decoded.encodings:
        content["compression"] = len(decoded.data) - len(body.data)
    text = as_text(decoded.data, headers)
    if text is not None:
        content["text"] = text
    else:
        content["text"] = base64.b64encode(decoded.data).decode("ascii")
        content["encoding"] = "base64"
    problem = decoded.problem or (f"the body is {body.end.value}" if body.end.value != "complete" else None)
    if problem:
        content["comment"] = problem
    return content


def _headers(headers: Mapping[str, str]) -> list[dict[str, str]]:
    return [
        {"name": name.decode("latin-1"), "value": value.decode("latin-1")} for name, value in header_pairs(headers)
    ]


def _wire_size(body: BodySnapshot | None) -> int:
    if body is None:
        return 0
    if isinstance(body.data, bytes):
        return len(body.data)
    return body.size_bytes if body.size_bytes is not None else _UNKNOWN
