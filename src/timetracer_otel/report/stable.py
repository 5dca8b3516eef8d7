"""A cassette as text that is the same for recordings of the same: ``show --stable``, and ``git diff``.

Nothing of it depends on when the recording was made, by which release, or in which order calls ran at the same time.
Values that each run makes anew are numbered.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

from timetracer_otel.constants import BodyEnd, EventType
from timetracer_otel.match.sameness import PASSING_HEADERS, compared_reply
from timetracer_otel.match.values import TIME, Nested, Value, within
from timetracer_otel.match.variables import variables_of
from timetracer_otel.redact.forms import form_of
from timetracer_otel.report.as_json import json_value
from timetracer_otel.report.bodies import as_text, decode_body, part_lines
from timetracer_otel.report.tables import printable
from timetracer_otel.report.words import event_name, event_status, request_name
from timetracer_otel.types import RecordedError, header_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from timetracer_otel.match.variables import Variables
    from timetracer_otel.types import BodySnapshot, Cassette, DependencyEvent

__all__ = ["stable_lines"]

_OPEN, _CLOSE = "\ue000", "\ue001"
"""They stand around a value of a run, with its kind, until all are numbered. No text of a recording has them: they
are taken out of it."""
_MARKED: Final = re.compile(f"{_OPEN}(\\w+) ([^{_CLOSE}]*){_CLOSE}")
_LONGEST: Final = 1 << 16
"""Characters of a line that is searched for values of the run: that takes 2 us for each."""
_WIDTH: Final = 100
_OF_CONNECTION: Final = frozenset({"http_version", "reason_phrase", "version", "reason"})
"""What an HTTP answer says of how it was sent."""
_LINE_ENDS: Final = re.compile(r"\r\n|\r|\n")


def stable_lines(cassette: Cassette) -> list[str]:
    """Lines: the request that came in and its answer, and each call with its answer, sorted."""
    text = _Text(cassette)
    status = f" -> {cassette.response.status}" if cassette.response.status else ""
    head = [text.marked(request_name(cassette)) + status, f"  service {text.marked(cassette.session.service)}"]
    if cassette.error_info:
        head.append(f"  raised {text.marked(str(cassette.error_info.get('type')))}")
    if not cassette.complete:
        head.append("  its recorder died before the end")
    request, response = cassette.request, cassette.response
    head += text.part("request", request.headers, request.body)
    head += text.part("response", response.headers, response.body)
    blocks = sorted((text.block(event) for event in cassette.events), key=_in_order)
    numbered: dict[str, str] = {}
    counts: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        kind, value = found.groups()
        if kind == TIME:
            return f"<{TIME}>"
        if value not in numbered:
            counts[kind] = counts.get(kind, 0) + 1
            numbered[value] = f"<{kind} {counts[kind]}>"
        return numbered[value]

    lines = [line for block in [head, *blocks] for line in ("", *block)][1:]
    return [printable(_MARKED.sub(number, line)) for line in lines]


def _in_order(block: list[str]) -> list[str]:
    return [_MARKED.sub(r"<\1>", line) for line in block]


def _pretty(value: Any, before: str = "", indent: str = "", behind: str = "") -> Iterator[str]:
    """Lines of JSON, with keys in order. What is short and holds no container is one line, as a row of a table."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    is_flat = len(indent) + len(before) + len(text) <= _WIDTH and not any(isinstance(x, (dict, list)) for x in items)
    if is_flat or not items:
        yield f"{indent}{before}{text}{behind}"
        return
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    named = sorted(value.items()) if isinstance(value, dict) else [(None, item) for item in value]
    yield f"{indent}{before}{opening}"
    for at, (name, item) in enumerate(named, 1):
        label = "" if name is None else f"{json.dumps(name, ensure_ascii=False)}: "
        yield from _pretty(item, label, indent + "  ", "," if at < len(named) else "")
    yield f"{indent}{closing}{behind}"


class _Text:
    """Makes the lines of one cassette. Values of its run are marked in them."""

    def __init__(self, cassette: Cassette) -> None:
        self._variables: Variables = variables_of(cassette)

    def block(self, event: DependencyEvent) -> list[str]:
        """The lines of a call."""
        call, result = event.call, event.result
        args, reply = form_of(event.signature.lib).displayed(call.args if call is not None else None, result.reply)
        lines = [f"{self.marked(event_name(event))} -> {event_status(event)}"]
        if event.path:
            lines.append(f"  inside {self.marked(' > '.join(event.path))}")
        if event.not_replayable is not None:
            lines.append(f"  cannot be replayed: {self.marked(event.not_replayable)}")
        if call is not None:
            lines += self.part("request", call.headers, call.body, args)
        reply = compared_reply(reply)
        if event.event_type is EventType.HTTP_CLIENT and isinstance(reply, dict):
            reply = {name: item for name, item in reply.items() if name not in _OF_CONNECTION}
        lines += self.part("response", result.headers, result.body, reply)
        return lines + list(self._errors(result.exception))

    def part(self, name: str, headers: Mapping[str, str], body: BodySnapshot | None, value: Any = None) -> list[str]:
        """The lines of a request or a response; none where nothing is known of it."""
        lines = [*self._headers(headers), *self._value(value), *self._body(body, headers)]
        return [f"  {name}", *(f"    {line}" for line in lines)] if lines else []

    def marked(self, text: str) -> str:
        """A text with marks around the values of the run."""
        text = text.replace(_OPEN, "").replace(_CLOSE, "")
        if len(text) > _LONGEST:
            return text
        return "".join(map(self._mark, self._variables.parsed(text)))

    def _mark(self, piece: str | Value | Nested) -> str:
        if isinstance(piece, str):
            return piece
        if isinstance(piece, Nested):
            inner = "".join(map(self._mark, piece.pieces))
            return f"base64({inner})" if _OPEN in inner else piece.raw
        kind = self._variables.kind_of(piece)
        if kind is None and piece.instant is not None and within(piece.instant, self._variables.windows):
            kind = TIME
        return piece.raw if kind is None else f"{_OPEN}{kind} {piece.value}{_CLOSE}"

    def _headers(self, headers: Mapping[str, str]) -> Iterator[str]:
        lines = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in header_pairs(headers)]
        # Of equal names, the order says something.
        for name, value in sorted(lines, key=lambda line: line[0]):
            if name not in PASSING_HEADERS:
                yield self.marked(f"{name}: {value}")

    def _value(self, value: Any) -> Iterator[str]:
        """The arguments of a call, or what it replied: each field by its name."""
        if value in (None, {}):
            return
        plain = json_value(value)
        if not isinstance(value, dict) or not isinstance(plain, dict):
            yield from self._json(plain)
            return
        for name, item in sorted(plain.items()):
            yield from map(self.marked, _pretty(item, f"{name}: "))

    def _json(self, value: Any) -> Iterator[str]:
        yield from map(self.marked, _pretty(value))

    def _body(self, body: BodySnapshot | None, headers: Mapping[str, str]) -> Iterator[str]:
        if body is None or (not body.captured and not body.size_bytes):
            return
        if body.end is not BodyEnd.COMPLETE:
            yield f"(body {body.end.value})"
        if not body.captured:
            yield "(body not kept)"
        elif not isinstance(body.data, bytes):
            yield from self._value(body.data)
        else:
            yield from self._content(decode_body(body.data, headers).data, headers)

    def _content(self, data: bytes, headers: Mapping[str, str]) -> Iterator[str]:
        parts = part_lines(data, headers)
        if parts is not None:
            yield from map(self.marked, parts)
            return
        text = as_text(data, headers)
        if text is None:
            yield f"({len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()})"
            return
        if "json" in headers.get("content-type", ""):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                pass  # The headers say JSON, but the text is none. It is shown as it is.
            else:
                yield from self._json(value)
                return
        yield from map(self.marked, _LINE_ENDS.split(text) if text else ())

    def _errors(self, error: RecordedError | None) -> Iterable[str]:
        relation = "error"
        while error is not None:
            yield f"  {relation} {error.cls}: {self.marked(error.message)}"
            error, relation = error.cause, "caused by"
