"""Files of strangers, each of which once cost gigabytes or minutes, or raised what no command catches."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable
from typing import Any, Final

import zstandard
from msgpack import ExtType, packb  # type: ignore[import-untyped,unused-ignore]

from timetracer_otel.cassette.frames import seal

__all__ = ["cassette_file", "hostile_files"]

_HEADER: Final[dict[str, Any]] = {
    "format": "timetracer-cassette",
    "version": 1,
    "session": {"id": "1", "recorded_at": "2024-01-01T00:00:00+00:00", "service": "s", "env": "e"},
    "request": {"method": "GET", "path": "/"},
}
_EVENT: Final[dict[str, Any]] = {
    "eid": 1,
    "type": "custom",
    "start_ms": 0.0,
    "duration_ms": 1.0,
    "signature": {"lib": "x", "method": "GET"},
    "result": {},
}
_TRANSACTION: Final[dict[str, Any]] = {
    "span": {"trace_id": "", "span_id": "", "parent_span_id": "", "kind": "CLIENT"},
    "transaction": [["BEGIN", 1, 0.0, 0.0], ["COMMIT", 1, 0.0, 0.0]],
}
"""Two more events, in the fewest bytes."""


def cassette_file(*events: Any, footer: dict[str, Any] | None = None, sealed: bool = True) -> bytes:
    """A stream made by hand. Values that are bytes stand in it as they are."""
    data = b"".join(part if type(part) is bytes else packb(part) for part in (_HEADER, *events))
    if not sealed:
        return data
    more = {"footer": len(events), "stats": {}, "response": {"status": 200}, **(footer or {})}
    return data + seal(more, len(data), zlib.crc32(data))


def _with(args: Any = None, **changes: Any) -> bytes:
    """A cassette of one event; ``args`` in bytes is packed already."""
    event = {**_EVENT, **changes}
    if args is None:
        return cassette_file(event)
    packed = packb({**event, "call": {"args": 0}})
    assert packed.endswith(b"\x00")
    return cassette_file(packed[:-1] + (args if type(args) is bytes else packb(args)))


def _array(items: bytes, count: int) -> bytes:
    return b"\xdd" + count.to_bytes(4, "big") + items


def _extension(code: int, payload: bytes) -> bytes:
    return b"\xc9" + len(payload).to_bytes(4, "big") + code.to_bytes(1, "big") + payload


def _nested_extensions(levels: int, core: bytes) -> bytes:
    for _ in range(levels):
        core = _extension(2, b"\x91" + core)
    return core


def _colliding(count: int) -> list[int]:
    prime = (1 << 61) - 1
    return [number * prime for number in range(1, count)]


def _big(number: int) -> ExtType:
    return ExtType(1, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def _colliding_map() -> bytes:
    keys = b"".join(packb(_big(number)) + b"\xc0" for number in _colliding(5_000))
    return b"\xdf" + (4_999).to_bytes(4, "big") + keys


def _colliding_set() -> bytes:
    # hash(-1) == hash(-2), so all tuples of these two have one hash.
    items = [_tuple([-1 - (number >> bit & 1) for bit in range(12)]) for number in range(1 << 12)]
    return _extension(3, _array(b"".join(items), len(items)))


def _tuple(items: list[Any]) -> bytes:
    return _extension(2, packb(items))


def _zones() -> bytes:
    import zoneinfo

    names = sorted(zoneinfo.available_timezones())
    return _array(b"".join(_extension(6, packb(["2024-01-01T00:00:00", name])) for name in names), len(names))


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(data)


def _many_headers(count: int) -> bytes:
    return _extension(22, _array(b"\xc4\x00\xc4\x00" * count, 2 * count))


def _sent_rows(count: int, types: list[int], cell: bytes) -> bytes:
    cells = cell * len(types)
    row = b"D" + (len(cells) + 6).to_bytes(4, "big") + len(types).to_bytes(2, "big") + cells
    head = count.to_bytes(4, "big") + len(types).to_bytes(2, "big")
    return _extension(24, head + b"".join(oid.to_bytes(4, "big") for oid in types) + row * count)


def _random_tokens(mib: int) -> bytes:
    chance = random.Random(7)
    tokens = [b"\xcc\xff", b"\xa2ab", b"\x90", b"\xc4\x02ab", b"\xcb" + bytes(8), b"\x81\xa1a\xc0", b"\x00"]
    chosen = chance.choices(tokens, k=mib)
    return _array(b"".join(chosen), len(chosen))


def hostile_files(mib: int = 1 << 20) -> dict[str, Callable[[], bytes]]:
    """Functions that make a file each, by what is in it.

    Args:
        mib: How many bytes a mebibyte has: fewer for smaller files.
    """
    return {
        "a range of a billion": lambda: _with(packb(ExtType(20, packb([0, 10**9, 1])))),
        "a network of 2^128 hosts": lambda: _with(packb(ExtType(14, b"::/0"))),
        "empty maps, packed by zstd": lambda: _zstd(_with(_array(b"\x80" * (16 * mib), 16 * mib))),
        "empty arrays, packed by gzip": lambda: gzip.compress(_with(_array(b"\x90" * (16 * mib), 16 * mib))),
        "zeros, packed by zstd": lambda: _zstd(_with(b"\xc6" + (32 * mib).to_bytes(4, "big") + bytes(32 * mib))),
        "zeros, packed by gzip": lambda: gzip.compress(
            _with(b"\xc6" + (16 * mib).to_bytes(4, "big") + bytes(16 * mib))
        ),
        "rows as they were sent, of short texts": lambda: _with(_sent_rows(mib // 2, [25], b"\0\0\0\2ab")),
        "rows as they were sent, of many short texts": lambda: _with(
            _sent_rows(mib // 500, [25] * 1000, b"\0\0\0\2ab")
        ),
        "rows as they were sent, of no columns": lambda: _with(_sent_rows(mib // 2, [], b"")),
        "rows as they were sent, packed by zstd": lambda: _zstd(_with(_sent_rows(mib // 2, [16], b"\0\0\0\1\0"))),
        "maps within maps": lambda: _with(_array(b"\x81\xc0\x80" * (mib), mib)),
        "empty maps": lambda: _with(_array(b"\x80" * (2 * mib), 2 * mib)),
        "empty arrays": lambda: _with(_array(b"\x90" * (2 * mib), 2 * mib)),
        "small numbers": lambda: _with(_array(b"\xcc\x10" * (mib), mib)),
        "short texts": lambda: _with(_array(b"\xa2\xc3\xa9" * (mib), mib)),
        "tokens of all kinds": lambda: _with(_random_tokens(mib)),
        "tuples": lambda: _with(_array(b"\xd4\x02\x90" * (mib), mib)),
        "networks": lambda: _with(_array(b"\xd6\x0e::/0" * (mib // 4), mib // 4)),
        "extensions within extensions": lambda: _with(_nested_extensions(100, b"\xc4\x00")),
        "a large one within a hundred": lambda: _with(
            _nested_extensions(100, b"\xc6" + (2 * mib).to_bytes(4, "big") + bytes(2 * mib))
        ),
        "keys of one hash": lambda: _with(_colliding_map()),
        "items of one hash": lambda: _with(_colliding_set()),
        "one header a million times": lambda: _with(result={"headers": 0}).replace(
            b"\x81\xa7headers\x00", b"\x81\xa7headers" + _many_headers(mib)
        ),
        "every time zone": lambda: _with(_zones()),
        "a million chunks": lambda: _with(
            result={"body": {"captured": True, "data": b"", "chunks": [[0, 0]] * (mib)}}
        ),
        "spans within a call": lambda: _with(within=[{"trace_id": "", "span_id": ""}] * (mib // 4)),
        "many events": lambda: cassette_file(*[packb(_EVENT)] * (mib // 100)),
        "many transactions": lambda: cassette_file(*[packb({**_EVENT, **_TRANSACTION})] * (mib // 100)),
        "deep nesting": lambda: _with(b"\x91" * 1000 + b"\xc0"),
    }
