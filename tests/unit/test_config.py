"""Settings: from arguments and from the environment, and what is said about bad ones."""

from __future__ import annotations

import os
import re
import types
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from timetracer_otel.base.plugin_names import known_names
from timetracer_otel.config import (
    CONCERNS,
    SETTINGS,
    Settings,
    TraceConfig,
    excluded_urls,
    instrumentation_disabled,
)
from timetracer_otel.constants import CapturePolicy, CompressionType, RecordMode, TraceMode, Uncaptured
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.types import Matcher

TEXTS: dict[str, tuple[str, Any]] = {
    "MODE": ("RECORD", TraceMode.RECORD),
    "SERVICE": ("shop", "shop"),
    "ENV": ("prod", "prod"),
    "DIR": ("/tmp/c", "/tmp/c"),
    "CASSETTE": ("x.msgpack", "x.msgpack"),
    "CAPTURE": ("http, redis", ["http", "redis"]),
    "SAMPLE_RATE": ("0.25", 0.25),
    "ERRORS_ONLY": ("yes", True),
    "EXCLUDE_PATHS": ("/a,/b", ["/a", "/b"]),
    "MAX_BODY_KB": ("12", 12),
    "STORE_REQ_BODY": ("never", CapturePolicy.NEVER),
    "STORE_RES_BODY": ("On_Error", CapturePolicy.ON_ERROR),
    "STRICT_REPLAY": ("off", False),
    "MOCK_PLUGINS": ("http", ["http"]),
    "LIVE_PLUGINS": ("db,redis", ["db", "redis"]),
    "LOG_LEVEL": ("DEBUG", "debug"),
    "COMPRESSION": ("zstd", CompressionType.ZSTD),
    "REDACT": ("off", "off"),
    "REDACT_EXTRA": ("x-tenant", ["x-tenant"]),
    "RECORD_MODE": ("Once", RecordMode.ONCE),
    "MATCH_ON": ("method, headers:X-Tenant", ["method", "headers:X-Tenant"]),
    "IGNORE": ("query:ts,body:$.at", ["query:ts", "body:$.at"]),
    "ALLOW_REPEATS": ("1", True),
    "FAIL_ON_MISS": ("no", False),
    "FAIL_ON_UNUSED": ("on", True),
    "BLOCK_NETWORK": ("true", True),
    "LIVE_HOSTS": ("localhost, *.internal:5432,10.0.0.0/8", ["localhost", "*.internal:5432", "10.0.0.0/8"]),
    "UNCAPTURED": ("Live", Uncaptured.LIVE),
    "REPLAY_TIMING": ("true", True),
}
BAD = {"SAMPLE_RATE": "1.5", "MAX_BODY_KB": "-1", "LIVE_HOSTS": "10.0.0.0/99"}
WITHOUT_BAD_TEXTS = {"SERVICE", "ENV", "DIR", "CASSETTE", "CAPTURE", "EXCLUDE_PATHS", "MOCK_PLUGINS", "LIVE_PLUGINS"}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("prefix", ["TIMETRACER_", "OTEL_PYTHON_TIMETRACER_"])
def test_every_setting_is_read_under_both_names(name: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = TEXTS[name]
    (setting,) = (setting for setting in SETTINGS if setting.name == name)
    monkeypatch.setenv(prefix + name, text)
    assert getattr(TraceConfig.from_env(), setting.field) == value
    assert getattr(TraceConfig().with_env_overrides(), setting.field) == value


@pytest.mark.parametrize("name", sorted(set(TEXTS) - WITHOUT_BAD_TEXTS - {"REDACT_EXTRA"}))
def test_a_bad_value_names_the_variable_the_value_and_what_is_allowed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (setting,) = (setting for setting in SETTINGS if setting.name == name)
    text = BAD.get(name, "nonsense")
    monkeypatch.setenv(f"TIMETRACER_{name}", text)
    with pytest.raises(ConfigurationError) as caught:
        TraceConfig.from_env()
    assert f"TIMETRACER_{name}: " in str(caught.value)
    assert text in str(caught.value)
    assert setting.allowed in str(caught.value)


def test_the_first_name_wins_and_empty_means_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMETRACER_SERVICE", "one")
    monkeypatch.setenv("OTEL_PYTHON_TIMETRACER_SERVICE", "two")
    monkeypatch.setenv("TIMETRACER_ENV", "  ")
    config = TraceConfig.from_env()
    assert (config.service_name, config.env) == ("one", "local")


def test_service_and_environment_fall_back_to_opentelemetrys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=from-resource,deployment.environment=old")
    assert (TraceConfig.from_env().service_name, TraceConfig.from_env().env) == ("from-resource", "old")
    # As the resource specification has it, and OpenTelemetry's own reader.
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=my%20shop,deployment.environment.name=a%2Cb")
    assert (TraceConfig.from_env().service_name, TraceConfig.from_env().env) == ("my shop", "a,b")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from-otel")
    assert TraceConfig.from_env().service_name == "from-otel"
    assert TraceConfig(service_name="mine").with_env_overrides().service_name == "mine"


@pytest.mark.parametrize(
    ("exporters", "mode", "meant"),
    [
        ("otlp,timetracer", None, TraceMode.RECORD),
        ("otlp", None, TraceMode.OFF),
        ("timetracer", "off", TraceMode.OFF),
        ("timetracer", "replay", TraceMode.REPLAY),
    ],
)
def test_naming_the_exporter_means_record_unless_a_mode_is_set(
    exporters: str, mode: str | None, meant: TraceMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", exporters)
    if mode:
        monkeypatch.setenv("TIMETRACER_MODE", mode)
    assert TraceConfig.from_env().mode is meant


@pytest.mark.parametrize(
    ("mock", "live", "mocked"),
    [
        ([], [], {"httpx", "requests", "sqlalchemy", "redis", "http", "db", "unheard-of"}),
        (["http"], [], {"httpx", "requests", "http"}),
        (["httpx"], [], {"httpx"}),
        (["requests", "db"], [], {"requests", "sqlalchemy", "db"}),
        ([], ["http"], {"sqlalchemy", "redis", "db", "unheard-of"}),
        ([], ["httpx"], {"requests", "sqlalchemy", "redis", "http", "db", "unheard-of"}),
        (["http"], ["httpx"], {"requests", "http"}),
        (["httpx"], ["http"], set()),
    ],
)
def test_live_wins_over_mock_and_an_empty_mock_list_means_all(
    mock: list[str], live: list[str], mocked: set[str]
) -> None:
    config = TraceConfig(mode=TraceMode.REPLAY, mock_plugins=mock, live_plugins=live)
    names = ["httpx", "requests", "sqlalchemy", "redis", "http", "db", "unheard-of"]
    assert {name for name in names if config.should_mock_plugin(name)} == mocked


def test_names_that_nobody_knows_are_warned_about() -> None:
    config = TraceConfig(mock_plugins=["htpx", "http"], live_plugins=["zzz"])
    assert config.warnings(known_names()) == [
        "TIMETRACER_MOCK_PLUGINS: nobody knows a plugin or group called 'htpx'; did you mean 'httpx'?",
        "TIMETRACER_LIVE_PLUGINS: nobody knows a plugin or group called 'zzz'",
    ]


def test_paths_and_sampling() -> None:
    config = TraceConfig(exclude_paths=["/health"])
    assert [config.should_trace(path) for path in ("/health", "/health/live?x=1", "/healthy", "/")] == [
        False,
        False,
        True,
        True,
    ]
    below = ["/static", "/static/", "/static/a.js"]
    for excluded, left_out in (("/static/", below), ("/static", below), ("/", ["/"])):
        config = TraceConfig(exclude_paths=[excluded])
        assert [path for path in ("/", *below, "/statics") if not config.should_trace(path)] == left_out
    assert TraceConfig(sample_rate=1.0).should_sample()
    assert not TraceConfig(sample_rate=0.0).should_sample()
    half = TraceConfig(sample_rate=0.5)
    assert 300 < sum(half.should_sample() for _ in range(1000)) < 700


def test_opentelemetrys_own_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_EXCLUDED_URLS", "a/b, c$")
    assert excluded_urls("httpx") == "a/b|c$"
    monkeypatch.setenv("OTEL_PYTHON_HTTPX_EXCLUDED_URLS", "only")
    assert excluded_urls("httpx") == "only"
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "redis, httpx")
    assert instrumentation_disabled("httpx")
    assert not instrumentation_disabled("requests")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "TRUE")
    assert instrumentation_disabled("requests")


def test_arguments_without_names_are_those_of_timetracer_1_6() -> None:
    given = ("record", "svc", "prod", "./c", "x", ["http"], 0.5, True, ["/a"], 64, "always", "never", False)
    config = TraceConfig(*given, ["http"], ["db"], "debug", "gzip")  # type: ignore[arg-type]
    assert config == TraceConfig(
        mode=TraceMode.RECORD,
        service_name="svc",
        env="prod",
        cassette_dir="./c",
        cassette_path="x",
        capture=["http"],
        sample_rate=0.5,
        errors_only=True,
        exclude_paths=["/a"],
        max_body_kb=64,
        store_request_body=CapturePolicy.ALWAYS,
        store_response_body=CapturePolicy.NEVER,
        strict_replay=False,
        mock_plugins=["http"],
        live_plugins=["db"],
        log_level="debug",
        compression=CompressionType.GZIP,
    )


PATHS = {"cassette_dir", "cassette_path", "replay_report"}


def parts_of(hint: Any) -> frozenset[Any]:
    """The members of a union; the type itself where it is none."""
    return frozenset(get_args(hint)) if get_origin(hint) in {Union, types.UnionType} else frozenset({hint})


FORMS = {"budget", "keep", "max_age", "policy", "ship"}
"""Texts of a form of their own, which are no choice among a few."""


def meant_by(field: str, hint: Any, allowed: str) -> frozenset[Any]:
    """What the functions take for a field of `TraceConfig`: the field's type, wider where it is made of other values.

    An enum is also given by its values, a list by any sequence, a path by any path.
    """
    if isinstance(hint, type) and issubclass(hint, Enum):
        assert allowed == ", ".join(member.value for member in hint)
        return frozenset({hint, Literal[tuple(allowed.split(", "))]})
    if NoneType in parts_of(hint) and any(
        isinstance(part, type) and issubclass(part, Enum) for part in parts_of(hint)
    ):
        (enum,) = parts_of(hint) - {NoneType}
        return meant_by(field, enum, allowed) | {NoneType}
    if field == "redact_rules":
        return frozenset({Sequence[str | re.Pattern[str] | Callable[[str], Iterable[str]]]})  # type: ignore[misc]
    if hint == list[Any]:
        return frozenset({Sequence[str | Matcher]})  # type: ignore[misc]
    if hint == list[str]:
        return frozenset({Sequence[str]})
    if field in PATHS:
        return parts_of(hint) | {os.PathLike[str]}
    if hint is str and allowed != "any text" and field not in FORMS:
        return frozenset({Literal[tuple(allowed.split(", "))]})
    return parts_of(hint)


def test_the_typed_settings_are_those_of_the_table_and_of_the_fields() -> None:
    names = {"Sequence": Sequence, "Matcher": Matcher}
    typed = {field: parts_of(hint) for field, hint in get_type_hints(Settings, None, names).items()}
    hints = get_type_hints(TraceConfig, None, names)
    table = {setting.field: meant_by(setting.field, hints[setting.field], setting.allowed) for setting in SETTINGS}
    assert set(hints) == set(table)
    # record(...) and replay(...) are modes themselves.
    assert table.pop("mode") == {TraceMode, Literal["off", "record", "replay"]}
    assert typed == table
    assert not Settings.__required_keys__


def test_every_setting_has_one_concern_in_the_order_of_the_docs() -> None:
    listed = [field for concern in CONCERNS.values() for field in concern]
    assert sorted(listed) == sorted(setting.field for setting in SETTINGS)
    assert [field for field in listed if field != "mode"] == list(Settings.__annotations__)


def test_the_docstring_groups_the_fields_by_concern() -> None:
    text = re.sub(r"\n +", " ", TraceConfig.__doc__ or "")
    stated = {
        title: tuple(re.findall(r"`(\w+)`", names))
        for title, names in re.findall(r"- ([A-Z][a-z ]+): ((?:`\w+`(?:, )?)+)", text)
    }
    assert stated == CONCERNS


def test_what_the_types_allow_becomes_the_type_of_the_field() -> None:
    config = TraceConfig(
        cassette_dir=Path("a"),  # type: ignore[arg-type]
        cassette_path=Path("b"),  # type: ignore[arg-type]
        replay_report=Path("c"),  # type: ignore[arg-type]
        live_plugins=("db",),  # type: ignore[arg-type]
        match_on="method,url",  # type: ignore[arg-type]
    )
    assert (config.cassette_dir, config.cassette_path, config.replay_report) == ("a", "b", "c")
    assert (config.live_plugins, config.match_on) == (["db"], ["method", "url"])


def test_what_the_environment_says_for_a_mode_is_read_anew_where_it_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def found() -> tuple[int, list[str], list[str]]:
        config = TraceConfig.from_env(mode=TraceMode.RECORD)
        assert config == TraceConfig.from_env(mode=TraceMode.RECORD, random_state=False)
        return config.max_events, config.capture, config.exclude_paths

    before = found()
    monkeypatch.setenv("TIMETRACER_MAX_EVENTS", "7")
    monkeypatch.setenv("TIMETRACER_CAPTURE", "httpx")
    assert found() == (7, ["httpx"], before[2])
    monkeypatch.setenv("TIMETRACER_CAPTURE", "redis,httpx")
    assert found() == (7, ["redis", "httpx"], before[2])
    # The caller may change its lists.
    found()[1].append("sqlalchemy")
    found()[2].clear()
    assert found() == (7, ["redis", "httpx"], before[2])
    assert TraceConfig.from_env(mode=TraceMode.REPLAY).mode is TraceMode.REPLAY
    monkeypatch.setenv("TIMETRACER_MAX_EVENTS", "none")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="TIMETRACER_MAX_EVENTS"):
            found()
    monkeypatch.delenv("TIMETRACER_MAX_EVENTS")
    monkeypatch.delenv("TIMETRACER_CAPTURE")
    assert found() == before
    # Tests put a dictionary in its place.
    monkeypatch.setattr(os, "environ", {"TIMETRACER_MAX_EVENTS": "8"})
    assert found()[0] == 8
