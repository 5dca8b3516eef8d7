"""Messages as trees: what the wire format of Protocol Buffers tells of one without its ``.proto``, and back.

A message is kept as a tree in order that secrets and fresh values in its texts can be replaced: a text stands behind
its length on the wire, and so does each message around it. Where a message is not in this format, or not in its usual
form, it is kept as a text or as bytes. What `encoded` gives of `decoded` is the same message, byte for byte.

The format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import Any, Final, TypeAlias

__all__ = ["Tree", "decoded", "encoded", "in_one_order", "readable"]

Tree: TypeAlias = "list[list[Any]] | str | bytes"
"""A list of fields, each a tag and its value: an integer (wire type 0), bytes (types 1 and 5), or a tree (type 2)."""

_VARINT: Final = 0
_FIXED: Final = {1: 8, 5: 4}
"""By wire type: the length in bytes."""
_DELIMITED: Final = 2
_DEEPEST: Final = 50
_LONGEST_VARINT: Final = 10
_MOST: Final = 1 << 64


def decoded(data: bytes) -> Tree:
    """The tree of a message."""
    return _decoded(data, _DEEPEST)


def encoded(tree: Tree) -> bytes:
    """The message of a tree.

    Raises:
        TypeError: It is no tree.
        ValueError: A number in it is out of range.
    """
    if isinstance(tree, bytes):
        return tree
    if isinstance(tree, str):
        return tree.encode()
    made = bytearray()
    for tag, value in tree:
        made += _varint(tag)
        if tag & 7 == _VARINT:
            made += _varint(value)
        elif tag & 7 == _DELIMITED:
            content = encoded(value)
            made += _varint(len(content)) + content
        elif len(value) != _FIXED[tag & 7]:
            raise ValueError(f"a field of wire type {tag & 7} has {len(value)} bytes")
        else:
            made += value
    return bytes(made)


def readable(tree: Any) -> str:
    """A message as a text, its fields by their numbers: ``{1: 'tea', 2: {1: 5}}``."""
    if not isinstance(tree, list):
        return repr(tree)
    return "{" + ", ".join(f"{tag >> 3}: {readable(value)}" for tag, value in tree) + "}"


def in_one_order(tree: Any) -> Any:
    """A tree with the entries of maps in the order of their keys: on the wire, they have the order of a hash table.

    The entry of a map is a message with a key (field 1) and a value (field 2), and no two have the same key.
    """
    if not isinstance(tree, list):
        return tree
    fields = [[tag, in_one_order(value)] for tag, value in tree]
    made: list[Any] = []
    for _, group in groupby(fields, key=itemgetter(0)):
        same = list(group)
        keys = [repr(value[0]) for _, value in same if _is_entry(value)]
        made += sorted(same, key=repr) if len(same) > 1 and len(same) == len(keys) == len(set(keys)) else same
    return made


def _is_entry(value: Any) -> bool:
    return (
        isinstance(value, list)
        and [tag >> 3 for tag, _ in value] in ([1], [1, 2])
        and isinstance(value[0][1], (str, int, bytes))
    )


def _decoded(data: bytes, deepest: int) -> Tree:
    fields = _fields(data, deepest)
    text = _text(data)
    if fields is not None and (text is None or not text.isprintable() or _holds_texts(fields)):
        return fields
    return text if text is not None else data


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _holds_texts(fields: list[list[Any]]) -> bool:
    """Whether what looks like a text is a message all the same: by chance, the bytes of a text rarely name the length
    of all that follows.
    """
    return all(tag & 7 == _DELIMITED for tag, _ in fields)


def _fields(data: bytes, deepest: int) -> list[list[Any]] | None:
    """The fields of a message; None where these bytes are none, or where other bytes have the same fields."""
    fields: list[list[Any]] = []
    position, size = 0, len(data)
    value: Any
    while position < size:
        tag, position = _number(data, position)
        kind = tag & 7
        if tag < 8 or tag >> 32:
            return None
        if kind == _VARINT:
            value, position = _number(data, position)
            if value < 0:
                return None
        elif kind == _DELIMITED:
            length, position = _number(data, position)
            if length < 0 or position + length > size:
                return None
            content = data[position : position + length]
            value = _decoded(content, deepest - 1) if deepest else content
            position += length
        elif kind in _FIXED:
            value = data[position : position + _FIXED[kind]]
            position += _FIXED[kind]
        else:
            return None
        if position > size:
            return None
        fields.append([tag, value])
    return fields


def _number(data: bytes, position: int) -> tuple[int, int]:
    """The number at a position, and the position behind it; -1 where there is none in its shortest form."""
    number = shift = 0
    for place in range(position, min(position + _LONGEST_VARINT, len(data))):
        byte = data[place]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            is_shortest = byte > 0 or place == position
            return (number if is_shortest and number < _MOST else -1), place + 1
        shift += 7
    return -1, position


def _varint(number: int) -> bytes:
    if not 0 <= number < _MOST:
        raise ValueError(f"{number} has no place in a message")
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)
