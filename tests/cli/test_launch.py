"""Running a program: what its environment gets, and the ways that this system does not take by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from timetracer_otel.cli import environment_checks, launch
from timetracer_otel.cli.bad_input import CommandError


@pytest.mark.parametrize(
    ("installed", "given", "expected"),
    [
        (set(), {}, {"TRACES": "none", "METRICS": "none", "LOGS": "none"}),
        ({"otlp_proto_grpc"}, {}, {}),
        ({"otlp_proto_http"}, {}, {"TRACES": "none", "METRICS": "none", "LOGS": "none"}),
        ({"otlp_proto_http"}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, {}),
        (
            {"otlp_proto_grpc"},
            {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
            {"TRACES": "none"},
        ),
        (set(), {"OTEL_TRACES_EXPORTER": "otlp"}, {"METRICS": "none", "LOGS": "none"}),
        (set(), {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, {}),
    ],
)
def test_an_exporter_that_is_not_installed_is_not_chosen_for_the_user(
    monkeypatch: pytest.MonkeyPatch, installed: set[str], given: dict[str, str], expected: dict[str, str]
) -> None:
    monkeypatch.setattr(environment_checks, "entry_points", lambda group, name: [name] if name in installed else [])
    environment = dict(given)
    environment_checks.default_exporters(environment)
    assert environment == {**given, **{f"OTEL_{signal}_EXPORTER": value for signal, value in expected.items()}}


MISSING = {"OTEL_TRACES_EXPORTER": "otlp, console, missing"}


@pytest.mark.parametrize(
    ("configurators", "given", "wrong"),
    [
        (["opentelemetry.distro:OpenTelemetryConfigurator"], MISSING, "'missing'"),
        (["opentelemetry.distro:OpenTelemetryConfigurator"], {"OTEL_TRACES_EXPORTER": "otlp,console"}, None),
        (["opentelemetry.distro:OpenTelemetryConfigurator"], {"OTEL_LOGS_EXPORTER": " None "}, None),
        (
            ["opentelemetry.distro:OpenTelemetryConfigurator"],
            {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/json"},
            "'otlp by http/json'",
        ),
        (["opentelemetry.distro:OpenTelemetryConfigurator"], {**MISSING, "OTEL_CONFIG_FILE": "otel.yaml"}, None),
        (["vendor:Configurator"], MISSING, None),
        ([], MISSING, None),
    ],
)
def test_what_opentelemetry_would_not_find_is_refused_only_where_it_would_look(
    monkeypatch: pytest.MonkeyPatch, configurators: list[str], given: dict[str, str], wrong: str | None
) -> None:
    installed = ["otlp_proto_grpc", "console"]
    entries = [EntryPoint(name="", value=value, group="") for value in configurators]
    found: dict[str | None, list[Any]] = {None: entries, **{name: [name] for name in installed}}
    monkeypatch.setattr(environment_checks, "entry_points", lambda group, name=None: found.get(name, []))
    if wrong is None:
        environment_checks.check_environment(given, replaying=True)
    else:
        with pytest.raises(CommandError, match=f"there is no {wrong} installed"):
            environment_checks.check_environment(given, replaying=True)


def test_without_the_script_the_module_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = sys.executable
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    beside, *rest = launch._instrument()
    assert (beside, rest[0]) == (str(tmp_path / "python"), "-c")
    code = "import sys; sys.exit(7 if any('auto_instrumentation' in path for path in sys.path) else 1)"
    assert subprocess.run([python, *rest, python, "-c", code]).returncode == 7


def test_as_a_child_the_program_has_its_environment_and_exit_code() -> None:
    code = "import os, sys; sys.exit(int(os.environ['CODE']))"
    assert launch._run_child([sys.executable, "-c", code], {**os.environ, "CODE": "9"}) == 9


def test_the_interpreters_folder_comes_first_only_where_it_is_missing() -> None:
    beside = str(Path(sys.executable).parent)
    there = {"PATH": os.pathsep.join(["/bin", beside])}
    launch._put_on_path(there)
    assert there["PATH"] == os.pathsep.join(["/bin", beside])
    missing = {"PATH": "/bin"}
    launch._put_on_path(missing)
    assert missing["PATH"] == os.pathsep.join([beside, "/bin"])
