"""A replay of a whole process, in every record mode: what it answers, leaves behind, and says at its end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples import drawn
from tests.loopback import Loopback
from tests.process._programs import forks, instrumented
from tests.sample_cassettes import checkout
from timetracer_otel.cassette import read_cassette, save_cassette

APP = """
    import json, logging, sys
    import httpx
    from opentelemetry import trace

    with trace.get_tracer("app").start_as_current_span("GET /x", kind=trace.SpanKind.SERVER):
        print(json.dumps([httpx.get(f"{base}/users/{{n}}").json()["id"] for n in {numbers}]))
"""

SWALLOWS = """
import socket
import httpx
from timetracer_otel.calls.registry import load_plugins
from timetracer_otel.process.runtime import runtime

for plugin in load_plugins():
    plugin.activate()
runtime().start_from_environment()
for connect in (lambda: httpx.get("http://127.0.0.1:9/nowhere"), lambda: socket.create_connection(("127.0.0.1", 9))):
    try:
        connect()
    except Exception as error:
        print(type(error).__name__)
"""


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


_AT_EXIT = re.compile(
    r"Exception ignored in atexit callback: <function shutdown .*?"
    r"RuntimeError: can't create new thread at interpreter shutdown\n",
    re.DOTALL,
)
"""What Python 3.12 says of OpenTelemetry's logging handler, also without us: it starts a thread at the end."""


class Program:
    """The same program again and again, with one cassette."""

    def __init__(self, upstream: Loopback, path: Path) -> None:
        self.upstream = upstream
        self.path = path

    def run(self, mode: str, *numbers: int, prologue: str = "") -> tuple[list[int], str]:
        """What the program printed, and what we logged."""
        done = instrumented(
            prologue + APP.format(base=self.upstream.url, numbers=list(numbers)),
            TIMETRACER_MODE="replay",
            TIMETRACER_CASSETTE=str(self.path),
            TIMETRACER_RECORD_MODE=mode,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), _AT_EXIT.sub("", done.stderr)

    def says(self, *lines: str) -> str:
        """The account of a replay: counts, and what stands below."""
        return "\n".join((f"timetracer-otel: Replay of {self.path}: {lines[0]}", *lines[1:], ""))

    def users(self) -> list[str]:
        """What stands in the cassette."""
        events = read_cassette(self.path).events
        assert [event.span.name for event in events if event.span] == ["GET"] * len(events)
        return [(event.signature.url or "").rpartition("/")[2] for event in events]


def test_once_records_the_whole_process_and_then_replays(upstream: Loopback, tmp_path: Path) -> None:
    program = Program(upstream, tmp_path / "deep" / "x.msgpack")
    recorded = program.run("once", 1, 2)
    assert recorded == ([1, 2], program.says("0 hit, 0 missed, 0 unused, 0 live, 2 recorded"))
    assert program.users() == ["1", "2"]
    upstream.stop()
    assert program.run("once", 2, 1) == ([2, 1], program.says("2 hit, 0 missed, 0 unused, 0 live"))
    unused = f"  #2 httpx GET {upstream.url}/users/2"
    assert program.run("none", 1) == ([1], program.says("1 hit, 0 missed, 1 unused, 0 live", "unused:", unused))
    assert list(program.path.parent.iterdir()) == [program.path]


def test_new_episodes_are_added_at_the_end_of_the_process(upstream: Loopback, tmp_path: Path) -> None:
    program = Program(upstream, tmp_path / "x.msgpack")
    program.run("new_episodes", 1)
    assert program.run("new_episodes", 1, 2, 3) == (
        [1, 2, 3],
        program.says("1 hit, 0 missed, 0 unused, 0 live, 2 recorded"),
    )
    assert upstream.hits == {"/users/1": 1, "/users/2": 1, "/users/3": 1}
    assert program.users() == ["1", "2", "3"]
    upstream.stop()
    for mode in ("new_episodes", "none"):
        assert program.run(mode, 3, 2, 1) == ([3, 2, 1], program.says("3 hit, 0 missed, 0 unused, 0 live"))


def test_all_records_anew(upstream: Loopback, tmp_path: Path) -> None:
    program = Program(upstream, tmp_path / "x.msgpack")
    for number in (1, 2):
        assert program.run("all", number)[0] == [number]
        assert program.users() == [str(number)]


def test_the_account_goes_where_the_app_logs(upstream: Loopback, tmp_path: Path) -> None:
    program = Program(upstream, tmp_path / "x.msgpack")
    prologue = "\n    import logging; logging.basicConfig(format='%(levelname)s %(message)s')"
    _, said = program.run("once", 1, prologue=prologue)
    assert said.endswith("INFO " + program.says("0 hit, 0 missed, 0 unused, 0 live, 1 recorded"))


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("mode", "parent_calls"),
    drawn([[(mode, calls) for mode in ("once", "all")] for calls in (False, True)], "starts itself again"),
)
def test_a_program_that_starts_itself_again_keeps_what_each_process_recorded(
    upstream: Loopback, tmp_path: Path, mode: str, parent_calls: bool
) -> None:
    path = tmp_path / "x.msgpack"
    done = instrumented(
        f"""
        import os, subprocess, sys
        import httpx
        if "STARTED" in os.environ:
            print(httpx.get("{upstream.url}/users/1").json()["id"], flush=True)
        else:
            if {parent_calls}:
                httpx.get("{upstream.url}/users/2")
            # Older releases leave a child uninstrumented, unless it is told.
            command = [os.path.join(os.path.dirname(sys.executable), "opentelemetry-instrument"), sys.executable]
            subprocess.run([*command, *sys.orig_argv[1:]], env={{**os.environ, "STARTED": "1"}}, check=True)
        """,
        TIMETRACER_MODE="replay",
        TIMETRACER_CASSETTE=str(path),
        TIMETRACER_RECORD_MODE=mode,
    )
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr
    users = sorted([event.signature.url for event in read_cassette(stored).events] for stored in tmp_path.iterdir())
    assert users == [[f"{upstream.url}/users/{user}"] for user in ((1, 2) if parent_calls else (1,))]
    assert [event.signature.url for event in read_cassette(path).events] == users[0]
    assert done.stderr.count(f"{path} was written by another process meanwhile.") == parent_calls


def test_a_process_that_calls_nothing_gives_way_to_a_later_one(upstream: Loopback, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    done = instrumented(
        f"""
        import os, subprocess, sys
        import httpx
        if "STARTED" not in os.environ:
            # Older releases leave a child uninstrumented, unless it is told.
            command = [os.path.join(os.path.dirname(sys.executable), "opentelemetry-instrument"), sys.executable]
            subprocess.run([*command, *sys.orig_argv[1:]], env={{**os.environ, "STARTED": "1"}}, check=True)
            httpx.get("{upstream.url}/users/1")
        """,
        TIMETRACER_MODE="replay",
        TIMETRACER_CASSETTE=str(path),
        TIMETRACER_RECORD_MODE="once",
    )
    assert done.returncode == 0, done.stderr
    assert [event.signature.url for event in read_cassette(path).events] == [f"{upstream.url}/users/1"]
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_said_at_the_start(upstream: Loopback, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    done = instrumented(
        APP.format(base=upstream.url, numbers=[1]),
        TIMETRACER_MODE="replay",
        TIMETRACER_CASSETTE=str(tmp_path / "file" / "x.msgpack"),
        TIMETRACER_RECORD_MODE="once",
    )
    assert done.returncode == 1
    assert "x.msgpack: cannot be written" in done.stderr
    assert "ReplayMismatchError: This replay could not start" in done.stderr
    assert not upstream.hits


def test_a_forked_child_does_not_write_its_parents_cassette(upstream: Loopback, tmp_path: Path) -> None:
    path = tmp_path / "x.msgpack"
    done = instrumented(
        forks(upstream.url),
        TIMETRACER_MODE="replay",
        TIMETRACER_CASSETTE=str(path),
        TIMETRACER_RECORD_MODE="once",
        PYTHONWARNINGS="ignore::DeprecationWarning",
    )
    assert done.returncode == 0, done.stderr
    urls = [event.signature.url for event in read_cassette(path).events]
    assert urls == [f"{upstream.url}/users/1", f"{upstream.url}/users/2"]
    assert done.stderr.count("whose cassette it does not write: new calls made in it are not kept.") == 1


@pytest.mark.parametrize("blocked", [False, True], ids=["live", "refuse"])
def test_a_process_says_what_was_missed(tmp_path: Path, blocked: bool) -> None:
    path = tmp_path / "checkout.msgpack"
    save_cassette(checkout(), path)
    settings = {"MODE": "replay", "CASSETTE": str(path)}
    if not blocked:
        settings["UNCAPTURED"] = "live"
    names = {f"TIMETRACER_{name}": value for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWS], env={**os.environ, **names}, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [
        "ReplayMismatchError",
        "NetworkBlockedError" if blocked else "ConnectionRefusedError",
    ]
    more = "0 live, 1 blocked" if blocked else "1 live (socket)"
    lines = done.stderr.splitlines()
    assert lines[0] == f"timetracer-otel: Replay of {path}: 0 hit, 1 missed, 4 unused, {more}"
    assert lines[1:3] == ["missed:", "  No recorded call matches: httpx GET http://127.0.0.1:9/nowhere"]
    assert ("blocked:" in lines) is blocked
    if not blocked:
        assert lines[-2:] == ["live:", "  socket: 1"]
        del lines[-2:]
    assert lines[-5:-3] == ["unused:", "  #1 httpx GET http://127.0.0.1:8001/users/7"]


OTEL_LOGGING = """
    import logging, sys
    if not logging.root.handlers:  # in 0.61b0 the SDK had the handler, where the environment asked for it
        from opentelemetry.sdk._logs import LoggingHandler
        logging.root.addHandler(LoggingHandler())
    sys.stderr.write(f"{[type(handler).__name__ for handler in logging.root.handlers]}\\n")
"""


def test_the_closing_line_is_read_where_opentelemetry_takes_the_log_records(
    upstream: Loopback, tmp_path: Path
) -> None:
    """OpenTelemetry's logging instrumentation puts a handler on the root logger, which writes nothing."""
    program = Program(upstream, tmp_path / "x.msgpack")
    theirs = "['LoggingHandler']\n"
    recorded = program.run("once", 1, prologue=OTEL_LOGGING)
    assert recorded == ([1], theirs + program.says("0 hit, 0 missed, 0 unused, 0 live, 1 recorded"))
    upstream.stop()
    replayed = program.run("none", 1, prologue=OTEL_LOGGING)
    assert replayed == ([1], theirs + program.says("1 hit, 0 missed, 0 unused, 0 live"))
    said = program.run("none", 1, prologue="\n    import logging; logging.basicConfig(level='INFO')")[1]
    assert said.count("1 hit, 0 missed, 0 unused, 0 live") == 1
