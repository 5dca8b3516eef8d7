"""``stats``: numbers of what a real service recorded, by route and by upstream."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.sample_cassettes import cassette, http_event
from timetracer_otel.cassette import CassetteStore
from timetracer_otel.types import RequestSnapshot, ResponseSnapshot

AT_80 = """\
5 recordings (1 failed) with 10 calls (1 failed)
NOW to NOW (UTC)

route recordings failed median slowest calls size
GET /users/{number} 2 0 TIME TIME 2 SIZE
(outside any request) 1 0 - - 2 SIZE
GET /orders 1 0 TIME TIME 3 SIZE
POST /orders 1 1 TIME TIME 3 SIZE

upstream calls failed median slowest in all received
httpx http://127.0.0.1:PORT 3 1 TIME TIME TIME SIZE
sqlite3 sqlite3:///shop.db 7 0 TIME TIME TIME -
"""
AT_200 = """\
5 recordings (1 failed) with 10 calls (1 failed)
NOW to NOW (UTC)

route recordings failed median p95 slowest calls size
GET /users/{number} 2 0 TIME TIME TIME 2 SIZE
(outside any request) 1 0 - - - 2 SIZE
GET /orders 1 0 TIME TIME TIME 3 SIZE
POST /orders 1 1 TIME TIME TIME 3 SIZE

upstream calls failed median p95 slowest in all received
httpx http://127.0.0.1:PORT 3 1 TIME TIME TIME TIME SIZE
sqlite3 sqlite3:///shop.db 7 0 TIME TIME TIME TIME -
"""


def same_every_time(printed: str) -> str:
    """Without times and sizes, and with one space between two columns: upstreams in the order of their names."""
    for pattern, word in (
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "NOW"),
        (r"\d+(\.\d)? (ms|s)\b", "TIME"),
        (r"\d+(\.\d)? (B|KiB)\b", "SIZE"),
        (r":\d{4,5}\b", ":PORT"),
        (r"  +", " "),
    ):
        printed = re.sub(pattern, word, printed)
    *head, first, second = printed.splitlines()
    return "\n".join([*head, *sorted([first, second]), ""])


@pytest.mark.parametrize(("columns", "golden"), [(80, AT_80), (200, AT_200)])
@pytest.mark.usefixtures("shop")
def test_the_numbers_of_a_folder_at_each_width(run: Run, columns: int, golden: str) -> None:
    done = run("stats", "cassettes", COLUMNS=str(columns))
    assert (done.returncode, done.stderr) == (0, "")
    assert same_every_time(done.stdout) == golden
    assert max(map(len, done.stdout.splitlines())) <= columns


@pytest.mark.usefixtures("shop")
def test_options_choose_what_is_counted(run: Run) -> None:
    numbers = json.loads(run("stats", "cassettes", "--status", "5xx", "--json").stdout)
    (route,) = numbers["routes"]
    assert (route["method"], route["route"], route["recordings"], route["failed"]) == ("POST", "/orders", 1, 1)
    assert {each["library"]: (each["calls"], each["failed"]) for each in numbers["upstreams"]} == {
        "httpx": (1, 1),
        "sqlite3": (2, 0),
    }
    assert run("stats", "cassettes", "--status", "404").stdout == (
        "None of the 5 cassettes in cassettes is one that the options ask for.\n"
    )


def test_times_are_of_the_nearest_rank_and_an_upstream_is_a_server(run: Run, tmp_path: Path) -> None:
    store = CassetteStore(tmp_path / "cassettes")
    for number in range(1, 21):
        url = f"http://a:80/{number}" if number % 2 else "http://b/x"
        call = http_event(1, url, took_ms=float(number), status=503 if number == 20 else 200)
        answer = ResponseSnapshot(200, duration_ms=number * 10.0)
        store.put(cassette([call], request=RequestSnapshot("GET", f"/{number}", "/{n}"), response=answer))
    (tmp_path / "cassettes" / "broken.msgpack").write_bytes(b"nonsense")
    numbers = json.loads(run("stats", "--json").stdout)
    (route,) = numbers["routes"]
    assert (route["median_ms"], route["p95_ms"], route["slowest_ms"], route["total_ms"]) == (100, 190, 200, 2100)
    assert [(each["address"], each["calls"], each["failed"]) for each in numbers["upstreams"]] == [
        ("http://b", 10, 1),
        ("http://a:80", 10, 0),
    ]
    assert numbers["upstreams"][0]["received_bytes"] == 90


def test_what_has_gone_or_is_damaged_behind_its_head_is_left_out_and_told(run: Run, shop: Path) -> None:
    (damaged,) = shop.rglob("GET_orders_*.msgpack")
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 0x55
    damaged.write_bytes(data)
    done = run("stats", "cassettes")
    assert done.returncode == 0
    assert done.stderr.startswith("timetracer-otel: left out: ")
    assert str(damaged.relative_to(shop.parent)) in done.stderr
    assert done.stdout.startswith("4 recordings (1 failed) with 7 calls (1 failed)\n")


def test_an_empty_folder_says_how_to_record(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run("stats", "empty").stdout == (
        "No cassettes in empty. Record some with: timetracer-otel record --dir empty -- CMD\n"
    )
    assert json.loads(run("stats", "empty", "--json").stdout) == {"from": "", "to": "", "routes": [], "upstreams": []}
