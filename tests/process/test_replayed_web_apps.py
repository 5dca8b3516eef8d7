"""Apps of each web framework under the replay of a folder: their clients see the same, with the upstream gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback import Loopback
from tests.process._programs import web_probe
from tests.process._web_probe import REQUESTS

RUNS = [
    ("starlette", "outside"),
    ("fastapi", "framework"),
    ("flask", "framework"),
    ("django-wsgi", "none"),
    ("django-asgi", "unsampled"),
]


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.mark.parametrize(("app", "tracing"), RUNS)
def test_every_request_is_answered_from_its_own_cassette(
    upstream: Loopback, tmp_path: Path, app: str, tracing: str
) -> None:
    folder, report = tmp_path / "cassettes", tmp_path / "report.jsonl"
    settings = {"TIMETRACER_DIR": str(folder), "TIMETRACER_EXCLUDE_PATHS": "/none"}
    recorded, _ = web_probe(app, tracing, upstream.url, TIMETRACER_MODE="record", **settings)
    upstream.stop()
    replayed, log = web_probe(
        app,
        tracing,
        upstream.url,
        TIMETRACER_MODE="replay",
        TIMETRACER_CASSETTE=str(folder),
        TIMETRACER_REPLAY_REPORT=str(report),
    )
    names = [sorted((name, session) for name, session, _ in each.pop("named")) for each in (recorded, replayed)]
    assert names[0] == names[1]  # in traces of their own
    assert replayed == recorded
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    lines = [line for line in lines if line["state"] == "ended"]
    assert len(lines) == len(REQUESTS)
    assert sorted({line["cassette"] for line in lines}) == sorted(map(str, folder.rglob("*.msgpack")))
    assert [line for line in lines if line["misses"] or line["unused"] or line["live"]] == [], log
