"""Amazon's event streams: a body of messages, each with its lengths and checksums (Bedrock, Kinesis, S3 Select).

A message is its length and that of its headers (4 bytes each, the most significant first), the CRC-32 of these eight
bytes, the headers, the payload, and the CRC-32 of all that stands before it ("Amazon event stream encoding" in the
manual of Amazon Transcribe).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from zlib import crc32

from timetracer_otel.redact.splice import Edit, apply_edits

__all__ = ["MEDIA_TYPE", "Message", "begins_with_message", "edited_messages", "messages"]

MEDIA_TYPE: Final = b"application/vnd.amazon.eventstream"
_PRELUDE: Final = struct.Struct(">III")
_CHECKSUM: Final = struct.Struct(">I")
_CONTENT_TYPE: Final = b"\x0d:content-type\x07"
"""The name of a header, behind its length; and the mark of a text, which stands before the length of the value."""


class Message(NamedTuple):
    """Where one message of a body stands, and its payload in it."""

    start: int
    payload: int
    payload_end: int
    stop: int
    content_type: bytes


def begins_with_message(data: bytes) -> bool:
    """Whether a body begins with a message. Its checksum tells, so no other body does but by chance."""
    return len(data) >= 16 and crc32(data[:8]) == int.from_bytes(data[8:12], "big") and data[:8] != bytes(8)


def messages(data: bytes) -> Iterator[Message]:
    """The messages of a body, up to the first that is damaged or not whole."""
    at = 0
    while begins_with_message(data[at : at + 16]):
        length, of_headers, _ = _PRELUDE.unpack_from(data, at)
        start, stop = at + _PRELUDE.size, at + length
        if length < _PRELUDE.size + of_headers + _CHECKSUM.size or stop > len(data):
            return
        if crc32(data[at : stop - _CHECKSUM.size]) != _CHECKSUM.unpack_from(data, stop - _CHECKSUM.size)[0]:
            return
        headers = data[start : start + of_headers]
        _, named, value = headers.partition(_CONTENT_TYPE)
        kind = value[2 : 2 + int.from_bytes(value[:2], "big")] if named else b""
        yield Message(at, start + of_headers, stop - _CHECKSUM.size, stop, kind)
        at = stop


def edited_messages(data: bytes, edits: Sequence[Edit]) -> bytes:
    """A body with edits made, whose messages have the lengths and checksums of what is in them now.

    Args:
        data: The body.
        edits: In order. An edit within the headers of a message leaves out what it would make longer or shorter.
    """
    made = []
    end = 0
    for message in messages(data):
        end = message.stop
        within = [edit for edit in edits if message.start <= edit.start < message.stop]
        if not within:
            made.append(data[message.start : message.stop])
            continue
        headers = _edited(data, message.start + _PRELUDE.size, message.payload, within, same_length=True)
        payload = _edited(data, message.payload, message.payload_end, within)
        length = _PRELUDE.size + len(headers) + len(payload) + _CHECKSUM.size
        lengths = struct.pack(">II", length, len(headers))
        whole = b"".join((lengths, _CHECKSUM.pack(crc32(lengths)), headers, payload))
        made += whole, _CHECKSUM.pack(crc32(whole))
    return b"".join(made) + _edited(data, end, len(data), edits)


def _edited(data: bytes, start: int, stop: int, edits: Sequence[Edit], same_length: bool = False) -> bytes:
    within = [
        Edit(edit.start - start, edit.stop - start, edit.text)
        for edit in edits
        if start <= edit.start and edit.stop <= stop and (not same_length or len(edit.text) == edit.stop - edit.start)
    ]
    return apply_edits(data[start:stop], within)
