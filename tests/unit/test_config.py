"""Settings: from arguments and from the environment, and what is said about bad ones."""

from __future__ import annotations

from typing import Any

import pytest

from timetracer_otel.base.plugin_names import known_names
from timetracer_otel.config import SETTINGS, TraceConfig, excluded_urls, instrumentation_disabled
from timetracer_otel.constants import CapturePolicy, CompressionType, RecordMode, TraceMode
from timetracer_otel.exceptions import ConfigurationError

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
    "REPLAY_TIMING": ("true", True),
}
BAD = {"SAMPLE_RATE": "1.5", "MAX_BODY_KB": "-1"}
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
