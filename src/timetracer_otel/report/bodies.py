"""Bodies for people: content encodings undone, text as text, anything else as a hexdump."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from timetracer_otel.constants import BodyEnd
from timetracer_otel.redact.content_encoding import decode_body as undo_content_encoding
from timetracer_otel.redact.redactor import content_headers, multipart_boundary
from timetracer_otel.redact.splice import MIXED, mixed_parts
from timetracer_otel.report.tables import format_size, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from timetracer_otel.types import BodySnapshot

__all__ = ["DecodedBody", "as_text", "body_lines", "decode_body", "hexdump", "part_lines"]

_SHOWN_HEX_BYTES = 512
_END_TEXTS = {
    BodyEnd.CLOSED: "closed by the app before its end",
    BodyEnd.FAILED: "ended by an error",
    BodyEnd.CANCELLED: "cancelled by the app",
    BodyEnd.CUT: "cut: the recording ended while the app was still reading",
}


_CHARSET = re.compile(
    r"utf-?8|utf-(?:16|32)(?:[bl]e|-[bl]e)?|(?:us-)?ascii|latin-?1|iso-?8859-(?:[1-9]|1[013456])|(?:windows|cp)-?125[0-8]"
    r"|(?:windows|cp)-?(?:437|850|852|866|874)|koi8-[ru]|shift[_-]?jis|euc-?(?:jp|kr)|iso-2022-jp|gbk|gb2312|gb18030"
    r"|big5(?:-?hkscs)?|mac-?roman|tis-620"
)
"""The charsets that bodies are read in. Python knows other codecs as well: some take for ever, and to look any name
up would import a module of that name."""


@dataclass(frozen=True, slots=True)
class DecodedBody:
    """A body with its content encodings undone, as far as they could be."""

    data: bytes
    encodings: tuple[str, ...]
    """The encodings that were undone, in the order of the ``Content-Encoding`` header."""
    problem: str | None = None
    """Why ``data`` is still encoded."""


def decode_body(data: bytes, headers: Mapping[str, str]) -> DecodedBody:
    """Undo the content encodings that the headers name (gzip, deflate, and br and zstd where a decoder is installed).

    Args:
        data: The bytes as they were sent. Of a body that breaks off, what can be decoded is decoded.
        headers: By lower-case name, as in `timetracer_otel.types.HeaderMap`.

    Never raises for bad data: ``problem`` says that it could not be decoded, and ``data`` is then what was given.
    """
    named = [name.strip().lower() for name in headers.get("content-encoding", "").split(",")]
    encodings = tuple(name for name in named if name not in {"", "identity"})
    if not encodings or not data:
        return DecodedBody(data, ())
    decoded = undo_content_encoding(data, ",".join(encodings))
    if decoded is None:
        return DecodedBody(data, (), f"could not be decoded from {printable(', '.join(encodings))}")
    return DecodedBody(decoded, encodings)


def charset_of(headers: Mapping[str, str]) -> str | None:
    """The charset that ``Content-Type`` names, if it is one that bodies are written in."""
    for part in headers.get("content-type", "").split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip("\"'").lower()
            return charset if _CHARSET.fullmatch(charset) else None
    return None


def as_text(data: bytes, headers: Mapping[str, str]) -> str | None:
    """The data as text; None if it is not text in the charset of the headers (UTF-8 where they name none)."""
    charset = charset_of(headers) or "utf-8"
    try:
        text = data.decode(charset)
    except (UnicodeError, LookupError):
        return None
    return None if any(ord(char) < 32 and char not in "\t\n\r\f\x1b" for char in text) else text


def body_lines(body: BodySnapshot | None, headers: Mapping[str, str], pretty: bool = True) -> list[str]:
    """A body for the terminal: a line about it, then its text (JSON indented) or a hexdump."""
    if body is None or (not body.captured and not body.size_bytes):
        return ["(no body)"]
    if not body.captured:
        return [f"(body not kept: {format_size(body.size_bytes)}{_hash_text(body)})"]
    if not isinstance(body.data, bytes):
        return [_about(body, ()), *_value_lines(body.data)]
    decoded = decode_body(body.data, headers)
    about = _about(body, decoded.encodings) + (f"; {decoded.problem}" if decoded.problem else "")
    if not decoded.data:
        return [about]
    parts = part_lines(decoded.data, headers)
    return [about, *(_content_lines(decoded.data, headers, pretty) if parts is None else parts)]


def _content_lines(data: bytes, headers: Mapping[str, str], pretty: bool) -> list[str]:
    text = as_text(data, headers)
    if text is None:
        return hexdump(data)
    return _text_lines(text, pretty and "json" in headers.get("content-type", ""))


def part_lines(data: bytes, headers: Mapping[str, str]) -> list[str] | None:
    """A ``multipart/mixed`` body, each part by itself: one may be text, and the next one not. None for other bodies.

    Args:
        data: The body, decoded.
        headers: By lower-case name.
    """
    content_type = headers.get("content-type", "").encode("latin-1", "replace")
    boundary = multipart_boundary(content_type)
    if not boundary or content_type.partition(b";")[0].strip().lower() != MIXED:
        return None
    return [*_lines_of_parts(data, boundary)] or None


def _lines_of_parts(data: bytes, boundary: bytes) -> Iterator[str]:
    for number, part in enumerate(mixed_parts(data, boundary), 1):
        yield f"part {number}:"
        for name, value in part.lines:
            yield f"  {printable(_shown(name))}: {printable(_shown(value))}"
        content = data[part.start : part.stop]
        kind = {"content-type": content_headers(part.lines)[0].decode("latin-1")}
        yield from (f"  | {line}" for line in (_content_lines(content, kind, pretty=False) if content else ()))


def _shown(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")


def _about(body: BodySnapshot, encodings: tuple[str, ...]) -> str:
    size = body.size_bytes if body.size_bytes is not None else _length(body.data)
    notes = [format_size(size)] if size is not None else []
    if encodings:
        notes.append(f"decoded from {', '.join(encodings)}")
    if len(body.chunks) > 1:
        notes.append(f"{len(body.chunks)} chunks, {body.chunks[0][0]:.1f} to {body.chunks[-1][0]:.1f} ms")
    if body.end is not BodyEnd.COMPLETE:
        notes.append(_END_TEXTS[body.end])
    if body.truncated:
        notes.append("truncated")
    return f"({'; '.join(notes)})" if notes else "(body)"


def _hash_text(body: BodySnapshot) -> str:
    return f", SHA-256 {body.hash}" if body.hash else ""


def _length(data: Any) -> int | None:
    return len(data) if isinstance(data, (bytes, str)) else None


def _value_lines(value: Any) -> list[str]:
    if value is None:
        return []
    return _text_lines(value, False) if isinstance(value, str) else [printable(repr(value))]


def _text_lines(text: str, is_json: bool) -> list[str]:
    if is_json:
        try:
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            pass  # The headers say JSON, but the text is none. It is shown as it is.
    return [printable(line.replace("\t", "    ")) for line in text.splitlines()]


def hexdump(data: bytes, limit: int = _SHOWN_HEX_BYTES, offset: int = 0) -> list[str]:
    """Lines of an offset, sixteen bytes and their ASCII. A last line says how much was left out.

    Args:
        data: The bytes to show.
        limit: How many bytes are shown at most.
        offset: The offset that the first byte has in the whole body.
    """
    lines = []
    for start in range(0, min(len(data), limit), 16):
        row = data[start : min(start + 16, limit)]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{offset + start:08x}  {row.hex(' '):<47}  {text}")
    if len(data) > limit:
        lines.append(f"… {format_size(len(data) - limit)} more")
    return lines
