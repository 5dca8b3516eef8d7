"""The compared parts of a call as a list of texts, its leaves, and an outline of all that is no text.

Two calls are equal where their outlines and their leaves are. A body is one leaf. Arguments are trees, so each text,
number, time and UUID in them is a leaf, with its type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from timetracer_otel.match.body_content import plain_body
from timetracer_otel.match.rules import Ignored, MatchRules
from timetracer_otel.match.values import pieces_of, skeleton
from timetracer_otel.redact.content_encoding import PACKED, OpaqueError, Unpacked, encode_body, unpacked
from timetracer_otel.redact.errors import with_leaves
from timetracer_otel.redact.forms import form_of
from timetracer_otel.redact.msgpacked import MSGPACK
from timetracer_otel.redact.nested import PICKLE
from timetracer_otel.redact.urls import same_target
from timetracer_otel.types import CallView, RecordedError, header_pairs

__all__ = ["Leaf", "Leaves", "flattened", "joined_texts", "leaves_of", "mapped", "texts_of"]


class Leaf(NamedTuple):
    """One text of a call, or a value as its text."""

    kind: str
    """The type: ``str``, ``bytes`` (its text is latin-1, and the content of what is packed), ``int``, ``UUID``…"""
    text: str


class Leaves(NamedTuple):
    """The compared parts of a call."""

    outline: tuple[Any, ...]
    leaves: tuple[Leaf, ...]


_TEXTS: Final[dict[type, Callable[[Any], str]]] = {
    str: lambda value: value,
    bytes: lambda value: _opened(value).content.decode("latin-1"),
    int: str,
    float: repr,
    Decimal: str,
    UUID: str,
    datetime: lambda value: value.isoformat(),
    date: lambda value: value.isoformat(),
}


def leaves_of(view: CallView, rules: MatchRules) -> Leaves:
    """The parts of a call that count by the rules."""
    outline: list[Any] = [view.lib]
    leaves: list[Leaf] = []
    ignored = rules.ignored_in(view.lib, view.method, view.url, view.args)
    if rules.method:
        outline.append(view.method)
    if rules.url and view.url is not None:
        leaves.append(Leaf("str", same_target(view.url)))
    _flatten(dict(rules.query_of(view.query, ignored)), outline, leaves)
    for name, value in rules.header_key(view.headers, ignored):
        _flatten((name, value), outline, leaves)
    outline += rules.asked(view.headers, ignored)
    if rules.body:
        _flatten(_compared(view, ignored), outline, leaves)
    return Leaves(tuple(outline), tuple(leaves))


def flattened(value: Any) -> Leaves:
    """The leaves of a value of any depth. The order of a mapping's keys does not count."""
    outline: list[Any] = []
    leaves: list[Leaf] = []
    _flatten(value, outline, leaves)
    return Leaves(tuple(outline), tuple(leaves))


def _compared(view: CallView, ignored: Ignored) -> Any:
    if view.args is not None:
        return ignored.content(form_of(view.lib).compared(view.args))
    if not view.body:
        return None
    plain = plain_body(view.body, header_pairs(view.headers))
    if ignored.body:
        try:
            return ignored.content(json.loads(plain))
        except (ValueError, RecursionError):
            pass
    return plain


def _flatten(value: Any, outline: list[Any], leaves: list[Leaf]) -> None:
    kind = type(value)
    text = _TEXTS.get(kind)
    if text is not None:
        name = kind.__name__ if kind is not bytes else f"bytes {_opened(value).encoding}".rstrip()
        outline.append(name)
        leaves.append(Leaf(name, text(value)))
    elif kind is dict:
        outline += ("dict", len(value))
        for key in _in_order(value):
            _flatten(key, outline, leaves)
            _flatten(value[key], outline, leaves)
    elif kind is list or kind is tuple:
        outline += (kind.__name__, len(value))
        for item in value:
            _flatten(item, outline, leaves)
    elif kind is set or kind is frozenset:
        outline += (kind.__name__, len(value))
        for item in sorted(value, key=repr):
            _flatten(item, outline, leaves)
    else:
        outline += (kind.__name__, repr(value))


def _in_order(value: dict[Any, Any]) -> list[Any]:
    """The keys of a mapping in an order that neither the process nor the values of variables change."""
    return sorted(value, key=lambda key: skeleton(pieces_of(key)) if isinstance(key, str) else repr(key))


def joined_texts(args: Any) -> str:
    """All texts in the arguments of a call, on lines of their own, to look for something in them."""
    return "\n".join(texts_of(args))


def texts_of(value: Any) -> Iterator[str]:
    """Every text of a value of any depth, with numbers, times and UUIDs as texts."""
    kind = type(value)
    text = _TEXTS.get(kind)
    if text is not None:
        yield text(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts_of(key)
            yield from texts_of(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from texts_of(item)
    elif isinstance(value, RecordedError):
        yield from texts_of([value.message, value.args, value.attributes, value.cause])


def mapped(value: Any, change: Callable[[str], str]) -> Any:
    """A value with other texts in it, and the same types; the same object where nothing changed.

    Args:
        value: Of any depth.
        change: Gives a text for a text.
    """

    def changed(leaf: Any) -> Any:
        text = _TEXTS.get(type(leaf))
        if text is None:
            return leaf
        before = text(leaf)
        after = change(before)
        return leaf if after == before else _made(leaf, after)

    return with_leaves(value, changed)


def _made(before: Any, text: str) -> Any:
    """The value of the same type that a text stands for; the old one where it stands for none."""
    kind: Any = type(before)
    try:
        if kind is bytes:
            return _with_content(before, text.encode("latin-1"))
        if kind is datetime:
            return _datetime(before, text)
        if kind is date:
            return date.fromisoformat(text)
        return kind(text)
    except (ValueError, ArithmeticError):
        return before


def _opened(value: bytes) -> Unpacked:
    """What a value holds, where it is a packed file: RQ packs the arguments of its jobs."""
    if value.startswith(PACKED):
        try:
            found = unpacked(value)
        except OpaqueError:
            pass
        else:
            if not found.is_damaged:
                return found
    return Unpacked(value, ())


def _with_content(before: bytes, content: bytes) -> bytes:
    """A value with other content, packed as it was.

    A pickle and msgpack say how long their texts are: there, a text of another length has no place.
    """
    held, layers, _ = opened = _opened(before)
    if len(content) != len(held) and (held.startswith(PICKLE) or held[:1] in MSGPACK):
        return before
    made = encode_body(content, opened.encoding) if layers else content
    return made if _opened(made).content == content or not layers else before


def _datetime(before: datetime, text: str) -> datetime:
    whole, _, fraction = text[:26].partition(".")
    digits = "".join(char for char in fraction if char.isdigit())[:6].ljust(6, "0")
    moment = datetime.fromisoformat(whole[:19]).replace(microsecond=int(digits))
    # The text has the offset of the value before; another time of the same zone may have another one.
    offset = before.utcoffset()
    if offset is None:
        return moment
    return moment.replace(tzinfo=timezone(offset)).astimezone(before.tzinfo)
