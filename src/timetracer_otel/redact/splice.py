"""Cutting secrets out of a body without touching a byte beside them.

A body is not parsed and written again: that would lose duplicate keys, number forms and white space. Instead, the
functions here find edits: places in the body, each with its new text.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import unquote_plus

from timetracer_otel.constants import REDACTED
from timetracer_otel.redact.content_encoding import PACKED

__all__ = [
    "MASK",
    "MIXED",
    "Edit",
    "JsonKeys",
    "Mixed",
    "Part",
    "Replacing",
    "apart",
    "apply_edits",
    "form_edits",
    "json_edits",
    "json_keys",
    "json_path_edits",
    "json_texts_in_base64",
    "json_texts_with_quotes",
    "json_values",
    "may_be_name_in_json",
    "may_have_packed_part",
    "mixed_parts",
    "move_boundaries",
    "multipart_parts",
    "xml_edits",
    "xml_patterns",
]

_REDACTED = REDACTED.encode()
# Each repetition matches a stretch of bytes and not one byte: the engine remembers a position for every repetition,
# and would use much memory for long strings.
_JSON_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_JSON_BRACKET_OR_STRING = re.compile(_JSON_STRING.pattern + rb"|[\[\]{}]", re.DOTALL)
_JSON_TOKEN = re.compile(_JSON_STRING.pattern + rb"|[\[\]{}:,]|[^\s\[\]{}:,\"]+", re.DOTALL)
_JSON_SCALAR = re.compile(rb"[^\s,\]}]*")
_COLON = re.compile(rb"\s*:")
_GIVEN = re.compile(rb"'(?:(?<=[=:]')|(?<=[=:][ \\]')|(?<=[=:](?:  | \\|\\\\)'))")
_IN_BASE64 = re.compile(rb'"[eWHQ/XKB][A-Za-z0-9+/_-]{8,}={0,2}"')
_JSON_HARMLESS = frozenset({b"null", b"true", b"false", b""})
_PART_TYPE = re.compile(rb"^content-type:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_PACKED_PART = re.compile(rb"\r\n\r\n(?:" + b"|".join(map(re.escape, PACKED)) + rb")")
_LOWER = bytes(range(256)).lower()
_NO_PART_OF_A_KEY = b" \t\n\r\f\v\0"
_SHORTEST_AS_IT_IS = 16 * 1024
"""Bytes. To squeeze a longer text takes more time than to pass over what stands beside its keys."""
_LETTERS = 4
"""How many letters of a key are looked at before the key is looked for: they pass over nearly all other keys."""
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""UTF-32 first: its little-endian mark begins with that of UTF-16."""
_WIDE = {
    b"\1\0\1\0": "utf-16-le",
    b"\0\1\0\1": "utf-16-be",
    b"\1\0\0\0": "utf-32-le",
    b"\0\0\0\1": "utf-32-be",
}
"""By which of the first four bytes are zero (0) and which are not (1)."""
_PART_NAME = re.compile(rb'\bname\*?="?([^";\r\n]*)', re.IGNORECASE)


class Edit(NamedTuple):
    """Replace the bytes from ``start`` to ``stop``."""

    start: int
    stop: int
    text: bytes

    @property
    def keeps_length(self) -> bool:
        """Whether what stands behind stays where it is."""
        return len(self.text) == self.stop - self.start


Place = TypeVar("Place", Edit, "tuple[int, int]")


def apart(places: Iterable[Place]) -> list[Place]:
    """Places in their order. Those that overlap become one place, with the text of the one that begins first (of
    these the longest): none of them stays in part.
    """
    kept: list[Place] = []
    for place in sorted(places, key=lambda one: (one[0], -one[1])):
        if not kept or place[0] >= kept[-1][1]:
            kept.append(place)
        elif place[1] > kept[-1][1]:
            kept[-1] = _longer(kept[-1], place[1])
    return kept


def _longer(place: Place, stop: int) -> Place:
    longer: Any = place._replace(stop=stop) if isinstance(place, Edit) else (place[0], stop)
    made: Place = longer
    return made


class Replacing(Protocol):
    """Says what takes the place of the value under a secret name. None: the value is no secret, and stays."""

    def in_json(self, data: bytes, start: int, stop: int, name: str) -> bytes | None:
        """For a JSON value, as the text between these places."""
        ...

    def in_form(self, value: bytes, name: str) -> bytes | None:
        """For the value of a form's field, with its escapes."""
        ...

    def in_part(self, value: bytes, name: str) -> bytes | None:
        """For the bytes of a part, with no escapes."""
        ...

    def in_xml(self, value: bytes, name: str) -> bytes | None:
        """For the text of an element or of an attribute, with its escapes."""
        ...


class _Mask:
    """The same text in the place of every secret."""

    def in_json(self, data: bytes, start: int, stop: int, name: str) -> bytes:
        return b'"' + _REDACTED + b'"'

    def in_form(self, value: bytes, name: str) -> bytes:
        return _REDACTED

    def in_part(self, value: bytes, name: str) -> bytes:
        return _REDACTED

    def in_xml(self, value: bytes, name: str) -> bytes:
        return _REDACTED


MASK: Replacing = _Mask()


class JsonKeys(NamedTuple):
    """Keys, and what finds them in JSON text in lower case."""

    names: frozenset[bytes]
    pattern: re.Pattern[bytes]
    """Finds these keys with their colons, and others that differ from one of them in the first letter."""
    from_behind: re.Pattern[bytes] | None
    """Finds these keys, and others that end in similar letters, in JSON text in lower case without spaces, which is
    turned around. None where a key is not written in ASCII, so that it may be encoded in several ways.
    """
    turned: frozenset[bytes]
    """These keys, each turned around, with the quote before it."""

    def may_be_in(self, data: bytes, squeezed: bytes | None = None) -> bool:
        """Whether one of these keys, or one of those besides, may be in JSON text in any encoding.

        Args:
            data: The text.
            squeezed: See `squeezed_json`; where the caller has it.
        """
        # Most quotes of JSON are no end of a key. Only those that are have a colon behind them, so a search that
        # begins with the colon stops at few of them.
        if self.from_behind is None:
            return True
        if squeezed is None and len(data) > _SHORTEST_AS_IT_IS:
            return _wide_encoding(data) != "" or _turned_keys(self.turned).search(data[::-1]) is not None
        if squeezed is None:
            squeezed = squeezed_json(data)
        return self.from_behind.search(squeezed[::-1]) is not None

    def search(self, lowered: bytes, start: int = 0) -> re.Match[bytes] | None:
        """The first of these keys."""
        found = self.pattern.search(lowered, start)
        while found is not None and self.name_of(found) not in self.names:
            found = self.pattern.search(lowered, found.start() + 1)
        return found

    def name_of(self, found: re.Match[bytes]) -> bytes:
        """The key that was found."""
        return found[0][1 : found[0].index(b'"', 1)]


def squeezed_json(data: bytes) -> bytes:
    """JSON text in any encoding that has ASCII in it, in lower case and without what may stand beside a key."""
    return data.translate(_LOWER, _NO_PART_OF_A_KEY)


def json_keys(names: Iterable[str], besides: Iterable[str] = ()) -> JsonKeys:
    """What finds any of these keys with its colon.

    Every body of a recording is searched, so speed counts: a tree of alternatives over text in lower case finds the
    same ten times as fast as a flat list of them without regard to case. Half of all quotes stand behind a text. One
    look at what may be the first letter passes over them, where each alternative of the tree would be tried.

    Args:
        names: The keys.
        besides: Other keys that `JsonKeys.may_be_in` tells of.
    """
    encoded = frozenset(name.lower().encode() for name in names if name)
    pattern = b'"' + _any_first(encoded) + _alternatives({name[1:] for name in encoded}) + rb'"\s*:\s*'
    turned = frozenset(name[::-1] + b'"' for name in {*encoded, *(name.lower().encode() for name in besides)})
    return JsonKeys(
        encoded,
        re.compile(pattern),
        re.compile(b':"' + _classes(turned, 3)) if all(map(bytes.isascii, turned)) else None,
        turned,
    )


@lru_cache(maxsize=16)
def _turned_keys(turned: frozenset[bytes]) -> re.Pattern[bytes]:
    """Finds keys in JSON text that is turned around, and neither squeezed nor in lower case.

    It is made when the first long body is met, since to make it takes milliseconds.
    """
    number = min(_LETTERS, min(map(len, turned), default=0))
    letters = b"".join(
        _any_first({*map(bytes.lower, some), *map(bytes.upper, some)})
        for some in ({word[place : place + 1] for word in turned} for place in range(number))
    )
    return re.compile(rb':(?:"|\s+")(?=' + letters + rb")(?i:" + _alternatives(turned) + rb")")


def _any_first(words: Iterable[bytes]) -> bytes:
    return b"[" + b"".join(re.escape(letter) for letter in sorted({word[:1] for word in words})) + b"]"


def _classes(words: Iterable[bytes], number: int) -> bytes:
    """A pattern of these words, of which so many letters are the letters that any of them has there."""
    longer = {word for word in words if word}
    if not number or not all(words) or not longer:
        return _alternatives(words)
    return _any_first(longer) + _classes({word[1:] for word in longer}, number - 1)


def _alternatives(words: Iterable[bytes]) -> bytes:
    by_first: dict[bytes, set[bytes]] = {}
    for word in words:
        by_first.setdefault(word[:1], set()).add(word[1:])
    branches = [
        re.escape(first) + _alternatives(rest) if first else b""
        for first, rest in sorted(by_first.items(), reverse=True)
    ]
    return branches[0] if len(branches) == 1 else b"(?:" + b"|".join(branches) + b")"


def json_edits(data: bytes, keys: JsonKeys, replacing: Replacing = MASK) -> Iterable[Edit]:
    """The values of secret keys at any depth, in JSON, lines of JSON, or event streams that carry JSON.

    A value that the body's end cuts off is replaced up to the end. ``null``, ``true`` and ``false`` are no secrets.
    """
    if wide := _wide_encoding(data):
        return _wide_json_edits(data, wide, keys, replacing)
    lowered = data.lower()
    # Most bodies have no such key.
    found = keys.search(lowered)
    return () if found is None else _json_edits(data, lowered, found, keys, replacing)


def _json_edits(
    data: bytes, lowered: bytes, first: re.Match[bytes], keys: JsonKeys, replacing: Replacing
) -> Iterator[Edit]:
    found: re.Match[bytes] | None = first
    while found is not None:
        start = found.end()
        if lowered[found.start() - 1 : found.start()] == b"\\":
            # An escaped quote is inside a string, so this is no key.
            found = keys.search(lowered, found.start() + 1)
            continue
        stop = _json_value_end(data, start)
        made = None
        if data[start:stop] not in _JSON_HARMLESS:
            name = keys.name_of(found).decode("latin-1")
            made = replacing.in_json(data, start, stop, name)
            if made is not None:
                yield Edit(start, stop, made)
        # In a value that stays there may be other names.
        inner = made is None and data[start : start + 1] in (b"{", b"[")
        found = keys.search(lowered, start if inner else max(stop, start))


def _wide_encoding(data: bytes) -> str:
    """UTF-16 or UTF-32, in which JSON may be written (RFC 4627 section 3); empty for other encodings."""
    if data[:4].isascii() and 0 not in data[:4]:
        return ""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    # The first two characters of JSON are ASCII.
    return _WIDE.get(bytes(byte and 1 for byte in data[:4]), "") if 0 in data[:4] else ""


def _wide_json_edits(data: bytes, encoding: str, keys: JsonKeys, replacing: Replacing) -> Iterator[Edit]:
    # A cut-off last unit is left out, and a unit that is no character becomes a character of the same size. So the
    # places of all other characters stay right.
    errors, size = ("surrogatepass", 2) if "16" in encoding else ("replace", 4)
    narrow = data[: len(data) // size * size].decode(encoding, errors).encode("utf-8", "surrogatepass")
    at = narrow_at = 0
    for edit in json_edits(narrow, keys, replacing):
        places = []
        for narrow_place in (edit.start, edit.stop):
            between = narrow[narrow_at:narrow_place].decode("utf-8", "surrogatepass")
            at += len(between.encode(encoding, "surrogatepass"))
            narrow_at = narrow_place
            places.append(at)
        yield Edit(places[0], places[1], edit.text.decode().encode(encoding))


def _json_value_end(data: bytes, start: int) -> int:
    first = data[start : start + 1]
    if first == b'"':
        string = _JSON_STRING.match(data, start)
        return string.end() if string else len(data)
    if first in (b"{", b"["):
        depth = 0
        for token in _JSON_BRACKET_OR_STRING.finditer(data, start):
            text = token.group()
            if text in (b"{", b"["):
                depth += 1
            elif text in (b"}", b"]"):
                depth -= 1
                if depth == 0:
                    return token.end()
        return len(data)
    scalar = _JSON_SCALAR.match(data, start)
    return scalar.end() if scalar else start


def json_values(data: bytes) -> Iterator[tuple[int, int, str | None]]:
    """The texts in a JSON value: their places, and the name that each stands under. None for the items of a list that
    is the value itself.
    """
    name = ""
    lists: list[bool] = []
    names: list[str] = []
    for token in _JSON_BRACKET_OR_STRING.finditer(data):
        text = token.group()
        if text in (b"{", b"["):
            lists.append(text == b"[")
            names.append(name)
        elif text in (b"}", b"]"):
            if lists:
                lists.pop()
                name = names.pop()
        elif _COLON.match(data, token.end()) and lists and not lists[-1]:
            name = text[1:-1].decode("utf-8", "replace").lower()
        else:
            yield *token.span(), None if lists == [True] else name


def json_texts_with_quotes(data: bytes) -> Iterator[tuple[int, int]]:
    """The places of texts and names in a JSON value that have an escape, or are given something in single quotes.

    All others are passed over, which takes a fraction of the time of `json_values`.
    """
    position, given, escape = 0, -1, -1
    while True:
        if given < position:
            found = _GIVEN.search(data, position)
            given = found.start() if found is not None else len(data)
        if escape < position:
            escape = data.find(b"\\", position)
            escape = escape if escape >= 0 else len(data)
        mark = min(given, escape)
        if mark == len(data):
            return
        # No quote before it has an escape: each of them begins or ends a text.
        text = None
        if data.count(b'"', position, mark) % 2:
            start = data.rfind(b'"', position, mark)
            text = _JSON_STRING.match(data, start)
        if text is not None:
            yield text.span()
        position = text.end() if text is not None else mark + 1


def json_texts_in_base64(data: bytes) -> Iterator[tuple[int, int]]:
    """The places of texts in JSON that may be JSON or a packed file in base64."""
    return (found.span() for found in _IN_BASE64.finditer(data))


def may_be_name_in_json(data: bytes, stop: int) -> bool:
    """Whether a text in JSON that ends there is a name, if the JSON is whole."""
    return _COLON.match(data, stop) is not None


def json_path_edits(data: bytes, paths: Sequence[tuple[str, ...]], replacing: Replacing = MASK) -> Iterator[Edit]:
    """The values at these paths of a JSON document, or of each line of JSON."""
    steps: list[str | int] = []
    awaits_value = True
    name: str | None = None
    position = 0
    while (token := _JSON_TOKEN.search(data, position)) is not None:
        text, position = token.group(), token.end()
        if text == b":":
            awaits_value = True
        elif text == b",":
            if steps and isinstance(steps[-1], int):
                steps[-1] += 1
            awaits_value = bool(steps) and isinstance(steps[-1], int)
        elif text in (b"}", b"]"):
            if steps:
                steps.pop()
            awaits_value = not steps
        elif not awaits_value:
            try:
                name = json.loads(text)
            except ValueError:
                name = text[1:-1].decode("utf-8", "replace")
            steps[-1] = str(name)
        else:
            here = tuple(map(str, steps))
            if any(_on_path(path, here) for path in paths):
                stop = _json_value_end(data, token.start())
                made = replacing.in_json(data, token.start(), stop, "")
                if made is not None and data[token.start() : stop] not in _JSON_HARMLESS:
                    yield Edit(token.start(), stop, made)
                position = max(stop, position)
                text = b""
            if text == b"[":
                steps.append(0)
            elif text == b"{":
                steps.append("")
            awaits_value = text == b"[" or not steps


def _on_path(path: tuple[str, ...], here: tuple[str, ...]) -> bool:
    return len(path) == len(here) and all(step in ("*", other) for step, other in zip(path, here, strict=True))


@lru_cache(maxsize=16)
def xml_patterns(names: frozenset[str]) -> tuple[re.Pattern[bytes], ...]:
    """Patterns that find the values of names in XML and HTML in lower case: as elements, attributes and fields.

    They are made when the first such text is met: most programs meet none, and to make them takes milliseconds.
    """
    any_name = b"(?P<name>" + _alternatives({name.lower().encode() for name in names}) + b")"
    return (
        re.compile(
            rb"<(?:[\w.-]+:)?"
            + any_name
            + rb"(?:\s[^<>]*)?>\s*(?:<!\[cdata\[(?P<cdata>.*?)\]\]>|(?P<value>[^<]+)(?=</))",
            re.DOTALL,
        ),
        re.compile(
            rb"<[^<>]{0,2000}\s(?:[\w.-]+:)?" + any_name + rb"\s*=\s*(?P<quote>[\"'])(?P<value>[^<>]*?)(?P=quote)"
        ),
        re.compile(
            rb"<(?:input|meta)\b[^<>]{0,2000}\bname\s*=\s*[\"']?"
            + any_name
            + rb"[\"'\s][^<>]{0,2000}\b(?:value|content)\s*=\s*(?P<quote>[\"'])(?P<value>[^<>]*?)(?P=quote)"
        ),
        re.compile(
            rb"<(?:input|meta)\b[^<>]{0,2000}\b(?:value|content)\s*=\s*(?P<quote>[\"'])(?P<value>[^<>]*?)(?P=quote)"
            rb"[^<>]{0,2000}\bname\s*=\s*[\"']?" + any_name + rb"[\"'\s/>]"
        ),
        # A row of a table of names and values, as the page of an error has it.
        re.compile(
            rb"<(?P<cell>td|th|dt)\b[^<>]*>\s*"
            + any_name
            + rb"\s*</(?P=cell)>\s*<(?:td|dd)\b[^<>]*>\s*(?:<(?:pre|code|span)\b[^<>]*>\s*)*"
            rb"(?P<entity>&\#x27;|&\#39;|&quot;|)(?P<value>[^<]+?)(?P=entity)\s*</"
        ),
    )


def xml_edits(data: bytes, patterns: Iterable[re.Pattern[bytes]], replacing: Replacing = MASK) -> Iterator[Edit]:
    """The texts of secret elements, attributes and fields in XML and HTML. The places are in no order."""
    lowered = data.lower()
    for pattern in patterns:
        for found in pattern.finditer(lowered):
            literal = pattern.groups and "cdata" in pattern.groupindex and found["cdata"] is not None
            start, stop = found.span("cdata" if literal else "value")
            value = data[start:stop]
            if value.strip():
                name = found["name"].decode("latin-1")
                made = replacing.in_part(value, name) if literal else replacing.in_xml(value, name)
                if made is not None:
                    yield Edit(start, stop, made)


def form_edits(data: bytes, names: frozenset[str], replacing: Replacing = MASK) -> Iterator[Edit]:
    """The values of secret fields in ``application/x-www-form-urlencoded``."""
    position = 0
    for field in data.split(b"&"):
        name, equals, value = field.partition(b"=")
        if equals and value and (plain := unquote_plus(name.decode("latin-1")).lower()) in names:
            start = position + len(name) + 1
            made = replacing.in_form(value, plain)
            if made is not None:
                yield Edit(start, start + len(value), made)
        position += len(field) + 1


class Part(NamedTuple):
    """A part of a multipart body. Its content stands from ``start`` to ``stop``."""

    name: str
    """In lower case; empty where it has none."""
    content_type: bytes
    start: int
    stop: int


def multipart_parts(data: bytes, boundary: bytes) -> Iterator[Part]:
    """The parts of a multipart body (RFC 2046 section 5.1) that have a head and some content."""
    delimiter = b"--" + boundary
    start = data.find(delimiter)
    while start >= 0:
        head = start + len(delimiter)
        following = data.find(delimiter, head)
        end = following if following >= 0 else len(data)
        head_end = data.find(b"\r\n\r\n", head, end)
        stop = end - 2 if data[end - 2 : end] == b"\r\n" else end
        if 0 <= head_end < stop - 4:
            name = _PART_NAME.search(data, head, head_end)
            kind = _PART_TYPE.search(data, head, head_end + 2)
            yield Part(
                name[1].decode("latin-1").lower() if name else "", kind[1] if kind else b"", head_end + 4, stop
            )
        start = following


MIXED = b"multipart/mixed"


class Mixed(NamedTuple):
    """A part of a ``multipart/mixed`` body. Its content stands from ``start`` to ``stop``, and may be empty."""

    lines: tuple[tuple[bytes, bytes], ...]
    """Its header lines."""
    places: tuple[int, ...]
    """Where the value of each of them begins."""
    name: str
    """In lower case; empty where it has none."""
    start: int
    stop: int


def mixed_parts(data: bytes, boundary: bytes) -> Iterator[Mixed]:
    """The parts of a ``multipart/mixed`` body (RFC 2046 section 5.1.3): each is a body with headers of its own.

    A part without a whole head is left out.
    """
    delimiter = b"--" + boundary
    start = data.find(delimiter)
    while start >= 0:
        head = start + len(delimiter) + 2
        following = data.find(delimiter, head)
        end = following if following >= 0 else len(data)
        head_end = data.find(b"\r\n\r\n", head - 2, end)
        if head_end >= 0:
            lines: list[tuple[bytes, bytes]] = []
            places: list[int] = []
            position = head
            for line in data[head:head_end].split(b"\r\n") if head_end > head else ():
                name, _, value = line.partition(b":")
                stripped = value.lstrip(b" \t")
                lines.append((name, stripped))
                places.append(position + len(line) - len(stripped))
                position += len(line) + 2
            stop = end - 2 if data[end - 2 : end] == b"\r\n" else end
            disposed = b"".join([value for each, value in lines if each.lower() == b"content-disposition"])
            named = _PART_NAME.search(disposed)
            part_name = named[1].decode("latin-1").lower() if named else ""
            yield Mixed(tuple(lines), tuple(places), part_name, head_end + 4, max(stop, head_end + 4))
        start = following


def may_have_packed_part(data: bytes) -> bool:
    """Whether a part of this body may be a packed file, if it is one of several parts."""
    return _PACKED_PART.search(data) is not None


def apply_edits(data: bytes, edits: Sequence[Edit]) -> bytes:
    """The data with every edit made; edits are in order and do not overlap."""
    pieces: list[bytes] = []
    position = 0
    for edit in edits:
        pieces += (data[position : edit.start], edit.text)
        position = edit.stop
    pieces.append(data[position:])
    return b"".join(pieces)


def move_boundaries(sizes: Sequence[int], edits: Sequence[Edit]) -> list[int]:
    """The sizes of the chunks after the edits. A boundary within an edit moves to the end of the new text."""
    moved = []
    behind = 0  # edits that lie wholly before the boundary
    shift = 0
    old = new = 0
    for size in sizes:
        old += size
        while behind < len(edits) and edits[behind].stop <= old:
            shift += len(edits[behind].text) - (edits[behind].stop - edits[behind].start)
            behind += 1
        # A text of the same length may be cut at the same place.
        inside = behind < len(edits) and edits[behind].start < old and not edits[behind].keeps_length
        boundary = edits[behind].start + shift + len(edits[behind].text) if inside else old + shift
        moved.append(boundary - new)
        new = boundary
    return moved
