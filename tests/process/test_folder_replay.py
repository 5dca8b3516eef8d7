"""What a process does that replays a folder: jobs, messages, calls outside any request, and what has no recording."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.loopback import Loopback
from tests.process._programs import cassettes, instrumented
from tests.sample_cassettes import body, cassette, http_event
from timetracer_otel import ReplayMismatchError, replay
from timetracer_otel.base import faults
from timetracer_otel.cassette import save_cassette
from timetracer_otel.incoming.messages import IncomingMessage, in_message, in_task
from timetracer_otel.process.folder_replay import FolderReplay
from timetracer_otel.types import AppliedPolicies, HeaderMap, RequestSnapshot, SessionMeta

WORK = """
    import json, sys, httpx
    from opentelemetry import baggage, context, trace
    upstream = {upstream!r}
    tracer = trace.get_tracer("my.app")
    def ask(name):
        try:
            print(name, httpx.get(f"{{upstream}}/users/{{name}}").json()["id"])
        except Exception as error:
            print(type(error).__name__, str(error).splitlines()[0])
    def job(name, user, kind=trace.SpanKind.INTERNAL, context=None):
        with tracer.start_as_current_span(name, kind=kind, context=context):
            with tracer.start_as_current_span("inner"):
                ask(user)
"""


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


class Folder:
    """A folder of cassettes whose only call asks the upstream for a user."""

    def __init__(self, path: Path, upstream: str) -> None:
        self.path = path
        self.upstream = upstream
        path.mkdir()

    def add(self, name: str, request: RequestSnapshot, *users: int, **changes: Any) -> str:
        events = [
            http_event(
                eid,
                f"{self.upstream}/users/{user}",
                response=body(json.dumps({"id": user, "name": "Ada"}).encode()),
            )
            for eid, user in enumerate(users, 1)
        ]
        count = len(list(self.path.iterdir()))
        meta = SessionMeta(id=f"{count:08d}-x", recorded_at=f"2026-03-01T12:00:{count:02d}+00:00", service="", env="")
        values = {"session": meta, "request": request, **changes}
        return save_cassette(cassette(events, **values), self.path / f"{name}.msgpack")


@pytest.fixture
def folder(tmp_path: Path, upstream: Loopback) -> Folder:
    upstream.stop()
    return Folder(tmp_path / "cassettes", upstream.url)


def run(code: str, folder: Folder, **environment: str) -> tuple[list[str], list[str]]:
    """What a program printed, and what we logged."""
    settings = {"TIMETRACER_MODE": "replay", "TIMETRACER_CASSETTE": str(folder.path)}
    done = instrumented(WORK.format(upstream=folder.upstream) + code, **{**settings, **environment})
    assert done.returncode == 0, done.stderr
    logged = [line for line in done.stderr.splitlines() if "so nothing can be instrumented" not in line]
    return done.stdout.splitlines(), logged


OUTSIDE = RequestSnapshot("", "")


def test_jobs_and_messages_are_chosen_by_name_and_calls_outside_have_their_own(folder: Folder) -> None:
    folder.add("nightly", RequestSnapshot("INTERNAL", "nightly"), 1)
    folder.add("hourly", RequestSnapshot("INTERNAL", "hourly"), 2)
    folder.add("message", RequestSnapshot("CONSUMER", "orders process"), 3)
    folder.add("worker-1", OUTSIDE, 4)
    folder.add("worker-2", OUTSIDE, 5)
    code = """
    ask(5)
    job("hourly", 2)
    job("orders process", 3, trace.SpanKind.CONSUMER)
    job("nightly", 1)
    ask(4)
    """
    printed, logged = run(code, folder, TIMETRACER_LOG_LEVEL="debug")
    assert printed == ["5 5", "2 2", "3 3", "1 1", "4 4"]
    sums = "3 requests from 3 of 3 recordings: 5 hit, 0 missed, 0 unused, 0 live"
    assert logged == [f"timetracer-otel: Replay of {folder.path}: {sums}"]
    _, silenced = run(code, folder, TIMETRACER_LOG_LEVEL="warning")
    assert silenced == []


def test_a_job_that_misses_is_told_of_at_the_end(folder: Folder) -> None:
    folder.add("nightly", RequestSnapshot("INTERNAL", "nightly"), 1)
    folder.add("hourly", RequestSnapshot("INTERNAL", "hourly"), 2)
    printed, logged = run("\n    job('nightly', 2); job('nihgtly', 1); ask(7)", folder)
    assert printed == [
        f"ReplayMismatchError No recorded call matches: httpx GET {folder.upstream}/users/2",
        (
            "ReplayMismatchError No recording fits INTERNAL nihgtly, so "
            f"httpx GET {folder.upstream}/users/1 is not answered: "
            f"none in {folder.path} has its method and path, nor a route that fits"
        ),
        f"ReplayMismatchError No recorded call matches: httpx GET {folder.upstream}/users/7",
    ]
    assert logged == [
        (
            f"timetracer-otel: Replay of {folder.path}: 2 requests from 1 of 2 recordings, 1 without a recording: "
            "0 hit, 3 missed, 1 unused, 0 live"
        ),
        (
            "timetracer-otel: missed in INTERNAL nightly: No recorded call matches: "
            f"httpx GET {folder.upstream}/users/2"
        ),
        "  nearest recorded calls:",
        f"    #1 GET {folder.upstream}/users/1",
        f"        url: recorded '{folder.upstream}/users/1', now '{folder.upstream}/users/2'",
        (
            "  what to do: undo the change in the call, or record again. "
            "To call for real, name the library in TIMETRACER_LIVE_PLUGINS."
        ),
        f"  cassette: {folder.path}/nightly.msgpack",
        "  recorded request: INTERNAL nightly",
        (
            "timetracer-otel: missed in INTERNAL nihgtly: No recording fits INTERNAL nihgtly, so "
            f"httpx GET {folder.upstream}/users/1 is not answered: "
            f"none in {folder.path} has its method and path, nor a route that fits"
        ),
        "  nearest recorded requests:",
        "    INTERNAL nightly (nightly.msgpack)",
        "        path: recorded 'nightly', now 'nihgtly'",
        "    INTERNAL hourly (hourly.msgpack)",
        "        path: recorded 'hourly', now 'nihgtly'",
        (
            "  what to do: record the request, or name the cassette to answer it by baggage: "
            "timetracer.cassette=<session id>."
        ),
        (
            "timetracer-otel: missed in outside any request: No recorded call matches: "
            f"httpx GET {folder.upstream}/users/7"
        ),
        (
            "  what to do: the cassette holds nothing like it: record again, or name the library in "
            "TIMETRACER_LIVE_PLUGINS."
        ),
        f"  cassette: {folder.path}",
    ]


def test_baggage_names_the_cassette_wherever_the_context_comes_from(folder: Folder) -> None:
    folder.add("one", RequestSnapshot("INTERNAL", "job"), 1)
    folder.add("two", RequestSnapshot("INTERNAL", "job"), 2)
    folder.add("three", RequestSnapshot("INTERNAL", "job"), 3)
    code = """
    given = baggage.set_baggage("timetracer.cassette", "three.msgpack")
    job("job", 3, context=given)
    token = context.attach(baggage.set_baggage("timetracer.cassette", "00000001"))
    job("job", 2)
    context.detach(token)
    job("job", 1)
    job("job", 4, context=baggage.set_baggage("timetracer.cassette", "four"))
    """
    printed, _ = run(code, folder)
    assert printed[:3] == ["3 3", "2 2", "1 1"]
    assert printed[3].startswith(f"ReplayMismatchError There is no cassette 'four' in {folder.path}, so httpx GET")


def test_a_broken_cassette_is_one_line_and_left_out(folder: Folder) -> None:
    folder.add("job", RequestSnapshot("INTERNAL", "job"), 1)
    (folder.path / "broken.msgpack").write_bytes(b"\x00garbage")
    printed, logged = run("\n    job('job', 1)", folder)
    assert printed == ["1 1"]
    line, _ = logged
    assert line.startswith(f"timetracer-otel: left out: {folder.path}/broken.msgpack is not a cassette")


def test_recordings_of_other_redaction_rules_are_left_out_of_what_is_joined(folder: Folder) -> None:
    folder.add("worker-1", OUTSIDE, 1, policies=AppliedPolicies(redaction_rules=["name:ssn"]))
    folder.add("worker-2", OUTSIDE, 2)
    printed, logged = run("\n    ask(2)", folder)
    assert printed == ["2 2"]
    assert logged[:-1] == [
        (
            f"timetracer-otel: left out: Cassette {folder.path}/worker-1.msgpack was redacted by other rules than "
            "later ones."
        )
    ]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"TIMETRACER_CASSETTE": "{tmp}/none"}, "Cassette not found: {tmp}/none."),
        ({"TIMETRACER_CASSETTE": "{tmp}/empty"}, "There is no cassette in {tmp}/empty."),
        ({"TIMETRACER_RECORD_MODE": "once"}, "TIMETRACER_RECORD_MODE: 'once' is not allowed with a folder."),
    ],
)
def test_a_folder_that_cannot_be_replayed_refuses_every_call(
    folder: Folder, tmp_path: Path, settings: dict[str, str], line: str
) -> None:
    folder.add("job", RequestSnapshot("INTERNAL", "job"), 1)
    (tmp_path / "empty").mkdir()
    printed, logged = run(
        "\n    job('job', 1)", folder, **{name: value.format(tmp=tmp_path) for name, value in settings.items()}
    )
    assert printed[0].startswith("ReplayMismatchError This replay could not start, so httpx GET")
    assert logged[0].startswith(f"timetracer-otel: {line.format(tmp=tmp_path)}")


@pytest.mark.parametrize(
    ("settings", "seen", "account"),
    [
        ({}, "NetworkBlockedError", "0 live, 2 blocked"),
        ({"TIMETRACER_LIVE_HOSTS": "localhost:9"}, "ConnectionRefusedError", "2 live (socket)"),
    ],
    ids=["refused", "let out"],
)
def test_what_no_plugin_captures_is_refused_in_a_request_and_outside(
    folder: Folder, settings: dict[str, str], seen: str, account: str
) -> None:
    folder.add("job", RequestSnapshot("INTERNAL", "job"), 1)
    code = """
    import socket
    def connect():
        try:
            socket.create_connection(("127.0.0.1", 9)).close()
        except Exception as error:
            print(type(error).__name__)
    connect()
    with tracer.start_as_current_span("job"):
        ask(1)
        connect()
    """
    printed, logged = run(code, folder, **settings)
    assert printed == [seen, "1 1", seen]
    assert logged[0].endswith(f"1 hit, 0 missed, 0 unused, {account}")


def test_a_request_that_only_a_span_knows_is_chosen_by_what_the_span_says(folder: Folder) -> None:
    folder.add("one", RequestSnapshot("GET", "/items", query={"page": "1"}, headers=HeaderMap([(b"a", b"b")])), 1)
    folder.add("two", RequestSnapshot("GET", "/items", query={"page": "2"}, headers=HeaderMap([(b"a", b"b")])), 2)
    code = """
    attributes = {"http.request.method": "GET", "url.path": "/items", "url.query": "page=2"}
    with tracer.start_as_current_span("GET", kind=trace.SpanKind.SERVER, attributes=attributes):
        ask(2)
    """
    printed, logged = run(code, folder)
    assert printed == ["2 2"]
    assert [line.rpartition(": ")[2] for line in logged] == ["1 hit, 0 missed, 0 unused, 0 live"]


def test_what_a_span_says_after_its_start_does_not_count(upstream: Loopback, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "cassettes", upstream.url)
    code = """
    server, at_start = trace.SpanKind.SERVER, {"http.request.method": "GET", "url.path": "/at/start"}
    with tracer.start_as_current_span("job", kind=trace.SpanKind.CONSUMER) as span:
        span.update_name("job of customer 1")
        ask(1)
    with tracer.start_as_current_span("HTTP", kind=server) as span:
        span.set_attributes({"http.method": "GET", "http.target": "/custom?x=1", "http.status_code": 201})
        ask(2)
    with tracer.start_as_current_span("GET", kind=server, attributes=at_start) as span:
        span.update_name("GET /at/{when}")
        span.set_attributes({"http.route": "/at/{when}", "url.path": "/later", "http.response.status_code": 202})
        ask(3)
    """
    recorded, logged = run(code, folder, TIMETRACER_MODE="record", TIMETRACER_DIR=str(folder.path))
    assert (recorded, logged) == (["1 1", "2 2", "3 3"], [])
    upstream.stop()
    found = {stored.request.path: stored for stored in cassettes(folder.path)}
    assert sorted(found) == ["/at/start", "HTTP", "job"]
    assert (found["/at/start"].request.route_template, found["/at/start"].response.status) == ("/at/{when}", 202)
    assert found["HTTP"].response.status == 201
    replayed, _ = run(code, folder)
    assert replayed == recorded


def test_a_forked_child_answers_from_the_same_folder_and_tells_its_own_sums(folder: Folder) -> None:
    folder.add("one", RequestSnapshot("INTERNAL", "job"), 1)
    folder.add("two", RequestSnapshot("INTERNAL", "other"), 2)
    code = """
    import os
    job("job", 1)
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        job("other", 3)
        sys.stdout.flush()
        sys.exit(0)
    os.waitpid(pid, 0)
    """
    printed, logged = run(code, folder)
    assert printed[-1].startswith("ReplayMismatchError No recorded call matches")
    child, parent = (line for line in logged if ": Replay of " in line)
    assert child.endswith("1 requests from 2 of 2 recordings: 0 hit, 1 missed, 1 unused, 0 live")
    assert parent.endswith("1 requests from 1 of 2 recordings: 1 hit, 0 missed, 0 unused, 0 live")


def test_a_message_whose_session_cannot_begin_reaches_the_app_and_its_calls_are_refused(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    async def answer(user: int) -> Any:
        try:
            return httpx.get(f"{folder.upstream}/users/{user}").json()["id"]
        except ReplayMismatchError as error:
            return error.message

    folder.add("one", RequestSnapshot("MESSAGE", "orders"), 1)
    folder.add("outside", OUTSIDE, 1)
    with replay(folder.path, fail_on_miss=False, fail_on_unused=False) as session:
        message = IncomingMessage("aio_pika", "orders")
        handle = in_task(answer, partial(in_message, message_of=lambda _: message))
        assert asyncio.run(handle(1)) == 1
        monkeypatch.setattr(faults, "raise_faults", False)
        monkeypatch.setattr(FolderReplay, "job_began", fail)
        # What the process was answered outside any message would be the answer of another call.
        assert asyncio.run(handle(1)).startswith(
            "A fault of ours has kept the session of this message from beginning"
        )
        assert len(session.verdict().misses) == 1
