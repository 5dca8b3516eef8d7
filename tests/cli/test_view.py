"""``timetracer-otel view``: where the page goes, and what is said of bad input.

`tests/unit/report/test_page.py` looks at the page, and ``make suite-browser`` at what a browser makes of it.
"""

from __future__ import annotations

import json
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.sample_pages import of_everything
from timetracer_otel.cassette import save_cassette


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "checkout.msgpack"
    save_cassette(of_everything(), path)
    return path


def data_of(page: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.read_text("utf-8").partition('id="data">')[2].partition("</script>")[0])
    return found


def test_the_page_is_written_where_the_user_says(run: Run, recorded: Path, tmp_path: Path) -> None:
    done = run("view", "checkout.msgpack", "-o", "page.html")
    assert (done.returncode, done.stdout, done.stderr) == (0, "wrote page.html\n", "")
    data = data_of(tmp_path / "page.html")
    assert (data["view"], len(data["events"]), len(data["logs"])) == ("recording", 8, 3)
    # By the id of its session, and beside another one.
    shutil.copy(recorded, tmp_path / "other.msgpack")
    session = json.loads(run("show", "checkout.msgpack", "--json").stdout)["session"]["id"]
    done = run("view", session, "other.msgpack", "-o", "page.html", "--dir", ".")
    assert done.returncode == 2
    assert "2 cassettes have an id that begins so" in done.stderr
    done = run("view", "checkout.msgpack", "other.msgpack", "-o", "page.html")
    assert done.returncode == 0
    assert data_of(tmp_path / "page.html")["comparison"]["differs"] is False


@pytest.mark.skipif(sys.platform == "win32", reason="the browser is a shell script")
def test_without_a_file_it_is_opened_in_the_browser(run: Run, recorded: Path, tmp_path: Path) -> None:
    browser, folder = tmp_path / "browser", tmp_path / "temporary"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    folder.mkdir()
    done = run("view", "checkout.msgpack", BROWSER=f"{browser} %s", TMPDIR=str(folder))
    (page,) = folder.glob("timetracer-*.html")
    assert (done.returncode, done.stdout) == (0, f"opened {page}\n")
    assert (tmp_path / "opened").read_text() == f"{page.as_uri()}\n"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert data_of(page)["title"] == "POST /checkout"


def test_the_report_of_a_replay_stands_beside_the_calls(run: Run, recorded: Path, tmp_path: Path) -> None:
    line = {"cassette": str(recorded), "state": "ended", "hits": 3, "misses": ["no answer"], "unused": [2]}
    began = {"cassette": str(recorded), "state": "began"}
    (tmp_path / "report").write_text(f"{json.dumps(began)}\n{json.dumps({**line, 'hits': 1})}\n{json.dumps(line)}\n")
    done = run("view", "checkout.msgpack", "-o", "page.html", "--report", "report")
    assert (done.returncode, done.stderr) == (0, "")
    data = data_of(tmp_path / "page.html")
    assert (data["account"]["hits"], data["account"]["misses"], data["account"]["unused"]) == (3, ["no answer"], 1)
    assert [event["eid"] for event in data["events"] if event.get("state") == "unused"] == [2]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing.msgpack", "-o", "x"], "nothing.msgpack"),
        (["checkout.msgpack", "-o", "no/such/folder/x"], "-o: cannot write no/such/folder/x: No such file"),
        (
            ["checkout.msgpack", "checkout.msgpack", "-o", "x", "--report", "x"],
            "--report: it tells of a replay of one",
        ),
        (["checkout.msgpack", "-o", "x", "--report", "checkout.msgpack"], "--report: "),
        (["checkout.msgpack", "-o", "x", "--report", "empty"], "tells of no replay of checkout.msgpack"),
    ],
)
def test_bad_input_is_told_in_one_line(
    run: Run, recorded: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    (tmp_path / "empty").touch()
    done = run("view", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert told in done.stderr
    assert not (tmp_path / "x").exists()
