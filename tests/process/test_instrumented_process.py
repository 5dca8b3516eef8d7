"""What a process does when only its environment says what to do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.children import environment, instrument
from tests.loopback import Loopback
from tests.process._programs import by_script, cassettes, forks, instrumented, plain, started
from timetracer_otel.cassette import read_cassette
from timetracer_otel.types import Cassette

TWO_REQUESTS = """
    import sys, httpx
    from opentelemetry import trace
    base = sys.argv[1] if len(sys.argv) > 1 else {base!r}
    tracer = trace.get_tracer("my.app")
    for user in (1, 2):
        attributes = {{"http.request.method": "GET", "url.path": f"/me/{{user}}", "http.route": "/me/{{id}}"}}
        with tracer.start_as_current_span("GET /me", kind=trace.SpanKind.SERVER, attributes=attributes) as span:
            print(httpx.get(f"{{base}}/users/{{user}}").json()["id"])
            with tracer.start_as_current_span("inner"):
                print(httpx.get(f"{{base}}/items").json()["items"])
            span.set_attribute("http.response.status_code", 200)
    print(httpx.get(f"{{base}}/users/3").json())
"""
EXPECTED = "1\n['tea', 'cake']\n2\n['tea', 'cake']\n{'id': 3, 'name': 'Ada'}\n"


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def _by_request(found: list[Cassette]) -> dict[str, Cassette]:
    return {cassette.request.path: cassette for cassette in found}


def test_each_root_becomes_one_cassette_and_calls_outside_go_to_one_of_the_process(
    upstream: Loopback, tmp_path: Path
) -> None:
    done = instrumented(
        TWO_REQUESTS.format(base=upstream.url),
        OTEL_TRACES_EXPORTER="timetracer",
        TIMETRACER_DIR=str(tmp_path),
        OTEL_SERVICE_NAME="shop",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=staging",
    )
    assert (done.stdout, done.returncode) == (EXPECTED, 0), done.stderr
    found = _by_request(cassettes(tmp_path))
    assert sorted(found) == ["", "/me/1", "/me/2"]
    for user in (1, 2):
        cassette = found[f"/me/{user}"]
        assert (cassette.request.method, cassette.request.route_template, cassette.response.status) == (
            "GET",
            "/me/{id}",
            200,
        )
        assert (cassette.session.service, cassette.session.env) == ("shop", "staging")
        assert [event.signature.url for event in cassette.events] == [
            f"{upstream.url}/users/{user}",
            f"{upstream.url}/items",
        ]
        assert [event.path for event in cassette.events] == [("GET /me",), ("GET /me", "inner")]
        for event in cassette.events:
            assert event.span is not None
            assert (event.span.name, event.span.kind) == ("GET", "CLIENT")
            assert event.span.trace_id == cassette.session.trace_id
    outside = found[""]
    assert outside.complete
    assert [event.signature.url for event in outside.events] == [f"{upstream.url}/users/3"]
    assert outside.events[0].span is not None
    assert outside.events[0].span.name == "GET"


def test_the_script_starts_a_program_as_these_tests_do() -> None:
    """What the tests show with `instrumented`, which starts no script, holds for ``opentelemetry-instrument`` too."""
    code = "import json, os, sys; print(json.dumps([dict(os.environ), sys.path, sys.argv]))"
    here = instrumented(code)
    assert json.loads(by_script(code).stdout) == json.loads(here.stdout)


@pytest.mark.parametrize("sampler", ["always_off", "timetracer"])
def test_unsampled_processes_record(upstream: Loopback, tmp_path: Path, sampler: str) -> None:
    done = instrumented(
        TWO_REQUESTS.format(base=upstream.url),
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(tmp_path),
        OTEL_TRACES_SAMPLER=sampler,
        OTEL_TRACES_SAMPLER_ARG="always_off",
    )
    assert (done.stdout, done.returncode) == (EXPECTED, 0), done.stderr
    found = _by_request(cassettes(tmp_path))
    if sampler == "always_off":
        # No processor is told of a dropped span: the calls are recorded, but the requests are not known.
        assert [len(cassette.events) for cassette in found.values()] == [5]
        assert all(event.span is not None and event.span.name is None for event in found[""].events)
    else:
        assert sorted(found) == ["", "/me/1", "/me/2"]
        event = found["/me/1"].events[0]
        assert event.span is not None
        assert not event.span.sampled
        assert event.span.attributes["http.method"] == "GET"


def test_a_process_replays_with_its_upstream_gone(upstream: Loopback, tmp_path: Path) -> None:
    code = TWO_REQUESTS.format(base=upstream.url)
    settings = {"TIMETRACER_DIR": str(tmp_path), "OTEL_TRACES_SAMPLER": "always_off"}
    instrumented(code, TIMETRACER_MODE="record", **settings)
    upstream.stop()
    (stored,) = tmp_path.rglob("*.msgpack")
    done = instrumented(code, TIMETRACER_MODE="replay", TIMETRACER_CASSETTE=str(stored))
    assert (done.stdout, done.returncode) == (EXPECTED, 0), done.stderr
    again = instrumented(
        code.replace("/items", "/changed"), TIMETRACER_MODE="replay", TIMETRACER_CASSETTE=str(stored)
    )
    assert again.returncode == 1
    assert "ReplayMismatchError: No recorded call matches: httpx GET" in again.stderr
    assert "/items" in again.stderr


def test_settings_have_flags_of_opentelemetry_instrument(upstream: Loopback, tmp_path: Path) -> None:
    code = "import httpx, sys; httpx.get(sys.argv[1])"
    quiet = ["--traces_exporter", "none", "--metrics_exporter", "none", "--logs_exporter", "none"]
    flags = ["--timetracer_mode", "record", "--timetracer_dir", str(tmp_path)]
    subprocess.run(
        instrument(*quiet, *flags, sys.executable, "-c", code, f"{upstream.url}/users/1"),
        env=environment({"httpx"}),
        check=True,
        timeout=240,
    )
    (cassette,) = cassettes(tmp_path)
    assert [event.signature.url for event in cassette.events] == [f"{upstream.url}/users/1"]


def test_errors_only_keeps_failed_requests(upstream: Loopback, tmp_path: Path) -> None:
    code = f"""
        import httpx
        from opentelemetry import trace
        tracer = trace.get_tracer("my.app")
        for status in (200, 404, 500):
            attributes = {{"http.method": "GET", "http.target": f"/s/{{status}}?a=1&a=2"}}
            with tracer.start_as_current_span("GET /", kind=trace.SpanKind.SERVER, attributes=attributes) as span:
                httpx.get("{upstream.url}/users/1")
                span.set_attribute("http.status_code", status)
        try:
            with tracer.start_as_current_span("job"):
                httpx.get("{upstream.url}/users/1")
                raise KeyError("gone")
        except KeyError:
            pass
    """
    done = instrumented(code, TIMETRACER_MODE="record", TIMETRACER_DIR=str(tmp_path), TIMETRACER_ERRORS_ONLY="true")
    assert done.returncode == 0, done.stderr
    found = _by_request(cassettes(tmp_path))
    assert sorted(found) == ["/s/500", "job"]
    assert found["/s/500"].request.query == {"a": ["1", "2"]}
    assert found["job"].error_info is not None
    assert (found["job"].error_info["type"], found["job"].error_info["message"]) == ("KeyError", "'gone'")


def test_excluded_paths_and_unsampled_requests_leave_nothing(upstream: Loopback, tmp_path: Path) -> None:
    code = f"""
        import httpx
        from opentelemetry import trace
        tracer = trace.get_tracer("my.app")
        attributes = {{"url.path": "/health/live"}}
        with tracer.start_as_current_span("GET /", kind=trace.SpanKind.SERVER, attributes=attributes):
            with tracer.start_as_current_span("inner"):
                httpx.get("{upstream.url}/users/1")
    """
    for settings in ({}, {"TIMETRACER_EXCLUDE_PATHS": "/none", "TIMETRACER_SAMPLE_RATE": "0.0"}):
        done = instrumented(code, TIMETRACER_MODE="record", TIMETRACER_DIR=str(tmp_path), **settings)
        assert done.returncode == 0, done.stderr
        assert cassettes(tmp_path) == []


def test_a_span_may_name_a_url_that_is_none(upstream: Loopback, tmp_path: Path) -> None:
    code = f"""
        import httpx
        from opentelemetry import trace
        attributes = {{"http.method": "GET", "http.url": "http://[bad/x"}}
        with trace.get_tracer("app").start_as_current_span("HTTP", kind=trace.SpanKind.SERVER, attributes=attributes):
            httpx.get("{upstream.url}/users/1")
    """
    done = instrumented(code, TIMETRACER_MODE="record", TIMETRACER_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    (cassette,) = cassettes(tmp_path)
    assert (cassette.request.method, cassette.request.path, len(cassette.events)) == ("GET", "/x", 1)


def test_spans_without_a_plugin_are_observed(upstream: Loopback, tmp_path: Path) -> None:
    code = """
        from opentelemetry import trace
        tracer = trace.get_tracer("opentelemetry.instrumentation.cassandra")
        root = trace.get_tracer("app")
        attributes = {"db.system": "mongodb", "net.peer.name": "db"}
        with root.start_as_current_span("GET /", kind=trace.SpanKind.SERVER, attributes={"url.path": "/x"}):
            with tracer.start_as_current_span("find users", kind=trace.SpanKind.CLIENT, attributes=attributes):
                pass
        with tracer.start_as_current_span("outside", kind=trace.SpanKind.CLIENT, attributes=attributes):
            pass
    """
    done = instrumented(code, TIMETRACER_MODE="record", TIMETRACER_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = _by_request(cassettes(tmp_path))
    for path, method in (("/x", "find users"), ("", "outside")):
        (event,) = found[path].events
        assert (event.signature.lib, event.signature.method, event.event_type.value) == (
            "cassandra",
            method,
            "db.query",
        )
        assert event.not_replayable == "only observed: no plugin captures the calls of cassandra"


def test_a_killed_process_loses_no_call_that_had_ended(upstream: Loopback, tmp_path: Path) -> None:
    code = f"""
        import httpx, sys
        for user in range(1, 1000):
            httpx.get(f"{upstream.url}/users/{{user}}")
            print(user, flush=True)
    """
    with started(code, TIMETRACER_MODE="record", TIMETRACER_DIR=str(tmp_path)) as child:
        assert child.stdout is not None
        last = 0
        deadline = time.monotonic() + 30
        while last < 20 and time.monotonic() < deadline:
            last = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split()
    last = int(rest[-1]) if rest else last
    (cassette,) = cassettes(tmp_path)
    assert not cassette.complete
    assert len(cassette.events) >= last
    assert all(event.result.status == 200 for event in cassette.events[:last])


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"TIMETRACER_MODE": "reply"}, "TIMETRACER_MODE: 'reply' is not allowed. Allowed: off, record, replay."),
        (
            {"TIMETRACER_MODE": "record", "TIMETRACER_SAMPLE_RATE": "7"},
            "TIMETRACER_SAMPLE_RATE: 7.0 is not allowed. Allowed: 0.0 to 1.0.",
        ),
        (
            {"TIMETRACER_MODE": "record", "OTEL_PYTHON_TIMETRACER_COMPRESSION": "rar"},
            "OTEL_PYTHON_TIMETRACER_COMPRESSION: 'rar' is not allowed. Allowed: none, gzip, zstd.",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "timetracer", "TIMETRACER_SAMPLE_RATE": "7"},
            "TIMETRACER_SAMPLE_RATE: 7.0 is not allowed. Allowed: 0.0 to 1.0.",
        ),
    ],
)
def test_a_bad_setting_leaves_the_app_alone_and_says_so(
    upstream: Loopback, tmp_path: Path, settings: dict[str, str], line: str
) -> None:
    done = instrumented(TWO_REQUESTS.format(base=upstream.url), TIMETRACER_DIR=str(tmp_path), **settings)
    assert (done.stdout, done.returncode) == (EXPECTED, 0), done.stderr
    assert done.stderr.count(line) == 1
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "TIMETRACER_CASSETTE: not set, but TIMETRACER_MODE=replay needs a cassette."),
        ({"TIMETRACER_CASSETTE": "no/such.msgpack"}, "Cassette not found: no/such.msgpack."),
        ({"TIMETRACER_STRICT_REPLAY": "perhaps"}, "TIMETRACER_STRICT_REPLAY: 'perhaps' is not allowed."),
    ],
)
def test_a_replay_that_cannot_start_goes_never_live(upstream: Loopback, settings: dict[str, str], line: str) -> None:
    done = instrumented(TWO_REQUESTS.format(base=upstream.url), TIMETRACER_MODE="replay", **settings)
    assert done.returncode == 1
    assert line in done.stderr
    assert "ReplayMismatchError: This replay could not start" in done.stderr
    assert not upstream.hits


def test_an_unwritable_folder_does_not_reach_the_app(upstream: Loopback, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    done = instrumented(
        TWO_REQUESTS.format(base=upstream.url), TIMETRACER_MODE="record", TIMETRACER_DIR=str(blocked / "below")
    )
    assert (done.stdout, done.returncode) == (EXPECTED, 0), done.stderr
    assert "Traceback" not in done.stderr
    assert str(blocked) in done.stderr


def test_an_unknown_plugin_name_is_warned_about(upstream: Loopback, tmp_path: Path) -> None:
    done = instrumented(
        "import httpx", TIMETRACER_MODE="record", TIMETRACER_DIR=str(tmp_path), TIMETRACER_CAPTURE="httx"
    )
    assert "TIMETRACER_CAPTURE: nobody knows a plugin or group called 'httx'; did you mean 'httpx'?" in done.stderr


@pytest.mark.parametrize("disabled", ["timetracer", "httpx", "*"])
def test_switched_off_instrumentations_stay_off(upstream: Loopback, tmp_path: Path, disabled: str) -> None:
    done = instrumented(
        "import httpx, sys; print(httpx.HTTPTransport.handle_request.__module__)",
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(tmp_path),
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=disabled,
    )
    assert done.stdout == "httpx._transports.default\n"
    off = instrumented(
        f"import httpx; httpx.get('{upstream.url}/users/1')",
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(tmp_path),
        OTEL_SDK_DISABLED="true",
    )
    assert off.returncode == 0
    assert cassettes(tmp_path) == []


@pytest.mark.parametrize(
    "switch", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "httpx,requests"}]
)
def test_a_replay_answers_also_what_telemetry_is_switched_off_for(tmp_path: Path, switch: dict[str, str]) -> None:
    path = tmp_path / "x.msgpack"
    block = "import httpx, timetracer_otel\nwith timetracer_otel.{way}({path!r}) as session: {call}"
    with Loopback() as server:
        call = f"print(httpx.get('{server.url}/users/1').text)"
        made = plain(block.format(way="record", path=str(path), call=call), **switch)
    assert len(read_cassette(path).events) == 1, made.stderr
    for again in (
        plain(block.format(way="replay", path=str(path), call=call), **switch),
        instrumented(f"import httpx; {call}", TIMETRACER_MODE="replay", TIMETRACER_CASSETTE=str(path), **switch),
    ):
        assert (again.returncode, again.stdout) == (0, made.stdout), again.stderr


@pytest.mark.parametrize(
    "settings",
    [
        {"TIMETRACER_MODE": "off"},
        {"OTEL_PYTHON_TIMETRACER_MODE": "off"},
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "timetracer"},
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"},
    ],
)
def test_what_switches_us_off_wins_over_the_name_of_the_exporter(
    upstream: Loopback, tmp_path: Path, settings: dict[str, str]
) -> None:
    done = instrumented(
        TWO_REQUESTS.format(base=upstream.url),
        OTEL_TRACES_EXPORTER="timetracer",
        TIMETRACER_DIR=str(tmp_path),
        **settings,
    )
    assert (done.stdout, done.returncode) == (EXPECTED, 0), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_provider_set_up_by_the_app_itself(upstream: Loopback, tmp_path: Path) -> None:
    code = f"""
        from timetracer_otel.otel import TimetracerInstrumentor
        TimetracerInstrumentor().instrument()
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider())
        import httpx
        with trace.get_tracer("app").start_as_current_span("job", kind=trace.SpanKind.CONSUMER):
            print(httpx.get("{upstream.url}/users/1").json()["id"])
    """
    done = plain(code, TIMETRACER_MODE="record", TIMETRACER_DIR=str(tmp_path))
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr
    (cassette,) = cassettes(tmp_path)
    assert (cassette.request.method, cassette.request.path) == ("CONSUMER", "job")
    assert len(cassette.events) == 1


def test_a_forked_child_records_into_a_cassette_of_its_own(upstream: Loopback, tmp_path: Path) -> None:
    done = instrumented(
        forks(upstream.url),
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(tmp_path),
        PYTHONWARNINGS="ignore::DeprecationWarning",
    )
    assert done.returncode == 0, done.stderr
    seen = sorted(
        sorted((event.signature.url or "").removeprefix(upstream.url) for event in cassette.events)
        for cassette in cassettes(tmp_path)
    )
    assert seen == [["/users/1", "/users/2"], ["/users/3"]]


@pytest.mark.parametrize("mode", ["record", "replay"])
def test_no_line_says_that_a_library_cannot_be_instrumented_which_is(mode: str, tmp_path: Path) -> None:
    """OpenTelemetry's instrumentation declares releases of SQLAlchemy before 2.1, and we switch it on with 2.1."""
    code = """
        import sqlalchemy
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
        with sqlalchemy.create_engine("sqlite://").connect() as connection:
            found = connection.scalar(sqlalchemy.text("SELECT 1"))
        print(found, SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry)
    """
    names = {"TIMETRACER_MODE": mode, "TIMETRACER_DIR": str(tmp_path)}
    if mode == "replay":
        instrumented(code, **{**names, "TIMETRACER_MODE": "record"})
        names["TIMETRACER_CASSETTE"] = str(next(tmp_path.rglob("*.msgpack")))
    done = instrumented(code, **names)
    assert done.stdout == "1 True\n", done.stderr
    assert "nothing can be instrumented" not in done.stderr
