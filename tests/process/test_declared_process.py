"""A program whose telemetry a configuration file declares: `OTEL_CONFIG_FILE`, with exporter, sampler, instrumentor.

The file is read by opentelemetry-configuration, for SDK 1.44 and later. The oldest package that reads such files, SDK
1.43, is tried by ``make suite-distributions``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.loopback import Loopback
from tests.process._programs import cassettes, instrumented, plain

_READS_FILES = find_spec("opentelemetry.configuration") is not None

APP = """
    import os
    import httpx
    from opentelemetry import trace

    with trace.get_tracer("app").start_as_current_span(
        "GET /orders", kind=trace.SpanKind.SERVER, attributes={"http.request.method": "GET", "url.path": "/orders"}
    ) as span:
        try:
            print(httpx.get(os.environ["UPSTREAM"] + "/users/1").json())
        except httpx.TransportError as error:
            print(type(error).__name__)
        except Exception as error:
            print(type(error).__name__, str(error).partition(": ")[2])
"""
RECORD = {"dir": "${CASSETTES}", "redact_extra": ["x-tenant"]}


def file(
    folder: Path, exporter: Mapping[str, Any], instrumentor: Mapping[str, Any] | None = None, *, samples: bool = False
) -> str:
    """A configuration file with these options. It is JSON, and so YAML too."""
    named = {"service.name": "shop", "deployment.environment.name": "staging"}
    provider: dict[str, Any] = {"processors": [{"batch": {"exporter": {"timetracer": exporter or None}}}]}
    if samples:
        provider["sampler"] = {"timetracer": None}
    declares: dict[str, Any] = {
        "file_format": "1.0",
        "resource": {"attributes": [{"name": name, "value": value} for name, value in named.items()]},
        "tracer_provider": provider,
    }
    if instrumentor is not None:
        declares["instrumentation/development"] = {"python": {"timetracer": instrumentor}}
    path = folder / "otel.yaml"
    path.write_text(json.dumps(declares, indent=1), "utf-8")
    return str(path)


if not _READS_FILES:

    def test_the_installed_sdk_reads_no_configuration_file() -> None:
        """Then none of the tests below is there: `make test-oldest` has an SDK that reads none."""
        from opentelemetry.sdk import environment_variables

        assert not hasattr(environment_variables, "OTEL_CONFIG_FILE")

else:

    def test_exporter_and_sampler_of_a_file_record_and_a_file_replays(tmp_path: Path) -> None:
        folder = tmp_path / "cassettes"
        with Loopback() as upstream:
            declares = file(tmp_path, RECORD, samples=True)
            # The sampler drops for the backend, and we record all the same.
            given = {"OTEL_CONFIG_FILE": declares, "CASSETTES": str(folder), "OTEL_TRACES_SAMPLER_ARG": "always_off"}
            recorded = instrumented(APP, UPSTREAM=upstream.url, **given)
        (cassette,) = cassettes(folder)
        assert recorded.stdout == "{'id': 1, 'name': 'Ada'}\n", recorded.stderr
        assert (cassette.session.service, cassette.session.env) == ("shop", "staging")
        assert (cassette.request.path, [event.eid for event in cassette.events]) == ("/orders", [1])
        assert "x-tenant" in str(cassette.policies.redaction_rules)
        (path,) = folder.rglob("*.msgpack")
        declares = file(tmp_path, {"mode": "replay", "cassette": str(path)})
        replayed = instrumented(APP, UPSTREAM=upstream.url, OTEL_CONFIG_FILE=declares)
        assert replayed.stdout == recorded.stdout, replayed.stderr
        assert "1 hit, 0 missed, 0 unused, 0 live" in replayed.stderr

    def test_options_of_the_instrumentor_count_though_the_exporter_has_begun(tmp_path: Path) -> None:
        folder = tmp_path / "cassettes"
        with Loopback() as upstream:
            declares = file(tmp_path, {}, {"dir": "${CASSETTES}"})
            done = instrumented(APP, UPSTREAM=upstream.url, OTEL_CONFIG_FILE=declares, CASSETTES=str(folder))
        (cassette,) = cassettes(folder)
        assert (len(cassette.events), done.stdout) == (1, "{'id': 1, 'name': 'Ada'}\n")
        assert "already instrumented" not in done.stderr

    @pytest.mark.parametrize("place", ["exporter", "instrumentation"])
    def test_a_file_that_code_reads_records_and_replays(place: str, tmp_path: Path) -> None:
        folder = tmp_path / "cassettes"
        code = f"""
    import os
    from opentelemetry.configuration import configure_sdk, load_config_file
    configure_sdk(load_config_file(os.environ["OTEL_CONFIG_FILE"]))
{APP}
"""
        with Loopback() as upstream:
            # The instrumentor is named so that the seams are put in: nothing else does that in such a program.
            recording = {"mode": "record", "dir": "${CASSETTES}"}
            declares = file(tmp_path, recording if place == "exporter" else {}, recording)
            plain(code, UPSTREAM=upstream.url, OTEL_CONFIG_FILE=declares, CASSETTES=str(folder))
        (cassette,) = cassettes(folder)
        assert len(cassette.events) == 1
        (path,) = folder.rglob("*.msgpack")
        options = {"mode": "replay", "cassette": str(path)}
        # Without the instrumentor as well: where a replay is declared, no call goes out.
        declares = file(tmp_path, options) if place == "exporter" else file(tmp_path, {}, options)
        replayed = plain(code, UPSTREAM=upstream.url, OTEL_CONFIG_FILE=declares)
        assert replayed.stdout == "{'id': 1, 'name': 'Ada'}\n", replayed.stderr

    def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
        with Loopback() as upstream:
            declares = file(tmp_path, RECORD)
            elsewhere = {"TIMETRACER_DIR": str(tmp_path / "elsewhere"), "CASSETTES": str(tmp_path / "cassettes")}
            instrumented(APP, UPSTREAM=upstream.url, OTEL_CONFIG_FILE=declares, **elsewhere)
        assert len(cassettes(tmp_path / "elsewhere")) == 1
        assert not (tmp_path / "cassettes").exists()

    def test_an_option_that_does_not_exist_is_named_and_nothing_is_recorded_or_let_out(tmp_path: Path) -> None:
        said = "the options of the exporter timetracer: there is no option 'dri'. Did you mean 'dir'?"
        with Loopback() as upstream:
            declares = file(tmp_path, {"dri": str(tmp_path / "cassettes")})
            recorded = instrumented(APP, tmp_path, UPSTREAM=upstream.url, OTEL_CONFIG_FILE=declares)
            assert recorded.stdout == "{'id': 1, 'name': 'Ada'}\n"
            declares = file(tmp_path, {"dri": "x", "mode": "replay"})
            replayed = instrumented(APP, UPSTREAM=upstream.url, OTEL_CONFIG_FILE=declares)
            assert upstream.hits == {"/users/1": 1}
        assert recorded.stderr.count(said) == 1
        assert not list(tmp_path.rglob("*.msgpack"))
        assert replayed.stdout.startswith(f"ReplayMismatchError {said}"), replayed.stdout
