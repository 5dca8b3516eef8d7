"""Programs that set OpenTelemetry up in code: what switches us on, which provider's names a cassette bears."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.loopback import Loopback
from tests.process._programs import cassettes, plain
from tests.process._three_runs import three_runs

SET_UP = """
    import os
    import httpx
    from opentelemetry import trace
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    from timetracer_otel import TimetracerInstrumentor, TimetracerSpanProcessor
    from timetracer_otel.otel import TimetracerSpanExporter

    def provider(service):
        named = {"service.name": service, "deployment.environment": "staging", "service.version": "1.2.3"}
        return TracerProvider(resource=Resource.create(named))

    def ask(tracer, path="/users/1"):
        with tracer.start_as_current_span(f"GET {path}", kind=trace.SpanKind.SERVER):
            print(httpx.get(os.environ["UPSTREAM"] + path).json())
"""


def run(code: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return plain(SET_UP + code, **changes)


BEFORE = """
    trace.set_tracer_provider(provider("shop"))
    HTTPXClientInstrumentor().instrument()
    TimetracerInstrumentor().instrument()
"""
AFTER = """
    TimetracerInstrumentor().instrument()
    HTTPXClientInstrumentor().instrument()
    trace.set_tracer_provider(provider("shop"))
"""


@pytest.mark.parametrize("set_up", [BEFORE, AFTER], ids=["before", "after"])
def test_service_and_environment_are_those_of_the_providers_resource(set_up: str, tmp_path: Path) -> None:
    code = set_up + '    ask(trace.get_tracer("app"))\n'
    seen = three_runs(
        run, code, tmp_path, env={"OTEL_SERVICE_NAME": "from-the-environment", "GITHUB_SHA": "0123456789abcdef"}
    )
    session = seen.cassette.session
    assert (session.service, session.env, session.service_version) == ("shop", "staging", "1.2.3")
    assert session.git_sha == "0123456789abcdef", "the resource names none, and the builder of the app does"
    assert [event.span.name for event in seen.cassette.events if event.span] == ["GET"]


def test_what_is_stated_to_us_wins_over_the_resource(tmp_path: Path) -> None:
    code = BEFORE + '    ask(trace.get_tracer("app"))\n'
    with Loopback() as upstream:
        stated = {"TIMETRACER_SERVICE": "stated", "TIMETRACER_DIR": str(tmp_path), "TIMETRACER_MODE": "record"}
        run(code, UPSTREAM=upstream.url, **stated)
    (cassette,) = cassettes(tmp_path)
    assert (cassette.session.service, cassette.session.env) == ("stated", "staging")


def test_calls_outside_requests_bear_the_names_of_the_global_provider(tmp_path: Path) -> None:
    code = BEFORE + '    print(httpx.get(os.environ["UPSTREAM"] + "/users/1").json())\n'
    assert three_runs(run, code, tmp_path).cassette.session.service == "shop"


def test_a_block_bears_the_names_of_the_provider_too(tmp_path: Path) -> None:
    code = f"""
    import timetracer_otel
    trace.set_tracer_provider(provider("shop"))
    with timetracer_otel.record({str(tmp_path / "x.msgpack")!r}):
        httpx.get(os.environ["UPSTREAM"] + "/users/1")
"""
    with Loopback() as upstream:
        done = run(code, UPSTREAM=upstream.url)
    assert done.returncode == 0, done.stderr
    (cassette,) = cassettes(tmp_path)
    assert cassette.session.service == "shop"


TWO = """
    trace.set_tracer_provider(provider("shop"))
    billing = provider("billing")
    {shown}
    HTTPXClientInstrumentor().instrument()
    ask(trace.get_tracer("app"), "/users/1")
    ask(billing.get_tracer("app"), "/users/2")
"""


@pytest.mark.parametrize(
    "shown",
    [
        "TimetracerInstrumentor().instrument(); billing.add_span_processor(TimetracerSpanProcessor())",
        "TimetracerInstrumentor().instrument(tracer_provider=billing)",
        # One processor more on a provider is harmless.
        """
    for each in (billing, trace.get_tracer_provider()):
        each.add_span_processor(TimetracerSpanProcessor())
    TimetracerInstrumentor().instrument(tracer_provider=billing)
        """,
    ],
    ids=["processor", "argument", "both"],
)
def test_of_two_providers_each_names_its_own_requests(shown: str, tmp_path: Path) -> None:
    with Loopback() as upstream:
        recording = {"TIMETRACER_DIR": str(tmp_path), "TIMETRACER_MODE": "record"}
        done = run(TWO.format(shown=shown), UPSTREAM=upstream.url, **recording)
    assert done.returncode == 0, done.stderr
    found = {cassette.request.path: cassette for cassette in cassettes(tmp_path)}
    assert {path: one.session.service for path, one in found.items()} == {
        "GET /users/1": "shop",
        "GET /users/2": "billing",
    }
    assert [len(one.events) for one in found.values()] == [1, 1]


ALONE = """
    tracing = provider("shop")
    tracing.add_span_processor({processor}(TimetracerSpanExporter()))
    trace.set_tracer_provider(tracing)
    HTTPXClientInstrumentor().instrument()
    {more}
    ask(trace.get_tracer("app"), "/users/1")
    ask(trace.get_tracer("app"), "/users/2")
"""
_WITHOUT_SEAMS = ALONE.format(more="", processor="SimpleSpanProcessor")
_WITH_SEAMS = ALONE.format(more="TimetracerInstrumentor().instrument()", processor="SimpleSpanProcessor")
_SPANS_ONLY = "timetracer-otel: the exporter is on a tracer provider, but nothing has switched the instrumentation on"


# The provider shuts the second one down at the exit, when the recording has ended.
@pytest.mark.parametrize("processor", ["SimpleSpanProcessor", "BatchSpanProcessor"])
def test_an_exporter_alone_says_once_that_it_records_spans_only_and_what_to_do(
    processor: str, tmp_path: Path
) -> None:
    with Loopback() as upstream:
        done = run(ALONE.format(more="", processor=processor), UPSTREAM=upstream.url, TIMETRACER_DIR=str(tmp_path))
    assert [len(one.events) for one in cassettes(tmp_path)] == [1, 1]
    assert all(event.not_replayable for one in cassettes(tmp_path) for event in one.events)
    assert done.stderr.count(_SPANS_ONLY) == 1, done.stderr
    assert "Call `timetracer_otel.TimetracerInstrumentor().instrument()`" in done.stderr


@pytest.mark.parametrize(
    "more",
    [
        "TimetracerInstrumentor().instrument()",
        "from timetracer_otel.plugins import enable_httpx; enable_httpx()",
        "TimetracerInstrumentor().instrument(keep='7d')",
    ],
    ids=["instrument", "enable", "options"],
)
def test_an_exporter_whose_calls_are_seen_says_nothing(more: str, tmp_path: Path) -> None:
    with Loopback() as upstream:
        program = ALONE.format(more=more, processor="BatchSpanProcessor")
        done = run(program, UPSTREAM=upstream.url, TIMETRACER_DIR=str(tmp_path))
    assert [len(one.events) for one in cassettes(tmp_path)] == [1, 1], done.stderr
    assert not any(event.not_replayable for one in cassettes(tmp_path) for event in one.events)
    assert _SPANS_ONLY not in done.stderr


def test_options_in_code_record_and_are_forgotten_with_uninstrument(tmp_path: Path) -> None:
    code = f"""
    import timetracer_otel
    TimetracerInstrumentor().instrument(mode="record", dir={str(tmp_path / "a")!r})
    httpx.get(os.environ["UPSTREAM"] + "/users/1")
    TimetracerInstrumentor().uninstrument()
    httpx.get(os.environ["UPSTREAM"] + "/users/2")
    TimetracerInstrumentor().instrument(mode="record", dir={str(tmp_path / "b")!r})
    httpx.get(os.environ["UPSTREAM"] + "/users/3")
"""
    with Loopback() as upstream:
        done = run(code, UPSTREAM=upstream.url)
    assert done.stderr == "", done.stderr
    assert [len(cassettes(tmp_path / name)[0].events) for name in "ab"] == [1, 1]


def test_an_exporter_in_code_replays_where_a_replay_is_wanted(tmp_path: Path) -> None:
    with Loopback() as upstream:
        recording = {"TIMETRACER_DIR": str(tmp_path), "TIMETRACER_MODE": "record"}
        recorded = run(_WITH_SEAMS, UPSTREAM=upstream.url, **recording)
        replaying = {"TIMETRACER_CASSETTE": str(tmp_path), "TIMETRACER_MODE": "replay"}
        replayed = run(_WITHOUT_SEAMS, UPSTREAM=upstream.url, **replaying)
        assert sum(upstream.hits.values()) == 2
    assert replayed.stdout == recorded.stdout
