"""An answer with other values in the places of some of its own: in bodies, headers, rows, replies and errors.

Types stay as they are, and so do the boundaries of a body's chunks. A length that the headers state follows the body.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from timetracer_otel.match.leaves import mapped
from timetracer_otel.match.values import Piece, Value, replaced
from timetracer_otel.redact.content_encoding import decode_body, known_encodings
from timetracer_otel.redact.redactor import content_headers, edited_body, headers_like
from timetracer_otel.redact.splice import Edit
from timetracer_otel.redact.stated import restated
from timetracer_otel.types import BodySnapshot, EventResult, HeaderPairs, header_pairs

__all__ = ["renamed"]

Parse = Callable[[str], Sequence[Piece]]
Other = Callable[[Value], "str | None"]

_SERVERS_OWN = frozenset({b"date"})


def renamed(result: EventResult, parse: Parse, other: Other) -> EventResult:
    """An answer with other values; the same object where it holds none of those.

    Args:
        result: The answer of an event.
        parse: Takes a text apart.
        other: The value to put in the place of one; None where that stays.
    """

    def change(text: str) -> str:
        return replaced(parse(text), other)

    lines = header_pairs(result.headers)
    body = _body(result.body, lines, parse, other)
    changed: dict[str, Any] = {
        "body": body,
        "headers": _headers(result.headers, lines, change, (result.body, body)),
        "reply": mapped(result.reply, change),
        "error": mapped(result.error, change),
        "exception": mapped(result.exception, change),
    }
    if all(new is getattr(result, name) for name, new in changed.items()):
        return result
    return replace(result, **changed)


def _headers(
    headers: Any,
    lines: HeaderPairs,
    change: Callable[[str], str],
    bodies: tuple[BodySnapshot | None, BodySnapshot | None],
) -> Any:
    before, now = bodies
    made = [*lines]
    if before is not None and now is not None and now is not before:
        made = [*restated(lines, before.size_bytes, before.data, now.data)]
    made = [
        (name, value if name.lower() in _SERVERS_OWN else change(value.decode("latin-1")).encode("latin-1"))
        for name, value in made
    ]
    return headers if made == [*lines] else headers_like(headers, made)


def _body(body: BodySnapshot | None, lines: HeaderPairs, parse: Parse, other: Other) -> BodySnapshot | None:
    if body is None:
        return None
    error = mapped(body.error, lambda text: replaced(parse(text), other))
    if not isinstance(body.data, bytes):
        data = mapped(body.data, lambda text: replaced(parse(text), other))
        return body if data is body.data and error is body.error else replace(body, data=data, error=error)
    encoding = known_encodings(content_headers(lines)[1].decode("latin-1"))
    plain = decode_body(body.data, encoding) if encoding else body.data
    edits = list(_edits(parse((plain or b"").decode("latin-1")), other))
    if plain is None or not edits:
        return body if error is body.error else replace(body, error=error)
    made = edited_body(body.data, plain, encoding, edits, [size for _, size in body.chunks])
    chunks = tuple((at_ms, size) for (at_ms, _), size in zip(body.chunks, made.sizes, strict=False))
    return replace(body, data=made.data, chunks=chunks, error=error, size_bytes=len(made.data))


def _edits(pieces: Sequence[Piece], other: Other) -> list[Edit]:
    edits = []
    position = 0
    for piece in pieces:
        raw = piece if isinstance(piece, str) else piece.raw
        if not isinstance(piece, str):
            text = replaced((piece,), other)
            if text != raw:
                edits.append(Edit(position, position + len(raw), text.encode("latin-1")))
        position += len(raw)
    return edits
