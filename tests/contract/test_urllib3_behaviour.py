"""Sessions around urllib3: what every HTTP client keeps, and what only this one has."""

from __future__ import annotations

import datetime as dt
import importlib
import importlib.util
import logging
import socket
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
import urllib3
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from urllib3.util.retry import Retry

from tests.contract.http_behaviour import HttpBehaviour, one_client_a_test
from tests.contract.http_redaction import HttpRedaction, one_client_a_redaction
from tests.contract.http_telemetry import HttpTelemetry
from tests.contract.requests_flavour import steady
from tests.contract.urllib3_flavour import Urllib3Flavour
from tests.servers._upstream import Upstream
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.plugins import disable_urllib3, enable_urllib3

FLAVOUR = Urllib3Flavour()
http2: Any = importlib.import_module("urllib3.http2") if importlib.util.find_spec("urllib3.http2") else None


@one_client_a_test
class TestUrllib3(HttpBehaviour):
    flavour = FLAVOUR


@one_client_a_redaction
class TestUrllib3Redaction(HttpRedaction):
    flavour = FLAVOUR


class TestUrllib3Telemetry(HttpTelemetry):
    flavour = FLAVOUR

    def spans(self, exporter: InMemorySpanExporter) -> list[Any]:
        """As for every client; urllib3 up to 2.2 quotes connections with their address."""
        spans: list[Any] = steady(super().spans(exporter))
        return spans


@pytest.fixture(autouse=True)
def _flavour_knows_the_servers(upstream: Upstream) -> None:
    FLAVOUR.upstream = upstream


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cassette.msgpack"


@pytest.mark.parametrize("enabled", [True, False])
def test_pools_made_before_are_recorded_and_replayed(upstream: Upstream, path: Path, enabled: bool) -> None:
    with urllib3.PoolManager() as pools:
        if enabled:
            enable_urllib3()
        try:
            pools.request("GET", upstream.url("/counter/a"))
            with record(path):
                assert pools.request("GET", upstream.url("/counter/a")).data == b'{"n": 2}'
            upstream.stop()
            with replay(path):
                assert pools.request("GET", upstream.url("/counter/a")).data == b'{"n": 2}'
            with pytest.raises(urllib3.exceptions.MaxRetryError):
                pools.request("GET", upstream.url("/counter/a"), retries=Retry(0))
        finally:
            disable_urllib3()


def test_each_attempt_is_an_event_within_the_span_of_its_own(
    upstream: Upstream, path: Path, traced_spans: InMemorySpanExporter
) -> None:
    with record(path), urllib3.PoolManager() as pools:
        assert pools.request("GET", upstream.url("/flaky"), retries=Retry(5, status_forcelist=[503])).status == 200
    events = read_cassette(path).events
    assert [event.result.status for event in events] == [503, 503, 200]
    made = {format(span.context.span_id, "016x") for span in traced_spans.get_finished_spans() if span.context}
    assert {event.span.span_id for event in events if event.span is not None} <= made
    assert all(event.span is not None for event in events)


@pytest.fixture
def traced_spans() -> Any:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    FLAVOUR.instrumentor().instrument(tracer_provider=provider)
    yield exporter
    FLAVOUR.instrumentor().uninstrument()


def test_new_calls_through_a_tunnel_are_added(upstream: Upstream, path: Path) -> None:
    """A replay asks for no tunnel, until a call is made for real."""
    proxy = f"http://127.0.0.1:{upstream.port('proxy')}"

    def ask(*names: str) -> list[bytes]:
        with urllib3.ProxyManager(proxy, ca_certs=str(upstream.authority)) as pools:
            return [pools.request("GET", upstream.url(f"/counter/{name}", "tls")).data for name in names]

    with record(path):
        first = ask("a")
    with replay(path, record_mode="new_episodes") as session:
        assert ask("a", "b") == [*first, b'{"n": 1}']
    assert "1 recorded" in str(session.verdict())
    upstream.stop()
    with replay(path):
        assert ask("a", "b") == [*first, b'{"n": 1}']


def test_a_replay_warns_of_a_server_that_was_not_verified(upstream: Upstream, path: Path) -> None:
    def ask(target: str) -> list[Any]:
        with urllib3.PoolManager(cert_reqs="CERT_NONE", retries=False) as pools:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                try:
                    seen: Any = pools.request("GET", upstream.url(target, "tls"), timeout=1).data
                except urllib3.exceptions.HTTPError as error:
                    seen = type(error).__name__
            return [seen, [[each.category.__name__, str(each.message)] for each in warned]]

    def ask_all() -> list[Any]:
        return [ask("/counter/a"), ask("/slow/3000")]

    with record(path):
        there = ask_all()
    assert [[name for name, _ in warned] for _, warned in there] == [["InsecureRequestWarning"]] * 2
    upstream.stop()
    with replay(path):
        assert ask_all() == there


def test_a_connection_of_a_replay_has_a_socket_that_reaches_nobody(upstream: Upstream, path: Path) -> None:
    """Its timeout and its options are those of a real one, it stays open where the server lets it, and it closes."""

    def look() -> list[Any]:
        with urllib3.HTTPConnectionPool("127.0.0.1", upstream.port("http"), maxsize=1, timeout=7) as pool:
            seen: list[Any] = []
            for target in ("/counter/socket", "/counter/socket", "/until-close"):
                pool.request("GET", target, timeout=urllib3.Timeout(connect=6, read=5))
                assert pool.pool is not None
                connection = pool.pool.get()
                sock = connection.sock
                nodelay = sock and bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
                seen.append([sock and sock.gettimeout(), nodelay, pool.num_connections, connection.timeout])
                pool.pool.put(connection)
            return seen

    bare = look()
    with record(path):
        assert look() == bare
    upstream.stop()
    with replay(path):
        assert look() == bare
    assert [each[0] for each in bare] == [5, 5, None]


def test_a_connection_of_a_replay_is_made_anew_behind_it(upstream: Upstream, path: Path) -> None:
    with urllib3.HTTPConnectionPool("127.0.0.1", upstream.port("http"), maxsize=1) as pool:
        with record(path):
            assert pool.request("GET", "/counter/anew").data == b'{"n": 1}'
        pool.pool.get().close()  # type: ignore[union-attr]
        pool.pool.put(None)  # type: ignore[union-attr]
        with replay(path):
            assert pool.request("GET", "/counter/anew").data == b'{"n": 1}'
        assert pool.request("GET", "/counter/anew").data == b'{"n": 2}'


def test_urllib3_logs_the_same_in_a_recording_and_in_a_replay(
    upstream: Upstream, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that is read at once has been read when urllib3 logs how much of it is left."""

    def ask() -> list[str]:
        caplog.clear()
        with urllib3.PoolManager() as pools:
            pools.request("GET", upstream.url("/chain/2"))
            pools.request("GET", upstream.url("/counter/log"), preload_content=False).drain_conn()
        return [record.getMessage() for record in caplog.records if record.name == "urllib3.connectionpool"]

    caplog.set_level(logging.DEBUG, logger="urllib3.connectionpool")
    bare = ask()
    with record(path):
        assert ask() == bare
    upstream.stop()
    with replay(path):
        assert ask() == bare
    assert len(bare) > 3


@pytest.mark.parametrize("lines", [b": Value", b"Broken Header\r\nAuthorization: Bearer Zq8vT41xKw0p", b" folded"])
def test_lines_of_a_head_that_are_no_headers_are_replayed(
    path: Path, caplog: pytest.LogCaptureFixture, lines: bytes
) -> None:
    """urllib3 logs them, and `http.client` keeps what stands behind them. No secret of them is kept."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            for _ in range(2):
                asking, _ = server.accept()
                with asking:
                    asking.recv(65536)
                    asking.sendall(b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: 0\r\nA: b\r\n\r\n" % lines)

        def ask() -> list[Any]:
            caplog.clear()
            with urllib3.PoolManager(retries=False) as pools:
                response = pools.request("GET", f"http://127.0.0.1:{port}/", headers={"Connection": "close"})
            said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
            return [dict(response.headers), [line.replace("Bearer Zq8vT41xKw0p", "") for line in said]]

        serving = threading.Thread(target=serve)
        serving.start()
        bare = ask()
        with record(path):
            assert ask() == bare
        serving.join()
    assert b"Zq8vT41xKw0p" not in path.read_bytes()
    with replay(path):
        replayed = ask()
    assert replayed[0] == bare[0]
    assert len(replayed[1]) == len(bare[1]) == 1


def test_a_replay_warns_of_the_clock_as_connecting_does(
    upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What urllib3 does before the handshake is real, also where the call failed then."""
    monkeypatch.setattr("urllib3.connection.RECENT_DATE", dt.date(9999, 1, 1))

    def ask(authority: str | None) -> list[Any]:
        pools = urllib3.PoolManager(ca_certs=authority, retries=False)
        with pools, warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                seen: Any = pools.request("GET", upstream.url("/counter/clock", "tls")).data
            except urllib3.exceptions.SSLError as error:
                seen = type(error).__name__
        return [seen, [each.category.__name__ for each in warned if each.category is not ResourceWarning]]

    with record(path):
        there = [ask(str(upstream.authority)), ask(None)]
    assert [warned for _, warned in there] == [["SystemTimeWarning"]] * 2
    upstream.stop()
    with replay(path):
        assert [ask(str(upstream.authority)), ask(None)] == there


if hasattr(http2, "inject_into_urllib3"):

    def test_an_answer_by_http2_is_replayed(upstream: Upstream, path: Path) -> None:
        def ask() -> list[Any]:
            with urllib3.PoolManager(ca_certs=str(upstream.authority)) as pools:
                response = pools.request("GET", upstream.url("/a", "h2"))
                return [type(response).__name__, response.version, response.data, list(response.headers)]

        http2.inject_into_urllib3()
        try:
            bare = ask()
            with record(path):
                assert ask() == bare
            upstream.stop()
            with replay(path):
                assert ask() == bare
        finally:
            http2.extract_from_urllib3()
        assert bare[:2] == ["HTTP2Response", 20]
