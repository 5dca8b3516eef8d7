"""Programs that set OpenTelemetry up by a vendor's package: the same bare, recorded, and replayed with no server.

``make suite-distributions`` installs each package into a folder of its own, with the OpenTelemetry that it asks for:
they do not go together, and some load a plugin of pytest wherever they are installed. What they send goes to nobody,
or to a server of ours. `docs/distributions.md` shows the same set-ups.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.children import environment
from tests.lines._servers import collecting
from tests.loopback import Loopback
from tests.process._programs import cassettes
from tests.process._three_runs import three_runs
from tests.process.test_declared_process import APP, RECORD, file

FOLDERS = Path(os.environ["DISTRIBUTIONS"])

LOGFIRE = """
    import httpx, os
    import logfire
    from timetracer_otel import TimetracerInstrumentor

    logfire.configure(service_name="shop", environment="staging", send_to_logfire=False, console=False)
    logfire.instrument_httpx()
    TimetracerInstrumentor().instrument()

    with logfire.span("order"):
        print(httpx.get(os.environ["UPSTREAM"] + "/users/1").json())
    with logfire.span("order"):
        print(httpx.get(os.environ["UPSTREAM"] + "/users/2").json())
"""
SENTRY = """
    import httpx, os
    import sentry_sdk
    from opentelemetry import trace
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from sentry_sdk.integrations.opentelemetry import SentrySpanProcessor
    from timetracer_otel import TimetracerInstrumentor

    dsn = os.environ["COLLECTOR"].replace("//", "//key@") + "/1"
    sentry_sdk.init(dsn=dsn, traces_sample_rate=1.0, instrumenter="otel")
    named = {"service.name": "shop", "deployment.environment.name": "staging"}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(SentrySpanProcessor())
    trace.set_tracer_provider(provider)
    HTTPXClientInstrumentor().instrument()
    TimetracerInstrumentor().instrument()

    for number in (1, 2):
        with trace.get_tracer("shop").start_as_current_span(f"GET /{number}", kind=trace.SpanKind.SERVER):
            print(httpx.get(os.environ["UPSTREAM"] + f"/users/{number}").json())
    sentry_sdk.flush()
"""
DATADOG = """
    import ddtrace.auto
    import httpx, os
    from opentelemetry import trace
    from timetracer_otel import TimetracerInstrumentor

    TimetracerInstrumentor().instrument()

    for number in (1, 2):
        with trace.get_tracer("shop").start_as_current_span(f"GET /{number}", kind=trace.SpanKind.SERVER):
            print(httpx.get(os.environ["UPSTREAM"] + f"/users/{number}").json())
"""


OTLP = """
    import httpx, os
    from opentelemetry import trace

    for number in (1, 2):
        with trace.get_tracer("shop").start_as_current_span(f"GET /{number}", kind=trace.SpanKind.SERVER):
            print(httpx.get(os.environ["UPSTREAM"] + f"/users/{number}").json())
"""

_seeds = itertools.count(1)


class Distribution:
    """A package in its folder, and runs of programs with it. Without a name: what is installed beside us."""

    def __init__(self, name: str = "") -> None:
        self.folders = [FOLDERS / name] if name else []
        for folder in self.folders:
            assert folder.is_dir(), f"{folder} is not there: make suite-distributions installs it"

    def run(self, code: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run code as ``python -c CODE`` does."""
        return self._run([sys.executable], code, changes)

    def instrumented(self, code: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run code as ``opentelemetry-instrument python -c CODE`` does, with the command of the folder."""
        command = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
        return self._run([sys.executable, "-c", command, sys.executable], code, changes)

    def _run(self, command: list[str], code: str, changes: dict[str, str]) -> subprocess.CompletedProcess[str]:
        given = {"PYTHONPATH": os.pathsep.join(map(str, self.folders)), "PYTHONHASHSEED": str(next(_seeds))}
        return subprocess.run(
            [*command, "-c", textwrap.dedent(code)],
            env=environment({"httpx"}, **{**given, "OTEL_TRACES_EXPORTER": "none", **changes}),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


def test_logfire(tmp_path: Path) -> None:
    seen = three_runs(Distribution("logfire").run, LOGFIRE, tmp_path, hits=2)
    assert (seen.cassette.session.service, seen.cassette.session.env) == ("shop", "staging")
    assert [event.span.name for event in seen.cassette.events if event.span] == ["GET", "GET"]


def test_sentry(tmp_path: Path) -> None:
    with collecting() as (url, received):
        seen = three_runs(Distribution("sentry").run, SENTRY, tmp_path, hits=2, env={"COLLECTOR": url})
        assert received() == {"POST /api/1/envelope/": 6}
    assert [(one.session.service, one.session.env, len(one.events)) for one in seen.cassettes] == [
        ("shop", "staging", 1),
        ("shop", "staging", 1),
    ]


def test_datadog(tmp_path: Path) -> None:
    """Its provider takes no span processor and has no resource: calls are recorded without what spans say."""
    with collecting() as (url, received):
        ours = {"TIMETRACER_SERVICE": "shop", "TIMETRACER_ENV": "staging"}
        theirs = {
            "DD_TRACE_OTEL_ENABLED": "true",
            "DD_TRACE_AGENT_URL": url,
            "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
            "DD_REMOTE_CONFIGURATION_ENABLED": "false",
        }
        seen = three_runs(Distribution("datadog").run, DATADOG, tmp_path, hits=2, env={**ours, **theirs})
        assert received()["GET /info"] > 0
    assert (seen.cassette.session.service, seen.cassette.session.env) == ("shop", "staging")
    assert len(seen.cassette.events) == 2


@pytest.mark.parametrize(
    "headers", ["x-honeycomb-team=key", "Authorization=Basic a2V5"], ids=["honeycomb", "grafana"]
)
def test_opentelemetrys_own_distribution_that_sends_to_a_vendor(headers: str, tmp_path: Path) -> None:
    """What Honeycomb and Grafana have their users set up: no package of theirs."""
    with collecting() as (url, received):
        theirs = {
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_HEADERS": headers,
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=staging",
        }
        seen = three_runs(Distribution().instrumented, OTLP, tmp_path, hits=2, env=theirs)
        assert received() == {"GET /1": 3, "GET /2": 3, "GET": 6}
    assert [(one.session.service, one.session.env, len(one.events)) for one in seen.cassettes] == [
        ("shop", "staging", 1),
        ("shop", "staging", 1),
    ]


@pytest.mark.parametrize("name", ["configuration-oldest", "configuration-newest"])
def test_a_configuration_file(name: str, tmp_path: Path) -> None:
    """The oldest SDK that reads one, 1.43, has the reader in itself; the newest has it in a package of its own."""
    distribution, folder = Distribution(name), tmp_path / "cassettes"
    with Loopback() as upstream:
        given = {"CASSETTES": str(folder), "OTEL_TRACES_SAMPLER_ARG": "always_off", "UPSTREAM": upstream.url}
        declares = file(tmp_path, RECORD, samples=True)
        recorded = distribution.instrumented(APP, OTEL_CONFIG_FILE=declares, **given)
        assert upstream.hits == {"/users/1": 1}
    (cassette,) = cassettes(folder)
    assert recorded.stdout == "{'id': 1, 'name': 'Ada'}\n", recorded.stderr
    assert (cassette.session.service, cassette.session.env) == ("shop", "staging")
    assert (cassette.request.path, len(cassette.events)) == ("/orders", 1)
    (path,) = folder.rglob("*.msgpack")
    declares = file(tmp_path, {"mode": "replay", "cassette": str(path)})
    replayed = distribution.instrumented(APP, OTEL_CONFIG_FILE=declares, **given)
    assert replayed.stdout == recorded.stdout, replayed.stderr
    assert "1 hit, 0 missed, 0 unused, 0 live" in replayed.stderr
    declares = file(tmp_path, {"mode": "replay", "casette": str(path)})
    refused = distribution.instrumented(APP, OTEL_CONFIG_FILE=declares, **given)
    assert refused.stdout.startswith("ReplayMismatchError the options of the exporter timetracer: "), refused.stderr
    assert "Did you mean 'cassette'?" in refused.stdout
