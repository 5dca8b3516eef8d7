"""The stream of msgpack objects that a cassette is: its start, where objects begin and end, and its seal.

A stream is a header map, event maps and a footer map, with nothing between them. The footer ends in 27 bytes of
fixed form, the seal: the key ``offset`` with the place of the footer itself, and the key ``crc32`` with the CRC-32
of every byte before the number. By the seal, a reader tells a file that was cut from one that was finished and
damaged afterwards. A file may also be cut right behind a recorded body that is itself a cassette with a seal. The
``offset`` in that seal counts from the beginning of the body, so that it is not taken for the file's own.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

from timetracer_otel.cassette.codec import DECODE_ERRORS, MAX_OBJECT_BYTES, pack_map, pack_surveyed, skimmer
from timetracer_otel.cassette.costs import OwnCosts
from timetracer_otel.cassette.scan import Survey
from timetracer_otel.cassette.tokens import BreakError, find_break
from timetracer_otel.constants import FORMAT_NAME

__all__ = [
    "BOUNDARIES_KEY",
    "FOOTER_KEY",
    "FOOTER_MARK",
    "MAGIC",
    "PAD_KEY",
    "BreakError",
    "footer_start",
    "objects",
    "padded",
    "seal",
    "sealed_crc",
    "was_sealed",
]

_NAME = FORMAT_NAME.encode()
MAGIC: Final = b"\xa6format" + bytes([0xA0 | len(_NAME)]) + _NAME
"""The bytes that follow the first one in every stream, of whatever version."""

BOUNDARIES_KEY: Final = "boundaries"
"""Key in the footer: how many events stand within others."""
FOOTER_KEY: Final = "footer"
"""The first key of the footer; no event has it."""

FOOTER_MARK: Final = b"\xa6footer"
_SEAL: Final = struct.Struct(">8sQ7sI")
_OFFSET_MARK: Final = b"\xa6offset\xcf"
_CRC_MARK: Final = b"\xa5crc32\xce"


def seal(
    fields: dict[str, Any], offset: int, crc: int, survey: Survey | None = None, own: OwnCosts | None = None
) -> bytes:
    """The footer, packed and sealed.

    Args:
        fields: The entries of the footer, `FOOTER_KEY` first, at most 13.
        offset: How many bytes of the stream stand before the footer.
        crc: CRC-32 of those bytes.
        survey: Has looked at the fields, where somebody has.
        own: Is told what it costs to read the footer, where there is a survey. The seal is counted, too.
    """
    if survey is None:
        body = pack_map(fields)
    else:
        # What `_SEAL` adds: two keys, and two numbers.
        survey.pairs += 2
        survey.items += 4
        body = pack_surveyed(fields, survey, own)
    open_end = bytes([0x80 | len(fields) + 2]) + body[1:]
    sealed = open_end + _SEAL.pack(_OFFSET_MARK, offset, _CRC_MARK, 0)[:-4]
    return sealed + struct.pack(">I", zlib.crc32(sealed, crc))


PAD_KEY: Final = "pad"
"""Readers pass over it, as over any key that they do not know."""


def padded(part: bytes, pad: bytes) -> bytes:
    """A packed header or event, which has at most 14 entries, with one more that holds ``pad``."""
    return bytes([part[0] + 1]) + part[1:] + pack_map(PAD_KEY) + pack_map(pad) if pad else part


def sealed_crc(data: bytes) -> int:
    """The CRC-32 that a sealed stream names."""
    return int.from_bytes(data[-4:], "big")


def footer_start(tail: bytes) -> int | None:
    """Where a stream that ends in ``tail`` says that its footer begins; None where it does not end in a seal."""
    if len(tail) < _SEAL.size:
        return None
    offset_mark, offset, crc_mark, _ = _SEAL.unpack(tail[-_SEAL.size :])
    return int(offset) if offset_mark == _OFFSET_MARK and crc_mark == _CRC_MARK else None


def was_sealed(data: bytes) -> bool:
    """Whether a damaged stream was finished once. Its seal is found even if one byte of the seal is damaged."""
    if len(data) < _SEAL.size:
        return False
    offset_mark, offset, crc_mark, _ = _SEAL.unpack(data[-_SEAL.size :])
    expected = _OFFSET_MARK + _CRC_MARK
    if sum(a != b for a, b in zip(offset_mark + crc_mark, expected, strict=True)) > 1:
        return False
    inner_start = data.rfind(FOOTER_MARK) - 1 - int(offset)
    return not (inner_start > 0 and data.startswith(MAGIC, inner_start + 1))


def objects(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of every whole object, in order.

    Raises:
        BreakError: There are bytes that begin no object, or the last object is not whole.
    """
    skim = skimmer(data)
    start = 0
    while start < len(data):
        try:
            skim.skip()
        except DECODE_ERRORS:
            raise find_break(data, start) from None
        end = skim.tell()
        if end - start > MAX_OBJECT_BYTES:
            raise BreakError(start, f"an object longer than {MAX_OBJECT_BYTES} bytes", ran_out=False)
        yield start, end
        start = end
