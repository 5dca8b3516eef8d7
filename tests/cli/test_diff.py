"""``timetracer-otel diff``: two recordings of one program, whose code or upstream changed meanwhile."""

from __future__ import annotations

import json
import re
import sqlite3
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.conftest import Run
from tests.loopback import Loopback
from tests.sample_cassettes import cassette
from timetracer_otel import record
from timetracer_otel.cassette import read_cassette, save_cassette
from timetracer_otel.types import ResponseSnapshot


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., None]:
    """Record the program: ``recorded("a", one_by_one=True)`` writes ``a.msgpack``."""

    def run(name: str, **changes: Any) -> None:
        with Loopback() as upstream:
            work(upstream.url, tmp_path, tmp_path / f"{name}.msgpack", **changes)

    return run


def work(
    url: str,
    folder: Path,
    path: Path,
    *,
    one_by_one: bool = False,
    amount: int = 1,
    names: str = "abcd",
    user_first: bool = False,
    slowly: int = 0,
    attempts: int = 0,
) -> None:
    database = folder / "shop.db"
    database.unlink(missing_ok=True)
    with record(path), httpx.Client() as client:
        connection = sqlite3.connect(database)
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT)")
        connection.executemany("INSERT INTO orders (name) VALUES (?)", [(name,) for name in names])
        connection.commit()
        if user_first:
            client.get(f"{url}/users/7")
        if one_by_one:
            for number in range(1, 5):
                connection.execute("SELECT name FROM orders WHERE id = ?", (number,)).fetchall()
        else:
            connection.execute("SELECT name FROM orders WHERE id = ?", (1,)).fetchall()
        client.post(f"{url}/echo", json={"id": str(uuid.uuid4()), "amount": amount})
        if not user_first:
            client.get(f"{url}/users/7")
        client.get(f"{url}/slow/{slowly}" if slowly else f"{url}/items")
        for _ in range(attempts):
            client.get(f"{url}/failing")
        connection.close()


def diff(run: Run, *options: str, code: int) -> str:
    done = run("diff", "a.msgpack", "b.msgpack", *options)
    assert (done.returncode, done.stderr) == (code, "")
    return re.sub(r"http://127\.0\.0\.1:\d+", "http://UPSTREAM", done.stdout)


def without_times(text: str) -> str:
    return re.sub(r"\n(slower|faster)\n(  .*\n)+", "", text)


def test_two_recordings_of_the_same_do_not_differ(run: Run, recorded: Callable[..., None]) -> None:
    recorded("a")
    recorded("b")
    lines = without_times(diff(run, code=0)).splitlines()
    assert lines[:2] == ["--- (no request) (a.msgpack)", "+++ (no request) (b.msgpack)"]
    # The UUID of the request, and of the answer that echoes it.
    assert re.fullmatch(r"(no difference|only times differ); 2 values made anew in each run", lines[-1])


def test_statements_that_are_made_for_each_row_stand_out(run: Run, recorded: Callable[..., None]) -> None:
    recorded("a")
    recorded("b", one_by_one=True)
    assert without_times(diff(run, code=1)) == (
        "--- (no request) (a.msgpack)\n"
        "+++ (no request) (b.msgpack)\n"
        "\n"
        "added\n"
        "  #6 to #8 (3 calls) sqlite3 SELECT orders sqlite3:///shop.db\n"
        "\n"
        "numbers of calls\n"
        "  sqlite3 SELECT orders: 1 -> 4  (repeated: one call for each of several rows?)\n"
        "\n"
        "3 added; db.query 5 -> 8; 2 values made anew in each run\n"
    )


def test_fields_bodies_and_rows_that_changed_are_told_by_their_places(
    run: Run, recorded: Callable[..., None]
) -> None:
    recorded("a")
    recorded("b", amount=2, names="xbcd")
    assert without_times(diff(run, code=1)) == (
        "--- (no request) (a.msgpack)\n"
        "+++ (no request) (b.msgpack)\n"
        "\n"
        "changed\n"
        "  #3 sqlite3 INSERT orders sqlite3:///shop.db\n"
        "      args.many[0][0]: a -> x\n"
        "  #5 sqlite3 SELECT orders sqlite3:///shop.db\n"
        "      reply.rows[0][0]: a -> x\n"
        "  #6 httpx POST http://UPSTREAM/echo\n"
        "      request body $.amount: 1 -> 2\n"
        "      body $.amount: 1 -> 2\n"
        "\n"
        "3 changed; 2 values made anew in each run\n"
    )


def test_calls_in_another_order_have_moved(run: Run, recorded: Callable[..., None]) -> None:
    recorded("a")
    recorded("b", user_first=True)
    assert without_times(diff(run, code=1)).splitlines()[2:] == [
        "",
        "moved",
        "  #7 -> #5 httpx GET http://UPSTREAM/users/7",
        "",
        "1 moved; 2 values made anew in each run",
    ]


def test_a_call_that_was_made_again_since_it_failed_is_a_retry(run: Run, recorded: Callable[..., None]) -> None:
    recorded("a", attempts=1)
    recorded("b", attempts=3)
    assert without_times(diff(run, code=1)).splitlines()[2:] == [
        "",
        "added",
        "  #10 httpx GET http://UPSTREAM/failing -> 500",
        "      a retry of #9, which failed: 500",
        "  #11 httpx GET http://UPSTREAM/failing -> 500",
        "      a retry of #10, which failed: 500",
        "",
        "numbers of calls",
        "  httpx GET http://UPSTREAM/failing: 1 -> 3  (2 retried)",
        "",
        "2 added; http.client 4 -> 6; 2 values made anew in each run",
    ]


def test_slower_calls_are_told_and_are_no_difference(run: Run, recorded: Callable[..., None], tmp_path: Path) -> None:
    for name, took_ms in (("a", 10.0), ("b", 400.0)):
        recorded(name)
        made = read_cassette(tmp_path / f"{name}.msgpack")
        for event in made.events:
            event.duration_ms = took_ms if event is made.events[-1] else 1.0
        save_cassette(made, tmp_path / f"{name}.msgpack")
    assert diff(run, code=0).splitlines()[2:] == [
        "",
        "slower",
        "  #8 httpx GET http://UPSTREAM/items",
        "      10 ms -> 400 ms",
        "",
        "only times differ; 2 values made anew in each run",
    ]
    assert "slower" not in diff(run, "--slower", "50", code=0)


def test_json_and_markdown_say_the_same(run: Run, recorded: Callable[..., None]) -> None:
    recorded("a")
    recorded("b", one_by_one=True, amount=2)
    found = json.loads(diff(run, "--json", code=1))
    assert found["differs"] is True
    assert [change["kind"] for change in found["calls"] if change["kind"] not in ("slower", "faster")] == [
        "added",
        "added",
        "added",
        "changed",
    ]
    assert found["counts"] == [{"name": "sqlite3 SELECT orders", "before": 1, "after": 4}]
    assert found["totals"] == {"db.query": {"before": 5, "after": 8}}
    text = diff(run, "--markdown", code=1)
    assert text.startswith(
        "**(no request) (b.msgpack)**: 3 added, 1 changed\n\n| call | | what differs |\n|---|---|---|\n"
    )
    assert "| `httpx POST http://UPSTREAM/echo` | changed | `request body $.amount: 1 -> 2`<br>" in text
    assert "| `sqlite3 SELECT orders` | 1 | 4 |" in text


def test_the_answers_are_compared_first(run: Run, tmp_path: Path) -> None:
    save_cassette(cassette([]), tmp_path / "a.msgpack")
    save_cassette(cassette([], response=ResponseSnapshot(500)), tmp_path / "b.msgpack")
    assert diff(run, code=1) == (
        "--- POST /checkout (a.msgpack)\n+++ POST /checkout (b.msgpack)\n\nanswer\n  status: 200 -> 500\n\n"
        "another answer\n"
    )


def test_headers_and_secrets(run: Run, tmp_path: Path) -> None:
    with Loopback() as upstream:
        for name, way in (("a", "plain"), ("b", "gzip")):
            with record(tmp_path / f"{name}.msgpack"):
                headers = {"Authorization": "Bearer s3cr3t-4711-of-the-program", "X-Way": way}
                httpx.get(f"{upstream.url}/users/7", headers=headers)
    assert without_times(diff(run, code=1)).splitlines()[2:] == [
        "",
        "changed",
        "  #1 httpx GET http://UPSTREAM/users/7",
        "      request header x-way: plain -> gzip",
        "",
        "1 changed; 1 value made anew in each run",
    ]


def test_trouble_ends_with_2(run: Run, recorded: Callable[..., None]) -> None:
    recorded("a")
    missing = run("diff", "a.msgpack", "b.msgpack")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert run("diff", "a.msgpack", "a.msgpack", "--slower", "0.5").stderr == (
        "timetracer-otel: --slower: 0.5 is not allowed. Allowed: 1 and more.\n"
    )
