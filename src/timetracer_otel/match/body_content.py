"""What a body says, apart from how it happened to be written down this time."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from timetracer_otel.redact.content_encoding import decode_body, known_encodings
from timetracer_otel.redact.redactor import content_headers, multipart_boundary
from timetracer_otel.redact.urls import values_by_name
from timetracer_otel.types import HeaderPairs

__all__ = ["body_value", "is_form", "plain_body", "plain_content"]

_FORM = b"application/x-www-form-urlencoded"


def plain_body(data: bytes, headers: HeaderPairs) -> bytes:
    """The bytes that make one body equal to another; as `plain_content`, which has what counts of the headers."""
    return plain_content(data, *content_headers(headers))


def plain_content(data: bytes, content_type: bytes, encoding: bytes) -> bytes:
    """The bytes that make one body equal to another.

    Compressing the same content twice gives other bytes (gzip holds a time), and the boundary of multipart parts is
    random in every client: the encodings that are known here are undone, and the boundary is replaced by a fixed one.
    """
    if encoding:
        data = decode_body(data, known_encodings(encoding.decode("latin-1"))) or data
    if content_type[:10].lower() == b"multipart/":
        boundary = multipart_boundary(content_type)
        if boundary:
            data = data.replace(b"--" + boundary, b"--boundary")
    return data


def is_form(headers: HeaderPairs) -> bool:
    """Whether a body is a form's fields."""
    return content_headers(headers)[0].partition(b";")[0].strip().lower() == _FORM


def body_value(plain: bytes, headers: HeaderPairs) -> Any:
    """A `plain_body` as what can be compared item by item: JSON, a form's fields by name, else the bytes."""
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
