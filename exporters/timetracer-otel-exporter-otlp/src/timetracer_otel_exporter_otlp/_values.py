"""Values of a cassette's file as values of OTLP, and back without loss.

What OTLP has a type for stands as that: nothing, booleans, integers of 64 bits, floats, text, lists, and maps with
text keys. Everything else is a map with one key, which says what it is; a reader of the log records can read most of
it.
"""

from __future__ import annotations

from typing import Any, Final

import msgpack  # type: ignore[import-untyped,unused-ignore]
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

__all__ = ["from_message", "packed", "plain", "restored"]

_OURS: Final = "timetracer."
_TEXT: Final = "timetracer.bytes"
"""Bytes that are UTF-8, as text. Others are bytes in OTLP as well."""
_HEADERS: Final = "timetracer.headers"
_PAIRS: Final = "timetracer.pairs"
"""A map whose keys are not all text, or are taken for ours."""
_WHOLE: Final = "timetracer.integer"
"""An integer beyond 63 bits and its sign, as text."""
_PACKED: Final = "timetracer.msgpack"
"""What nests too deeply for readers of protobuf, as it stands in a cassette."""
_EXTENSION: Final = "timetracer.extension"
"""Any other type of cassettes: its code, and what it is made of."""
_MADE_OF: Final = "timetracer.value"
_HEADERS_CODE: Final = 22
_HOLD_MSGPACK: Final = frozenset({2, 3, 4, 6, 8, 9, 20, _HEADERS_CODE, 23})
"""The extension types whose payload is msgpack (docs/cassette-format.md). Those of the others are text or bytes."""
_MOST_LEVELS: Final = 20
"""Readers of protobuf refuse what nests deeper than 100 messages, and each of our levels takes three."""


def packed(value: Any) -> bytes:
    """A value as msgpack.

    Raises:
        ValueError, TypeError, OverflowError: It has no encoding.
    """
    data: Any = msgpack.packb(value)
    return bytes(data)


def plain(value: Any, levels: int = _MOST_LEVELS) -> Any:
    """A value as msgpack's reader gives it, in the types that OpenTelemetry's encoder takes.

    Args:
        value: Extension types stand in it as `msgpack.ExtType`.
        levels: How deep it may nest.
    """
    if value is None or isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else {_WHOLE: str(value)}
    if isinstance(value, bytes):
        try:
            return {_TEXT: value.decode()}
        except UnicodeDecodeError:
            return value
    if levels <= 0:
        return {_PACKED: packed(value)}
    if isinstance(value, msgpack.ExtType):
        return _extension(value, levels - 1)
    if isinstance(value, list):
        return [plain(each, levels - 1) for each in value]
    if all(isinstance(key, str) and not key.startswith(_OURS) for key in value):
        return {key: plain(item, levels - 1) for key, item in value.items()}
    return {_PAIRS: [[plain(key, levels - 3), plain(item, levels - 3)] for key, item in value.items()]}


def _extension(value: msgpack.ExtType, levels: int) -> dict[str, Any]:
    if value.code not in _HOLD_MSGPACK:
        return {_EXTENSION: [value.code, plain(value.data)]}
    content = msgpack.unpackb(value.data, ext_hook=msgpack.ExtType, strict_map_key=False)
    if value.code == _HEADERS_CODE:
        lines = [each.decode("latin-1") for each in content]
        return {_HEADERS: [list(pair) for pair in zip(lines[::2], lines[1::2], strict=True)]}
    return {_EXTENSION: [value.code, {_MADE_OF: plain(content, levels - 2)}]}


def restored(value: Any) -> Any:
    """What `plain` was given. A value of another maker, which only looks like one of ours, is refused.

    Raises:
        ValueError: It is none that `plain` makes.
    """
    if isinstance(value, list):
        return [restored(each) for each in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1 or not next(iter(value)).startswith(_OURS):
        return {key: restored(item) for key, item in value.items()}
    ((name, content),) = value.items()
    try:
        return _RESTORE[name](content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as fault:
        raise ValueError(f"{name} has a value of another form: {type(fault).__name__}: {fault}") from fault


def _restored_extension(content: Any) -> msgpack.ExtType:
    code, made_of = content
    if isinstance(made_of, dict) and set(made_of) == {_MADE_OF}:
        return msgpack.ExtType(code, packed(restored(made_of[_MADE_OF])))
    return msgpack.ExtType(code, restored(made_of))


def _restored_headers(content: Any) -> msgpack.ExtType:
    parts = [part.encode("latin-1") for name, value in content for part in (name, value)]
    return msgpack.ExtType(_HEADERS_CODE, packed(parts))


_RESTORE: Final[dict[str, Any]] = {
    _TEXT: lambda content: content.encode(),
    _WHOLE: int,
    _HEADERS: _restored_headers,
    _PAIRS: lambda content: {restored(key): restored(item) for key, item in content},
    _PACKED: lambda content: msgpack.unpackb(restored(content), ext_hook=msgpack.ExtType, strict_map_key=False),
    _EXTENSION: _restored_extension,
}


def from_message(value: AnyValue) -> Any:
    """A value of OTLP in Python's types."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [from_message(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return {each.key: from_message(each.value) for each in value.kvlist_value.values}
    return getattr(value, kind)
