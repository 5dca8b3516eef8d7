"""The content of a body, apart from how it was compressed or split into parts this time."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from timetracer_otel.match.trace_context import untraced_bytes, untraced_form
from timetracer_otel.redact.content_encoding import decode_body, known_encodings
from timetracer_otel.redact.redactor import content_headers, multipart_boundary
from timetracer_otel.redact.urls import values_by_name
from timetracer_otel.types import HeaderPairs

__all__ = ["body_value", "is_form", "plain_body", "plain_content"]

_FORM = b"application/x-www-form-urlencoded"


def plain_body(data: bytes, headers: HeaderPairs) -> bytes:
    """The bytes by which a body is compared, as `plain_content` gives them, from all headers."""
    return plain_content(data, *content_headers(headers))


def plain_content(data: bytes, content_type: bytes, encoding: bytes) -> bytes:
    """The bytes by which a body is compared.

    Compressing the same content twice gives different bytes, as gzip holds a time. So the known encodings are
    decoded. Clients make up the boundary of multipart parts at random. So it is replaced by a fixed one. Trace
    context that the app has written into the body is cut out.
    """
    if encoding:
        data = decode_body(data, known_encodings(encoding.decode("latin-1"))) or data
    if content_type[:10].lower() == b"multipart/":
        boundary = multipart_boundary(content_type)
        if boundary:
            data = data.replace(b"--" + boundary, b"--boundary")
    return untraced_form(data) if content_type and _is_form(content_type) else untraced_bytes(data)


def is_form(headers: HeaderPairs) -> bool:
    """Whether the headers say that the body is an URL-encoded form."""
    return _is_form(content_headers(headers)[0])


def _is_form(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == _FORM


def body_value(plain: bytes, headers: HeaderPairs) -> Any:
    """A `plain_body` as a value that can be compared item by item: parsed JSON, a form's fields by name, or bytes."""
    if is_form(headers):
        try:
            pairs = parse_qsl(plain.decode(), keep_blank_values=True, strict_parsing=True, errors="backslashreplace")
        except ValueError:
            return plain
        return values_by_name(pairs)
    try:
        return json.loads(plain)
    except (ValueError, RecursionError):
        return plain
