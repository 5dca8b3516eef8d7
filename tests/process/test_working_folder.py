"""Relative paths are those of the folder that a block or a process began in, wherever the app goes meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.loopback import Loopback
from tests.process._programs import cassettes, instrumented
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette

_WALKS = """
    import os
    import httpx
    from opentelemetry import trace

    def job(name):
        with trace.get_tracer("app").start_as_current_span(name, kind=trace.SpanKind.CONSUMER):
            return httpx.get("{url}/users/1").json()["id"]

    print(job("before"), httpx.get("{url}/users/2").json()["id"])
    os.chdir("{elsewhere}")
    print(job("behind"), httpx.get("{url}/users/3").json()["id"])
"""
_SAW = "1 2\n1 3\n"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Where an app begins, and where it goes."""
    folders = tmp_path / "begins", tmp_path / "elsewhere"
    for folder in folders:
        folder.mkdir()
    return folders


def test_a_block_is_written_where_it_began(
    upstream: Loopback, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    begins, elsewhere = folders
    scopes: list[tuple[Any, Path]] = [
        (record("x.msgpack"), begins / "x.msgpack"),
        (record(cassette_dir="named"), begins / "named"),
        (replay("once.msgpack", record_mode="once"), begins / "once.msgpack"),
        (replay("once.msgpack", record_mode="new_episodes"), begins / "once.msgpack"),
    ]
    for scope, written in scopes:
        monkeypatch.chdir(begins)
        with scope:
            monkeypatch.chdir(elsewhere)
            httpx.get(f"{upstream.url}/users/{len(scopes)}")
            httpx.get(f"{upstream.url}/items")
        found = cassettes(written) if written.is_dir() else [read_cassette(written)]
        assert [len(cassette.events) for cassette in found] == [2]
    assert list(elsewhere.iterdir()) == []


def test_a_process_records_where_it_began(upstream: Loopback, folders: tuple[Path, Path]) -> None:
    begins, elsewhere = folders
    done = instrumented(_WALKS.format(url=upstream.url, elsewhere=elsewhere), begins, TIMETRACER_MODE="record")
    assert (done.stdout, done.returncode) == (_SAW, 0), done.stderr
    recorded = {cassette.request.path: len(cassette.events) for cassette in cassettes(begins / "cassettes")}
    assert recorded == {"before": 1, "behind": 1, "": 2}
    assert list(elsewhere.iterdir()) == []

    told = instrumented(
        _WALKS.format(url=upstream.url, elsewhere=elsewhere),
        begins,
        TIMETRACER_MODE="replay",
        TIMETRACER_CASSETTE="cassettes",
        TIMETRACER_REPLAY_REPORT="report.jsonl",
    )
    assert (told.stdout, told.returncode) == (_SAW, 0), told.stderr
    lines = [json.loads(line) for line in (begins / "report.jsonl").read_text().splitlines()]
    assert [line["request"] for line in lines if line["state"] == "ended"] == ["CONSUMER before", "CONSUMER behind"]
    assert list(elsewhere.iterdir()) == []


def test_a_process_writes_its_cassette_where_it_began(upstream: Loopback, folders: tuple[Path, Path]) -> None:
    begins, elsewhere = folders
    settings = {
        "TIMETRACER_MODE": "replay",
        "TIMETRACER_RECORD_MODE": "once",
        "TIMETRACER_CASSETTE": "x.msgpack",
    }
    done = instrumented(_WALKS.format(url=upstream.url, elsewhere=elsewhere), begins, **settings)
    assert (done.stdout, done.returncode) == (_SAW, 0), done.stderr
    assert done.stderr.endswith("Replay of x.msgpack: 0 hit, 0 missed, 0 unused, 0 live, 4 recorded\n")
    assert len(read_cassette(begins / "x.msgpack").events) == 4
    assert list(elsewhere.iterdir()) == []
