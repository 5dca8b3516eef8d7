"""``list`` and ``find`` with what they choose by, and cassettes that are named by an id."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.sample_cassettes import cassette, checkout, http_event, observed_event
from timetracer_otel.cassette import CassetteStore, save_cassette
from timetracer_otel.types import RequestSnapshot, ResponseSnapshot


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    """Four recordings: a quick one, a slow one, one that failed with many calls, and one outside any request."""
    store = CassetteStore(tmp_path / "cassettes")
    now = datetime.now(timezone.utc).replace(microsecond=123_456)

    def put(number: str, trace: str, ago: timedelta, request: RequestSnapshot, status: int, took: float, calls: int):  # type: ignore[no-untyped-def]
        made = cassette(
            [http_event(eid, f"http://a/{eid}") for eid in range(1, calls + 1)],
            request=request,
            response=ResponseSnapshot(status, duration_ms=took),
        )
        made.session = replace(
            made.session,
            id=f"{number}-0000-4000-8000-000000000000",
            trace_id=trace * 4,
            recorded_at=(now - ago).isoformat(),
            service="shop" if status else "cron",
        )
        store.put(made)

    put("aaaa0000", "0af76519", timedelta(days=3), RequestSnapshot("GET", "/users/7", "/users/{id}"), 200, 25.0, 1)
    put("aaaa1111", "1bf76519", timedelta(hours=5), RequestSnapshot("GET", "/report"), 200, 2100.0, 2)
    put("bbbb2222", "0af76519", timedelta(minutes=10), RequestSnapshot("POST", "/orders"), 503, 300.0, 12)
    put("cccc3333", "", timedelta(minutes=1), RequestSnapshot("", ""), 0, 0.0, 3)
    return tmp_path / "cassettes"


def ids(run: Run, *options: str, command: str = "list") -> list[str]:
    done = run(command, "cassettes", *options, "--json")
    assert done.stderr == ""
    return [row["session_id"][:8] for row in json.loads(done.stdout)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["aaaa0000", "aaaa1111", "bbbb2222", "cccc3333"]),
        (["--status", "5xx"], ["bbbb2222"]),
        (["--status", "2xx,503"], ["aaaa0000", "aaaa1111", "bbbb2222"]),
        (["--status", "200-299"], ["aaaa0000", "aaaa1111"]),
        (["--status", "error"], ["bbbb2222"]),
        (["--since", "6h"], ["aaaa1111", "bbbb2222", "cccc3333"]),
        (["--since", "1d", "--until", "1h"], ["aaaa1111"]),
        (["--until", "2d"], ["aaaa0000"]),
        (["--route", "/users/*"], ["aaaa0000"]),
        (["--route", "GET *"], ["aaaa0000", "aaaa1111"]),
        (["--slower", "200ms"], ["aaaa1111", "bbbb2222"]),
        (["--slower", "1.5s"], ["aaaa1111"]),
        (["--calls", "http>10"], ["bbbb2222"]),
        (["--calls", ">=2", "--calls", "http<12"], ["aaaa1111", "cccc3333"]),
        (["--calls", "sql=0", "--calls", "http!=3"], ["aaaa0000", "aaaa1111", "bbbb2222"]),
        (["--trace", "0AF7"], ["aaaa0000", "bbbb2222"]),
        (["--service", "cron"], ["cccc3333"]),
        (["--sort", "duration"], ["cccc3333", "aaaa0000", "bbbb2222", "aaaa1111"]),
        (["--sort", "calls", "--reverse", "--limit", "2"], ["aaaa1111", "aaaa0000"]),
        (["--limit", "1"], ["cccc3333"]),
    ],
)
def test_options_choose_and_order(run: Run, options: list[str], expected: list[str]) -> None:
    assert ids(run, *options) == expected


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--status", "maybe"], "--status: 'maybe' is not allowed. Allowed: 5xx, 404, 400-422, error, or a list."),
        (["--since", "yesterday"], "--since: 'yesterday' is not allowed. Allowed: 30m, 2h, 3d and the like, "),
        (
            ["--slower", "200"],
            "--slower: '200' is not allowed. Allowed: a number with a unit, as in 200ms, 1.5s, 2h.",
        ),
        (
            ["--calls", "sql"],
            "--calls: 'sql' is not allowed. Allowed: a kind (http, sql, db, redis, other; none for ",
        ),
        (["--calls", "zap>1"], "--calls: 'zap>1' is not allowed. "),
        (["--sort", "colour"], "--sort: 'colour' is not allowed. Allowed: recorded, duration, status, calls, "),
        (["--limit", "0"], "--limit: 0 is not allowed. Allowed: 1 and more."),
        (["--dir", "cassettes"], "--dir: FOLDER names the folder already. Leave one of the two out."),
    ],
)
def test_a_value_that_is_not_allowed_is_one_line(run: Run, options: list[str], said: str) -> None:
    done = run("list", "cassettes", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"timetracer-otel: {said}")
    assert done.stderr.count("\n") == 1


def test_where_nothing_is_asked_for_list_says_so(run: Run) -> None:
    done = run("list", "cassettes", "--status", "404")
    assert done.stdout == "None of the 4 cassettes in cassettes is one that the options ask for.\n"


AT_80 = """\
recorded (UTC)       request          status    took  calls     size  id
YYYY-MM-DD hh:mm:ss  GET /users/{id}     200   25 ms      1   1007 B  aaaa0000
YYYY-MM-DD hh:mm:ss  GET /report         200   2.1 s      2  1.5 KiB  aaaa1111
YYYY-MM-DD hh:mm:ss  POST /orders        503  300 ms     12  7.0 KiB  bbbb2222
YYYY-MM-DD hh:mm:ss  -                     -       -      3  2.0 KiB  cccc3333
"""
AT_200 = """\
recorded (UTC)       request          status    took  calls     size  id        file
YYYY-MM-DD hh:mm:ss  GET /users/{id}     200   25 ms      1   1007 B  aaaa0000  cassettes/YYYY-MM-DD/GET_users_id_hhmmss_aaaa0000.msgpack
YYYY-MM-DD hh:mm:ss  GET /report         200   2.1 s      2  1.5 KiB  aaaa1111  cassettes/YYYY-MM-DD/GET_report_hhmmss_aaaa1111.msgpack
YYYY-MM-DD hh:mm:ss  POST /orders        503  300 ms     12  7.0 KiB  bbbb2222  cassettes/YYYY-MM-DD/POST_orders_hhmmss_bbbb2222.msgpack
YYYY-MM-DD hh:mm:ss  -                     -       -      3  2.0 KiB  cccc3333  cassettes/YYYY-MM-DD/process_cron_1_hhmmss_cccc3333.msgpack
"""  # noqa: E501


@pytest.mark.parametrize(("columns", "golden"), [("80", AT_80), ("200", AT_200)])
def test_the_table_at_each_width(run: Run, columns: str, golden: str) -> None:
    printed = run("list", "cassettes", COLUMNS=columns).stdout
    printed = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "YYYY-MM-DD hh:mm:ss", printed)
    printed = re.sub(r"\d{4}-\d\d-\d\d/", "YYYY-MM-DD/", printed)
    printed = re.sub(r"process_cron_\d+", "process_cron_1", printed)
    assert re.sub(r"_\d{6}_", "_hhmmss_", printed) == golden


def test_find_prints_paths_that_other_commands_take(run: Run, tmp_path: Path) -> None:
    done = run("find", "--slower", "200ms", "--sort", "duration")
    paths = done.stdout.splitlines()
    assert [path[-16:-8] for path in paths] == ["bbbb2222", "aaaa1111"]
    assert all((tmp_path / path).is_file() for path in paths)
    assert run("show", paths[0]).returncode == 0
    assert run("find", "--slower", "200ms", "--sort", "duration", "-0").stdout == "".join(f"{p}\0" for p in paths)
    assert ids(run, "--slower", "200ms", command="find") == ["aaaa1111", "bbbb2222"]


def test_find_that_finds_nothing_ends_with_1(run: Run) -> None:
    done = run("find", "--status", "404")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_rows_are_the_same_from_the_kept_file(run: Run, tmp_path: Path) -> None:
    store = CassetteStore(tmp_path / "many")
    for number in range(300):
        made = checkout() if number % 2 else cassette([observed_event(1)], request=RequestSnapshot("", ""))
        made.session = replace(made.session, id=f"{number:08x}-0000-4000-8000-000000000000")
        store.put(made)
    (tmp_path / "many" / "broken.msgpack").write_bytes(b"nonsense")
    first = run("list", "many", "--json")
    index = tmp_path / ".many.timetracer-index"
    while not index.exists():  # A folder that changed within the last two seconds is not trusted.
        assert run("list", "many", "--json").stdout == first.stdout
    second = run("list", "many", "--json")
    assert second.stdout == first.stdout
    rows = json.loads(second.stdout)
    assert len(rows) == 301
    assert rows[1]["kinds"] == {"custom": 1, "http.client": 4}
    assert rows[-1]["error"]


@pytest.mark.parametrize("name", ["bbbb", "BBBB2222", "bbbb2222-0000", "1bf7"])
def test_a_cassette_is_named_by_an_id_or_its_beginning(run: Run, name: str) -> None:
    shown = run("show", name)
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[0].split()[1] in {"POST", "GET"}
    assert json.loads(run("export", "--to", "har", name).stdout)["log"]["entries"]


def test_an_id_is_looked_for_where_dir_says(run: Run, tmp_path: Path) -> None:
    (tmp_path / "cassettes").rename(tmp_path / "elsewhere")
    assert run("show", "bbbb2222").stderr == (
        "timetracer-otel: bbbb2222: there is no such file, and no cassette in ./cassettes whose session or trace has "
        "this id. Say where it is with --dir.\n"
    )
    assert run("show", "bbbb2222", "--dir", "elsewhere").returncode == 0
    assert run("show", "bbbb2222", TIMETRACER_DIR="elsewhere").returncode == 0


def test_an_id_of_several_is_an_error_that_names_them(run: Run) -> None:
    assert run("show", "0af76519").stderr == (
        "timetracer-otel: 0af76519: 2 cassettes have an id that begins so: aaaa0000 (GET /users/{id}), "
        "bbbb2222 (POST /orders). Name one of these.\n"
    )


def test_a_file_wins_over_an_id(run: Run, tmp_path: Path) -> None:
    save_cassette(checkout(), tmp_path / "bbbb")
    assert run("show", "bbbb").stdout.startswith("request   POST /checkout")


@pytest.mark.parametrize(
    "command", [["audit", "aaaa1111"], ["replay", "aaaa1111", "--", "python", "-c", "pass"]], ids=["audit", "replay"]
)
def test_every_command_that_takes_a_file_takes_an_id(run: Run, command: list[str]) -> None:
    """The others do so in `test_widths`, in `test_check`, and in ``tests/verify/test_reproduce.py``."""
    done = run(*command)
    assert (done.returncode, "no such file" in done.stderr) == (0, False)
