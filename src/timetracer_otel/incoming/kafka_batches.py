"""Several messages of Kafka that one call has given, in the form of one request.

Its body is ``multipart/mixed`` (RFC 2046): each part is a message. The part has the topic and the header lines of the
message's own request, and the bytes of its body. So secrets are found in it as in a message that comes alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from timetracer_otel.constants import MESSAGES
from timetracer_otel.incoming.job_scope import IncomingJob
from timetracer_otel.incoming.kafka_messages import GivenRecord, kafka_given
from timetracer_otel.incoming.messages import IncomingMessage, header_line, header_value
from timetracer_otel.redact.redactor import content_headers, multipart_boundary
from timetracer_otel.redact.splice import MIXED, mixed_parts
from timetracer_otel.types import BodySnapshot, HeaderMap, HeaderPairs, RequestSnapshot

__all__ = ["IncomingMessages", "as_incoming", "given_again", "topics_in"]

_COUNT: Final = "kafka-messages"
_TOPIC: Final = "kafka-topic"
_BOUNDARY: Final = "timetracer-message"
_OF_NAMES: Final = "!#$&'*+^`|"
"""What may stand in the name of a header line (RFC 9110 section 5.6.2), beside what is quoted nowhere."""
_SEVERAL: Final = ","
"""No name of a topic has one."""


@dataclass(frozen=True, slots=True)
class IncomingMessages(IncomingJob):
    """Several messages as a consumer was given them, not redacted. The name is that of their topics."""

    messages: Sequence[IncomingMessage] = ()

    def request(self) -> RequestSnapshot:
        """All of them in the form of a request."""
        parts = [_part(each) for each in self.messages]
        boundary = _BOUNDARY
        while any(f"--{boundary}".encode() in each for each in parts):
            boundary += "-"
        delimiter = f"--{boundary}".encode()
        data = b"".join([delimiter + b"\r\n" + each + b"\r\n" for each in parts]) + delimiter + b"--\r\n"
        body = BodySnapshot(captured=True, encoding="bytes", data=data, size_bytes=len(data))
        kind = f"{MIXED.decode()}; boundary={boundary}"
        lines = header_line(_COUNT, len(self.messages)), (b"content-type", kind.encode())
        return RequestSnapshot(method=MESSAGES, path=self.name, headers=HeaderMap(lines), body=body)


def _part(message: IncomingMessage) -> bytes:
    lines = [header_line(_TOPIC, message.name), *message.headers]
    head = b"\r\n".join([_in_token(name) + b": " + _in_one_line(value) for name, value in lines])
    return head + b"\r\n\r\n" + message.body


@lru_cache(maxsize=1024)
def _in_token(name: bytes) -> bytes:
    """The name of a header in the form that a line can have."""
    return quote(name, _OF_NAMES).encode()


def _in_one_line(value: bytes) -> bytes:
    if b"\n" not in value and b"\r" not in value and value == value.strip():
        return value
    return b"json:" + json.dumps(header_value(value.decode("latin-1"))).encode()


def as_incoming(framework: str, messages: Sequence[IncomingMessage]) -> IncomingJob | None:
    """What a consumer was given, as a request: one message, or several; None where there is none.

    Args:
        framework: The client.
        messages: The messages.
    """
    if len(messages) <= 1:
        return next(iter(messages), None)
    topics = _SEVERAL.join(sorted({each.name for each in messages}))
    return IncomingMessages(framework, topics, messages=messages)


def topics_in(name: str) -> list[str]:
    """The topics that such a request names."""
    return name.split(_SEVERAL)


def given_again(name: str, headers: Iterable[Iterable[str]], body: str) -> list[GivenRecord]:
    """The messages of the header lines and the body of a request: of one message, or of several.

    Args:
        name: The topics.
        headers: Each line as its name and its value.
        body: Each byte as a character.
    """
    lines: HeaderPairs = [(each.encode("latin-1"), value.encode("latin-1")) for each, value in headers]
    if not lines or lines[0][0] != _COUNT.encode():
        return [kafka_given(name, headers, body)]
    data = body.encode("latin-1")
    found = []
    for part in mixed_parts(data, multipart_boundary(content_headers(lines)[0])):
        told = [(unquote(one.decode("latin-1"), "latin-1"), value.decode("latin-1")) for one, value in part.lines]
        content = data[part.start : part.stop].decode("latin-1")
        found.append(kafka_given(header_value(told[0][1]), told[1:], content))
    return found
