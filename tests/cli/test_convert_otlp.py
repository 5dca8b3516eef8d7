"""``timetracer-otel convert`` with OTLP: log records hold a recording, and it replays with the servers stopped."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.loopback import Loopback
from tests.sample_cassettes import checkout
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette, save_cassette
from timetracer_otel.cli import main
from timetracer_otel.constants import EventType
from timetracer_otel.types import Cassette

LOGS = ["checkout.otlp-logs.jsonl", "checkout.otlp-logs.pb"]
SPANS = ["checkout.otlp.json", "checkout.otlp.pb"]


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def program(url: str, database: str) -> list[Any]:
    """Calls whose answers have bytes, headers, an error, rows and values of several types."""
    told: list[Any] = []
    with httpx.Client() as client:
        for path in ("/json", "/bytes/64", "/gzip"):
            answer = client.get(url + path, headers={"Authorization": "Bearer of-nobody-else"})
            told.append((answer.status_code, answer.headers.multi_items(), answer.content))
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE t (a INTEGER, b TEXT, c BLOB, d REAL)")
    connection.execute("INSERT INTO t VALUES (?, ?, ?, ?)", (2**62, "caf\xe9", b"\xff\0", 0.1))
    told.append(connection.execute("SELECT a, b, c, d FROM t").fetchall())
    try:
        connection.execute("SELECT nothing FROM t")
    except sqlite3.Error as error:
        told.append((type(error).__name__, error.args))
    connection.close()
    return told


@pytest.mark.parametrize("between", LOGS)
def test_a_recording_that_went_through_log_records_replays_with_the_servers_stopped(between: str) -> None:
    with Loopback() as server:
        url = server.url
        with record("a.msgpack"):
            recorded = program(url, "real.sqlite")
    assert main(["convert", "a.msgpack", between]) == 0
    assert main(["convert", between, "b.msgpack"]) == 0
    Path("real.sqlite").unlink()
    with replay("b.msgpack"):
        assert program(url, "real.sqlite") == recorded
    assert not Path("real.sqlite").exists()
    assert b"of-nobody-else" not in Path(between).read_bytes()


def content(made: Cassette) -> dict[str, Any]:
    """A cassette without its place, and without the rules, which are those of the day on which it was imported."""
    return {field.name: getattr(made, field.name) for field in fields(made) if field.name not in {"path", "policies"}}


@pytest.mark.parametrize("between", LOGS)
def test_log_records_give_the_cassette_back(between: str) -> None:
    save_cassette(checkout(), "a.msgpack")
    assert main(["convert", "a.msgpack", between]) == 0
    assert main(["convert", between, "b.msgpack"]) == 0
    assert content(read_cassette("b.msgpack")) == content(read_cassette("a.msgpack"))


@pytest.mark.parametrize("between", SPANS)
def test_what_spans_do_not_hold_is_said_on_both_ways(between: str, capsys: pytest.CaptureFixture[str]) -> None:
    save_cassette(checkout(), "a.msgpack")
    assert main(["convert", "a.msgpack", between]) == 1
    assert main(["convert", between, "b.msgpack"]) == 1
    told = capsys.readouterr()
    assert told.err == (
        f"timetracer-otel: {between}: left out: the headers, bodies, rows and replies of 4 calls: spans have none. "
        "--to otlp-logs has them\n"
        f"timetracer-otel: {between}: 3 calls of httpx cannot be replayed: a span has neither the headers nor the "
        "bodies of a call\n"
        f"timetracer-otel: {between}: 1 call of unknown cannot be replayed: a span has no answer\n"
    )
    assert told.out.splitlines()[1] == f"b.msgpack: 4 calls of {between}, of which 4 cannot be replayed"
    made = read_cassette("b.msgpack")
    assert (made.request.method, made.request.path, made.response.status) == ("POST", "/checkout", 200)
    assert (made.session.service, made.session.env, made.session.trace_id) == (
        "shop",
        "test",
        checkout().session.trace_id,
    )
    assert all(event.not_replayable and event.is_observed_only for event in made.events)
    # The third of five was made inside the second: it is the same call, at a lower level.
    assert [[within.name for within in event.within] for event in made.events] == [[], ["POST"], [], []]
    assert made.events[2].result.error_type == "httpx.ReadTimeout"


def test_a_folder_becomes_one_file_and_a_file_becomes_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = checkout(), checkout()
    second.session.id = "6b5d2c1e-0000-4000-8000-000000000000"
    second.session.recorded_at = "2026-03-01T13:00:00+00:00"
    save_cassette(first, "in/a.msgpack")
    save_cassette(second, "in/b.msgpack")
    Path("in/broken.msgpack").write_bytes(b"\x81")
    assert main(["convert", "in", "all.otlp-logs.jsonl"]) == 1
    told = capsys.readouterr()
    assert told.out == "all.otlp-logs.jsonl: 2 recordings of in\n"
    assert "in/broken.msgpack" in told.err
    assert len(Path("all.otlp-logs.jsonl").read_text().splitlines()) == 2
    assert main(["convert", "all.otlp-logs.jsonl", "out/"]) == 0
    assert (
        capsys.readouterr().out
        == "out/: 2 cassettes of all.otlp-logs.jsonl, with 10 calls, of which 2 cannot be replayed\n"
    )
    made = [read_cassette(path) for path in sorted(Path("out").rglob("*.msgpack"))]
    assert [each.session.id for each in made] == [first.session.id, second.session.id]


def test_one_cassette_of_several_recordings_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    save_cassette(checkout(), "in/a.msgpack")
    other = checkout()
    other.session.id, other.session.recorded_at = "b" * 32, "2026-03-01T12:00:01.250000+00:00"
    save_cassette(other, "in/b.msgpack")
    assert main(["convert", "in", "all.otlp-logs.pb"]) == 0
    assert main(["convert", "all.otlp-logs.pb", "one.msgpack"]) == 1
    assert capsys.readouterr().err == (
        "timetracer-otel: all.otlp-logs.pb: the requests of 2 recordings: one cassette has the calls of all of them, "
        "and no request. Name a folder as B to have a cassette of each\n"
    )
    made = read_cassette("one.msgpack")
    assert [event.eid for event in made.events] == list(range(1, 11))
    assert made.events[5].start_offset_ms == 1000.0
    assert made.request.path == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["in", "x.har"], "A: in is a folder, and the format of B holds one recording. Name one, or its id, as A."),
        (["in", "out/"], "A: in is a folder, and so is B. Name a file as one of them."),
        (["in", "x.msgpack"], "A: in is a folder, and a cassette is one recording. Name one, or its id, as A."),
        (["torn.otlp.pb", "x.msgpack"], "A: torn.otlp.pb is of no format that is known here"),
        (["torn.otlp.pb", "x.msgpack", "--from", "otlp"], "The file is no OTLP: the message at byte 0 is cut"),
    ],
)
def test_what_cannot_be_converted_is_trouble(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_cassette(checkout(), "in/a.msgpack")
    Path("torn.otlp.pb").write_bytes(b"\0\0\1\0" + b"\x0a" * 9)
    assert main(["convert", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not Path(arguments[1]).exists()


def test_the_trace_of_a_recording_is_one_tree() -> None:
    """As Jaeger draws it: each span but the outermost has its parent in the file, and begins no earlier."""
    save_cassette(checkout(), "a.msgpack")
    main(["convert", "a.msgpack", "a.otlp.json"])
    (resource,) = json.loads(Path("a.otlp.json").read_text())["resourceSpans"]
    spans = {span["spanId"]: span for scope in resource["scopeSpans"] for span in scope["spans"]}
    assert len(spans) == 6
    (root,) = [span for span in spans.values() if "parentSpanId" not in span]
    assert (root["name"], root["kind"]) == ("POST /checkout", 2)
    assert {span["traceId"] for span in spans.values()} == {checkout().session.trace_id}
    for span in spans.values():
        parent = spans[span.get("parentSpanId", root["spanId"])]
        assert int(parent["startTimeUnixNano"]) <= int(span["startTimeUnixNano"])
        assert int(span["endTimeUnixNano"]) <= int(root["endTimeUnixNano"])
    assert {event.event_type for event in read_cassette("a.msgpack").events} == {
        EventType.HTTP_CLIENT,
        EventType.CUSTOM,
    }
