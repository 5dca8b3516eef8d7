"""A recorded request goes out byte for byte, and its answer is taken whole or not at all."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.sample_cassettes import body
from timetracer_otel.constants import BodyEnd
from timetracer_otel.types import HeaderMap, RequestSnapshot
from timetracer_otel.verify import Address
from timetracer_otel.verify.sender import NoAnswerError, send

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nx-a: 2\r\n\r\nok"


class Listener:
    """Keeps what each connection sends, and answers as it is told."""

    def __init__(self, answer: bytes = OK, end: bool = False) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = Address("http", *self._socket.getsockname())
        self.received = b""
        self._answer = answer
        self._end = end
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with connection, suppress(OSError):
            connection.settimeout(60)
            while not _is_whole(self.received) and (data := connection.recv(65536)):
                self.received += data
            connection.sendall(self._answer)
            # Nothing comes behind a request. Who sent it closes the connection.
            while not self._end and (data := connection.recv(65536)):
                self.received += data

    def close(self) -> None:
        self._thread.join(100)
        self._socket.close()


def _is_whole(request: bytes) -> bool:
    head, ends, body = request.partition(b"\r\n\r\n")
    if b"chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(ends) and len(body) >= (int(length[1]) if length else 0)


@pytest.fixture
def listener(request: pytest.FixtureRequest) -> Iterator[Listener]:
    made = Listener(*getattr(request, "param", ()))
    yield made
    made.close()


def recorded(method: str, target: str, headers: Any, data: bytes | None = None, **changes: Any) -> RequestSnapshot:
    snapshot = RequestSnapshot(method, target.partition("?")[0], headers=HeaderMap(headers), target=target)
    snapshot.body = body(data, **changes) if data is not None else None
    return snapshot


def test_target_and_headers_go_out_as_they_came(listener: Listener) -> None:
    headers = [(b"host", b"shop.test:80"), (b"x-b", b"2"), (b"X-a", b"1"), (b"x-b", b"1"), (b"accept", b"*/*")]
    answer = send(listener.address, recorded("GET", "/a%2Fb/c?x=1&x=%C3%A9&y", headers), "d/x y.msgpack", {}, 60)
    assert listener.received == (
        b"GET /a%2Fb/c?x=1&x=%C3%A9&y HTTP/1.1\r\nhost: shop.test:80\r\nx-b: 2\r\nX-a: 1\r\nx-b: 1\r\naccept: */*\r\n"
        b"baggage: timetracer.cassette=d/x%20y.msgpack\r\n\r\n"
    )
    assert (answer.status, answer.body) == (200, b"ok")
    assert answer.headers.pairs == ((b"Content-Length", b"2"), (b"X-A", b"1"), (b"x-a", b"2"))


def test_the_length_is_that_of_what_is_sent(listener: Listener) -> None:
    headers = [(b"content-length", b"99"), (b"host", b"a")]
    send(listener.address, recorded("POST", "/", headers, b'{"password": "[REDACTED]"}'), "x", {}, 60)
    head, _, sent = listener.received.partition(b"\r\n\r\n")
    assert b"content-length: 26\r\n" in head
    assert sent == b'{"password": "[REDACTED]"}'


def test_a_chunked_body_stays_chunked(listener: Listener) -> None:
    headers = [(b"host", b"a"), (b"transfer-encoding", b"chunked")]
    send(listener.address, recorded("POST", "/", headers, b"0123456789abcdefg"), "x", {}, 60)
    head, _, sent = listener.received.partition(b"\r\n\r\n")
    assert b"content-length" not in head.lower()
    assert sent == b"11\r\n0123456789abcdefg\r\n0\r\n\r\n"


def test_what_the_service_left_unread_is_made_up(listener: Listener) -> None:
    headers = [(b"host", b"a"), (b"content-length", b"10")]
    send(listener.address, recorded("POST", "/", headers, b"abc", end=BodyEnd.CLOSED), "x", {}, 60)
    head, _, sent = listener.received.partition(b"\r\n\r\n")
    assert b"content-length: 10\r\n" in head
    assert sent == b"abc" + bytes(7)


def test_headers_are_replaced_in_their_place(listener: Listener) -> None:
    headers = [(b"host", b"a"), (b"Authorization", b"[REDACTED]"), (b"authorization", b"x"), (b"Baggage", b"user=7")]
    send(listener.address, recorded("GET", "/", headers), "x", {"authorization": "Bearer 1", "x-new": "2"}, 60)
    assert listener.received == (
        b"GET / HTTP/1.1\r\nhost: a\r\nAuthorization: Bearer 1\r\nBaggage: user=7,timetracer.cassette=x\r\n"
        b"x-new: 2\r\n\r\n"
    )


def test_a_request_of_which_only_the_span_is_known_has_a_host(listener: Listener) -> None:
    request = RequestSnapshot("GET", "/caf\u00e9 1", query={"a": ["1", "2"], "b": "x y"})
    send(listener.address, request, "x", {}, 60)
    assert listener.received == (
        b"GET /caf%C3%A9%201?a=1&a=2&b=x%20y HTTP/1.1\r\n"
        + f"Host: 127.0.0.1:{listener.address.port}\r\nbaggage: timetracer.cassette=x\r\n\r\n".encode()
    )


@pytest.mark.parametrize(
    ("listener", "body_of_answer"),
    [
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",), b"abcde"),
        ((b"HTTP/1.0 200 OK\r\n\r\nuntil the end", True), b"until the end"),
        ((b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", True), b"abc"),
        ((b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", True), b""),
        ((b"HTTP/1.1 100 Continue\r\n\r\n" + OK,), b"ok"),
    ],
    indirect=["listener"],
)
def test_answers_are_read_to_their_end(listener: Listener, body_of_answer: bytes) -> None:
    assert send(listener.address, recorded("GET", "/", [(b"host", b"a")]), "x", {}, 60).body == body_of_answer


@pytest.mark.parametrize(
    ("listener", "why"),
    [
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", True), "closed 6 bytes before the end of the body"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", True), "broke off after 0 bytes"),
        ((b"", True), "closed without an answer"),
        ((b"hello", True), "no answer of HTTP: hello"),
    ],
    indirect=["listener"],
)
def test_half_an_answer_is_none(listener: Listener, why: str) -> None:
    with pytest.raises(NoAnswerError, match=why):
        send(listener.address, recorded("GET", "/", [(b"host", b"a")]), "x", {}, 60)


@pytest.mark.parametrize("listener", [(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",)], indirect=True)
def test_an_answer_that_does_not_end_is_given_up_in_time(listener: Listener) -> None:
    began = time.monotonic()
    with pytest.raises(NoAnswerError, match=r"no whole answer within 0\.6 s"):
        send(listener.address, recorded("GET", "/", [(b"host", b"a")]), "x", {}, 0.6)
    assert time.monotonic() - began < 30
