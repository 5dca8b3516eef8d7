"""An OTLP/HTTP exporter in the recorded process: it works, and is no part of the recording nor of the replay."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from requests.adapters import HTTPAdapter

from tests.servers._process import ServerProcess
from tests.servers._upstream import Upstream
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.session import ReplaySession


@pytest.fixture
def receiver() -> Iterator[ServerProcess]:
    process = ServerProcess("tests.servers.otlp_receiver")
    yield process
    process.close()


def _received(receiver: ServerProcess) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{receiver.port('otlp')}/count") as answer:
        names: list[str] = json.load(answer)
        return names


@pytest.mark.parametrize("kind", [SimpleSpanProcessor, BatchSpanProcessor])
def test_exports_are_neither_recorded_nor_replayed(
    upstream: Upstream, receiver: ServerProcess, tmp_path: Path, kind: Any
) -> None:
    path = tmp_path / "cassette.msgpack"
    sent: list[str] = []

    class Counting(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            sent.append(request.url)
            return super().send(request, *args, **kwargs)

    client = requests.Session()
    client.mount("http://", Counting())
    endpoint = f"http://127.0.0.1:{receiver.port('otlp')}/v1/traces"
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(kind(OTLPSpanExporter(endpoint=endpoint, session=client)))
    tracer = provider.get_tracer("tests")
    RequestsInstrumentor().instrument(tracer_provider=provider)

    def work(name: str) -> list[Any]:
        with tracer.start_as_current_span(name):
            seen = [requests.get(upstream.url("/counter/a")).json() for _ in range(3)]
        assert provider.force_flush()
        return seen

    try:
        bare = work("bare")
        upstream.control("reset")
        with record(path):
            assert work("recorded") == bare
        upstream.stop()
        with replay(path) as session:
            assert work("replayed") == bare
    finally:
        provider.shutdown()
        RequestsInstrumentor().uninstrument()
    assert sent
    assert set(sent) == {endpoint}
    assert isinstance(session, ReplaySession)
    assert session.live_calls == {}
    assert session.misses == []
    assert [event.signature.url for event in read_cassette(path).events] == [upstream.url("/counter/a")] * 3
    # With the colon: five digits stand in a file by chance, now and then.
    assert f":{receiver.port('otlp')}".encode() not in path.read_bytes()
    names = _received(receiver)
    assert [name for name in names if name != "GET"] == ["bare", "recorded", "replayed"]
    assert names.count("GET") == 9
