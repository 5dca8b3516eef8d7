"""A HAR file as a cassette: what browsers, proxies and this distribution write."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from timetracer_otel.exceptions import CassetteError
from timetracer_otel.exchange import HttpCall, Imported, charset_of, encoded_again, imported_cassette, utc_text
from timetracer_otel.types import HeaderMap, HeaderPairs

__all__ = ["read", "recognises"]

_VERSIONS: Final = {
    "h2": "HTTP/2",
    "h3": "HTTP/3",
    "http/2.0": "HTTP/2",
    "http/3.0": "HTTP/3",
    "http/1.0": "HTTP/1.0",
}
"""By what tools write, in lower case. The specification names no values."""
_BEFORE_ANSWER: Final = ("blocked", "dns", "connect", "send", "wait")
"""The timings before the answer's first byte. ``ssl`` is within ``connect``."""
_UPGRADED: Final = 101


def recognises(data: bytes) -> bool:
    """Whether a file is JSON with a ``log`` that has ``entries``."""
    try:
        log = json.loads(data).get("log")
    except (ValueError, AttributeError, RecursionError):
        return False
    return isinstance(log, dict) and isinstance(log.get("entries"), list)


def read(data: bytes) -> Imported:
    """A cassette of a HAR file's entries, in order of start.

    Raises:
        CassetteError: The file is no HAR, or an entry lacks what the specification asks for.
    """
    if not recognises(data):
        raise CassetteError("The file is no HAR: it has no log with entries. Export it again as HAR 1.2.")
    log = json.loads(data)["log"]
    calls: list[tuple[datetime, HttpCall]] = []
    notes: list[str] = []
    for number, entry in enumerate(log["entries"]):
        try:
            began, call, said = _call(entry)
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise CassetteError(
                f"log.entries[{number}] is none of HAR 1.2: {type(fault).__name__}: {fault}. Export the file again."
            ) from fault
        where = f"log.entries[{number}] {call.method} {call.url[:200]}"
        if urlsplit(call.url).scheme.lower() not in {"http", "https"}:
            notes.append(f"{where} is left out: it is no HTTP")
            continue
        calls.append((began, call))
        if call.not_replayable is not None:
            notes.append(f"{where} cannot be replayed: {call.not_replayable}")
        notes += [f"{where}: {line}" for line in said]
    calls.sort(key=lambda pair: pair[0])
    first = calls[0][0] if calls else datetime.now(timezone.utc)
    placed = [replace(call, start_ms=(began - first).total_seconds() * 1000) for began, call in calls]
    return Imported(imported_cassette(placed, utc_text(first), _creator(log)), tuple(notes))


def _creator(log: dict[str, Any]) -> str:
    creator = log.get("creator")
    named = creator if isinstance(creator, dict) else {}
    return " ".join(str(named[key]) for key in ("name", "version") if named.get(key)) or "HAR"


def _call(entry: dict[str, Any]) -> tuple[datetime, HttpCall, list[str]]:
    request, response = entry["request"], entry["response"]
    method, status = str(request["method"]), int(response["status"])
    sent, why_not_sent = _sent(request)
    received, why_not_received = _received(response)
    headers, body, changed = encoded_again(received, _lines(response["headers"]), method=method, status=status)
    duration_ms = max(float(entry.get("time") or 0.0), 0.0)
    call = HttpCall(
        method=method,
        url=str(request["url"]).partition("#")[0],
        status=status or None,
        reason=str(response.get("statusText") or ""),
        http_version=_version(str(response.get("httpVersion") or "")),
        request_headers=_lines(request["headers"]),
        request_body=sent,
        headers=headers,
        body=body,
        head_ms=min(_head_ms(entry.get("timings") or {}), duration_ms),
        duration_ms=duration_ms,
        not_replayable=_why(entry, response, status) or why_not_sent or why_not_received,
    )
    return _began(str(entry["startedDateTime"])), call, [changed] if changed is not None else []


def _why(entry: dict[str, Any], response: dict[str, Any], status: int) -> str | None:
    """Why no replay can answer from an entry; None where nothing of this kind is in the way."""
    if isinstance(entry.get("_notReplayable"), str):
        reason: str = entry["_notReplayable"]
        return reason
    if not status:
        error = response.get("_error")
        return f"no answer came{f' ({error})' if error else ''}, and HAR does not hold errors"
    if status == _UPGRADED:
        return "the connection was upgraded to another protocol, which HAR does not hold"
    return None


def _began(text: str) -> datetime:
    # Python 3.10 reads neither the Z nor fractions of other lengths than 3 and 6.
    text = text.strip().replace("Z", "+00:00").replace("z", "+00:00")
    main, dot, rest = text.partition(".")
    if dot:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        text = f"{main}.{digits[:6]:0<6}{rest[len(digits) :]}"
    began = datetime.fromisoformat(text)
    return began if began.tzinfo is not None else began.replace(tzinfo=timezone.utc)


def _version(text: str) -> str:
    lowered = text.lower()
    return _VERSIONS.get(lowered, "HTTP/1.1" if lowered in {"", "unknown"} else text.upper())


def _head_ms(timings: dict[str, Any]) -> float:
    return sum(max(float(timings.get(name) or 0.0), 0.0) for name in _BEFORE_ANSWER)


def _lines(headers: list[dict[str, Any]]) -> HeaderPairs:
    """Header lines. Pseudo-headers of HTTP/2 (RFC 9113 section 8.3) say what stands in the method, URL and status.

    Chromium joins the lines of one name, such as ``Set-Cookie``, by line feeds.
    """
    return tuple(
        (_bytes(str(header["name"])), _bytes(value.strip("\r")))
        for header in headers
        if not str(header["name"]).startswith(":")
        for value in str(header["value"]).split("\n")
    )


def _bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _sent(request: dict[str, Any]) -> tuple[bytes, str | None]:
    """The body of a request, and why it is not known."""
    posted = request.get("postData")
    if not isinstance(posted, dict):
        size = request.get("bodySize")
        lost = isinstance(size, int) and size > 0
        return b"", f"its request had a body of {size} bytes, which the HAR does not hold" if lost else None
    text, kind = posted.get("text"), str(posted.get("mimeType") or "")
    if isinstance(text, str) and text:
        if "base64" in (posted.get("_encoding"), posted.get("encoding")):
            return _from_base64(text), None
        return _encoded(text, kind), None
    params = posted.get("params")
    if not params:
        return b"", None
    if kind.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        return urlencode([(str(one["name"]), str(one.get("value") or "")) for one in params]).encode(), None
    return b"", "the HAR holds the fields of its request's body, and not their bytes"


def _received(response: dict[str, Any]) -> tuple[bytes, str | None]:
    """The decoded body of an answer, and why it is not known."""
    content = response["content"]
    text, size = content.get("text"), content.get("size")
    if isinstance(text, str) and text:
        if content.get("encoding") == "base64":
            return _from_base64(text), None
        kind = HeaderMap(_lines(response["headers"])).get("content-type", str(content.get("mimeType") or ""))
        return _encoded(text, kind), None
    if isinstance(size, int) and size > 0:
        return b"", f"its answer had a body of {size} bytes, which the HAR does not hold"
    comment = content.get("comment")
    return b"", f"its answer: {comment}" if isinstance(comment, str) and "not kept" in comment else None


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=False)
    except binascii.Error as fault:
        raise ValueError(f"a body is no base64 ({fault})") from fault


def _encoded(text: str, content_type: str) -> bytes:
    """Text as bytes in the charset that its headers name; in UTF-8 where they name none or the text does not fit."""
    try:
        return text.encode(charset_of(content_type))
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
