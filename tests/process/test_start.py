"""What the start of a program costs where this package is merely installed: what is imported, and when."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import forks
from tests.loopback import Loopback
from tests.process._programs import instrumented, plain
from timetracer_otel.cassette import read_cassette
from timetracer_otel.config import OTEL_ENV_PREFIX, SETTINGS
from timetracer_otel.otel import flags

TELLS = """
    import json, sys
    print(json.dumps([name for name in sys.modules if name.split(".")[0] in {"timetracer_otel", "msgpack"}]))
"""


@pytest.fixture(autouse=True)
def _a_python_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is imported is what these tests are about."""
    monkeypatch.setenv(forks.RUN, "0")


def test_each_setting_is_a_flag_and_nothing_else_is() -> None:
    # As opentelemetry-instrument finds them.
    found = [name for name in dir(flags) if name.startswith("OTEL_")]
    assert found == sorted(OTEL_ENV_PREFIX + setting.name for setting in SETTINGS)
    assert {name: getattr(flags, name) for name in found} == {name: name for name in found}
    assert flags.__all__ == found


def test_the_module_of_the_flags_imports_nothing() -> None:
    done = plain("""
        import sys
        before = set(sys.modules)
        import timetracer_otel
        package = set(sys.modules) - before
        import timetracer_otel.otel.flags
        print(sorted(set(sys.modules) - before - package))
        print([name for name in package if name.split(".")[0] in {"timetracer_otel", "opentelemetry", "msgpack"}])
    """)
    assert done.stdout.splitlines() == [
        "['timetracer_otel.otel', 'timetracer_otel.otel.flags']",
        "['timetracer_otel']",
    ], done.stderr


def test_a_program_that_asks_for_nothing_loads_none_of_what_records() -> None:
    done = instrumented(TELLS)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {
        "timetracer_otel",
        "timetracer_otel.base",
        "timetracer_otel.base.chance",
        "timetracer_otel.base.declared",
        "timetracer_otel.base.faults",
        "timetracer_otel.base.hosts",
        "timetracer_otel.base.ignore_rules",
        "timetracer_otel.base.plugin_names",
        "timetracer_otel.base.printable",
        "timetracer_otel.base.recording_policy",
        "timetracer_otel.base.redaction_rules",
        "timetracer_otel.base.settings",
        "timetracer_otel.base.urls",
        "timetracer_otel.config",
        "timetracer_otel.constants",
        "timetracer_otel.exceptions",
        "timetracer_otel.otel",
        "timetracer_otel.otel.instrumentor",
    }


def test_importing_record_loads_little_beyond_the_api_and_the_standard_library() -> None:
    # A test module that imports `record` for one test makes every other test run pay for it. `importlib.metadata`
    # alone costs half of what all of OpenTelemetry's API does.
    done = plain("""
        import json, sys
        import opentelemetry.context, opentelemetry.trace, msgpack
        before = set(sys.modules)
        from timetracer_otel import record, replay
        print(json.dumps(sorted(set(sys.modules) - before)))
    """)
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    heavy = (
        *("opentelemetry", "wrapt", "asyncio", "importlib.metadata", "importlib_metadata"),
        *("httpx", "httpcore", "requests", "urllib3", "aiohttp", "sqlalchemy", "redis", "sqlite3", "email", "socket"),
    )
    assert [name for name in loaded if f"{name}.".startswith(tuple(f"{root}." for root in heavy))] == []
    assert {name.split(".")[1] for name in loaded if name.startswith("timetracer_otel.")} == {
        *("base", "blocks", "config", "constants", "current", "exceptions", "threads"),
    }


def test_importing_record_loads_nothing_at_all_of_the_sdk_or_of_a_client() -> None:
    done = plain("""
        import json, sys
        from timetracer_otel import record, replay
        print(json.dumps(sorted(sys.modules)))
    """)
    assert done.returncode == 0, done.stderr
    forbidden = ("opentelemetry.sdk", "opentelemetry.instrumentation", "opentelemetry.util.http", "wrapt", "asyncio")
    loaded = [name for name in json.loads(done.stdout) if name.startswith(forbidden)]
    assert loaded == []


def test_a_program_that_asks_for_nothing_may_still_record_and_replay_in_code(tmp_path: Path) -> None:
    code = """
        import os, httpx, timetracer_otel
        get = httpx.get  # taken before any seam is installed
        for session in (timetracer_otel.record(os.environ["FILE"]), timetracer_otel.replay(os.environ["FILE"])):
            with session:
                print(get(os.environ["URL"]).json()["id"])
    """
    file = tmp_path / "x.msgpack"
    with Loopback() as upstream:
        done = instrumented(code, URL=f"{upstream.url}/users/1", FILE=str(file))
    assert (done.stdout, done.returncode) == ("1\n1\n", 0), done.stderr
    assert upstream.hits == {"/users/1": 1}
    assert len(read_cassette(file).events) == 1


def test_an_exporter_made_in_code_before_the_instrumentor_gets_its_seams(tmp_path: Path) -> None:
    code = """
        import os
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry import trace
        from timetracer_otel.otel import TimetracerInstrumentor, TimetracerSpanExporter
        os.environ["TIMETRACER_DIR"] = os.environ.pop("FOLDER")
        exporter = TimetracerSpanExporter()
        del os.environ["TIMETRACER_DIR"]
        trace.set_tracer_provider(TracerProvider())
        TimetracerInstrumentor().instrument()
        import httpx
        httpx.get(os.environ["URL"])
        TimetracerInstrumentor().uninstrument()
    """
    with Loopback() as upstream:
        done = plain(code, URL=f"{upstream.url}/users/1", FOLDER=str(tmp_path))
    assert (done.stderr, done.returncode) == ("", 0)
    (file,) = tmp_path.rglob("*.msgpack")
    assert len(read_cassette(file).events) == 1


def test_a_block_loads_no_part_for_a_framework_or_a_task_queue(tmp_path: Path) -> None:
    done = plain(f"""
        import sys, timetracer_otel
        with timetracer_otel.record({str(tmp_path / "x.msgpack")!r}):
            pass
        names = ("frameworks", "asgi", "wsgi", "django", "celery", "rq", "verified_jobs")
        print([name for name in names if f"timetracer_otel.incoming.{{name}}" in sys.modules])
    """)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("mode", ["record", "replay"])
def test_a_program_with_every_instrumentation_that_is_installed_starts_without_a_fault(
    mode: str, tmp_path: Path
) -> None:
    everything = {
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "",
        "TIMETRACER_MODE": mode,
        "TIMETRACER_DIR": str(tmp_path),
        "TIMETRACER_CASSETTE": str(tmp_path / "recorded.msgpack"),
        "TIMETRACER_RECORD_MODE": "once",
    }
    done = instrumented("import grpc, grpc.aio", tmp_path, **everything)
    assert done.returncode == 0
    said = [line for line in done.stderr.splitlines() if line.startswith("timetracer-otel:")]
    # A replay gives its account.
    assert [line for line in said if not line.startswith("timetracer-otel: Replay of ")] == []
