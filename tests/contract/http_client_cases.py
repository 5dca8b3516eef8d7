"""The cases that only http.client has: its connections, the steps of a request, and every way to read a response."""

from __future__ import annotations

import contextlib
import http.client
import io
import shutil
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from tests.contract.framework import CaseList
from tests.contract.http_client_flavour import HttpClientFlavour, observe_response
from tests.contract.http_flavour import Pieces
from tests.contract.observation import attempt, class_name, observe_error, plain
from timetracer_otel import ReplayMismatchError

__all__ = ["HTTP_CLIENT_CASES", "case"]

case = CaseList()
HTTP_CLIENT_CASES = case.cases

SHORT = 0.4


def _connection(f: HttpClientFlavour, server: str = "http", **options: Any) -> http.client.HTTPConnection:
    port = urlsplit(f.url("/", server)).port
    return http.client.HTTPConnection("127.0.0.1", port, **{"timeout": 10, **options})


def _try(function: Callable[[], Any]) -> Any:
    try:
        value = function()
    except ReplayMismatchError:
        raise
    except Exception as error:
        return observe_error(error)
    return observe_response(value) if isinstance(value, http.client.HTTPResponse) else plain(value)


def _asked(connection: Any, *args: Any, **kwargs: Any) -> Any:
    def ask() -> Any:
        connection.request(*args, **kwargs)
        return connection.getresponse()

    return _try(ask)


# The steps of a request


@case(3)
async def requests_on_one_connection(f: HttpClientFlavour) -> Any:
    connection = _connection(f)
    seen = []
    for number in range(3):
        seen += [_asked(connection, "GET", f"/echo?n={number}"), class_name(connection.sock) != "builtins:NoneType"]
    connection.close()
    return [*seen, connection.sock]


@case(1)
async def request_in_steps(f: HttpClientFlavour) -> Any:
    connection = _connection(f)
    connection.putrequest("POST", "/echo", skip_accept_encoding=True)
    connection.putheader("Content-Length", "9")
    connection.putheader("X-Several", "one", b"two", 3)
    connection.endheaders()
    connection.send(b"abc")
    connection.send(bytearray(b"def"))
    connection.send(memoryview(b"ghi"))
    with contextlib.closing(connection):
        return _try(connection.getresponse)


@case(1)
async def chunks_that_the_app_frames(f: HttpClientFlavour) -> Any:
    connection = _connection(f)
    connection.putrequest("POST", "/echo")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    for piece in (b"3\r\nabc\r\n", b"5;ext=1\r\nde", b"fgh\r\n", b"0\r\n\r\n"):
        connection.send(piece)
    with contextlib.closing(connection):
        return _try(connection.getresponse)


@case(2)
async def body_in_the_head(f: HttpClientFlavour) -> Any:
    connection = _connection(f)
    seen = []
    for body in (b"with the head", [b"one", b"two"]):
        connection.putrequest("POST", "/echo")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders(body, encode_chunked=True)
        seen.append(_try(connection.getresponse))
    connection.close()
    return seen


@case(8)
async def bodies_of_many_kinds(f: HttpClientFlavour) -> Any:
    half_read = io.BytesIO(b"skip the rest")
    half_read.seek(5)
    text = io.StringIO("from a text file ä")
    bodies: list[Any] = [b"bytes", "text ä", bytearray(b"array"), memoryview(b"view"), half_read, text]
    bodies += [iter(Pieces([b"a", b"", b"b"])), (b"of", b"a tuple")]
    connection = _connection(f)
    seen = [_asked(connection, "POST", "/echo", body) for body in bodies]
    connection.close()
    return [seen, half_read.tell(), text.tell()]


@case(3)
async def files_and_iterables_that_are_sent(f: HttpClientFlavour) -> Any:
    connection = _connection(f)
    seen = []
    bodies: list[Any] = [io.BytesIO(b"0123456789"), io.StringIO("0123ä56789"), iter([b"01234", b"56789"])]
    for body in bodies:
        connection.putrequest("PUT", "/echo")
        connection.putheader("Content-Length", "10")
        connection.endheaders()
        connection.send(body)
        seen.append(_try(connection.getresponse))
    connection.close()
    return seen


@case(1)
async def real_file_is_uploaded_from_disk(f: HttpClientFlavour) -> Any:
    with TemporaryDirectory() as folder:
        path = Path(folder, "upload.bin")
        path.write_bytes(b"0123456789" * 5000)
        connection = _connection(f, blocksize=1000)
        with path.open("rb") as file:
            seen = _asked(connection, "POST", "/echo", file, {"Content-Length": "50000"})
            connection.close()
            return [seen, file.tell()]


@case(2)
async def request_of_http_1_0(f: HttpClientFlavour) -> Any:
    connection: Any = _connection(f)
    connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"
    seen = [_asked(connection, "GET", "/echo?1"), connection.sock is None, _asked(connection, "GET", "/echo?2")]
    connection.close()
    return seen


@case(2)
async def server_that_closes_the_connection(f: HttpClientFlavour) -> Any:
    connection = _connection(f)
    seen = []
    for number in range(2):
        seen += [_asked(connection, "GET", f"/until-close?{number}"), connection.sock]
    return seen


@case(1)
async def response_that_nobody_asks_for(f: HttpClientFlavour) -> Any:
    connection = _connection(f)
    connection.request("POST", "/echo", b"and away")
    connection.close()
    return connection.sock


@case(2)
async def steps_in_a_wrong_order(f: HttpClientFlavour) -> Any:
    connection = _connection(f)
    seen = [_try(connection.getresponse), _try(lambda: connection.putheader("A", "1")), _try(connection.endheaders)]
    connection.request("GET", "/bytes/10")
    seen += [_try(lambda: connection.request("GET", "/echo"))]
    first = connection.getresponse()
    seen += [_try(connection.getresponse)]
    # The next request may be sent before the response was read, and its own response may not be asked for.
    connection.request("GET", "/bytes/20")
    seen += [_try(connection.getresponse), first.read(), _try(connection.getresponse)]
    connection.close()
    return seen


@case(0)
async def requests_that_are_none(f: HttpClientFlavour) -> Any:
    wrong = (("GET\n", "/"), ("GET", "/a b"), ("GET", "/é"))
    seen = [_try(partial(_connection(f).request, *given)) for given in wrong]
    seen += [_try(lambda: _connection(f).request("GET", "/", headers={"A": "1\n2"}))]
    closed = _connection(f)
    closed.auto_open = 0
    return [*seen, _try(lambda: closed.request("GET", "/echo"))]


# Connecting


@case(2)
async def connection_that_the_app_opens(f: HttpClientFlavour) -> Any:
    connection: Any = _connection(f)
    seen: list[Any] = [connection.connect(), connection.sock.gettimeout(), isinstance(connection.sock, socket.socket)]
    connection.sock.settimeout(5)
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seen += [connection.sock.gettimeout(), connection.sock.getpeername()[0]]
    seen += [_asked(connection, "GET", "/echo?1"), _asked(connection, "GET", "/echo?2")]
    connection.close()
    return seen


@case(4)
async def connections_that_the_app_cannot_open(f: HttpClientFlavour) -> Any:
    refused = _connection(f, "refused")
    nowhere = http.client.HTTPConnection("name.invalid")
    seen = [_try(each.connect) for each in (refused, nowhere)]
    return [*seen, *(_try(partial(each.request, "GET", "/")) for each in (refused, nowhere))]


class _Own(http.client.HTTPConnection):
    """Connects in a way of its own, as those of httplib2 and of docker's client do."""

    connected = 0

    def connect(self) -> None:
        self.sock = socket.create_connection((self.host, self.port), self.timeout)
        self.connected += 1


@case(2)
async def class_with_a_connect_of_its_own(f: HttpClientFlavour) -> Any:
    connection = _Own("127.0.0.1", _connection(f).port, timeout=10)
    seen = [_asked(connection, "GET", "/echo?1"), _asked(connection, "GET", "/echo?2")]
    connection.close()
    return seen


@case(1)
async def class_that_refuses_to_connect(f: HttpClientFlavour) -> Any:
    class Refusing(http.client.HTTPConnection):
        def connect(self) -> None:
            raise ConnectionAbortedError(103, "not today")

    return _asked(Refusing("127.0.0.1", 1), "GET", "/")


class _Response(http.client.HTTPResponse):
    """A class of the user's."""

    def begin(self) -> None:
        super().begin()
        self.reason = f"mine: {self.headers['Content-Type']}"


@case(2)
async def class_of_responses_of_the_users(f: HttpClientFlavour) -> Any:
    class Connection(http.client.HTTPConnection):
        response_class = _Response

    connection = Connection("127.0.0.1", _connection(f).port, timeout=10)
    seen = [_asked(connection, "GET", "/lines"), _asked(connection, "GET", "/status/404")]
    connection.close()
    return seen


@case(2)
async def tunnel_with_headers_of_its_own(f: HttpClientFlavour) -> Any:
    seen = []
    for userinfo in ("dXNlcjpwYXNz", "wrong"):
        port = f.upstream.port("proxy-private")
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=f.trusting(), timeout=10)
        server = urlsplit(f.url("/", "tls"))
        connection.set_tunnel(
            server.hostname or "", server.port, headers={"Proxy-Authorization": f"Basic {userinfo}"}
        )
        seen.append(_asked(connection, "GET", "/echo"))
        connection.close()
    return seen


@case(1)
async def what_is_printed_for_debugging(f: HttpClientFlavour) -> Any:
    connection = _connection(f)
    connection.set_debuglevel(1)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        seen = _asked(connection, "POST", "/status/201", io.BytesIO(b"debugged"))
    connection.close()
    lines = [line for line in printed.getvalue().splitlines() if not line.startswith(("Unable", "header: date"))]
    return [seen, [line for line in lines if "Host: " not in line]]


# Errors


@case(3)
async def timeouts_at_each_step(f: HttpClientFlavour) -> Any:
    return [
        _asked(_connection(f, "backlog", timeout=SHORT), "GET", "/"),
        _asked(_connection(f, timeout=SHORT), "GET", "/slow/2000"),
        _asked(_connection(f, timeout=SHORT), "GET", "/slow-body/2000"),
    ]


@case(3)
async def connection_behind_an_error(f: HttpClientFlavour) -> Any:
    connection = _connection(f)
    seen = []
    for path in ("/raw/no-answer", "/raw/garbage"):
        seen += [_asked(connection, "GET", path), connection.sock is None, _asked(connection, "GET", "/echo")]
        connection.close()
    return seen


# Reading


def _drain(read: Callable[[], bytes]) -> list[bytes]:
    return list(iter(read, b""))


def _copy(response: Any) -> Any:
    out = io.BytesIO()
    shutil.copyfileobj(response, out, 11)
    return out.getvalue()


def _into(response: Any) -> Any:
    buffer = bytearray(6)
    return [response.readinto(buffer), bytes(buffer), response.read()]


_READERS: dict[str, Callable[[Any], Any]] = {
    "read": lambda r: [r.read(), r.read()],
    "read 7": lambda r: _drain(lambda: r.read(7)),
    "read 0": lambda r: [r.read(0), r.read(4), r.read()],
    "read1": lambda r: b"".join(_drain(r.read1)),
    "read1 3": lambda r: b"".join(_drain(lambda: r.read1(3))),
    "readline": lambda r: [r.readline(), r.readline(5), r.read()],
    "readlines": lambda r: r.readlines(),
    "lines": list,
    "readinto": _into,
    "peek": lambda r: [r.peek(3)[:3], r.read()],
    "copy": _copy,
    "text": lambda r: io.TextIOWrapper(r, "latin-1").read(),
    "buffered": lambda r: io.BufferedReader(r).read(12),
    "close then read": lambda r: [r.close(), r.read()],
    "file": lambda r: [r.fp is None or r.fp.read(5), r.isclosed()],
}


@case(4 * len(_READERS))
async def responses_read_in_every_way(f: HttpClientFlavour) -> Any:
    seen: dict[str, Any] = {}
    for target in ("/lines", "/bytes/50", "/encoded/gzip", "/until-close"):
        for name, reader in _READERS.items():
            connection = _connection(f)
            connection.request("GET", target)
            response = connection.getresponse()
            seen[f"{target} {name}"] = [attempt(lambda reader=reader, r=response: reader(r)), response.closed]
            connection.close()
            response.close()
    return seen


@case(1)
async def response_that_outlives_its_connection(f: HttpClientFlavour) -> Any:
    connection = _connection(f)
    connection.request("GET", "/until-close")
    response = connection.getresponse()
    seen = [connection.sock is None]
    connection.close()
    return [*seen, observe_response(response)]


@case(4)
async def framings(f: HttpClientFlavour) -> Any:
    seen = []
    for path in ("trailers", "until-close", "http10", "hints"):
        connection = _connection(f)
        seen.append(_asked(connection, "GET", f"/{path}"))
        connection.close()
    return seen


def _numbers() -> Iterator[bytes]:
    yield from (b"1", b"2")


@case(1)
async def body_whose_source_asks_another_server(f: HttpClientFlavour) -> Any:
    return _asked(_connection(f), "POST", "/echo", _numbers())
