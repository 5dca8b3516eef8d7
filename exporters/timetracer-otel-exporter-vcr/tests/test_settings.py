"""What a ``vcr_config`` means here, and how the formats are registered."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from timetracer_otel.exceptions import CassetteError, ConfigurationError
from timetracer_otel.types import CallView
from timetracer_otel_exporter_vcr import export_json, export_yaml, import_format
from timetracer_otel_exporter_vcr._settings import settings_of


def test_the_formats_are_registered_under_their_names() -> None:
    exporters = {each.name: each for each in entry_points(group="timetracer_otel_exporter")}
    assert exporters["vcr"].load() is export_yaml
    assert exporters["vcr-json"].load() is export_json
    (importer,) = entry_points(group="timetracer_otel_importer", name="vcr")
    assert importer.load() is import_format


@pytest.mark.parametrize("data", [b"[]", b"", b"interactions: 1", b"a: interactions", b"{" * 100_000, b"\xff\x00"])
def test_a_file_that_is_none_is_recognised_and_refused(data: bytes) -> None:
    assert not import_format.recognises(data)
    with pytest.raises(CassetteError, match=r"no VCR\.py cassette"):
        import_format.read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"interactions: " + b"[" * 501 + b"]" * 501,
        b"interactions: " + b"[" * 100_000,
        b"interactions:\n" + b"- " * 100_000,
    ],
)
def test_a_file_that_nests_deeply_is_refused_before_nodes_are_built(data: bytes) -> None:
    assert not import_format.recognises(data)
    # From 6.0.4 on, PyYAML has a limit as well, and reads ahead: of brackets that nobody closes it may come first.
    with pytest.raises(CassetteError, match=r"nested too deeply|exceeded"):
        import_format.read(data)


def test_settings_mean_the_same() -> None:
    assert settings_of({}) == {"match_on": ["method", "query", "url"]}
    assert settings_of(
        {
            "match_on": ["uri", "raw_body"],
            "filter_headers": ["authorization", ("cookie", None)],
            "filter_query_parameters": ["key"],
            "filter_post_data_parameters": [("pin", "x")],
            "ignore_hosts": ["h"],
            "ignore_localhost": True,
            "allow_playback_repeats": True,
            "record_mode": "rewrite",
            "decode_compressed_response": True,
        }
    ) == {
        "match_on": ["body", "url", "query"],
        "ignore": ["query:key", "body:$.pin"],
        "redact_extra": ["authorization", "cookie", "key", "pin"],
        "live_hosts": ["h", "localhost", "127.0.0.1", "0.0.0.0"],
        "allow_repeats": True,
        "record_mode": "all",
    }


@pytest.mark.parametrize(
    ("now", "answers"), [("http://h:80/a", True), ("http://other/a", True), ("http://h/b", False)]
)
def test_parts_of_an_address_count_alone(now: str, answers: bool) -> None:
    (matcher,) = [part for part in settings_of({"match_on": ["path", "port"]})["match_on"] if callable(part)]
    recorded, made = (CallView("http", "GET", url, {}, {}, None) for url in ("http://h/a", now))
    assert matcher(recorded, made) is answers


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"before_record_request": print}, "before_record_request cannot be read"),
        ({"match_on": ["mine"]}, "match_on has mine, which VCR.py does not bring"),
        ({"record_mode": "sometimes"}, "record_mode: 'sometimes' is not allowed"),
    ],
)
def test_what_cannot_be_read_is_an_error(config: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        settings_of(config)
