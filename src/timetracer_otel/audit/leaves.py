"""The texts of a recording that may hold a secret, each with its place: bodies decoded, JSON and base64 unpacked."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from timetracer_otel.redact.content_encoding import PACKED, OpaqueError
from timetracer_otel.redact.nested import inflated
from timetracer_otel.redact.redactor import content_headers, first_reading, multipart_boundary
from timetracer_otel.redact.splice import multipart_parts
from timetracer_otel.types import (
    BodySnapshot,
    Cassette,
    DependencyEvent,
    RecordedError,
    RequestSnapshot,
    ResponseSnapshot,
    SpanFacts,
    header_pairs,
)

__all__ = ["Leaf", "leaves_of", "text_leaves"]


class Leaf(NamedTuple):
    """One text, or a number as its text."""

    event: int | None
    """The position of its event; None for what belongs to the recording as a whole."""
    place: str
    """``response.body:$.token``."""
    name: str
    """The name that it stands under; empty where there is none."""
    text: str


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its duplicates."""


_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_DATA: Final = re.compile(r"(?:data|event|id):[ ]?")
"""What stands before the content on a line of an event stream."""
_DEEPEST: Final = 60
_FORM: Final = b"application/x-www-form-urlencoded"
_SHORTEST_KEY: Final = 6


def leaves_of(cassette: Cassette) -> Iterator[Leaf]:
    """The leaves of a recording, in an order that only its form decides. A recording in which nothing but texts was
    replaced has as many, in the same order.
    """
    yield from _exchange(None, cassette.request, cassette.response)
    yield from _value(None, "error", "", cassette.error_info)
    yield from _value(None, "service", "service", [cassette.session.service, cassette.session.env])
    for log in cassette.logs:
        yield from _value(None, "log", "", [log.logger, log.message, log.error])
    for event in cassette.events:
        yield from _event(event)


def text_leaves(data: bytes, place: str = "") -> Iterator[Leaf]:
    """The leaves of a file that is no cassette, such as a report: its lines, and the JSON that they hold."""
    yield from _text(None, place, "", data.decode("utf-8", "surrogateescape"))


def _exchange(event: int | None, request: RequestSnapshot, response: ResponseSnapshot) -> Iterator[Leaf]:
    for name in ("path", "route_template", "target", "user_agent", "client_ip"):
        yield from _value(event, f"request.{name}", name, getattr(request, name))
    yield from _value(event, "request.query", "", request.query)
    yield from _part(event, "request", request.headers, request.body)
    yield from _part(event, "response", response.headers, response.body)


def _event(event: DependencyEvent) -> Iterator[Leaf]:
    number, signature, call, result = event.eid, event.signature, event.call, event.result
    yield from _value(number, "request.url", "url", signature.url)
    yield from _value(number, "request.query", "", signature.query)
    if call is not None:
        yield from _part(number, "request", call.headers, call.body)
        yield from _value(number, "request.args", "", call.args)
    yield from _part(number, "response", result.headers, result.body)
    yield from _value(number, "response.reply", "", result.reply)
    yield from _value(number, "error", "", [result.error, result.exception])
    yield from _value(number, "not_replayable", "", event.not_replayable)
    yield from _value(number, "path", "", list(event.path))
    for place, span in (("span", event.span), *((f"within[{at}]", one) for at, one in enumerate(event.within))):
        if span is not None:
            yield from _span(number, place, span)


def _span(event: int, place: str, span: SpanFacts) -> Iterator[Leaf]:
    yield from _value(event, f"{place}.name", "", span.name)
    yield from _value(event, f"{place}.status", "", span.status_description)
    yield from _value(event, f"{place}.attributes", "", span.attributes)


def _part(event: int | None, place: str, headers: Mapping[str, str], body: BodySnapshot | None) -> Iterator[Leaf]:
    pairs = header_pairs(headers)
    for raw_name, raw_value in pairs:
        name = raw_name.decode("latin-1").lower()
        yield from _text(event, f"{place}.headers.{name}", name, _decoded(raw_value))
    if body is None:
        return
    yield from _value(event, f"{place}.body.error", "", body.error)
    if not isinstance(body.data, bytes):
        yield from _value(event, f"{place}.body", "", body.data)
        return
    content_type, coding = content_headers(pairs)
    data = first_reading(body.data, coding.decode("latin-1")) or body.data
    if content_type.lower().startswith(_FORM):
        fields = parse_qsl(_decoded(data), keep_blank_values=True, errors="surrogateescape")
        for name, value in fields:
            yield from _text(event, f"{place}.body:{name}", name, value)
        return
    boundary = multipart_boundary(content_type)
    beside, position = b"", 0
    for number, part in enumerate(multipart_parts(data, boundary) if boundary else (), 1):
        content = data[part.start : part.stop]
        if content.startswith(PACKED):
            yield from _value(event, f"{place}.body part {number}", part.name, content)
            beside, position = beside + data[position : part.start], part.stop
    yield from _text(event, f"{place}.body", "", _decoded(beside + data[position:]))


def _value(event: int | None, place: str, name: str, value: Any, depth: int = 0) -> Iterator[Leaf]:
    if value is None or isinstance(value, bool):
        return
    if depth > _DEEPEST:
        yield Leaf(event, place, name, repr(value))
    elif isinstance(value, str):
        yield from _text(event, place, name, value, depth)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        try:
            content = inflated(data)
        except OpaqueError:
            content = None
        here = place if content is None else f"{place} (unpacked)"
        yield from _text(event, here, name, _decoded(data if content is None else content), depth)
    elif isinstance(value, _Pairs):
        for key, item in value:
            yield from _entry(event, place, key, item, depth)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _entry(event, place, key, item, depth)
    elif isinstance(value, (list, tuple)):
        for at, item in enumerate(value):
            yield from _value(event, f"{place}[{at}]", name, item, depth + 1)
    elif isinstance(value, (set, frozenset)):
        for item in sorted(value, key=repr):
            yield from _value(event, f"{place}[*]", name, item, depth + 1)
    elif isinstance(value, RecordedError):
        for part in ("message", "args", "attributes", "cause", "unfaithful"):
            yield from _value(event, f"{place}.{part}", "", getattr(value, part), depth + 1)
    else:
        yield Leaf(event, place, name, str(value))


def _entry(event: int | None, place: str, key: Any, item: Any, depth: int) -> Iterator[Leaf]:
    name = _decoded(key) if isinstance(key, bytes) else str(key)
    # A dot between names, and brackets around what is no name.
    here = f"{place}.{name}" if name.replace("_", "a").replace("-", "a").isalnum() else f"{place}[{name!r}]"
    if len(name) >= _SHORTEST_KEY:
        yield Leaf(event, f"{here} (its key)", "", name)
    yield from _value(event, here, name, item, depth + 1)


def _text(event: int | None, place: str, name: str, text: str, depth: int = 0) -> Iterator[Leaf]:
    if not text:
        return
    if text.lstrip()[:1] in ("{", "[") and depth < _DEEPEST:
        document = _document(text)
        if document is not None:
            yield from _value(event, f"{place}:$", name, document, depth + 1)
            return
    if "\n" in text and "-----BEGIN" not in text:
        for number, line in enumerate(text.splitlines(), 1):
            lead = _DATA.match(line)
            content = line[lead.end() :] if lead is not None else line
            if content.lstrip()[:1] in ("{", "["):
                yield from _text(event, f"{place} line {number}", name, content.strip(), depth + 1)
            elif line:
                yield Leaf(event, f"{place} line {number}", name, line)
        return
    if _BASE64.fullmatch(text) and depth < _DEEPEST:
        inner = _from_base64(text)
        if inner is not None:
            yield from _text(event, f"{place} (base64)", name, inner, depth + 1)
            return
    yield Leaf(event, place, name, text)


def _document(text: str) -> Any:
    try:
        found = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _from_base64(text: str) -> str | None:
    bare = text.rstrip("=")
    try:
        content = base64.b64decode(
            bare + "=" * (-len(bare) % 4), altchars=b"-_" if "-" in bare or "_" in bare else None, validate=True
        )
        found = content.decode("utf-8")
    except (ValueError, binascii.Error):
        return None
    return found if found.isprintable() or "\n" in found else None


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
