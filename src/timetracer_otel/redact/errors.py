"""Replacing texts in recorded errors, and in values that hold errors, at any depth: the one walk over them.

Servers and clients quote in their errors what they were given: a password, a URL with a token, a header. Code that
knows what must not be kept makes an `Edit`. The functions here apply it to every text and every bytes of an error.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeAlias

from timetracer_otel.types import RecordedError

__all__ = ["SHORTEST_SECRET", "Edit", "as_bytes", "edited", "edited_errors", "replacing", "with_leaves"]

Edit: TypeAlias = Callable[[str], str]
"""Gives a text as it may be kept."""

SHORTEST_SECRET = 4
"""The least characters of a secret that is replaced in texts. Shorter secrets protect nothing, and occur by chance in
many words: replacing them would make an error unreadable."""

_PARTS = tuple(entry.name for entry in fields(RecordedError) if entry.name not in ("cls", "enums"))
"""The fields of an error that may quote a secret. The class and the members of enumerations are names in code."""


_CONTAINERS: frozenset[type] = frozenset({dict, list, tuple, set, frozenset, RecordedError})


def with_leaves(value: Any, change: Callable[[Any], Any]) -> Any:
    """A value with other leaves: what is in containers of any depth, keys included, and in errors and their causes.

    Args:
        value: Of any depth.
        change: Gives a leaf for a leaf, the same object where it stays.

    Returns:
        The same object where nothing changed.
    """
    kind = type(value)
    if kind not in _CONTAINERS:
        return change(value)
    if kind is dict:
        pairs = [(with_leaves(key, change), with_leaves(item, change)) for key, item in value.items()]
        same = all(old[0] is new[0] and old[1] is new[1] for old, new in zip(value.items(), pairs, strict=True))
        return value if same else dict(pairs)
    if kind is RecordedError:
        parts = {name: with_leaves(getattr(value, name), change) for name in _PARTS}
        same = all(new is getattr(value, name) for name, new in parts.items())
        return value if same else RecordedError(cls=value.cls, enums=value.enums, **parts)
    # Rows have thousands of plain values, which are changed without a detour.
    items = [with_leaves(item, change) if type(item) in _CONTAINERS else change(item) for item in value]
    return value if all(map(operator.is_, items, value)) else kind(items)


def as_bytes(value: bytearray | memoryview, change: Callable[[bytes], bytes]) -> Any:
    """What a function makes of the bytes of an array or a view, in the same type; psycopg2 gives views.

    Returns:
        The same object where the function gave the bytes that it got.
    """
    before = bytes(value)
    after = change(before)
    return value if after is before else type(value)(after)


def replacing(pairs: Sequence[tuple[str, str]]) -> Edit:
    """The edit that replaces each first text by the second, one pair after the other. Put longer texts first: a
    shorter one may be a part of them.
    """

    def edit(text: str) -> str:
        for old, new in pairs:
            text = text.replace(old, new)
        return text

    return edit


def edited(value: Any, edit: Edit) -> Any:
    """A value with each text and each bytes in it edited: an error, its causes, and the items of containers.

    Keys of dictionaries, and values of other types, stay as they are.
    """
    kind = type(value)
    if kind is str:
        return edit(value)
    if kind is bytes:
        return _edited_bytes(value, edit)
    if kind is list or kind is tuple:
        return kind(edited(item, edit) for item in value)
    if kind is dict:
        return {key: edited(item, edit) for key, item in value.items()}
    if kind is RecordedError:
        parts = {name: edited(getattr(value, name), edit) for name in _PARTS}
        return RecordedError(cls=value.cls, enums=value.enums, **parts)
    return value


def edited_errors(value: Any, edit: Edit) -> Any:
    """A value in which only the errors are edited. Example: the replies of a pipeline, some of which are errors."""
    kind = type(value)
    if kind is RecordedError:
        return edited(value, edit)
    if kind is list or kind is tuple:
        return kind(edited_errors(item, edit) for item in value)
    if kind is dict:
        return {key: edited_errors(item, edit) for key, item in value.items()}
    return value


def _edited_bytes(data: bytes, edit: Edit) -> bytes:
    # Bytes may be a text in UTF-8, or header lines in Latin-1, so both are tried. Both decode and encode without
    # loss.
    for encoding in ("latin-1",) if data.isascii() else ("utf-8", "latin-1"):
        text = data.decode(encoding, "surrogateescape")
        made = edit(text)
        if made != text:
            data = made.encode(encoding, "surrogateescape" if encoding == "utf-8" else "replace")
    return data
