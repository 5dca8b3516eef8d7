"""Sessions around http.client and urllib.request: what every HTTP client keeps, and what only these have."""

from __future__ import annotations

import gc
import http.client
import logging.handlers
import socket
import threading
import urllib.request
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import urllib3

from tests.contract.framework import network_attempts
from tests.contract.http_behaviour import HttpBehaviour, one_client_a_test
from tests.contract.http_client_flavour import HttpClientFlavour
from tests.contract.http_redaction import HttpRedaction, one_client_a_redaction
from tests.contract.http_telemetry import HttpTelemetry
from tests.contract.urllib_flavour import UrllibFlavour
from tests.servers._upstream import Upstream
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.constants import BodyEnd
from timetracer_otel.plugins import disable_urllib, enable_urllib
from timetracer_otel.session import ReplaySession

DIRECT = HttpClientFlavour()
FLAVOUR = UrllibFlavour()


@one_client_a_test
class TestHttpClient(HttpBehaviour):
    flavour = DIRECT


@one_client_a_test
class TestUrllib(HttpBehaviour):
    flavour = FLAVOUR


@one_client_a_redaction
class TestHttpClientRedaction(HttpRedaction):
    flavour = DIRECT


@one_client_a_redaction
class TestUrllibRedaction(HttpRedaction):
    flavour = FLAVOUR


class TestUrllibTelemetry(HttpTelemetry):
    flavour = FLAVOUR


@pytest.fixture(autouse=True)
def _flavours_know_the_servers(upstream: Upstream) -> None:
    FLAVOUR.upstream = DIRECT.upstream = upstream


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cassette.msgpack"


def _connected(upstream: Upstream, **options: Any) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", upstream.port("http"), **{"timeout": 10, **options})


def _got(connection: http.client.HTTPConnection, target: str) -> bytes:
    connection.request("GET", target)
    return connection.getresponse().read()


def _asked_once(upstream: Upstream, target: str) -> bytes:
    with closing(_connected(upstream)) as connection:
        return _got(connection, target)


@pytest.mark.parametrize("enabled", [True, False])
def test_a_connection_that_is_open_before_is_recorded_and_replayed(
    upstream: Upstream, path: Path, enabled: bool
) -> None:
    connection = _connected(upstream)
    if enabled:
        enable_urllib()
    try:
        assert _got(connection, "/counter/a") == b'{"n": 1}'
        its_socket = connection.sock
        with record(path):
            assert _got(connection, "/counter/a") == b'{"n": 2}'
        with replay(path) as session:
            assert _got(connection, "/counter/a") == b'{"n": 2}'
        assert isinstance(session, ReplaySession)
        assert session.live_calls == {}
        assert connection.sock is its_socket
        assert _got(connection, "/counter/a") == b'{"n": 3}'
    finally:
        connection.close()
        disable_urllib()


def test_a_connection_of_a_replay_connects_for_real_behind_it(upstream: Upstream, path: Path) -> None:
    with record(path):
        _asked_once(upstream, "/counter/a")
    with replay(path):
        connection = _connected(upstream)
        assert _got(connection, "/counter/a") == b'{"n": 1}'
        assert connection.sock is not None
    assert _got(connection, "/counter/a") == b'{"n": 2}'
    with replay(path):
        assert _got(connection, "/counter/a") == b'{"n": 1}'
    connection.close()


def test_a_request_is_no_call_of_urllib_beneath_urllib3_or_requests(upstream: Upstream, path: Path) -> None:
    with record(path) as session, urllib3.PoolManager() as pool:
        requests.get(upstream.url("/echo"))
        pool.request("GET", upstream.url("/echo"))
        urllib.request.urlopen(upstream.url("/echo")).close()
    assert [event.signature.lib for event in session.events] == ["requests", "urllib3", "urllib"]


def test_a_connection_that_fails_second_fails_second_in_a_replay(upstream: Upstream, path: Path) -> None:
    def run(live: bool) -> list[Any]:
        seen: list[Any] = []
        for attempt in ("reset", "down", "up"):
            if live:
                upstream.control(attempt)
            connection = _connected(upstream)
            try:
                connection.connect()
                seen.append(_got(connection, "/counter/a"))
            except OSError as error:
                seen.append(repr(error))
            connection.close()
        return seen

    bare = run(live=True)
    with record(path) as recording:
        assert run(live=True) == bare
    assert "refused" in bare[1]
    assert [event.signature.method for event in recording.events] == ["GET", "CONNECT", "GET"]
    upstream.stop()
    with replay(path) as session, network_attempts() as attempts:
        assert run(live=False) == bare
    assert attempts == []
    assert isinstance(session, ReplaySession)
    assert session.get_unconsumed_events() == []


def test_a_request_whose_response_was_not_asked_for_has_none(upstream: Upstream, path: Path) -> None:
    with record(path):
        connection = _connected(upstream)
        connection.request("POST", "/echo", b"1")
        connection.close()
    upstream.stop()
    with replay(path):
        connection = _connected(upstream)
        connection.request("POST", "/echo", b"1")
        with pytest.raises(ReplayMismatchError, match="did not ask for its response"):
            connection.getresponse()
    with replay(path), pytest.raises(ReplayMismatchError, match="body"):
        _connected(upstream).request("POST", "/echo", b"2")


def test_reading_further_than_recorded_is_refused(upstream: Upstream, path: Path) -> None:
    with record(path):
        for target in ("/bytes/100", "/lines"):
            with urllib.request.urlopen(upstream.url(target)) as response:
                assert len(response.read(3)) == 3
    first = read_cassette(path).events[0]
    assert first.result.body is not None
    assert (first.result.body.end, first.result.body.size_bytes) == (BodyEnd.CLOSED, 3)
    upstream.stop()
    with replay(path):
        for target in ("/bytes/100", "/lines"):
            with urllib.request.urlopen(upstream.url(target)) as response:
                assert len(response.read(3)) == 3
                with pytest.raises(ReplayMismatchError, match="only the first 3 bytes"):
                    response.read(3)


def test_new_calls_over_a_connection_of_a_replay_are_recorded(upstream: Upstream, path: Path) -> None:
    def run(targets: list[str]) -> list[bytes]:
        connection = _connected(upstream)
        try:
            return [_got(connection, target) for target in targets]
        finally:
            connection.close()

    with record(path):
        run(["/counter/a"])
    with replay(path, record_mode="new_episodes"):
        assert run(["/counter/a", "/counter/b", "/counter/a"]) == [b'{"n": 1}', b'{"n": 1}', b'{"n": 2}']
    upstream.stop()
    with replay(path):
        assert run(["/counter/a", "/counter/b", "/counter/a"]) == [b'{"n": 1}', b'{"n": 1}', b'{"n": 2}']


def test_a_new_upload_to_a_replay_is_sent_as_a_whole(upstream: Upstream, path: Path) -> None:
    def run(texts: list[str]) -> list[Any]:
        connection = _connected(upstream)
        seen = []
        for text in texts:
            connection.request("POST", "/echo", iter([text.encode(), b" and more"]))
            seen.append(connection.getresponse().read())
        connection.close()
        return seen

    bare = run(["one", "two"])
    with record(path):
        run(["one"])
    with replay(path, record_mode="new_episodes"):
        assert run(["one", "two"]) == bare
    upstream.stop()
    with replay(path):
        assert run(["one", "two"]) == bare


class _Unix(http.client.HTTPConnection):
    """As that of docker's client."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self.unix_path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.unix_path)


class _UnixServer(HTTPServer):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "localhost", 80


class _Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def address_string(self) -> str:
        return "unix"


def test_a_unix_socket_is_recorded_and_replayed(tmp_path: Path, path: Path) -> None:
    server = _UnixServer(str(tmp_path / "socket"), _Answering)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with record(path) as recording:
            assert _got(_Unix(str(tmp_path / "socket")), "/version") == b"/version"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [event.signature.url for event in recording.events] == ["http://localhost/version"]
    with replay(path), network_attempts() as attempts:
        assert _got(_Unix(str(tmp_path / "socket")), "/version") == b"/version"
    assert attempts == []


def test_a_class_that_is_made_within_a_replay_connects_nowhere(upstream: Upstream, path: Path) -> None:
    with record(path):
        _asked_once(upstream, "/echo")
    upstream.stop()
    with replay(path), network_attempts() as attempts:

        class Late(http.client.HTTPConnection):
            def connect(self) -> None:
                raise AssertionError("it connects")

        with closing(Late("127.0.0.1", upstream.port("http"))) as connection:
            _got(connection, "/echo")
    assert attempts == []


# The handler leaves its connections to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")
def test_records_that_are_logged_by_http_are_no_calls_of_the_app(upstream: Upstream, path: Path) -> None:
    logger = logging.getLogger("tests.over_http")
    logger.propagate = False
    logger.addHandler(logging.handlers.HTTPHandler(urlsplit(upstream.url()).netloc, "/counter/logged"))
    with record(path) as recording:
        logger.warning("one")
    with replay(path) as session:
        logger.warning("two")
    logger.handlers.clear()
    gc.collect()
    assert recording.events == []
    assert isinstance(session, ReplaySession)
    assert session.live_calls == {}
    assert upstream.hits("/counter/logged") == 2


def test_excluded_urls_are_left_alone(upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_URLLIB_EXCLUDED_URLS", "counter")
    with record(path) as recording:
        _asked_once(upstream, "/counter/a")
        _asked_once(upstream, "/echo")
    assert [event.signature.url for event in recording.events] == [upstream.url("/echo")]
    with replay(path) as session:
        assert _asked_once(upstream, "/counter/a") == b'{"n": 2}'
    assert isinstance(session, ReplaySession)
    assert session.live_calls == {"urllib": 1}


def test_live_hosts_are_called(upstream: Upstream, path: Path) -> None:
    with record(path):
        _asked_once(upstream, "/counter/a")
    with replay(path, live_hosts=[urlsplit(upstream.url()).netloc]) as session:
        connection = _connected(upstream)
        connection.connect()
        assert _got(connection, "/counter/a") == b'{"n": 2}'
        connection.close()
    assert isinstance(session, ReplaySession)
    assert session.live_calls == {"urllib": 1}
