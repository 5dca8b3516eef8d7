"""What headers state of a body: its length and its checksums. Where something in the body was replaced, they follow.

A client that checks them would refuse an answer otherwise: botocore asks again where ``x-amz-crc32`` is not that of
the body, and clients of object stores compare ``x-amz-checksum-sha256`` or ``x-goog-hash``. A header that was wrong
for the body as it came stays as it is.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeAlias

from timetracer_otel.types import HeaderPairs

__all__ = ["restated"]

_Digest: TypeAlias = Callable[[bytes], bytes]
_Checksum: TypeAlias = tuple[_Digest, Callable[[bytes], bytes]]
"""A checksum, and how its bytes are written."""


def restated(lines: HeaderPairs, size_before: int | None, before: Any, now: Any) -> HeaderPairs:
    """Header lines with the length and the checksums of a body, where they were right for the body before.

    Args:
        lines: Of a request or a response.
        size_before: Of the body before, in bytes, as it was sent.
        before: What was kept of it. Where that is not all, no checksum is known.
        now: The body now; None where it is not kept, and then they stay.
    """
    if not isinstance(now, bytes | str):
        return lines
    size, old_size = str(len(now)).encode(), str(size_before).encode()
    is_whole = isinstance(before, bytes) and len(before) == size_before
    made = []
    for name, value in lines:
        lowered = name.lower()
        if lowered == b"content-length":
            value = size if value.strip() == old_size else value
        elif lowered in _CHECKSUMS and isinstance(now, bytes) and is_whole:
            value = _follows(value, _CHECKSUMS[lowered], before, now)
        made.append((name, value))
    return made


def _follows(value: bytes, checksums: tuple[_Checksum, ...], before: bytes, now: bytes) -> bytes:
    for digest, written in checksums:
        was = written(digest(before))
        if was in value:
            value = value.replace(was, written(digest(now)))
    return value


def _crc32(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


def _crc32c(data: bytes) -> bytes:
    return _crc(data, 0x82F63B78, 32)


def _crc64nvme(data: bytes) -> bytes:
    return _crc(data, 0x9A6C9329AC4BC9B5, 64)


def _crc(data: bytes, polynomial: int, bits: int) -> bytes:
    """A cyclic redundancy check whose bits are reflected, with all ones before and behind (RFC 3720 appendix B.4)."""
    table, all_ones = _table(polynomial), (1 << bits) - 1
    rest = all_ones
    for byte in data:
        rest = table[(rest ^ byte) & 0xFF] ^ (rest >> 8)
    return (rest ^ all_ones).to_bytes(bits // 8, "big")


@cache
def _table(polynomial: int) -> tuple[int, ...]:
    def row(rest: int) -> int:
        for _ in range(8):
            rest = (rest >> 1) ^ (polynomial if rest & 1 else 0)
        return rest

    return tuple(map(row, range(256)))


def _decimal(digest: bytes) -> bytes:
    return str(int.from_bytes(digest, "big")).encode()


def _by_hashlib(name: str) -> _Digest:
    return lambda data: hashlib.new(name, data, usedforsecurity=False).digest()


_MD5: Final[_Checksum] = (_by_hashlib("md5"), base64.b64encode)
_SHA1: Final[_Checksum] = (_by_hashlib("sha1"), base64.b64encode)
_SHA256: Final[_Checksum] = (_by_hashlib("sha256"), base64.b64encode)
_SHA512: Final[_Checksum] = (_by_hashlib("sha512"), base64.b64encode)
_CRC32C: Final[_Checksum] = (_crc32c, base64.b64encode)
_OF_HTTP: Final[tuple[_Checksum, ...]] = (_SHA256, _SHA512, _MD5)
_CHECKSUMS: Final[dict[bytes, tuple[_Checksum, ...]]] = {
    b"content-md5": (_MD5,),
    # RFC 9530, and RFC 3230 before it
    b"content-digest": _OF_HTTP,
    b"repr-digest": _OF_HTTP,
    b"digest": _OF_HTTP,
    # Amazon
    b"x-amz-crc32": ((_crc32, _decimal),),
    b"x-amz-checksum-crc32": ((_crc32, base64.b64encode),),
    b"x-amz-checksum-crc32c": (_CRC32C,),
    b"x-amz-checksum-crc64nvme": ((_crc64nvme, base64.b64encode),),
    b"x-amz-checksum-sha1": (_SHA1,),
    b"x-amz-checksum-sha256": (_SHA256,),
    b"x-amz-checksum-sha512": (_SHA512,),
    # Google, with one or several in a line
    b"x-goog-hash": (_CRC32C, _MD5),
}
"""By name in lower case: the checksums that such a header may state, and how it writes them."""
