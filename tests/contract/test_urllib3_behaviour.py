"""Sessions around urllib3: what every HTTP client keeps, and what only this one has."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import pytest
import urllib3
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from urllib3.util.retry import Retry

from tests.contract.http_behaviour import HttpBehaviour
from tests.contract.http_redaction import HttpRedaction
from tests.contract.http_telemetry import HttpTelemetry
from tests.contract.requests_flavour import steady
from tests.contract.urllib3_flavour import Urllib3Flavour
from tests.servers._upstream import Upstream
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.plugins import disable_urllib3, enable_urllib3

FLAVOUR = Urllib3Flavour()
http2: Any = importlib.import_module("urllib3.http2") if importlib.util.find_spec("urllib3.http2") else None


class TestUrllib3(HttpBehaviour):
    flavour = FLAVOUR


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
