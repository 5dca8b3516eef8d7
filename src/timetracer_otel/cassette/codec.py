"""`pack` and `unpack`: any value that a call takes or returns, to bytes and back, with exact types at every level.

Plain data is plain msgpack; what msgpack has no type for is one of the extension types of `_ext`. There is
no pickle and no import by name: bytes from a stranger build values, and run nothing.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from msgpack import ExtType, Packer, Unpacker, unpackb  # type: ignore[import-untyped,unused-ignore]
from msgpack.exceptions import UnpackException  # type: ignore[import-untyped,unused-ignore]

from timetracer_otel.cassette.extensions import EXTENSIONS
from timetracer_otel.cassette.scan import LOWERED, MAX_DEPTH, Survey, Unencodable, children
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import RecordedError

__all__ = ["MAX_OBJECT_BYTES", "STRUCTURE_LEVELS", "decode", "pack", "pack_map", "skimmer", "unpack"]

MAX_OBJECT_BYTES: Final = 1 << 30
"""Longest value (and header, event, footer), packed. Nothing is written or read that claims more."""

STRUCTURE_LEVELS: Final = 8
"""Levels that the format's own maps lie around a value."""

_MAX_EXT_DEPTH: Final = MAX_DEPTH + 2 * STRUCTURE_LEVELS
"""What `pack_map` takes, and the payloads of the innermost values."""
_SMALL_PAYLOAD_BYTES: Final = 1024
_KEPT_PACKER_BYTES: Final = 1 << 20

DECODE_ERRORS: Final = (
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    OSError,
    RecursionError,
    struct.error,
    UnpackException,
)
"""What decoding bytes that are no value of the format may raise."""


def pack(value: Any) -> bytes:
    """Pack a value. Safe from any thread.

    Raises:
        Unencodable: The value, or one within, has no faithful encoding: an unknown type, a subclass of a
            known one, a time zone without a name, more than `MAX_DEPTH` levels (or a cycle), more than
            1 GiB. The text says where.
    """
    return pack_map(value, MAX_DEPTH)


def pack_map(value: Any, levels: int = MAX_DEPTH + STRUCTURE_LEVELS) -> bytes:
    """`pack` with room for the format's own maps around values."""
    try:
        return _pack_checked(value, levels)
    except Unencodable as fault:
        raise Unencodable(fault.reason, _place(value, levels)) from None


def unpack(data: bytes | memoryview) -> Any:
    """The value that `pack` packed.

    Raises:
        CassetteError: The bytes are no packed value, or something stands behind it.
    """
    try:
        _check_whole(data)
        return decode(data)
    except DECODE_ERRORS as fault:
        raise CassetteError(f"Not a packed value: {describe(fault)}") from fault


def decode(data: bytes | memoryview, depth: int = 0) -> Any:
    """Unpack one object whose lengths were checked (a skimmer went over it); raises `DECODE_ERRORS`."""
    if depth > _MAX_EXT_DEPTH:
        raise ValueError(f"extension types nested deeper than {_MAX_EXT_DEPTH} levels")
    if depth and len(data) > _SMALL_PAYLOAD_BYTES:
        _check_whole(data)
    return unpackb(data, ext_hook=partial(_decode_extension, depth), strict_map_key=False, timestamp=3)


def describe(fault: BaseException) -> str:
    """What a decoding error says, or its class where it says nothing."""
    return str(fault).splitlines()[0][:200] if str(fault).strip() else type(fault).__name__


def skimmer(data: bytes | memoryview) -> Any:
    """A msgpack `Unpacker` whose ``skip`` and ``tell`` find where objects end, without building anything.

    msgpack allocates a list for as many items as an array *claims*, at every level; skipping first shows
    that each claimed item is there, so that what is built afterwards is in proportion to the bytes.
    """
    return Unpacker(io.BytesIO(data), read_size=max(1, min(len(data), 1 << 16)), max_buffer_size=0)


def _check_whole(data: bytes | memoryview) -> None:
    skim = skimmer(data)
    skim.skip()
    if skim.tell() != len(data):
        raise ValueError(f"{len(data) - skim.tell()} bytes behind the value")


def _decode_extension(depth: int, code: int, payload: bytes) -> Any:
    found = _DECODERS.get(code)
    if found is None:
        raise ValueError(f"unknown extension type {code}")
    return found(payload, lambda data: decode(data, depth + 1))


def _encode_extension(value: Any) -> Any:
    found = _ENCODERS.get(type(value))
    if found is None:  # The survey has seen every type; this is one that another thread put in since.
        raise Unencodable(f"{type(value).__qualname__} has no encoding")
    code, encode = found
    return ExtType(code, encode(value, _pack_raw))


_DECODERS: Final[dict[int, Callable[[bytes, Callable[[bytes], Any]], Any]]] = {
    row.code: row.decode for row in EXTENSIONS
}
_ENCODERS: Final[dict[type, tuple[int, Callable[[Any, Callable[[Any], bytes]], bytes]]]] = {
    row.kind: (row.code, row.encode) for row in EXTENSIONS
}

_idle_packers: list[Any] = []
"""Packers that nobody uses: a packer serves one thread at a time, and ``list.pop`` gives it to one."""


def _pack_raw(value: Any) -> bytes:
    try:
        packer = _idle_packers.pop()
    except IndexError:
        packer = Packer(default=_encode_extension, strict_types=True)
    data: bytes = packer.pack(value)
    if len(data) <= _KEPT_PACKER_BYTES:  # A packer's buffer never shrinks.
        _idle_packers.append(packer)
    return data


def _pack_checked(value: Any, levels: int) -> bytes:
    try:
        survey = Survey()
        survey.look((value,), levels)
        try:
            data = _pack_raw(_lowered(value) if survey.lower else value)
        except UnicodeEncodeError:
            data = _pack_raw(_lowered(value))
    except UnicodeEncodeError as fault:
        raise Unencodable(f"text within it has no UTF-8: {fault.reason}") from None
    except RecursionError:
        raise Unencodable("nested too deeply for the stack that is left") from None
    except (RuntimeError, ValueError) as fault:
        # Another thread changes it; or msgpack's own limit of 4 GiB for one value.
        raise Unencodable(f"cannot be packed: {fault}") from None
    if len(data) > MAX_OBJECT_BYTES:
        raise Unencodable(f"longer than {MAX_OBJECT_BYTES} bytes when packed")
    return data


def _lowered(value: Any) -> Any:
    """A copy in which the text and buffers that msgpack would not give to our hook are extension types already."""
    kind = type(value)
    if kind is str:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return _encode_extension(value)
        return value
    if kind in LOWERED:
        return _encode_extension(value)
    if kind is dict:
        return {_lowered(key): _lowered(item) for key, item in value.items()}
    if kind in (list, tuple, set, frozenset):
        return kind(map(_lowered, value))
    if kind is RecordedError:
        return RecordedError(*(_lowered(getattr(value, name)) for name in RecordedError.__slots__))
    return value


def _place(value: Any, levels: int) -> str:
    """Where in a value the part stands that cannot be packed; looked for only when there is one."""
    steps: list[str] = []
    while len(steps) < MAX_DEPTH:
        for step, part in children(value):
            try:
                _pack_checked(part, levels - len(steps) - 1)
            except Unencodable:
                steps.append(step)
                value = part
                break
        else:
            break
    return "".join(steps) if len(steps) <= 12 else "".join(steps[:6]) + " … " + "".join(steps[-3:])
