"""`pack` and `unpack`: any value that a call takes or returns, to bytes and back, with exact types at every level.

Plain data is plain msgpack. A type that msgpack lacks is one of the extension types in `extensions`. There is no
pickle and no import by name: bytes from a stranger build values, and run nothing.
"""

from __future__ import annotations

import datetime as dt
import io
import struct
from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import Any, Final

from msgpack import ExtType, Packer, Unpacker, unpackb  # type: ignore[import-untyped,unused-ignore]
from msgpack.exceptions import UnpackException  # type: ignore[import-untyped,unused-ignore]

from timetracer_otel.cassette.costs import OwnCosts, at_most
from timetracer_otel.cassette.extensions import (
    DATETIME_CODE,
    EXTENSIONS,
    HEADERS_CODE,
    TUPLE_CODE,
    check_hashes,
    clock_items_of,
    header_parts_of,
)
from timetracer_otel.cassette.scan import LOWERED, MAX_DEPTH, NATIVE, Survey, Unencodable, children
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import HeaderMap, RecordedError

__all__ = [
    "MAX_LEVELS",
    "MAX_OBJECT_BYTES",
    "MOST_LEVELS",
    "STRUCTURE_LEVELS",
    "check",
    "cost_of_texts",
    "decode",
    "pack",
    "pack_looked_at",
    "pack_map",
    "pack_native",
    "pack_surveyed",
    "packed_headers",
    "skimmer",
    "unpack",
]

MAX_OBJECT_BYTES: Final = 1 << 30
"""Length of the longest value, header, event or footer, packed. The codec writes no longer one, and reads none."""

STRUCTURE_LEVELS: Final = 8
"""How many levels of the format's own maps may stand around a value: event, result, body, and so on."""

MOST_LEVELS: Final = MAX_DEPTH + STRUCTURE_LEVELS
"""How deep containers may nest in a header, event or footer that is written."""

MAX_LEVELS: Final = MAX_DEPTH + 2 * STRUCTURE_LEVELS
"""How deep the containers of an object may nest that is read: as deep as `pack_map` takes them, and some more.
Whatever is done with a value later may go down it by recursion."""
_SMALL_PAYLOAD_BYTES: Final = 128
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
"""Exceptions that msgpack and our decoders raise for bytes that are no value of the format."""


def pack(value: Any) -> bytes:
    """Pack a value. Safe from any thread.

    Raises:
        Unencodable: The value, or one within, has no faithful encoding: an unknown type, a subclass of a
            known one, a time zone without a name, more than `MAX_DEPTH` levels (or a cycle), more than
            1 GiB. The text says where.
    """
    return pack_map(value, MAX_DEPTH)


def pack_map(value: Any, levels: int = MOST_LEVELS, own: OwnCosts | None = None) -> bytes:
    """`pack` with room for the format's own maps around values; ``own`` is told what its extension types cost."""
    try:
        return _pack_checked(value, levels, own)
    except Unencodable as fault:
        raise Unencodable(fault.reason, _place(value, levels)) from None


def pack_surveyed(value: Any, survey: Survey, own: OwnCosts | None = None) -> bytes:
    """`pack_map` of a value that a survey has looked at. The place of what cannot be packed is not told.

    Raises:
        Unencodable: A part has no faithful encoding after all, or the value is too long.
    """
    if own is not None:
        own.clear()
    return _pack_with(value, survey, own)


def pack_looked_at(make: Callable[[Any], Any], reply: Any, survey: Survey) -> tuple[bytes, int] | None:
    """`pack_surveyed` of a value that has a reply in it, where all of it is plain, and what its extension types cost;
    None where a part must be converted first, or it is too long.

    Args:
        make: Gives the value, for what the reply becomes. Its headers are packed already, by `packed_headers`.
        reply: The reply, which the survey has looked at.
        survey: Looks at what else is in the value.

    Raises:
        Unencodable, ValueError, RuntimeError: A part has no plain encoding.
    """
    try:
        packing = _idle.pop()
    except IndexError:
        packing = _Packing()
    packing.own.clear()
    value = make(_with_packed_rows(reply, packing) if type(reply) is dict else reply)
    if survey.lower:
        return None
    data = packing.pack_more(value)
    if len(data) > _KEPT_PACKER_BYTES:  # A packer's buffer never shrinks.
        return (data, packing.own.spent) if len(data) <= MAX_OBJECT_BYTES else None
    _idle.append(packing)
    return data, packing.own.spent


def _with_packed_rows(reply: dict[Any, Any], packing: _Packing) -> dict[Any, Any]:
    """A reply in which the lists of tuples are packed."""
    if list not in map(type, reply.values()):
        return reply
    for key, item in reply.items():
        if type(item) is list and item and type(item[0]) is tuple and _TUPLES.issuperset(map(type, item)):
            reply = {**reply, key: packing.rows(item)}
    return reply


_TUPLES: Final = frozenset({tuple})


def packed_headers(pairs: Sequence[tuple[bytes, bytes]]) -> tuple[Any, int]:
    """What a `HeaderMap` of these lines is in a map that is to be packed, and a bound of what it costs to read that.

    Clients send the same few headers in each call, so these are packed once.

    Raises:
        Unencodable: They are no bytes.
    """
    try:
        return _known_headers[pairs]  # type: ignore[index]
    except (KeyError, TypeError):
        pass
    flat = header_parts_of(pairs)
    payload = pack_native(flat) or b""
    own = OwnCosts()
    own.add_headers(len(flat), len(payload))
    made = _ext_type((HEADERS_CODE, payload)), own.spent
    if type(pairs) is tuple and len(payload) <= _LONGEST_KEPT_HEADERS:
        if len(_known_headers) >= _MOST_KEPT_HEADERS:
            _known_headers.clear()
        _known_headers[pairs] = made
    return made


_MOST_KEPT_HEADERS: Final = 256
_LONGEST_KEPT_HEADERS: Final = 2048
_known_headers: dict[tuple[tuple[bytes, bytes], ...], tuple[Any, int]] = {}
"""The headers that were packed last. They are redacted. Safe from any thread: an entry that two add is the same."""


def cost_of_texts(key: str, texts: list[str]) -> int:
    """A bound of what one more pair of a map costs to read, which are a key and its texts. That they are texts is not
    looked at.

    Raises:
        Unencodable: A text has no UTF-8, so that it is no plain text in the file.
    """
    try:
        data = _pack_raw({key: texts})
    except UnicodeEncodeError as fault:
        raise Unencodable(f"text within it has no UTF-8: {fault.reason}") from None
    return at_most(2 + len(texts), 1, 0, len(data))


def pack_native(value: Any) -> bytes | None:
    """`pack` of a value whose leaves are of the types `NATIVE` and whose containers are maps and lists; nobody looks
    whether that is so. None where its text has no UTF-8, or it cannot be packed otherwise.
    """
    try:
        return _pack_raw(value)
    except (RuntimeError, ValueError):
        return None


def check(value: Any) -> None:
    """Raise what `pack` would raise. Most values are judged by their types alone, without making bytes.

    A value that is too long for a cassette (beyond 1 GiB, or a whole number of very many digits) passes here. It is
    found when the event is written, and the event says so then.

    Raises:
        Unencodable: As for `pack`.
    """
    if type(value) is dict and NATIVE.issuperset(map(type, value.values())) and NATIVE.issuperset(map(type, value)):
        return
    survey = Survey()
    try:
        survey.look((value,), MAX_DEPTH)
    except (Unencodable, RecursionError, RuntimeError, ValueError):
        survey.doubtful = True
    if survey.doubtful:
        pack(value)


def unpack(data: bytes | memoryview) -> Any:
    """The value that `pack` packed.

    Raises:
        CassetteError: The bytes are no packed value, or more bytes follow the value.
    """
    try:
        _check_whole(data)
        return decode(data)
    except DECODE_ERRORS as fault:
        raise CassetteError(f"Not a packed value: {describe(fault)}") from fault


def decode(data: bytes | memoryview) -> Any:
    """Unpack one object whose lengths a `skimmer` has checked; raises `DECODE_ERRORS`."""
    try:
        # Nearly all keys are text or bytes, whose hashes nobody can foretell.
        return _decode(data, 0, {"strict_map_key": True})
    except ValueError as fault:
        if _OTHER_KEY not in str(fault):
            raise
    return _decode(data, 0, {"strict_map_key": False, "object_pairs_hook": _map_of})


_OTHER_KEY: Final = "is not allowed for map key"
"""What msgpack says where a key is neither text nor bytes."""


def _decode(data: bytes | memoryview, depth: int, how: dict[str, Any]) -> Any:
    if depth > MAX_LEVELS:
        raise ValueError(f"extension types nested deeper than {MAX_LEVELS} levels")
    if depth and len(data) > _SMALL_PAYLOAD_BYTES:
        _check_whole(data)
    return unpackb(data, ext_hook=partial(_decode_extension, depth, how), timestamp=3, **how)


def _map_of(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    check_hashes([key for key, _ in pairs])
    return dict(pairs)


def describe(fault: BaseException) -> str:
    """The first line of a decoding error's text, or the name of its class where it has no text."""
    return str(fault).splitlines()[0][:200] if str(fault).strip() else type(fault).__name__


def skimmer(data: bytes | memoryview) -> Any:
    """A msgpack `Unpacker` whose ``skip`` and ``tell`` find where objects end, without building anything.

    msgpack allocates a list for as many items as an array *claims* to have, at every level. A hostile file of some
    bytes could claim billions. Skipping over an object first shows that each claimed item is there, so that the
    memory for what is built afterwards is in proportion to the bytes.
    """
    return Unpacker(io.BytesIO(data), read_size=max(1, min(len(data), 1 << 16)), max_buffer_size=0)


def _check_whole(data: bytes | memoryview) -> None:
    skim = skimmer(data)
    skim.skip()
    if skim.tell() != len(data):
        raise ValueError(f"{len(data) - skim.tell()} bytes behind the value")


def _decode_extension(depth: int, how: dict[str, Any], code: int, payload: bytes) -> Any:
    found = _DECODERS.get(code)
    if found is None:
        raise ValueError(f"unknown extension type {code}")
    return found(payload, lambda data: _decode(data, depth + 1, how))


def _encode_extension(value: Any, pack: Callable[[Any], bytes]) -> Any:
    found = _ENCODERS.get(type(value))
    if found is None:  # The survey saw only known types, but another thread has put this value in since.
        raise Unencodable(f"{type(value).__qualname__} has no encoding")
    code, encode = found
    return ExtType(code, encode(value, pack))


_DECODERS: Final[dict[int, Callable[[bytes, Callable[[bytes], Any]], Any]]] = {
    row.code: row.decode for row in EXTENSIONS
}
_ENCODERS: Final[dict[type, tuple[int, Callable[[Any, Callable[[Any], bytes]], bytes]]]] = {
    row.kind: (row.code, row.encode) for row in EXTENSIONS
}


class _Packing:
    """A packer, and what the extension types cost that it has packed. Serves one thread at a time."""

    __slots__ = ("_flat", "_packer", "own")

    def __init__(self) -> None:
        self.own = OwnCosts()
        self._packer = Packer(default=self._extension, strict_types=True)
        self._flat = Packer(strict_types=True)
        """Packs the lines of headers, and tuples, while the other one is in the middle of its value."""

    def pack(self, value: Any) -> bytes:
        self.own.clear()
        data: bytes = self._packer.pack(value)
        return data

    def pack_more(self, value: Any) -> bytes:
        """The same, of a value in which something is packed already."""
        data: bytes = self._packer.pack(value)
        return data

    def rows(self, rows: list[Any]) -> list[Any]:
        """What these tuples are in a value that is to be packed. All of them are packed in one go, which takes half
        of the time.
        """
        payloads = [*map(self._packer.pack, map(list, rows))]
        self.own.add_tuples(len(rows), sum(map(len, rows)), sum(map(len, payloads)))
        return [*map(_ext_type, zip(repeat(TUPLE_CODE), payloads))]

    def _extension(self, value: Any) -> Any:
        kind = type(value)
        if kind is tuple and NATIVE.issuperset(map(type, value)):
            try:
                payload: bytes = self._flat.pack(list(value))
            except OverflowError:
                # It has a whole number for which msgpack asks our hook.
                return self._other_extension(value)
            self.own.add_tuples(1, len(value), len(payload))
            return _ext_type((TUPLE_CODE, payload))
        if kind is HeaderMap:
            # The same as below in fewer steps: most events have two of them.
            flat = header_parts_of(value.pairs)
            payload = self._flat.pack(flat)
            self.own.add_headers(len(flat), len(payload))
            return _ext_type((HEADERS_CODE, payload))
        if kind is dt.datetime:
            # Rows may have one each.
            items = clock_items_of(value)
            payload = self._flat.pack(items)
            self.own.add_datetime(items[1] if len(items) > 1 else None, payload)
            return _ext_type((DATETIME_CODE, payload))
        return self._other_extension(value)

    def _other_extension(self, value: Any) -> Any:
        extension = _encode_extension(value, self._part)
        self.own.add(extension.code, extension.data)
        return extension

    def _part(self, value: Any) -> bytes:
        return _pack_raw(value, self.own)


_ext_type: Callable[[tuple[int, bytes]], Any] = partial(tuple.__new__, ExtType)
"""Makes an `ExtType` without the checks of its arguments."""

_idle: list[_Packing] = []
"""Those that no thread uses at the moment. ``list.pop`` is atomic, so that two threads never get the same one."""


def _pack_raw(value: Any, own: OwnCosts | None = None) -> bytes:
    try:
        packing = _idle.pop()
    except IndexError:
        packing = _Packing()
    data = packing.pack(value)
    if own is not None:
        own.spent += packing.own.spent
    if len(data) <= _KEPT_PACKER_BYTES:  # A packer's buffer never shrinks.
        _idle.append(packing)
    return data


def _pack_checked(value: Any, levels: int, own: OwnCosts | None = None) -> bytes:
    if own is not None:
        own.clear()
    survey = Survey()
    try:
        survey.look((value,), levels)
    except RecursionError:
        raise Unencodable(_TOO_DEEP) from None
    except (RuntimeError, ValueError) as fault:
        raise Unencodable(f"cannot be packed: {fault}") from None
    return _pack_with(value, survey, own)


_TOO_DEEP: Final = "nested too deeply for the stack that is left"


def _pack_with(value: Any, survey: Survey, own: OwnCosts | None) -> bytes:
    try:
        try:
            if survey.lower:
                data = _pack_raw(_lowered(value))
            else:
                data = _pack_raw(value, own)
                if own is not None:
                    own.spent += at_most(survey.items, survey.containers, survey.pairs, len(data))
                    own.known = True
        except UnicodeEncodeError:
            data = _pack_raw(_lowered(value))
    except UnicodeEncodeError as fault:
        raise Unencodable(f"text within it has no UTF-8: {fault.reason}") from None
    except RecursionError:
        raise Unencodable(_TOO_DEEP) from None
    except (RuntimeError, ValueError) as fault:
        # Another thread changes the value while it is packed, or it exceeds msgpack's own limit of 4 GiB.
        raise Unencodable(f"cannot be packed: {fault}") from None
    if len(data) > MAX_OBJECT_BYTES:
        raise Unencodable(f"longer than {MAX_OBJECT_BYTES} bytes when packed")
    return data


def _lowered(value: Any) -> Any:
    """A copy of a value in which some parts are extension types already.

    msgpack asks our hook only about types that it does not know. It packs a ``bytearray`` as ``bytes`` by itself, and
    fails at text with lone surrogates, so these parts are converted before it sees them.
    """
    kind = type(value)
    if kind is str:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return _encode_extension(value, _pack_raw)
        return value
    if kind in LOWERED:
        return _encode_extension(value, _pack_raw)
    if kind is dict:
        return {_lowered(key): _lowered(item) for key, item in value.items()}
    if kind in (list, tuple, set, frozenset):
        return kind(map(_lowered, value))
    if kind is RecordedError:
        return RecordedError(*(_lowered(getattr(value, name)) for name in RecordedError.__slots__))
    return value


def _place(value: Any, levels: int) -> str:
    """The place of the part that cannot be packed, such as ``['rows'][3]``. Slow; called only for an error's text."""
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
