"""Sends a recorded request, byte for byte as it was recorded, and receives the answer."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.error import URLError
from urllib.parse import quote

from timetracer_otel.constants import BAGGAGE_ENTRY, BodyEnd
from timetracer_otel.types import HeaderMap, HeaderPairs, RequestSnapshot, header_pairs
from timetracer_otel.verify.planning import Address, announced_bytes, target_of

__all__ = ["Answer", "NoAnswerError", "body_of", "send", "why_of"]

_PIECE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of the service, read to its end."""

    status: int
    headers: HeaderMap
    body: bytes
    took_s: float


class NoAnswerError(Exception):
    """The service gave no answer, or broke it off; the text says why."""


def send(
    address: Address, request: RequestSnapshot, name: str, changes: Mapping[str, str], timeout_s: float
) -> Answer:
    """Send a recorded request on a connection of its own.

    Args:
        address: Where to send it.
        request: The recorded request. Its headers are sent in their order, with duplicates. Only the headers that
            state the length of the body, and the framing in chunks, are made anew.
        name: The cassette that has to answer the calls of the service. It is sent in the ``baggage`` header.
        changes: Values of headers to replace, by name in lower case, since the recorded ones may be redacted.
        timeout_s: How many seconds request and answer may take together.

    Raises:
        NoAnswerError: There was no whole answer within that time.
    """
    began_s = time.monotonic()
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.host, address.port, timeout=timeout_s)
    try:
        connection.connect()
        wire: socket.socket = connection.sock
        _put(connection, request, name, changes)
        wire.settimeout(_left_s(began_s, timeout_s))
        response = connection.getresponse()
        pieces = []
        # If the answer ends with the connection, its last piece closes the socket, in some Python versions at once.
        # So the response is asked, and not the socket.
        while not response.isclosed():
            wire.settimeout(_left_s(began_s, timeout_s))
            piece = response.read1(_PIECE_BYTES)
            if not piece:
                break
            pieces.append(piece)
        if response.length:
            raise NoAnswerError(f"the connection was closed {response.length} bytes before the end of the body")
    except TimeoutError:
        raise NoAnswerError(f"no whole answer within {timeout_s:g} s") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswerError(why_of(error)) from error
    finally:
        connection.close()
    headers = HeaderMap((key.encode("latin-1"), value.encode("latin-1")) for key, value in response.msg.items())
    return Answer(response.status, headers, b"".join(pieces), time.monotonic() - began_s)


def why_of(error: Exception) -> str:
    """Why there is no answer, in words and without names of Python's classes where they are known."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(cause, http.client.IncompleteRead):
        return f"the answer broke off after {len(cause.partial)} bytes of its body"
    if isinstance(cause, http.client.BadStatusLine):
        return f"what came is no answer of HTTP: {str(cause).strip()}"
    if isinstance(cause, OSError):
        # Errors of TLS have a longer text than that of the system.
        return str(cause.strerror or cause).strip() or type(cause).__name__
    return str(cause) if isinstance(cause, str) else f"{type(cause).__name__}: {cause}"


def _left_s(began_s: float, timeout_s: float) -> float:
    left_s = began_s + timeout_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _put(
    connection: http.client.HTTPConnection, request: RequestSnapshot, name: str, changes: Mapping[str, str]
) -> None:
    body = body_of(request)
    connection.putrequest(request.method, target_of(request), skip_host=True, skip_accept_encoding=True)
    lines, chunked = _header_lines(header_pairs(request.headers), body, name, changes, connection)
    for key, value in lines:
        connection.putheader(key, value)
    if chunked:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    connection.endheaders(body or None)


def body_of(request: RequestSnapshot) -> bytes:
    """The body to send with a recorded request. A part that is not known is made of zeros."""
    body = request.body
    if body is None or not isinstance(body.data, bytes):
        return b""
    if body.end is BodyEnd.COMPLETE:
        return body.data
    # The service did not read the rest, so its bytes are not known. Zeros are sent, since the length may matter.
    return body.data.ljust(announced_bytes(request), b"\0")


def _header_lines(
    recorded: HeaderPairs, body: bytes, name: str, changes: Mapping[str, str], connection: http.client.HTTPConnection
) -> tuple[list[tuple[bytes, bytes]], bool]:
    """The header lines to send, and whether the body is framed in chunks."""
    entry = f"{BAGGAGE_ENTRY}={quote(name)}".encode()
    left = dict(changes)
    lines: list[tuple[bytes, bytes]] = []
    seen: set[str] = set()
    for key, value in recorded:
        lowered = key.decode("latin-1").lower()
        if lowered == "content-length":
            value = str(len(body)).encode()
        elif lowered == "baggage" and lowered not in seen:
            value = value + b"," + entry
        elif lowered in changes:
            if lowered not in left:
                continue
            value = left.pop(lowered).encode("latin-1")
        lines.append((key, value))
        seen.add(lowered)
    if "host" not in seen and "host" not in left:
        lines.insert(0, (b"Host", f"{connection.host}:{connection.port}".encode()))
    if "baggage" not in seen:
        lines.append((b"baggage", entry))
    lines += [(key.encode("latin-1"), value.encode("latin-1")) for key, value in left.items()]
    chunked = "transfer-encoding" in seen
    if body and not chunked and "content-length" not in seen:
        lines.append((b"Content-Length", str(len(body)).encode()))
    return lines, chunked
