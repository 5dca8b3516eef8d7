"""``timetracer-otel verify --against``: which calls a service makes now that it did not make when it was recorded."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from pathlib import Path

import junitparser
import pytest

from tests import forks
from tests.loopback import Loopback
from tests.servers._ports import free_port
from tests.verify._services import Request, record, verify


class Orders:
    """The recorded service. Its database is still there, and its upstream is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cassettes = folder, folder / "cassettes"
        database = folder / "orders.db"
        with sqlite3.connect(database) as connection:
            connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT)")
            connection.executemany("INSERT INTO orders (name) VALUES (?)", [("tea",), ("cake",), ("jam",)])
        connection.close()
        port = free_port()
        with Loopback() as upstream:
            self.upstream = upstream.url
            module = ["-m", "tests.verify._counting", str(port), upstream.url, str(database)]
            requests = [Request("GET", "/orders/7"), Request("GET", "/empty")]
            record([*forks.python(turn=0), *module], port, requests, self.cassettes)
        self.command = [*forks.python(turn=1), *module]

    def verify(self, *options: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return verify(self.cassettes, self.command, *options, **changes)

    def said(self, text: str) -> str:
        text = re.sub(r"in \d+(\.\d)? (m?s)\b", r"in 1 \2", text)
        text = re.sub(r"\d{4}-\d\d-\d\d/(\w+)_\d{6}_[0-9a-f]{8}\.msgpack", r"\1.msgpack", text)
        text = text.replace(str(self.folder), "FOLDER").replace(self.upstream, "http://upstream")
        return text.partition("\n\n")[2]


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Orders:
    return Orders(tmp_path_factory.mktemp("orders"))


def test_a_service_that_makes_the_same_calls_keeps_its_budgets(orders: Orders, tmp_path: Path) -> None:
    done = orders.verify("--against", "--max-calls", "sql=+0,http=1", "--json", str(tmp_path / "all.json"))
    assert (done.returncode, done.stderr) == (0, "")
    assert orders.said(done.stdout) == (
        "passed    GET /orders/7 -> 200 in 1 ms\npassed    GET /empty -> 200 in 1 ms\n\n2 passed in 1 s\n"
    )
    found = json.loads((tmp_path / "all.json").read_text())
    assert found["outcomes"] == {"passed": 2, "failed": 0, "not sent": 0, "left out": 0}
    assert [each["calls"]["differs"] for each in found["requests"]] == [False, False]


def test_a_statement_for_each_row_is_told_and_exceeds_the_budget(orders: Orders, tmp_path: Path) -> None:
    files = {name: tmp_path / f"results.{name}" for name in ("xml", "json", "md")}
    done = orders.verify(
        *("--max-calls", "sql=+0", "--live", "sqlite3", "--only", "/orders/*"),
        *("--junit-xml", str(files["xml"]), "--json", str(files["json"]), "--markdown", str(files["md"])),
        CHANGE="rows",
        COLUMNS="80",
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert orders.said(done.stdout) == (
        "failed    GET /orders/7 -> 200 in 1 ms\n"
        "\n"
        "== GET /orders/7 (GET_orders_int_user.msgpack)\n"
        "  too many sql calls: recorded 1, now 3, allowed +0\n"
        "  calls, recorded and now:\n"
        "    added\n"
        "      #2 to #4 (3 calls) sqlite3 SELECT orders sqlite3:///orders.db\n"
        "    gone\n"
        "      #3 sqlite3 SELECT orders sqlite3:///orders.db\n"
        "    numbers of calls\n"
        "      sqlite3 SELECT orders: 0 -> 3  (repeated: one call for each of several rows?)\n"
        "    3 added, 1 gone; db.query 1 -> 3\n"
        "\n"
        "1 failed in 1 s; 1 with other calls\n"
    )
    (request,) = json.loads(files["json"].read_text())["requests"]
    assert request["problems"] == ["too many sql calls: recorded 1, now 3, allowed +0"]
    assert request["calls"]["totals"] == {"db.query": {"before": 1, "after": 3}}
    (suite,) = junitparser.JUnitXml.fromfile(str(files["xml"]))
    (case,) = suite
    assert case.result[0].message == "too many sql calls: recorded 1, now 3, allowed +0"
    assert "sqlite3 SELECT orders: 0 -> 3" in case.system_out
    text = files["md"].read_text()
    assert text.startswith(
        "**timetracer-otel verify**: 1 failed\n\n- `GET /orders/7` failed\n"
        "  - `too many sql calls: recorded 1, now 3, allowed +0`\n"
    )
    assert "| `sqlite3 SELECT orders` | 0 | 3 |" in text


def test_calls_in_another_order_are_told_and_pass(orders: Orders) -> None:
    done = orders.verify("--against", str(orders.cassettes), CHANGE="order", COLUMNS="200")
    assert (done.returncode, done.stderr) == (0, "")
    assert orders.said(done.stdout).splitlines()[2:] == [
        "",
        "== GET /orders/7 (GET_orders_int_user.msgpack)",
        "  calls, recorded and now:",
        "    moved",
        "      #3 -> #2 sqlite3 SELECT orders sqlite3:///orders.db",
        "    1 moved",
        "",
        "2 passed in 1 s; 1 with other calls",
    ]


def test_a_call_without_an_answer_counts(orders: Orders) -> None:
    done = orders.verify("--against", "--max-calls", "http=1", "--only", "/orders/*", CHANGE="twice")
    assert done.returncode == 1
    lines = orders.said(done.stdout).splitlines()
    assert "      #1 httpx GET http://upstream/items -> missed" in lines
    assert "      #1 httpx GET http://upstream/users/7" in lines
    assert "    1 added, 2 gone; db.query 1 -> 0" in lines


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--max-calls", "sqll=1"], "--max-calls: 'sqll=1' is not allowed."),
        (["--max-calls", "sql=-1"], "--max-calls: 'sql=-1' is not allowed."),
        (["--against", "nowhere"], "--against: nowhere is no folder."),
        (["--markdown", "/nowhere/x.md"], "--markdown: cannot write /nowhere/x.md: there is no folder"),
    ],
)
def test_bad_options_are_told(orders: Orders, options: list[str], told: str) -> None:
    done = orders.verify(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"timetracer-otel: {told}")
