"""The differences between a recorded answer and the present one: headers by name, bodies by content."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

from timetracer_otel.base.redaction_rules import json_path
from timetracer_otel.match.differences import Difference, value_differences
from timetracer_otel.match.rules import without
from timetracer_otel.report.bodies import as_text, decode_body, hexdump
from timetracer_otel.report.tables import format_size, printable
from timetracer_otel.types import HeaderMap

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["NO_JSON", "body_difference", "header_difference", "json_of"]

_MOST_LINES = 40
NO_JSON = object()
"""What `json_of` gives for a body that is no JSON."""


def header_difference(recorded: HeaderMap, now: HeaderMap, ignored: Collection[str] = ()) -> list[str]:
    """A line for each header name whose values differ, in the order of the recording.

    Several values of one name are compared in their order.

    Args:
        recorded: The recorded headers.
        now: The headers of the present answer.
        ignored: Names in lower case that are not compared.
    """
    lines = []
    for name in dict.fromkeys([*recorded, *now]):
        before, after = _values(recorded, name), _values(now, name)
        if name not in ignored and before != after:
            lines.append(f"header {printable(name)}: recorded {_listed(before)}, now {_listed(after)}")
    return lines


def body_difference(
    recorded: bytes, recorded_headers: HeaderMap, now: bytes, now_headers: HeaderMap, ignored: Iterable[str] = ()
) -> list[str]:
    """Lines on how two bodies differ; none where they are equal.

    Content encodings are undone first. JSON is compared by its content, path by path; other text line by line;
    anything else byte by byte.

    Args:
        recorded: The recorded body.
        recorded_headers: The recorded headers, for content type and encoding.
        now: The body of the present answer.
        now_headers: The headers of the present answer.
        ignored: JSON paths from ``$`` that are not compared.
    """
    if recorded == now and recorded_headers.get("content-encoding") == now_headers.get("content-encoding"):
        return []
    before, after = decode_body(recorded, recorded_headers).data, decode_body(now, now_headers).data
    if before == after:
        return []
    paths = [json_path(path) for path in ignored]
    values = [_json(data, headers, paths) for data, headers in ((before, recorded_headers), (after, now_headers))]
    if NO_JSON not in values:
        return _limited([_line(difference) for difference in value_differences("$", *values)])
    texts = as_text(before, recorded_headers), as_text(after, now_headers)
    if None not in texts:
        return _limited(_text_lines(texts[0] or "", texts[1] or ""))
    return _byte_lines(before, after)


def json_of(data: bytes, headers: HeaderMap) -> Any:
    """The value of a JSON body, whose content encodings are undone; `NO_JSON` for any other one."""
    return _json(decode_body(data, headers).data, headers, [])


def _json(data: bytes, headers: HeaderMap, paths: Sequence[tuple[str, ...]]) -> Any:
    if "json" not in headers.get("content-type", ""):
        return NO_JSON
    try:
        return without(json.loads(data), paths)
    except (ValueError, RecursionError):
        return NO_JSON


def _line(difference: Difference) -> str:
    return printable(f"body {difference}")


def _text_lines(before: str, after: str) -> list[str]:
    compared = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "recorded body", "body now", lineterm="", n=2
    )
    lines = [printable(line.replace("\t", "    ")) for line in compared]
    # Without a line that differs, the texts differ in their line ends alone.
    return lines or [f"body: recorded {format_size(len(before))}, now {format_size(len(after))}: line ends differ"]


def _byte_lines(before: bytes, after: bytes) -> list[str]:
    shorter = min(len(before), len(after))
    at = next((index for index in range(shorter) if before[index] != after[index]), shorter)
    start = at - at % 16
    lines = [f"body: recorded {format_size(len(before))}, now {format_size(len(after))}; differs from byte {at} on"]
    for sign, data in (("-", before), ("+", after)):
        lines += [f"{sign} {line}" for line in hexdump(data[start : start + 16], offset=start)]
    return lines


def _limited(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], f"… {more} more lines"] if more > 0 else lines


def _values(headers: HeaderMap, name: str) -> list[str]:
    # Space around a value is no part of it (RFC 9110 section 5.5).
    return [
        value.decode("latin-1").strip() for found, value in headers.pairs if found.decode("latin-1").lower() == name
    ]


def _listed(values: list[str]) -> str:
    return ", ".join(map(repr, values)) or "(none)"
