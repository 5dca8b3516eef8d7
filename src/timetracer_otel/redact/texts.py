"""All that may hold a secret in a value, found in one walk, so that it can be searched at once.

Each call of an app is looked through, so the walk is written for speed: the values of rows are taken column by
column, and what is judged by its type alone is not looked at one by one.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import chain
from typing import Any, Final

from timetracer_otel.redact.content_encoding import PACKED, OpaqueError
from timetracer_otel.redact.msgpacked import MSGPACK
from timetracer_otel.redact.nested import inflated
from timetracer_otel.types import HeaderMap, RecordedError, SentRows

__all__ = [
    "APART",
    "OpenNames",
    "collect",
    "gives_in_single_quotes",
    "gives_quoted",
    "joined",
    "may_be_documents",
    "texts_of_numbers",
]

_SHORTEST_TEXT: Final = 6
_LONGEST_NAME: Final = 40
"""Names of attributes and parameters are shorter. A field of a hash in Redis may be a token."""
_SMALLEST_NUMBER: Final = 10_000_000
_MOST_NAMES: Final = 4096
_FEW: Final = 16
_BRACKETS: Final = frozenset("{[")
_SINGLE_QUOTE, _DOUBLE_QUOTE = b"'\""
_SHORTEST_DOCUMENT: Final = 5
"""Characters of a text that gives a value in quotes to a name: ``a='b'``."""
_NAMES: Final = frozenset({str, bytes})
_ROWS: Final = frozenset({tuple, list})
_WITHOUT_TEXT: Final = frozenset({float, bool, type(None)})
_TEXT: Final[set[type]] = {str}
_RAW: Final[set[type]] = {bytes}
_BEFORE_VALUE: Final = frozenset("=: \\")
_PACKED: Final = frozenset(mark[:1] for mark in PACKED)
_NUMBER: Final[set[type]] = {int}
APART: Final = b'"\n'
"""What stands between texts that are searched at once. No form of a secret goes on over a quote: a private key that
is cut off would take in the end of the line, and what stands on the next one.
"""
_APART: Final = APART.decode()


class OpenNames:
    """Tells which names are secret, and remembers those that are not: an app repeats its few names in each call.

    Safe from any thread.

    Args:
        secret: The names that are, in lower case.

    Attributes:
        known: Names that are not, as they were written.
    """

    def __init__(self, secret: frozenset[str]) -> None:
        self._secret = secret
        self.known: set[Any] = set()

    def are_all(self, names: Collection[Any]) -> bool:
        """Whether none of these names is secret. What is neither a text nor bytes is no name."""
        if self.known.issuperset(names):
            return True
        for name in names:
            plain = name.decode("latin-1") if type(name) is bytes else name
            if type(plain) is str and plain.lower() in self._secret:
                return False
        if len(self.known) < _MOST_NAMES:
            # An instance of a subclass of `str` is no name, but equal to one.
            self.known.update([name for name in names if type(name) in _NAMES])
        return True


def collect(value: Any, texts: list[str], raw: list[bytes], names: OpenNames | None = None) -> bool:
    """Take what is in a value, at any depth.

    Args:
        value: Of any type.
        texts: Takes its texts, and its large numbers as texts.
        raw: Takes its bytes.
        names: Judges the keys of its dictionaries. Without it, they are not judged.

    Returns:
        Whether no key is a secret name.
    """
    kind = type(value)
    is_open = True
    # Most are asked for a whole reply, or for what stands in one.
    if kind is dict:
        if names is not None and not names.known.issuperset(value):
            is_open = names.are_all(value)
        for key, item in value.items():
            kind = type(item)
            if kind is str:
                texts.append(item)
            elif kind is bytes:
                raw.append(item)
            elif kind is list or kind is tuple:
                if item and not _collect_items(item, texts, raw, names):
                    is_open = False
            elif kind not in _WITHOUT_TEXT and not collect(item, texts, raw, names):
                is_open = False
            if type(key) is not str or len(key) > _LONGEST_NAME:
                collect(key, texts, raw)
    elif kind is list or kind is tuple:
        is_open = _collect_items(value, texts, raw, names)
    elif kind is str:
        if len(value) >= _SHORTEST_TEXT:
            texts.append(value)
    elif kind is bytes:
        raw.append(value)
    elif kind is int:
        if value > _SMALLEST_NUMBER:
            texts.append(str(value))
    elif kind is HeaderMap:
        raw += [item for _, item in value.pairs]
    elif kind is set or kind is frozenset:
        is_open = _collect_items(tuple(value), texts, raw, names)
    elif kind is bytearray or kind is memoryview:
        raw.append(bytes(value))
    elif kind is SentRows:
        texts += chain.from_iterable([text.split(SentRows.APART) for text in value.texts])
        raw += value.raw
    elif kind is RecordedError:
        for part in (value.message, value.args, value.attributes, value.cause, value.unfaithful):
            is_open = collect(part, texts, raw, names) and is_open
    return is_open


def _collect_items(items: Any, texts: list[str], raw: list[bytes], names: OpenNames | None) -> bool:
    if len(items) > _FEW:
        return _collect_many(items, texts, raw, names)
    if items and type(items[0]) in _ROWS and _ROWS.issuperset(map(type, items)):
        items = chain.from_iterable(items)
    is_open = True
    for item in items:
        kind = type(item)
        if kind is str:
            texts.append(item)
        elif kind is bytes:
            raw.append(item)
        elif kind is int:
            if item > _SMALLEST_NUMBER:
                texts.append(str(item))
        elif kind not in _WITHOUT_TEXT and not collect(item, texts, raw, names):
            is_open = False
    return is_open


def _collect_many(items: Any, texts: list[str], raw: list[bytes], names: OpenNames | None) -> bool:
    # Most are rows. To look at each of thousands of values would take longer than all else.
    kinds = set(map(type, items))
    if kinds <= _ROWS:
        if len(set(map(len, items))) == 1:
            return False not in [_collect_column(column, texts, raw, names) for column in zip(*items, strict=True)]
        items = list(chain.from_iterable(items))
    return _collect_column(items, texts, raw, names)


def _collect_column(items: Any, texts: list[str], raw: list[bytes], names: OpenNames | None) -> bool:
    kinds = set(map(type, items))
    if kinds == _TEXT:
        texts += items
    elif kinds == _RAW:
        raw += items
    elif kinds == _NUMBER:
        texts += texts_of_numbers(items)
    elif not kinds <= _WITHOUT_TEXT:
        is_open = True
        for item in items:
            kind = type(item)
            if kind is str:
                texts.append(item)
            elif kind not in _WITHOUT_TEXT and not collect(item, texts, raw, names):
                is_open = False
        return is_open
    return True


def texts_of_numbers(items: Collection[int]) -> list[str]:
    """The large ones of numbers as texts: a number may be a secret."""
    return [str(item) for item in items if item > _SMALLEST_NUMBER] if max(items) > _SMALLEST_NUMBER else []


def joined(texts: list[str], raw: list[bytes]) -> bytes:
    """Texts and bytes in one, each from the beginning of a line, with `APART` between them."""
    text = _APART.join(texts).encode("utf-8", "surrogatepass")
    if not raw:
        return text
    data = APART.join(raw)
    lines = data.decode("latin-1")
    found = []
    if _may_have_packed(lines) or data[:1] in _PACKED:
        # What is packed is searched as it is when unpacked.
        found = [content for one in raw if (content := _content_of(one)) is not None]
    return APART.join([data, text, *found])


def _may_have_packed(lines: str) -> bool:
    """Whether a packed file may begin on a line behind the first one, each byte of which is a character."""
    # To look for one character takes a tenth of the time of two. This one is in the marks of xz and zstd. To look
    # from the end for a few takes a third of the time: the first one is rarer than the last one.
    return (
        "\x1f" in lines
        or "\xfd" in lines
        or ("\x18" in lines and '\n\x04"M\x18' in lines)
        or ("x" in lines and lines.rfind("\nx") >= 0)
        or lines.rfind("\nBZh") >= 0
        or lines.rfind("\n]\0\0") >= 0
    )


def _content_of(value: bytes) -> bytes | None:
    try:
        return inflated(value)
    except OpaqueError:
        return None


def may_be_documents(values: list[Any]) -> bool:
    """Whether there may be JSON among these values, or another document, by how they begin, or a value in quotes.

    Args:
        values: All of them texts, or all of them bytes; one at least.
    """
    if len(values) > _FEW:
        return _may_be_among(values)
    for value in values:
        if len(value) < _SHORTEST_DOCUMENT:
            continue
        if type(value) is str:
            if value[0] in _BRACKETS or (("'" in value or '"' in value) and gives_quoted(value)):
                return True
        elif value[0] in _BEGINNINGS or (
            # To look for a number in bytes takes a tenth of the time: they try to take anything else for one first.
            (_SINGLE_QUOTE in value or _DOUBLE_QUOTE in value) and gives_quoted(value.decode("latin-1"))
        ):
            return True
    return False


def _may_be_among(values: list[Any]) -> bool:
    is_text = type(values[0]) is str
    text: str = "\n".join(values) if is_text else b"\n".join(values).decode("latin-1")
    if text[:1] in _BRACKETS or "\n{" in text or "\n[" in text or gives_quoted(text):
        return True
    if is_text:
        return False
    return (
        (values[0] and values[0][0] in _BEGINNINGS) or _may_have_packed(text) or _BINARY_LINE.search(text) is not None
    )


def gives_quoted(text: str) -> bool:
    """Whether something may be given a value in quotes in a text. Most have none, and are not gone through."""
    return ('"' in text and '="' in text) or ("'" in text and gives_in_single_quotes(text))


def gives_in_single_quotes(text: str) -> bool:
    """The same for single quotes, of which there are few: each is looked at."""
    at = text.find("'")
    while at >= 0:
        # Most are apostrophes, behind a letter.
        if at and text[at - 1] in _BEFORE_VALUE:
            before = text[max(0, at - 3) : at].rstrip("\\").rstrip(" ")
            if before and before[-1] in "=:":
                return True
        at = text.find("'", at + 1)
    return False


_BEGINNINGS: Final = frozenset(b"{[\x80") | {first[0] for first in (*MSGPACK, *PACKED)}
"""Of JSON, pickles, msgpack and packed files."""
_BINARY_LINE: Final = re.compile("\n[\x80-\x9f\xdc-\xdf]")
"""How one begins that is a pickle or msgpack."""
