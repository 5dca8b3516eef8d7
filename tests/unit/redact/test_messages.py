"""Amazon's event streams: secrets are found in their messages, and botocore reads the messages that are left."""

from __future__ import annotations

import json
import struct
from zlib import crc32

from botocore.eventstream import EventStreamBuffer, EventStreamMessage

from timetracer_otel.redact.messages import MEDIA_TYPE, begins_with_message, messages
from timetracer_otel.redact.redactor import Redactor

HEADERS = [(b"Content-Type", MEDIA_TYPE)]


def _message(payload: bytes, kind: str = "application/json") -> bytes:
    fields = {":message-type": "event", ":event-type": "chunk", ":content-type": kind}
    headers = b"".join(
        struct.pack(">B", len(name)) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in fields.items()
    )
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    whole = lengths + struct.pack(">I", crc32(lengths)) + headers + payload
    return whole + struct.pack(">I", crc32(whole))


def _read(data: bytes) -> list[EventStreamMessage]:
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return list(buffer)


def test_a_secret_in_a_message_is_replaced_and_the_message_stays_one() -> None:
    secret = "fd8a6c1b7e53429d9a10f4be"
    body = _message(b'{"text": "one"}') + _message(json.dumps({"password": secret}).encode()) + _message(b'{"n": 3}')
    before = _read(body)
    made = Redactor("default").body(body, HEADERS, [len(body)])
    assert made.changed
    assert secret.encode() not in made.data
    assert sum(made.sizes) == len(made.data)
    after = _read(made.data)
    assert [message.headers for message in after] == [message.headers for message in before]
    assert [message.payload for message in after[::2]] == [message.payload for message in before[::2]]
    assert json.loads(after[1].payload)["password"] != secret


def test_a_body_without_secrets_stays_as_it_is() -> None:
    body = _message(b'{"text": "one"}') + _message(b"a,b\n1,2\n", "application/octet-stream")
    made = Redactor("default").body(body, HEADERS, [len(body)])
    assert (made.data, made.changed) == (body, False)


def test_what_is_damaged_or_cut_ends_the_messages() -> None:
    first, second = _message(b'{"a": 1}'), _message(b'{"b": 2}')
    assert [message.stop for message in messages(first + second[:-1])] == [len(first)]
    assert [message.stop for message in messages(first + second[:-1] + b"\0")] == [len(first)]
    assert [message.content_type for message in messages(first)] == [b"application/json"]
    for other in (b"", b"{}", bytes(32), b'{"token": "no message at all"}'):
        assert not begins_with_message(other)
        assert list(messages(other)) == []
