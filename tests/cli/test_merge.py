"""``merge``: several recordings as one cassette, and what cannot be one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import forks
from tests.cli.conftest import Run, command_environment
from tests.loopback import Loopback
from tests.sample_cassettes import cassette, http_event
from timetracer_otel.cassette import AppendWriter, read_cassette, save_cassette
from timetracer_otel.types import AppliedPolicies, Cassette, RequestSnapshot, ResponseSnapshot

BLOCKS = """
import sqlite3, sys
import httpx
from timetracer_otel import record, replay

way, url, database, *files = sys.argv[1:]

def first():
    with sqlite3.connect(database, check_same_thread=False) as connection:
        connection.execute("CREATE TABLE tea (name TEXT)")
        connection.execute("INSERT INTO tea VALUES ('oolong')")
    return httpx.get(url + "/users/1").json()

def second():
    with sqlite3.connect(database, check_same_thread=False) as connection:
        return connection.execute("SELECT name FROM tea").fetchall(), httpx.get(url + "/counted").json()

if way == "record":
    with record(files[0]):
        told = [first()]
    with record(files[1]):
        told += second()
else:
    with replay(files[0], fail_on_unused=True) as session:
        told = [first(), *second()]
    assert session.verdict().ok
print(told)
"""


def test_blocks_that_were_merged_answer_as_one(run: Run, tmp_path: Path, upstream: Loopback) -> None:
    (tmp_path / "blocks.py").write_text(BLOCKS)
    env = command_environment()

    def program(way: str, *files: str) -> str:
        done = forks.run("blocks.py", way, upstream.url, str(tmp_path / "tea.db"), *files, env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    recorded = program("record", "1.msgpack", "2.msgpack")
    calls = sum(len(read_cassette(tmp_path / f"{number}.msgpack").events) for number in (1, 2))
    merged = run("merge", "2.msgpack", "1.msgpack", "-o", "both.msgpack.gz")
    assert (merged.returncode, merged.stderr) == (0, "")
    assert merged.stdout == f"both.msgpack.gz: (no request), {calls} calls of 2 recordings\n"
    upstream.stop()
    (tmp_path / "tea.db").unlink()
    assert program("replay", "both.msgpack.gz") == recorded
    both = read_cassette(tmp_path / "both.msgpack.gz")
    starts = [event.start_offset_ms for event in both.events]
    assert starts == sorted(starts)
    assert [event.eid for event in both.events] == [*range(1, calls + 1)]
    assert both.session.id not in {read_cassette(tmp_path / f"{number}.msgpack").session.id for number in (1, 2)}


def test_a_request_takes_in_what_its_process_recorded_besides(run: Run, shop: Path) -> None:
    (request,), (process,) = shop.rglob("GET_orders_*.msgpack"), shop.rglob("process_*.msgpack")
    done = run("merge", request.name[-16:-8], str(process), "-o", "whole.msgpack")
    assert done.stdout == "whole.msgpack: GET /orders, 5 calls of 2 recordings\n"
    before, whole = read_cassette(request), read_cassette(shop.parent / "whole.msgpack")
    assert (whole.request, whole.response) == (before.request, before.response)
    assert whole.session == replace(before.session, id=whole.session.id)
    # What the process did before the request began has times before it.
    assert [event.start_offset_ms < 0 for event in whole.events] == [True, True, False, False, False]
    assert [event.result for event in whole.events[2:]] == [event.result for event in before.events]
    shown = run("show", "whole.msgpack", COLUMNS="80")
    assert (shown.returncode, max(map(len, shown.stdout.partition("\n\n")[2].splitlines())) <= 80) == (0, True)


def saved(folder: Path, name: str, **changes: Any) -> str:
    number = int(changes.pop("number", name))
    session = {"id": f"{number:08x}-0000-4000-8000-000000000000", "process": ["a" * 32], **changes.pop("session", {})}
    made: Cassette = cassette(
        [http_event(1, f"http://a/{name}")],
        request=changes.pop("request", RequestSnapshot("", "")),
        response=changes.pop("response", ResponseSnapshot(0)),
    )
    path = f"{name}.msgpack"
    save_cassette(replace(made, session=replace(made.session, **session), **changes), folder / path)
    return path


REQUEST = RequestSnapshot("GET", "/a")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (
            {"request": REQUEST},
            {"request": RequestSnapshot("GET", "/b")},
            (
                "one is of GET /a, the other one of GET /b, and a cassette is of one request at most. Leave both in "
                "a folder: a replay of the folder answers each request from its own."
            ),
        ),
        (
            {"request": REQUEST},
            {"session": {"process": ["b" * 32]}},
            (
                "the second one was recorded by another process than GET /a. Merge a request with the recording of "
                "its own process."
            ),
        ),
        ({}, {"number": 1}, "they are the same recording. Name it once."),
        ({}, {"session": {"service": "cron"}}, "they have other services. Merge those that have the same."),
        ({}, {"session": {"env": "live"}}, "they have other environments. Merge those that have the same."),
        (
            {},
            {"policies": AppliedPolicies(redaction_mode="strict")},
            "they have other rules of redaction. Merge those that have the same.",
        ),
        (
            {"pseudonyms": ("sk-oobc-xsmedk3238135719",)},
            {"pseudonyms": ("sk-zwqy-nrqpxe5578218774",)},
            (
                "both hold secrets, and each recording has pseudonyms of its own for the same secret, so that no "
                "replay could tell that they are one. Record both in one session, or leave them in a folder."
            ),
        ),
    ],
)
def test_what_cannot_be_one_is_told(
    run: Run, tmp_path: Path, first: dict[str, Any], second: dict[str, Any], said: str
) -> None:
    names = saved(tmp_path, "1", **first), saved(tmp_path, "2", **second)
    done = run("merge", *names, "-o", "merged.msgpack")
    assert done.stderr == f"timetracer-otel: Cannot merge 1.msgpack and 2.msgpack: {said}\n"
    assert (done.returncode, done.stdout) == (2, "")
    assert not (tmp_path / "merged.msgpack").exists()


def test_facts_that_differ_stand_in_none(run: Run, tmp_path: Path) -> None:
    one = saved(tmp_path, "1", session={"versions": {"httpx": "0.27.0", "redis": "5.0"}, "python_version": "3.11.7"})
    two = saved(tmp_path, "2", session={"versions": {"httpx": "0.28.1"}, "process": ["b" * 32]}, complete=False)
    done = run("merge", one, two, "-o", "merged.msgpack")
    assert done.stdout == (
        "merged.msgpack: (no request), 2 calls of 2 recordings\n"
        "not kept, since it is not the same in all: Python, httpx, process\n"
    )
    made = read_cassette(tmp_path / "merged.msgpack")
    assert (made.session.python_version, made.session.versions, made.session.process) == ("", {"redis": "5.0"}, [])
    assert made.session.trace_id == read_cassette(tmp_path / one).session.trace_id


def test_the_end_of_a_recording_whose_process_died_is_missing_in_the_whole(run: Run, tmp_path: Path) -> None:
    whole = saved(tmp_path, "1")
    cut = tmp_path / saved(tmp_path, "2")
    data = cut.read_bytes()
    with AppendWriter(cut, read_cassette(cut)) as writer:
        writer.append(http_event(1, "http://a/cut"))
    assert cut.read_bytes() != data
    run("merge", whole, cut.name, "-o", "merged.msgpack")
    assert "lost      1 ends of recordings whose process died\n" in run("show", "merged.msgpack").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["1.msgpack"], "name at least two cassettes, as in: timetracer-otel merge CASSETTE CASSETTE -o FILE"),
        (
            ["1.msgpack", "gone.msgpack"],
            "gone.msgpack: there is no such file or folder. To see what there is: timetracer-otel list",
        ),
        (["1.msgpack", "."], "Cannot read cassette .: it is a folder. Name one of the files in it."),
    ],
)
def test_what_cannot_be_read_is_one_line(run: Run, tmp_path: Path, arguments: list[str], said: str) -> None:
    saved(tmp_path, "1")
    done = run("merge", *arguments, "-o", "merged.msgpack")
    assert done.returncode == 2
    assert re.fullmatch(rf"timetracer-otel: {re.escape(said)}[^\n]*\n", done.stderr)
    assert not (tmp_path / "merged.msgpack").exists()
