"""Which requests are recorded, by path, by chance and by outcome: with recording spans, without, and outside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.process._programs import plain

_PROGRAM = """
    import contextvars, json, os, tempfile
    from opentelemetry import trace
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
    import timetracer_otel
    from timetracer_otel.base.chance import chance
    from timetracer_otel.incoming import wsgi
    from timetracer_otel.process.runtime import runtime
    from timetracer_otel.cassette import CassetteStore, read_cassette
    from timetracer_otel.config import TraceConfig
    from timetracer_otel.constants import EventType
    from timetracer_otel.context import get_current_session
    from timetracer_otel.types import DependencyEvent, EventResult, EventSignature

    tracing = os.environ["TRACING"]
    if tracing != "none":
        trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_OFF if tracing == "unsampled" else ALWAYS_ON))
    contexts = []

    def call(name):
        session = get_current_session()
        if session is not None:
            signature = EventSignature(lib="mine", method=name)
            session.add_event(DependencyEvent(0, EventType.CUSTOM, session.elapsed_ms, 0.0, signature, EventResult()))

    def app(environ, start_response):
        path = environ["PATH_INFO"]
        call(path)
        contexts.append(contextvars.copy_context())
        if path == "/raises":
            raise KeyError(path)
        if path == "/marked":
            trace.get_current_span().set_status(trace.StatusCode.ERROR)
        start_response({"/fails": "503 Down", "/missing": "404 Not Found"}.get(path, "200 OK"), [])
        return [b"done"]

    def served(environ, start_response):
        inner = OpenTelemetryMiddleware(app) if tracing in {"inside", "unsampled"} else app
        return wsgi.serve(inner, environ, start_response, "mine", lambda environ: None)

    server = OpenTelemetryMiddleware(served) if tracing == "outside" else served

    def ask(path):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": "",
                   "SERVER_NAME": "x", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "SERVER_PROTOCOL": "HTTP/1.1"}
        try:
            response = server(environ, lambda *arguments: None)
            b"".join(response)
            getattr(response, "close", lambda: None)()
        except KeyError:
            pass

    told = {}
    chance.seed(7)
    for settings in json.loads(os.environ["SETTINGS"]):
        with tempfile.TemporaryDirectory() as folder:
            runtime().start_recording(TraceConfig(mode="record", cassette_dir=folder, **settings))
            for path in json.loads(os.environ["PATHS"]):
                ask(path)
                runtime().flush()
                # What is left of the request calls when its cassette is written.
                contexts.pop().run(call, f"late {path}")
            call("outside")
            runtime().stop()
            found = [read_cassette(stored.path) for stored in CassetteStore(folder).list()]
            told[json.dumps(settings)] = sorted(
                [cassette.request.path, sorted(event.signature.method for event in cassette.events)]
                for cassette in found
            )
    print(json.dumps([told, dict(timetracer_otel.counters().events_dropped)]))
"""

ALL = ("none", "inside", "unsampled", "outside")


def _told(tracing: str, settings: dict[str, Any], paths: list[str]) -> tuple[list[Any], dict[str, int]]:
    run = plain(_PROGRAM, TRACING=tracing, SETTINGS=json.dumps([settings]), PATHS=json.dumps(paths))
    assert run.returncode == 0, run.stderr
    told, dropped = json.loads(run.stdout)
    return told[json.dumps(settings)], dropped


@pytest.mark.parametrize("tracing", ALL)
def test_an_excluded_path_leaves_nothing_not_even_what_it_left_behind(tracing: str) -> None:
    told, dropped = _told(tracing, {"exclude_paths": ["/health"]}, ["/ok", "/health", "/health/deep"])
    assert told == [["", ["late /ok", "outside"]], ["/ok", ["/ok"]]]
    assert dropped == {}


@pytest.mark.parametrize("tracing", ALL)
def test_requests_are_sampled_once_each_and_calls_outside_them_are_not(tracing: str) -> None:
    told, dropped = _told(tracing, {"sample_rate": 0.5}, [f"/{number}" for number in range(100)])
    requests = [path for path, _ in told if path]
    (outside,) = (called for path, called in told if not path)
    # Deciding twice, at a rate of a half each, would leave a quarter of the requests.
    assert 35 <= len(requests) <= 65
    assert all(called == [path] for path, called in told if path)
    assert outside == sorted([*(f"late {path}" for path in requests), "outside"])
    assert dropped == {}


@pytest.mark.parametrize("tracing", ALL)
def test_only_failures_are_kept_and_nothing_outside_requests(tracing: str) -> None:
    paths = ["/ok", "/missing", "/fails", "/raises", "/marked"]
    told, dropped = _told(tracing, {"errors_only": True}, paths)
    failed = ["/fails", "/marked", "/raises"] if tracing in {"inside", "outside"} else ["/fails", "/raises"]
    assert told == [[path, [path]] for path in failed]
    # These have a cassette that they came too late for; those of the others are wanted by nobody.
    assert dropped == {"calls after the end": len(failed)}


def test_a_job_is_kept_where_its_span_says_that_it_failed(tmp_path: Path) -> None:
    run = plain(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from timetracer_otel.otel import TimetracerInstrumentor

        trace.set_tracer_provider(TracerProvider())
        TimetracerInstrumentor().instrument()
        for status in (trace.StatusCode.OK, trace.StatusCode.ERROR):
            with trace.get_tracer("jobs").start_as_current_span(status.name, kind=trace.SpanKind.CONSUMER) as span:
                span.set_status(status)
        """,
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(tmp_path),
        TIMETRACER_ERRORS_ONLY="true",
    )
    assert run.returncode == 0, run.stderr
    assert [path.name.split("_")[1] for path in tmp_path.rglob("*.msgpack")] == ["ERROR"]
