"""Options in a configuration file or in code: the settings of the one table, with values as YAML has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from timetracer_otel.base import declared
from timetracer_otel.base.declared import declare, declared_mode, withdraw
from timetracer_otel.config import SETTINGS, Setting, TraceConfig, replay_is_wanted
from timetracer_otel.constants import TraceMode
from timetracer_otel.exceptions import ConfigurationError

VALUES: dict[str, Any] = {
    "mode": "record",
    "cassette": "x.msgpack",
    "log_level": "DEBUG",
    "compression": "gzip",
    "keep": "7d,1000",
    "redact": "strict",
    "record_mode": "once",
    "max_age": "30d:fail",
    "uncaptured": "live",
    "clock": "recorded",
    "store_req_body": "never",
    "store_res_body": "on_error",
    "match_on": "method",
    "ignore": "query:ts",
    "ignore_sql_params": "created_at",
    "redact_rules": "body:$.ssn",
    "variables": "uuid",
    "sample_rate": "0.5",
    "ship": "s3://bucket/recordings",
    "ship_s": "7",
    "policy": "errors,share:1%",
    "budget": "60/min",
}
"""For settings that take no text, number or flag of any kind."""


@pytest.fixture(autouse=True)
def _nothing_stays_declared() -> Iterator[None]:
    yield
    for place in list(declared._by_place):
        withdraw(place)


def text_of(setting: Setting) -> str:
    if setting.option in VALUES:
        return str(VALUES[setting.option])
    if setting.allowed == "true, false":
        return str(getattr(TraceConfig(), setting.field) is False).lower()
    return "7" if "or more" in setting.allowed else "some"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.option)
def test_each_setting_is_an_option_and_means_what_its_variable_does(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = text_of(setting)
    before = getattr(TraceConfig.from_env(), setting.field)
    declare({setting.option: text}, "the file")
    by_option = getattr(TraceConfig.from_env(), setting.field)
    withdraw("the file")
    monkeypatch.setenv(setting.env, text)
    assert by_option == getattr(TraceConfig.from_env(), setting.field) != before


@pytest.mark.parametrize(
    ("option", "value", "field", "meant"),
    [
        ("sample_rate", 1, "sample_rate", 1.0),
        ("max_body_kb", 12, "max_body_kb", 12),
        ("errors_only", True, "errors_only", True),
        ("exclude_paths", ["/a,b", "/c"], "exclude_paths", ["/a,b", "/c"]),
        ("redact_rules", ["body:$.ssn", "pattern:A;B"], "redact_rules", ["body:$.ssn", "pattern:A;B"]),
        # YAML reads `off` and `on` as false and true.
        ("mode", False, "mode", TraceMode.OFF),
        ("redact", False, "redact", "off"),
        ("variables", True, "variables", ["on"]),
        ("mode", TraceMode.RECORD, "mode", TraceMode.RECORD),
        ("dir", Path("a/b"), "cassette_dir", "a/b"),
        ("service", None, "service_name", "timetracer-service"),
        ("service", "", "service_name", "timetracer-service"),
    ],
)
def test_values_are_taken_as_a_file_or_code_has_them(option: str, value: Any, field: str, meant: Any) -> None:
    declare({option: value}, "the file")
    assert getattr(TraceConfig.from_env(), field) == meant


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dri": "x"}, "the file: there is no option 'dri'. Did you mean 'dir'?"),
        ({"cassette_dir": "x"}, "the file: there is no option 'cassette_dir'. Did you mean 'dir'?"),
        ({"TIMETRACER_KEEP": "7d"}, "the file: there is no option 'TIMETRACER_KEEP'. Did you mean 'keep'?"),
        ({"zzzzzz": 1}, "the file: there is no option 'zzzzzz'. The options are allow_repeats, block_network, "),
        ({"sample_rate": 2}, "the file: sample_rate: 2.0 is not allowed. Allowed: 0.0 to 1.0."),
        ({"mode": "recrod"}, "the file: mode: 'recrod' is not allowed. Allowed: off, record, replay."),
        ({"dir": {"a": 1}}, "the file: dir: {'a': 1} is not allowed. Allowed: a folder, or a URL of object storage."),
        ({"dir": ["a"]}, "the file: dir: ['a'] is not allowed. Allowed: a folder, or a URL of object storage."),
        ({"max_body_kb": True}, "the file: max_body_kb: True is not allowed. Allowed: 0 or more."),
    ],
)
def test_a_wrong_option_is_an_error_also_for_whoever_reads_the_settings(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        declare(options, "the file")
    assert str(raised.value).startswith(said)
    with pytest.raises(ConfigurationError) as read:
        TraceConfig.from_env()
    assert read.value is raised.value


def test_a_replay_that_is_declared_is_wanted_even_if_another_option_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError):
        declare({"dri": "x", "mode": "replay"}, "the file")
    assert replay_is_wanted()
    monkeypatch.setenv("TIMETRACER_MODE", "record")
    assert not replay_is_wanted()


def test_one_setting_with_two_values_in_two_places_is_an_error() -> None:
    declare({"mode": "record", "dir": "a"}, "the exporter")
    declare({"dir": "a", "keep": "7d"}, "the instrumentor")
    assert (TraceConfig.from_env().keep, declared_mode()) == ("7d", TraceMode.RECORD)
    with pytest.raises(ConfigurationError, match="the instrumentor: dir has another value in the exporter"):
        declare({"dir": "b"}, "the instrumentor")


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    declare({"mode": "record", "dir": "a"}, "the file")
    monkeypatch.setenv("TIMETRACER_DIR", "b")
    config = TraceConfig.from_env()
    assert (config.mode, config.cassette_dir) == (TraceMode.RECORD, "b")
