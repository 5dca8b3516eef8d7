"""OpenTelemetry around recorded and replayed calls: the same spans, in whatever order things were switched on."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.contract.http_flavour import HttpFlavour
from tests.servers._upstream import Upstream
from timetracer_otel import record, replay

__all__ = ["HttpTelemetry", "HttpTelemetryOfAProcess"]

Probe = Callable[..., dict[str, Any]]


class HttpTelemetry:
    """Inherit this, and name the flavour."""

    flavour: ClassVar[HttpFlavour]

    @pytest.fixture(autouse=True)
    def _servers(self, upstream: Upstream) -> None:
        """Every test has them, also those that do not name them."""

    @pytest.fixture
    def exporter(self) -> InMemorySpanExporter:
        return InMemorySpanExporter()

    @pytest.fixture
    def provider(self, exporter: InMemorySpanExporter) -> TracerProvider:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        return provider

    def spans(self, exporter: InMemorySpanExporter) -> list[Any]:
        """The spans that some calls make, as plain values."""

        async def run(f: HttpFlavour) -> None:
            async with f.open(follow=True) as session:
                await session.call("GET", "/echo?a=1")
                await session.call("POST", "/status/404", json={"a": 1})
                await session.call("GET", "/status/503")
                await session.call("GET", "/chain/2")
                await session.call("GET", f.url("/", "refused"))
                await session.call("GET", "/raw/short-body")

        exporter.clear()
        self.flavour.run(run)
        return [
            {
                "name": span.name,
                "kind": span.kind.name,
                "status": (span.status.status_code.name, span.status.description),
                "attributes": dict(span.attributes or {}),
                "events": [(event.name, sorted(event.attributes or {})) for event in span.events],
                "scope": span.instrumentation_scope.name if span.instrumentation_scope else None,
            }
            for span in exporter.get_finished_spans()
        ]

    @pytest.mark.parametrize("order", ["first", "last", "again"])
    def test_replay_makes_the_same_spans(
        self,
        upstream: Upstream,
        tmp_path: Path,
        exporter: InMemorySpanExporter,
        provider: TracerProvider,
        order: str,
    ) -> None:
        path = tmp_path / "cassette.msgpack"
        instrument = self.flavour.instrumentor().instrument
        if order != "last":
            instrument(tracer_provider=provider)
        if order == "again":
            self.flavour.enable()
            self.flavour.instrumentor().uninstrument()
            instrument(tracer_provider=provider)
            self.flavour.disable()
        bare = self.spans(exporter) if order != "last" else None
        self.flavour.enable()
        if order == "last":
            instrument(tracer_provider=provider)
        with record(path) as session:
            recorded = self.spans(exporter)
        assert len(session.events) == 8
        assert recorded
        assert bare is None or recorded == bare
        upstream.stop()
        with replay(path):
            replayed = self.spans(exporter)
        for span in replayed:
            assert span["attributes"].pop("timetracer.replayed") is True
        assert replayed == recorded

    def test_instrumentation_switched_off_in_between(
        self, upstream: Upstream, tmp_path: Path, exporter: InMemorySpanExporter, provider: TracerProvider
    ) -> None:
        path = tmp_path / "cassette.msgpack"
        self.flavour.instrumentor().instrument(tracer_provider=provider)
        with record(path) as session:
            with_spans = self.spans(exporter)
            self.flavour.instrumentor().uninstrument()
            without = self.spans(exporter)
        assert with_spans
        assert not without
        assert len(session.events) == 16

    def test_without_a_provider_nothing_is_instrumented(self) -> None:
        self.flavour.enable()
        assert not self.flavour.instrumentor().is_instrumented_by_opentelemetry

    def test_payload_never_rides_on_spans(
        self, tmp_path: Path, exporter: InMemorySpanExporter, provider: TracerProvider
    ) -> None:
        self.flavour.instrumentor().instrument(tracer_provider=provider)
        bare = self.spans(exporter)
        with record(tmp_path / "cassette.msgpack"):
            assert self.spans(exporter) == bare

    @pytest.mark.parametrize(
        "steps",
        sorted(set(itertools.permutations(["instrument", "enable", "uninstrument", "disable"]))),
        ids="-".join,
    )
    def test_any_order_of_switching_gives_the_library_back(self, provider: TracerProvider, steps: list[str]) -> None:
        instrumentor = self.flavour.instrumentor()
        for step in (*steps, "uninstrument", "disable"):
            if step == "instrument":
                instrumentor.instrument(tracer_provider=provider)
            elif step == "uninstrument":
                if instrumentor.is_instrumented_by_opentelemetry:
                    instrumentor.uninstrument()
            else:
                for _ in range(2):
                    getattr(self.flavour, step)()
        assert self.flavour.is_untouched()


class HttpTelemetryOfAProcess:
    """With a global tracer provider, which can be set once in a process. Inherit this, and name the flavour.

    Attributes:
        program: `telemetry_probe`, for the library.
    """

    flavour: ClassVar[HttpFlavour]
    program: ClassVar[Path] = Path(__file__).with_name("telemetry_probe.py")

    @pytest.fixture(autouse=True)
    def _servers(self, upstream: Upstream) -> None:
        """Every test has them, also those that do not name them."""

    @pytest.fixture
    def probe(self, probes: subprocess.Popen[str], upstream: Upstream) -> Probe:
        """Run the probe in a process of its own, where a global provider can be set."""

        def run(*arguments: str, **environment: str) -> dict[str, Any]:
            order = {"arguments": [self.flavour.name, upstream.url(), *arguments], "environment": environment}
            assert probes.stdin is not None
            assert probes.stdout is not None
            probes.stdin.write(json.dumps(order) + "\n")
            probes.stdin.flush()
            facts: dict[str, Any] = json.loads(probes.stdout.readline())
            assert "error" not in facts, facts["error"]
            return facts

        return run

    @pytest.mark.parametrize("when", ["before", "after", "inside", "never"])
    def test_the_users_own_provider(self, probe: Probe, upstream: Upstream, tmp_path: Path, when: str) -> None:
        path = str(tmp_path / "cassette.msgpack")
        recorded = probe("record", path, when)
        assert recorded["calls"] == [200, 404, "refused"]
        assert len(recorded["events"]) == 3
        spans = {span["span_id"]: span for span in recorded["spans"]}
        if when in {"before", "after"}:
            assert [spans[event["span_id"]]["name"] for event in recorded["events"]] == ["GET", "POST", "GET"]
            assert all(event["span_name"] == spans[event["span_id"]]["name"] for event in recorded["events"])
            assert {spans[event["span_id"]]["trace_id"] for event in recorded["events"]} == {
                event["trace_id"] for event in recorded["events"]
            }
        upstream.stop()
        replayed = probe("replay", path, when)
        assert replayed["calls"] == recorded["calls"]
        names = [(span["name"], span["status"]) for span in recorded["spans"]]
        assert [(span["name"], span["status"]) for span in replayed["spans"]] == names
        assert all(span["replayed"] for span in replayed["spans"] if span["kind"] == "CLIENT")

    @pytest.mark.parametrize("sampler", ["always_off", "timetracer"])
    def test_unsampled_runs_are_recorded(
        self, probe: Probe, upstream: Upstream, tmp_path: Path, sampler: str
    ) -> None:
        path = str(tmp_path / "cassette.msgpack")
        environment = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": "always_off"}
        recorded = probe("record", path, "before", **environment)
        assert recorded["spans"] == []
        assert len(recorded["events"]) == 3
        # A dropped span has ids and nothing else; our sampler keeps the rest, and the backend still gets nothing.
        names = ["GET", "POST", "GET"] if sampler == "timetracer" else [None] * 3
        assert [event["span_name"] for event in recorded["events"]] == names
        upstream.stop()
        replayed = probe("replay", path, "before", **environment)
        assert replayed["calls"] == recorded["calls"] == [200, 404, "refused"]
        assert replayed["spans"] == []
