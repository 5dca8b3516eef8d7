"""``prune``: what goes, what stays, and what is told of it."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.sample_cassettes import cassette, checkout, http_event
from timetracer_otel.cassette import CassetteStore, PartWriter, read_cassette
from timetracer_otel.match.process_recordings import paths_beside
from timetracer_otel.types import Cassette, RequestSnapshot, ResponseSnapshot

PROCESS, OTHER = "a" * 32, "b" * 32
DAY = timedelta(days=1)


def put(folder: Path, number: int, ago: timedelta, process: str = PROCESS, *, request: bool = True) -> Path:
    made = cassette(
        [http_event(1, "http://a/")],
        request=RequestSnapshot("GET", f"/{number}") if request else RequestSnapshot("", ""),
        response=ResponseSnapshot(200 if request else 0, duration_ms=float(number)),
    )
    made.session = replace(
        made.session,
        id=f"{number:08x}-0000-4000-8000-000000000000",
        recorded_at=(datetime.now(timezone.utc) - ago).isoformat(),
        process=[process],
    )
    return Path(CassetteStore(folder).put(made))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A process with two requests, the second one of today; and an older one with a request."""
    folder = tmp_path / "cassettes"
    put(folder, 1, 9 * DAY, request=False)
    put(folder, 2, 8 * DAY)
    put(folder, 3, DAY / 24)
    put(folder, 4, 7 * DAY, OTHER, request=False)
    put(folder, 5, 6 * DAY, OTHER)
    return folder


def left(folder: Path) -> list[int]:
    return sorted(int(path.name[-16:-8], 16) for path in folder.rglob("*.msgpack"))


@pytest.mark.parametrize(
    ("options", "stay"),
    [
        # The process of request 3 began nine days ago: what it recorded then is as new as its newest request.
        (["--keep", "2d"], [1, 3]),
        (["--keep", "7d"], [1, 3, 4, 5]),
        (["--keep", "2"], [1, 3]),
        (["--keep", "3"], [1, 3, 4]),
        (["--keep", "1"], [1]),
        (["--keep", "100, 30d"], [1, 2, 3, 4, 5]),
        (["--keep", "1TB"], [1, 2, 3, 4, 5]),
        (["--keep", "0"], []),
        # Requests that were not chosen are replayed with the recordings of both processes.
        (["--until", "5d"], [1, 3]),
        (["--since", "5d"], [1, 2, 4, 5]),
        (["--route", "/2"], [1, 3, 4, 5]),
        (["--route", "GET *", "--keep", "1"], [1, 3, 4]),
        (["--sort", "duration", "--limit", "1"], [1, 2, 3, 4]),
        (["--calls", "http=1", "--until", "5d"], [1, 3]),
    ],
)
def test_what_stays(run: Run, folder: Path, options: list[str], stay: list[int]) -> None:
    tried = run("prune", "cassettes", *options, "--dry-run")
    assert left(folder) == [1, 2, 3, 4, 5]
    done = run("prune", "cassettes", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert left(folder) == stay
    assert done.stdout.splitlines()[:-1] == tried.stdout.splitlines()[:-1]
    assert f"{5 - len(stay)} cassette" in done.stdout.splitlines()[-1]


def test_what_is_told(run: Run, folder: Path) -> None:
    def printed(*options: str) -> str:
        done = run("prune", "cassettes", "--until", "5d", *options)
        without_pid = done.stdout.replace(f"shop_{os.getpid()}", "shop_1")
        return re.sub(r"\d{4}-\d\d-\d\d|_\d{6}_|\d+(\.\d)? (K?i?B)", "T", without_pid)

    lines = [
        "cassettes/T/GET_2T00000002.msgpack",
        "cassettes/T/process_shop_1T00000004.msgpack",
        "cassettes/T/GET_5T00000005.msgpack",
    ]
    expected = "\n".join(lines)
    needed = "among them the recording of a process that others are replayed with"
    assert printed("-n") == f"{expected}\nWould delete 3 cassettes (T); 2 would stay, {needed}.\n"
    assert printed() == f"{expected}\nDeleted 3 cassettes (T); 2 stay, {needed}.\n"
    assert printed() == f"Deleted 0 cassettes (T); 2 stay, {needed}.\n"
    assert json.loads(run("prune", "cassettes", "--keep", "1", "--json").stdout)[0]["request_path"] == "/3"


def test_what_stays_can_still_be_replayed_with_its_process(run: Run, shop: Path) -> None:
    """Real recordings: a request finds what its process recorded besides, until no request is left."""
    run("prune", "cassettes", "--status", "200")
    (request,) = shop.rglob("POST_*.msgpack")
    (process,) = shop.rglob("process_*.msgpack")
    assert paths_beside(read_cassette(request)) == [process]
    run("prune", "cassettes", "--route", "*")
    assert [*shop.rglob("*.msgpack")] == []


def test_parts_and_files_that_cannot_be_read_stay(run: Run, folder: Path) -> None:
    under_way: Cassette = replace(checkout(), session=replace(checkout().session, process=[OTHER]))
    part = PartWriter(under_way, under_way.events, str(folder), "0123abcd")
    (folder / "broken.msgpack").write_bytes(b"nonsense")
    done = run("prune", "cassettes", "--keep", "0")
    # The part is of a request, which needs what its process recorded besides.
    assert Path(part.path).exists()
    assert (folder / "broken.msgpack").exists()
    assert [path.name[-16:-8] for path in folder.rglob("*_0*.msgpack")] == ["00000004"]
    assert done.stdout.splitlines()[-1].endswith(
        "; 3 stay, among them the recording of a process that others are replayed with."
    )


def test_nothing_goes_that_was_not_named(run: Run, folder: Path) -> None:
    unsaid = (
        "say what stays, as in --keep 7d,1000,2GB, or which cassettes to delete, as in --until 30d. "
        "See: timetracer-otel prune --help"
    )
    allowed = "Allowed: an age (m, h, d), a number, a size (KB, MB, GB, TB), separated by commas: 7d,1000,2GB."
    for arguments, said in (
        ([], unsaid),
        (["--sort", "size"], unsaid),
        (["--keep", ""], "--keep: an empty value counts as not set; leave the option out, or give"),
        (["--keep", "much"], f"--keep: 'much' is not allowed. {allowed}"),
    ):
        done = run("prune", "cassettes", *arguments, TIMETRACER_KEEP="1")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"timetracer-otel: {said}")
    assert left(folder) == [1, 2, 3, 4, 5]


def test_the_kept_index_of_a_folder_stays_right(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    for number in range(300):
        put(folder, number, DAY * (number % 3))
    index = tmp_path / ".many.timetracer-index"
    while not index.exists():  # A folder that changed within the last two seconds is not trusted.
        run("find", "many")
        time.sleep(0.2)
    assert run("prune", "many", "--keep", "200").stdout.splitlines()[-1].startswith("Deleted 100 cassettes")
    rows = json.loads(run("list", "many", "--json").stdout)
    assert sorted(row["session_id"][:8] for row in rows) == [f"{number:08x}" for number in left(folder)]
    assert len(rows) == 200
