"""Nobody has to load a plugin before asking about its name."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timezone
from importlib import metadata
from importlib.metadata import EntryPoint

import pytest

from timetracer_otel.base import faults, plugin_names
from timetracer_otel.config import TraceConfig
from timetracer_otel.session.header import meta, note_distributions


def asked(code: str) -> str:
    # -I: nothing but what is installed, whatever the folder and the environment of the test run
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_group_of_a_plugin_that_is_not_loaded_is_known() -> None:
    code = """
        from timetracer_otel import TraceConfig
        config = TraceConfig(mock_plugins=["http"])
        print([config.should_mock_plugin(name) for name in ("httpx", "requests", "redis", "nobody", "http", "db")])
    """
    assert asked("\n".join(map(str.strip, code.splitlines()))) == "[True, True, False, False, True, False]"


def test_names_are_known_without_loading_a_plugin() -> None:
    code = """
        import sys
        from timetracer_otel.base.plugin_names import known_names
        print(sorted({"sqlalchemy", "http", "nobody"} & known_names()), "timetracer_otel.libraries" in sys.modules)
    """
    assert asked("\n".join(map(str.strip, code.splitlines()))) == "['http', 'sqlalchemy'] False"


def test_a_plugin_that_cannot_be_loaded_is_contained_and_not_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"broken": EntryPoint("broken", "timetracer_test_nowhere:plugin", plugin_names.ENTRY_POINT_GROUP)}
    contained: list[str] = []
    monkeypatch.setattr(plugin_names, "installed", lambda: broken)
    monkeypatch.setattr(plugin_names, "_group_by_name", {})
    monkeypatch.setattr(faults, "contain", lambda where, error: contained.append(where))
    assert [plugin_names.group_of("broken"), plugin_names.group_of("broken")] == ["broken", "broken"]
    assert contained == ["plugin broken"]


def test_a_header_has_the_versions_of_libraries_and_frameworks_and_ignores_other_names() -> None:
    note_distributions("httpx", "flask", "json", "")
    versions = meta(TraceConfig(), "id", datetime.now(timezone.utc), "", None).versions
    assert versions["opentelemetry-api"] == metadata.version("opentelemetry-api")
    assert versions["httpx"] == metadata.version("httpx")
    # By the name that the distribution gives itself.
    assert versions[metadata.distribution("flask").name] == metadata.version("flask")
    assert not {"json", ""} & versions.keys()
    assert list(versions) == sorted(versions)
