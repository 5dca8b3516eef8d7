"""Sessions around requests: what every HTTP client keeps, and what only this one has."""

from __future__ import annotations

import io
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from requests.adapters import BaseAdapter, HTTPAdapter

from tests.contract.framework import network_attempts
from tests.contract.http_behaviour import HttpBehaviour, one_client_a_test
from tests.contract.http_redaction import HttpRedaction, holds_secret, one_client_a_redaction
from tests.contract.http_telemetry import HttpTelemetry
from tests.contract.requests_flavour import RequestsFlavour, steady
from tests.servers._upstream import Upstream
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.base import faults
from timetracer_otel.cassette import read_cassette
from timetracer_otel.constants import BodyEnd
from timetracer_otel.plugins import disable_requests, enable_requests
from timetracer_otel.process.runtime import runtime
from timetracer_otel.session import ReplaySession, TraceSession

FLAVOUR = RequestsFlavour()


@one_client_a_test
class TestRequests(HttpBehaviour):
    flavour = FLAVOUR


@one_client_a_redaction
class TestRequestsRedaction(HttpRedaction):
    flavour = FLAVOUR


class TestRequestsTelemetry(HttpTelemetry):
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
def test_sessions_made_before_are_recorded_and_replayed(upstream: Upstream, path: Path, enabled: bool) -> None:
    with requests.Session() as session:
        if enabled:
            enable_requests()
        try:
            session.get(upstream.url("/counter/a"))
            with record(path):
                assert session.get(upstream.url("/counter/a")).json() == {"n": 2}
            upstream.stop()
            with replay(path):
                assert session.get(upstream.url("/counter/a")).json() == {"n": 2}
            with pytest.raises(requests.ConnectionError):
                session.get(upstream.url("/counter/a"))
        finally:
            disable_requests()


def test_a_session_pickled_before_is_recorded(upstream: Upstream, path: Path) -> None:
    data = pickle.dumps(requests.Session())
    with record(path) as session, pickle.loads(data) as client:
        client.get(upstream.url("/echo"))
        pickle.dumps(client)
    assert len(session.events) == 1


def test_fifty_threads_on_one_session_of_requests(upstream: Upstream, path: Path) -> None:
    def run(numbers: list[int]) -> list[Any]:
        with requests.Session() as client:
            client.mount("http://", HTTPAdapter(pool_maxsize=50))

            def one(n: int) -> Any:
                with client.post(upstream.url("/reorder?of=50"), json={"n": n}, stream=True, timeout=60) as response:
                    return b"".join(response.iter_content(3))

            with ThreadPoolExecutor(50) as pool:
                return [job.result() for job in [pool.submit(copy_context().run, one, n) for n in numbers]]

    with record(path):
        recorded = run(list(range(50)))
    upstream.stop()
    with replay(path) as session:
        assert run(list(range(49, -1, -1))) == recorded[::-1]
    assert isinstance(session, ReplaySession)
    assert session.get_unconsumed_events() == []


def test_elapsed_is_the_recorded_one(upstream: Upstream, path: Path) -> None:
    seen: list[Any] = []
    hooks = {"response": [lambda response, **_: seen.append(response.elapsed)]}
    with record(path):
        recorded = requests.get(upstream.url("/slow/1000"), hooks=hooks)
    upstream.stop()
    with replay(path):
        started = time.perf_counter()
        replayed = requests.get(upstream.url("/slow/1000"), hooks=hooks)
        assert time.perf_counter() - started < 0.9
    assert abs(replayed.elapsed.total_seconds() - recorded.elapsed.total_seconds()) < 0.5
    assert seen == [recorded.elapsed, replayed.elapsed]
    assert replayed.request.hooks == recorded.request.hooks


def test_chunks_are_recorded_as_the_server_made_them(upstream: Upstream, path: Path) -> None:
    with record(path):
        assert len(requests.get(upstream.url("/gated/a?n=1")).content) == 12
        with requests.get(upstream.url("/lines"), stream=True) as response:
            list(response.iter_content(2))
    lines = read_cassette(path).events[1].result.body
    assert lines is not None
    assert [size for _, size in lines.chunks] == [3] * 7 + [2]
    assert lines.data == "eins ä\r\nzwei 日\n\ndrei".encode()


def test_first_chunk_comes_at_once_at_the_recorded_pace(upstream: Upstream, path: Path) -> None:
    def run() -> list[float]:
        with requests.get(upstream.url("/slow-body/1000"), stream=True) as response:
            started = time.perf_counter()
            return [time.perf_counter() - started for _ in response.iter_content(None)]

    with record(path):
        run()
    upstream.stop()
    with replay(path, replay_timing=True):
        first, second = run()
    assert first < 0.9
    assert 0.95 < second < 1.9


def test_reading_further_than_recorded_is_refused(upstream: Upstream, path: Path) -> None:
    with record(path):
        for target in ("/bytes/100", "/lines"):
            with requests.get(upstream.url(target), stream=True) as response:
                assert len(response.raw.read(3)) == 3
    first = read_cassette(path).events[0]
    assert first.result.body is not None
    assert (first.result.body.end, first.result.body.size_bytes) == (BodyEnd.CLOSED, 3)
    upstream.stop()
    with replay(path):
        for target in ("/bytes/100", "/lines"):
            with requests.get(upstream.url(target), stream=True) as response:
                assert len(response.raw.read(3)) == 3
                with pytest.raises(ReplayMismatchError, match="only the first 3 bytes"):
                    response.raw.read(3)


def test_a_stream_outlives_its_session(upstream: Upstream, path: Path) -> None:
    with record(path):
        response = requests.get(upstream.url("/gated/late"), stream=True)
        pieces = response.iter_content(None)
        first = next(pieces)
    upstream.control("release", "late")
    upstream.control("release", "late")
    assert len(list(pieces)) == 2
    (event,) = read_cassette(path).events
    assert event.result.body is not None
    assert event.result.body.end is BodyEnd.CUT
    upstream.stop()
    with replay(path):
        pieces = requests.get(upstream.url("/gated/late"), stream=True).iter_content(None)
        assert next(pieces) == first
        with pytest.raises(ReplayMismatchError):
            next(pieces)


def test_a_redirect_chain_is_one_span_with_many_events(upstream: Upstream, path: Path) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    FLAVOUR.instrumentor().instrument(tracer_provider=provider)
    try:
        with record(path):
            requests.get(upstream.url("/chain/2"))
            requests.get(upstream.url("/echo"))
    finally:
        FLAVOUR.instrumentor().uninstrument()
    spans = [event.span.span_id for event in read_cassette(path).events if event.span is not None]
    assert len(spans) == 4
    assert spans[0] == spans[1] == spans[2] != spans[3]


@pytest.fixture(params=[(), ("urllib3",), ("requests", "urllib3")], ids=lambda names: "+".join(names) or "none")
def traced(request: pytest.FixtureRequest) -> Iterator[set[str]]:
    """The libraries whose calls have spans of OpenTelemetry's, which our processor sees."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(runtime().processor)
    both: dict[str, Any] = {"requests": RequestsInstrumentor(), "urllib3": URLLib3Instrumentor()}
    instrumentors = [both[name] for name in request.param]
    for instrumentor in instrumentors:
        instrumentor.instrument(tracer_provider=provider)
    yield set(request.param)
    for instrumentor in instrumentors:
        instrumentor.uninstrument()


def test_urllib3_beneath_requests_is_part_of_its_call_and_else_on_its_own(
    upstream: Upstream, path: Path, traced: set[str]
) -> None:
    seen: list[list[bytes]] = []

    def ask() -> None:
        with urllib3.PoolManager() as pools:
            own = pools.request("GET", upstream.url("/counter/a")).data
        seen.append([own, requests.get(upstream.url("/counter/a")).content])

    with record(path) as session:
        ask()
    assert [event.signature.lib for event in session.events] == ["urllib3", "requests"]
    own, by_requests = (event.span is not None for event in session.events)
    assert (own, by_requests) == ("urllib3" in traced, "requests" in traced)
    with replay(path) as replaying:
        ask()
    assert seen == [[b'{"n": 1}', b'{"n": 2}']] * 2
    assert str(replaying.verdict()) == "2 hit, 0 missed, 0 unused, 0 live"
    # What makes a call of requests for real asks urllib3 for real, too.
    with replay(path, live_plugins=["requests"], fail_on_unused=False) as replaying:
        ask()
    assert seen[-1] == [b'{"n": 1}', b'{"n": 3}']
    assert str(replaying.verdict()) == "1 hit, 0 missed, 0 unused, 1 live"


def test_an_upgraded_connection_is_no_answer_in_replay(upstream: Upstream, path: Path) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "shout"}
    with record(path), requests.get(upstream.url("/upgrade"), headers=headers, stream=True) as response:
        assert response.status_code == 101
    (event,) = read_cassette(path).events
    assert event.not_replayable
    upstream.stop()
    with replay(path), pytest.raises(ReplayMismatchError):
        requests.get(upstream.url("/upgrade"), headers=headers)


def test_excluded_urls_pass_through(upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_REQUESTS_EXCLUDED_URLS", "/counter/not,/healthz")
    with record(path) as session:
        requests.get(upstream.url("/counter/not"))
        requests.get(upstream.url("/counter/yes"))
    assert [event.signature.url for event in session.events] == [upstream.url("/counter/yes")]
    with replay(path) as replayed:
        assert requests.get(upstream.url("/counter/not")).json() == {"n": 2}
        assert requests.get(upstream.url("/counter/yes")).json() == {"n": 1}
    assert str(replayed.verdict()) == "1 hit, 0 missed, 0 unused, 1 live"


@pytest.mark.parametrize("place", ["call_began", "call_ended", "call_withdrawn"])
def test_a_fault_of_the_recorder_does_not_reach_the_app(
    upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    class Handing(HTTPAdapter):
        def send(self, *args: Any, **kwargs: Any) -> Any:
            return super().send(*args, **kwargs)

    def broken(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    async def run(f: RequestsFlavour) -> Any:
        async with f.open() as session:
            session.session.mount("http://", Handing())
            return [
                (await session.call("GET", "/counter/a"))["json"],
                (await session.stream("GET", "/lines"))["pieces"],
                (await session.call("GET", f.url("/", "refused")))["error"]["class"],
            ]

    bare = FLAVOUR.run(run)
    upstream.control("reset")
    monkeypatch.setattr(faults, "raise_faults", False)
    monkeypatch.setattr(TraceSession, place, broken)
    before = sum(faults.fault_counts().values())
    with record(path):
        assert FLAVOUR.run(run) == bare
    assert sum(faults.fault_counts().values()) > before


def test_enabling_is_idempotent() -> None:
    original = HTTPAdapter.__dict__["send"]
    for _ in range(3):
        enable_requests()
    assert HTTPAdapter.__dict__["send"] is not original
    for _ in range(2):
        disable_requests()
        assert FLAVOUR.is_untouched()


class _Own(BaseAdapter):
    def __init__(self) -> None:
        super().__init__()
        self.pools = urllib3.PoolManager()

    def send(self, request: Any, **_: Any) -> Any:  # type: ignore[override]
        try:
            raw = self.pools.urlopen("GET", request.url, retries=False, preload_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise requests.ConnectionError(error, request=request) from error
        return HTTPAdapter.build_response(self, request, raw)  # type: ignore[arg-type]

    def close(self) -> None:
        self.pools.clear()


def test_adapters_of_the_user_are_given_back(upstream: Upstream, path: Path) -> None:
    original = _Own.__dict__["send"]
    for scope in (record(path), replay(path)):
        with scope, requests.Session() as client:
            client.mount("http://", _Own())
            client.get(upstream.url("/echo"))
            assert _Own.__dict__["send"] is not original
        assert _Own.__dict__["send"] is original


@pytest.mark.parametrize("target", [("/echo", "http"), ("/", "refused")])
def test_an_adapter_that_was_recorded_never_goes_out_in_replay(
    upstream: Upstream, path: Path, target: tuple[str, str]
) -> None:
    def call(url: str) -> Any:
        with requests.Session() as client:
            client.mount("http://", _Own())
            try:
                return client.get(url).status_code
            except requests.ConnectionError as error:
                return str(error)

    with record(path):
        recorded = call(upstream.url(*target))
    with replay(path), network_attempts() as attempts:
        assert call(upstream.url(*target)) == recorded
        with pytest.raises(ReplayMismatchError):
            call(upstream.url("/counter/never"))
    assert attempts == []


def test_a_recorded_error_keeps_no_secret_of_the_url(upstream: Upstream, path: Path) -> None:
    url = upstream.url("/x?api_key=s3cr3t-1&page=1", "refused")
    with record(path), pytest.raises(requests.ConnectionError, match="s3cr3t-1"):
        requests.get(url)
    assert not holds_secret(path)
    upstream.stop()
    with replay(path), pytest.raises(requests.ConnectionError, match="page=1") as caught:
        requests.get(url)
    assert "s3cr3t" not in str(caught.value)


def test_live_and_mocked_clients_side_by_side(upstream: Upstream, path: Path) -> None:
    import httpx

    with record(path):
        assert requests.get(upstream.url("/counter/r")).json() == {"n": 1}
        assert httpx.get(upstream.url("/counter/h")).json() == {"n": 1}
    with replay(path, mock_plugins=["requests"]):
        assert requests.get(upstream.url("/counter/r")).json() == {"n": 1}
        assert httpx.get(upstream.url("/counter/h")).json() == {"n": 2}
    with replay(path, live_plugins=["requests"]):
        assert requests.get(upstream.url("/counter/r")).json() == {"n": 2}
        assert httpx.get(upstream.url("/counter/h")).json() == {"n": 1}


def test_a_stream_is_read_in_another_thread(upstream: Upstream, path: Path) -> None:
    def run() -> bytes:
        out = io.BytesIO()
        with requests.get(upstream.url("/lines"), stream=True) as response:
            thread = threading.Thread(target=lambda: out.write(response.content))
            thread.start()
            thread.join()
        return out.getvalue()

    with record(path):
        recorded = run()
    upstream.stop()
    with replay(path) as session:
        assert run() == recorded
    assert isinstance(session, ReplaySession)
    assert session.get_unconsumed_events() == []
