"""``timetracer-otel verify``: a service over HTTP, SQL and Redis with all of them gone; and all that may go wrong."""

from __future__ import annotations

import itertools
import os
import re
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import junitparser
import pytest

from tests import forks
from tests.loopback import Loopback
from tests.servers._ports import free_port
from tests.servers.redis import RedisServer
from tests.verify._services import ROOT, SCRIPT, Request, environment, record, send, started, verify
from timetracer_otel.cassette import CassetteStore, read_cassette, save_cassette
from timetracer_otel.match.folder_index import FolderIndex
from timetracer_otel.types import BodySnapshot, HeaderMap
from timetracer_otel.verify import Shard, plan

EACH = 12
JSON = {"Content-Type": "application/json"}
NUMBERS = [
    *(Request("GET", f"/{kind}/{number}") for number in range(1, EACH + 1) for kind in ("sync", "async")),
    *(Request("POST", "/search", JSON, b'{"of": %d}' % number) for number in range(2)),
]


class Shop:
    """The recorded service; what it called is gone."""

    def __init__(self, folder: Path) -> None:
        self.cassettes = folder / "cassettes"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        database = folder / "people.db"
        with sqlite3.connect(database) as connection:
            connection.execute("CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT)")
            connection.executemany("INSERT INTO person VALUES (?, ?)", [(n, f"name {n}") for n in range(1, EACH + 1)])
        connection.close()
        with Loopback() as upstream, RedisServer(folder / "redis") as redis:
            self.upstream_url = upstream.url
            module = ["-m", "tests.verify._shop", str(self.port), upstream.url, str(database), redis.url]
            record([*forks.python(turn=0), *module], self.port, NUMBERS, self.cassettes)
            self.command = [*forks.python(turn=1), *module]
        database.unlink()
        self.database = database

    def verify(self, *options: str, **changes: str) -> subprocess.CompletedProcess[str]:
        done = verify(self.cassettes, self.command, *options, **changes)
        assert not self.database.exists(), "somebody made the database again"
        return done

    def listens(self) -> bool:
        try:
            send(self.port, Request("GET", "/openapi.json"))
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("shop"))
    yield made
    assert not made.listens(), "a verified service was left running"


def without_times(text: str, shop: Shop) -> str:
    """The report with times, file names and addresses as they are called here."""
    text = re.sub(r"in \d+(\.\d)? (m?s)\b", r"in 1 \2", text)
    text = re.sub(r"\d{4}-\d\d-\d\d/(\w+)_\d{6}_[0-9a-f]{8}\.msgpack", r"\1.msgpack", text)
    return text.replace(shop.upstream_url, "http://upstream").replace(str(shop.cassettes), "FOLDER")


def test_under_the_recorded_clock_a_service_answers_years_later_as_it_did(shop: Shop, tmp_path: Path) -> None:
    old = tmp_path / "old"
    heads = CassetteStore(shop.cassettes).list()
    for each in heads:
        if not each.method:
            save_cassette(read_cassette(each.path), old / Path(each.path).name)
    recorded = (read_cassette(each.path) for each in heads if each.method)
    made = next(each for each in recorded if (each.request.target or each.request.path) == "/sync/1")
    # As a recording of a day on which it was another year.
    made.session.recorded_at = "2019-05-06T07:08:09+00:00"
    made.request = replace(made.request, path="/until/1", target="/until/1", route_template="/until/{number}")
    made.events = [event for event in made.events if event.signature.lib == "httpx"]
    data = b'{"expired":false,"year":2019,"user":{"id":1,"name":"Ada"}}'
    lines = [(b"content-length", str(len(data)).encode()), (b"content-type", b"application/json")]
    made.response = replace(made.response, headers=HeaderMap(lines), body=BodySnapshot(True, data=data))
    save_cassette(made, old / "until.msgpack")
    ends = str(int(datetime(2019, 5, 6, 8, tzinfo=timezone.utc).timestamp()))
    done = verify(old, shop.command, "--clock", "recorded", EXPIRES=ends)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "1 passed" in done.stdout
    # So does the service of one recording, which takes the setting from the environment as well.
    (until,) = (each.session_id for each in CassetteStore(old).list() if each.method)
    done = forks.run(
        *(SCRIPT, "reproduce", until, "--dir", str(old), "--", *shop.command),
        env=environment(shop.command, EXPIRES=ends, TIMETRACER_CLOCK="recorded"),
        cwd=ROOT,
        loaded="tool",
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "\nequal     it is answered as it was recorded\n" in done.stdout


def test_many_requests_at_once_are_each_answered_from_their_own_cassette(shop: Shop, tmp_path: Path) -> None:
    done = shop.verify("--jobs", "8", "--junit-xml", str(tmp_path / "results.xml"))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"verify: {len(NUMBERS) + 1} recordings in {shop.cassettes}, the service at {shop.url}"
    assert sum(bool(re.fullmatch(r"passed    (GET|POST) \S+ -> 200 in \d+ ms", line)) for line in lines) == len(
        NUMBERS
    )
    (left_out,) = (line for line in lines if line.startswith("left out"))
    assert re.fullmatch(r"left out  process_timetracer-service_\w+\.msgpack: not a request", left_out)
    assert re.fullmatch(rf"{len(NUMBERS)} passed, 1 left out in \d+\.\d s", lines[-1])

    (suite,) = junitparser.JUnitXml.fromfile(str(tmp_path / "results.xml"))
    assert (suite.name, suite.tests, suite.failures, suite.errors, suite.skipped) == (
        "timetracer-otel verify",
        len(NUMBERS),
        0,
        0,
        0,
    )
    files = {each.path for each in CassetteStore(shop.cassettes).list() if each.method}
    assert {str(shop.cassettes / case.classname) for case in suite} == files


LIVE = "TIMETRACER_LIVE_PLUGINS"


def test_a_service_that_calls_otherwise_fails_with_the_call(shop: Shop, tmp_path: Path) -> None:
    report = tmp_path / "results.xml"
    done = shop.verify("--only", "/sync/7", "--junit-xml", str(report), CHANGE="call")
    assert (done.returncode, done.stderr) == (1, "")
    expected = f"""verify: 1 recordings in FOLDER, the service at {shop.url}

failed    GET /sync/7 -> 500 in 1 ms

== GET /sync/7 (GET_sync_number.msgpack)
  status: recorded 200, now 500
  header content-type: recorded 'application/json', now 'text/plain; charset=utf-8'
  --- recorded body
  +++ body now
  @@ -1 +1 @@
  -{{"name":"name 7","user":{{"id":7,"name":"Ada"}},"total":7,"people":{EACH}}}
  +Internal Server Error
  missed: No recorded call matches: httpx GET http://upstream/users/8
    nearest recorded calls:
      #4 GET http://upstream/users/7
          url: recorded 'http://upstream/users/7', now 'http://upstream/users/8'
    what to do: undo the change in the call, or record again. To call for real, name the library in {LIVE}.
    cassette: FOLDER/GET_sync_number.msgpack
    recorded request: GET /sync/7
  note: not called: #4 httpx GET http://upstream/users/7
  note: not called: #5 redis INCRBY sync:7 redis://127.0.0.1:0/0

1 failed in 1 s
"""
    shown = re.sub(r"redis://127.0.0.1(:\d+)?/0", "redis://127.0.0.1:0/0", without_times(done.stdout, shop))
    assert shown == expected
    (suite,) = junitparser.JUnitXml.fromfile(str(report))
    (case,) = suite
    (failure,) = case.result
    assert (case.name, failure.message) == ("GET /sync/7", "status: recorded 200, now 500")
    assert "missed: No recorded call matches: httpx GET" in failure.text
    assert "not called: #4" in case.system_out


def test_a_service_that_answers_otherwise_fails_with_the_path(shop: Shop) -> None:
    done = shop.verify("--only", "POST *", CHANGE="answer")
    assert done.returncode == 1
    assert done.stdout.count("body $.found[0]: recorded 'tea', now 'cake'") == 2
    assert "missed" not in done.stdout
    assert "The service printed" not in done.stdout
    ignored = shop.verify("--only", "POST *", "--ignore", "body:$.found,header:x-none", CHANGE="answer")
    assert ignored.returncode == 0, ignored.stdout


def test_shards_are_the_whole_and_their_junit_files_merge(shop: Shop, tmp_path: Path) -> None:
    # One call is another one, so that requests fail, with texts that name their cassettes.
    options = ("--jobs", "8", "--only", "*[357]", "--junit-xml")
    of = _several_shards(shop.cassettes, "*[357]")
    reports = [tmp_path / f"{name}.xml" for name in ("whole", "merged", *range(1, of + 1))]
    whole, merged, *shards = map(str, reports)
    done = shop.verify(*options, whole, CHANGE="call")
    assert done.returncode == 1
    told = [
        shop.verify("--shard", f"{number}/{of}", *options, report, CHANGE="call")
        for number, report in enumerate(shards, 1)
    ]
    assert [each.stderr for each in told] == [""] * of
    heads = [
        re.match(rf"verify: shard \d+/{of}, (\d+) of 6 in |verify: nothing to send ", each.stdout) for each in told
    ]
    assert sum(int(head[1] or 0) for head in heads if head) == 6
    script = Path(sys.executable).with_name("junitparser")
    subprocess.run([script, "merge", *shards, merged], check=True)
    assert _cases(merged) == _cases(whole)
    assert sum(state != "passed" for *_, state in _cases(whole)) == 3
    assert not any(str(tmp_path) in text or str(shop.cassettes) in text for text in map(Path.read_text, reports))


def _several_shards(folder: Path, only: str) -> int:
    """A number of shards of which more than one has recordings. The ids are new in each run: all may be in one."""
    planned = plan(FolderIndex(folder), only)
    return next(
        of
        for of in itertools.count(2)
        if sum(bool(Shard(number, of).among(planned)) for number in range(1, of + 1)) > 1
    )


def _cases(report: str) -> list[tuple[str, str, str]]:
    """The tests of a JUnit file, by their names: what is the same wherever they ran."""
    cases = [case for suite in junitparser.JUnitXml.fromfile(report) for case in suite]
    states = ["\n".join(f"{each.message}\n{each.text}" for each in case.result) or "passed" for case in cases]
    return sorted((case.name, case.classname, state) for case, state in zip(cases, states, strict=True))


def test_a_service_that_does_not_replay_does_not_pass(shop: Shop) -> None:
    # It answers what was recorded, and makes it up: no session of ours is in it.
    code = f"""
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{{"name":"name 1","user":{{"id":1,"name":"Ada"}},"total":1,"people":{EACH}}}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
HTTPServer(("127.0.0.1", {shop.port}), Handler).serve_forever()
"""
    done = verify(shop.cassettes, [sys.executable, "-c", code], "--only", "/sync/1")
    assert done.returncode == 1
    assert "the service did not say that it answered this request from the recording" in done.stdout


def test_a_service_that_dies_at_start_is_told_with_its_output(shop: Shop) -> None:
    began = time.monotonic()
    done = verify(shop.cassettes, [sys.executable, "-c", "import sys; print('no database', flush=True); sys.exit(3)"])
    assert done.returncode == 1
    assert said(done.stderr) == (
        f"timetracer-otel: the service ended with code 3 before it listened at {shop.url}.\n"
        "Its output:\n    no database\n"
        f"    timetracer-otel: Replay of {shop.cassettes}: 0 requests from 0 of {len(NUMBERS)} recordings: "
        "0 hit, 0 missed, 0 unused, 0 live\n"
    )
    assert time.monotonic() - began < 30


def test_a_service_that_never_listens_is_told_and_stopped(shop: Shop, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    # A shell, not a Python: it has told its number long before verify stops waiting.
    command = ["sh", "-c", f"echo $$ >'{pid}'; exec sleep 600"]
    done = verify(shop.cassettes, command, "--start-timeout", "2")
    first, *_ = done.stderr.splitlines()
    assert done.returncode == 1
    assert first.startswith(f"timetracer-otel: the service does not listen at {shop.url} after 2 s.")
    assert not is_running(int(pid.read_text()))


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie, as it may be where nobody waits for orphans."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def said(text: str) -> str:
    """Without what OpenTelemetry says of instrumentations that do not fit the versions installed here."""
    return "".join(line for line in text.splitlines(True) if not line.endswith("so nothing can be instrumented.\n"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_service_is_stopped_however_verify_ends(
    shop: Shop, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    pids = tmp_path / "pids"
    # A service that answers nothing, with a child of its own that would outlive it.
    program = f"""
import os, socket, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
listening = socket.create_server(("127.0.0.1", {shop.port}))
open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child.pid}} ")
time.sleep(600)
"""
    command = [sys.executable, "-c", program]
    with started("verify", str(shop.cassettes), "--jobs", "2", "--", *command, stderr=subprocess.PIPE) as running:
        deadline = time.monotonic() + 120
        while not (pids.exists() and pids.read_text().endswith(" ")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        running.send_signal(number)
        printed, complained = running.communicate(timeout=240)
    assert (running.returncode, complained) == (code, ""), printed
    # The service has ended; a child of its own may need a moment to die of the signal that it was sent.
    left = [*map(int, pids.read_text().split())]
    deadline = time.monotonic() + 60
    while any(map(is_running, left)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [pid for pid in left if is_running(pid)] == []


def test_the_port_of_somebody_else_is_not_asked(shop: Shop) -> None:
    with Loopback() as other:
        done = verify(shop.cassettes, shop.command, "--url", other.url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"timetracer-otel: --url: something listens at {other.url} already. Stop it, or say where CMD listens.\n"
    )
    assert not other.hits


def test_the_bar_moves_on_a_terminal(shop: Shop) -> None:
    import fcntl
    import pty
    import termios

    leader, follower = pty.openpty()
    # A terminal without a size shows nothing.
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    seen: list[bytes] = []

    def read() -> None:
        while True:
            try:
                seen.append(os.read(leader, 4096))
            except OSError:  # how Linux tells of the end of a terminal
                return

    reader = threading.Thread(target=read)
    reader.start()
    arguments = ["verify", str(shop.cassettes), "--only", "POST *", "--", *shop.command]
    with started(*arguments, stderr=follower, TERM="xterm") as running:
        os.close(follower)
        printed, _ = running.communicate(timeout=240)
    reader.join(60)
    os.close(leader)
    assert running.returncode == 0, printed
    assert b"2/2" in b"".join(seen)
    assert "2/2" not in printed


def test_requests_sent_at_once_without_names_find_their_own_cassettes(shop: Shop, tmp_path: Path) -> None:
    with started("replay", str(shop.cassettes), "--", *shop.command) as service:
        try:
            deadline = time.monotonic() + 120
            while not shop.listens() and time.monotonic() < deadline:
                time.sleep(0.05)
            with ThreadPoolExecutor(16) as pool:
                answers = list(pool.map(lambda request: send(shop.port, request), NUMBERS * 2))
        finally:
            service.send_signal(signal.SIGINT)
            printed, _ = service.communicate(timeout=240)
    assert [status for status, _ in answers] == [200] * len(answers), printed
    for request, (_, body) in zip(NUMBERS * 2, answers, strict=True):
        number = request.target.rpartition("/")[2]
        if request.method == "GET":
            assert body.startswith(b'{"name":"name %b","user":{"id":%b,' % (number.encode(), number.encode()))
        else:
            assert body.startswith(b'{"of":%b,' % (request.body or b"")[7:8])
