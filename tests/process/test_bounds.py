"""A recording that reaches a limit goes on without what is beyond; says how much that was; and so does its replay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import pytest
import redis
from sqlalchemy import create_engine, text

from tests.loopback import Loopback
from tests.process._programs import cassettes, instrumented
from tests.servers.redis import RedisServer
from timetracer_otel import ReplayMismatchError, counters, record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import TraceMode
from timetracer_otel.incoming import wsgi
from timetracer_otel.process.runtime import runtime


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def test_calls_over_the_limit_are_made_and_counted_and_a_miss_says_so(upstream: Loopback, tmp_path: Path) -> None:
    def ask(user: int) -> int:
        found: int = httpx.get(f"{upstream.url}/users/{user}").json()["id"]
        return found

    file = tmp_path / "calls.msgpack"
    before = counters().events_dropped.get("events over the limit", 0)
    with record(file, max_events=2):
        assert [ask(user) for user in range(5)] == list(range(5))
    cassette = read_cassette(file)
    assert [event.signature.url for event in cassette.events] == [f"{upstream.url}/users/{n}" for n in (0, 1)]
    assert cassette.stats.dropped == {"events over the limit": 3}
    assert counters().events_dropped["events over the limit"] == before + 3
    with replay(file, fail_on_miss=False):
        assert [ask(0), ask(1)] == [0, 1]
        with pytest.raises(ReplayMismatchError, match=r"among what the recording lost \(3 events over the limit\)"):
            ask(2)


def test_bodies_over_the_limit_are_not_kept_and_no_call_behind_them(upstream: Loopback, tmp_path: Path) -> None:
    file = tmp_path / "bodies.msgpack"
    sent = [b"x" * 300, b"y" * 900, b"z"]
    with record(file, max_session_kb=2):
        assert [httpx.post(f"{upstream.url}/echo", content=body).content for body in sent] == sent
    cassette = read_cassette(file)
    whole, cut = cassette.events
    assert (whole.not_replayable, whole.result.body and whole.result.body.data) == (None, sent[0])
    assert "TIMETRACER_MAX_SESSION_KB=2" in (cut.not_replayable or "")
    assert cassette.stats.dropped == {"bodies over the limit": 1, "calls behind the limit of bodies": 1}


_FULL = """
    import os
    import httpx
    for body in (b"x" * 5000, b"y", b"z"):
        assert httpx.post(os.environ["UPSTREAM"] + "/echo", content=body).content == body
"""


@pytest.mark.parametrize("of_process", [True, False], ids=["a process", "a block"])
def test_a_library_whose_calls_had_no_room_has_a_plugin_all_the_same(
    upstream: Loopback, tmp_path: Path, of_process: bool
) -> None:
    """Their spans are recorded. It was said of them that no plugin captures their library."""
    file = str(tmp_path / "full.msgpack")
    code, settings = _FULL, {"TIMETRACER_MAX_SESSION_KB": "4"}
    if of_process:
        settings |= {"TIMETRACER_MODE": "replay", "TIMETRACER_RECORD_MODE": "once", "TIMETRACER_CASSETTE": file}
    else:
        code += f"    from timetracer_otel import record\n    with record({file!r}):\n" + "".join(
            f"    {line}\n" for line in _FULL.splitlines()[3:]
        )
    done = instrumented(code, UPSTREAM=upstream.url, **settings)
    assert done.returncode == 0, done.stderr
    cassette = read_cassette(file)
    cut, *others = (event.not_replayable or "" for event in cassette.events)
    assert "TIMETRACER_MAX_SESSION_KB=4" in cut
    assert others == ["only observed: the recording has no answer of this call of httpx"] * 2
    assert cassette.stats.dropped["calls behind the limit of bodies"] == 2
    assert cassette.stats.without_plugin == {}
    assert "no replay can answer" not in done.stderr


def test_rows_over_the_limit_are_fetched_and_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "rows.msgpack"
    engine = create_engine("sqlite://")
    numbers = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i FROM n")
    with record(file, max_session_kb=4), engine.connect() as connection:
        result = connection.execution_options(yield_per=10).execute(numbers)
        assert [row.i for row in result] == list(range(1, 501))
    engine.dispose()
    cassette = read_cassette(file)
    (select,) = (event for event in cassette.events if "rows" in (event.result.reply or {}))
    assert "TIMETRACER_MAX_SESSION_KB=4" in (select.not_replayable or "")
    assert select.result.reply["rows"] == []
    assert cassette.stats.dropped["bodies over the limit"] == 1


def test_replies_over_the_limit_reach_the_app_and_are_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "replies.msgpack"
    with RedisServer(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        client.set("long", b"x" * 3000)
        with record(file, max_session_kb=2):
            assert client.get("long") == b"x" * 3000
            assert client.get("long") == b"x" * 3000
    cassette = read_cassette(file)
    assert "TIMETRACER_MAX_SESSION_KB=2" in (cassette.events[-1].not_replayable or "")
    assert cassette.stats.dropped == {"bodies over the limit": 1, "calls behind the limit of bodies": 1}


def _app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return iter([b"x"] * int(environ["QUERY_STRING"] or 1))


def _serve(path: str, query: str = "") -> Iterable[bytes]:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": query}
    return wsgi.serve(_app, environ, lambda *_: None, "mine", lambda environ: None)


def _close(response: Iterable[bytes]) -> bytes:
    body = b"".join(response)
    response.close()  # type: ignore[attr-defined]
    return body


def test_requests_over_the_limit_are_served_and_counted(tmp_path: Path) -> None:
    runtime().start_recording(TraceConfig(mode=TraceMode.RECORD, cassette_dir=str(tmp_path), max_sessions=2))
    reason = "too many recordings at once"
    before = counters().cassettes_dropped.get(reason, 0)
    try:
        under_way = [_serve("/1"), _serve("/2")]
        assert [_close(_serve("/3")), _close(_serve("/4"))] == [b"x", b"x"]
        assert counters().sessions_open == 2
        for response in under_way:
            _close(response)
        runtime().flush()
        _close(_serve("/5"))
    finally:
        runtime().stop()
    assert {cassette.request.path for cassette in cassettes(tmp_path)} == {"/1", "/2", "/5"}
    assert counters().cassettes_dropped[reason] == before + 2
    assert counters().sessions_open == 0


def test_a_stream_of_tiny_pieces_is_not_kept_beyond_the_limit(tmp_path: Path) -> None:
    runtime().start_recording(TraceConfig(mode=TraceMode.RECORD, cassette_dir=str(tmp_path), max_session_kb=100))
    try:
        assert _close(_serve("/", "5000")) == b"x" * 5000
    finally:
        runtime().stop()
    (cassette,) = cassettes(tmp_path)
    assert cassette.response.body is not None
    assert (cassette.response.body.captured, cassette.response.body.size_bytes) == (False, 5000)
    assert cassette.stats.dropped == {"bodies over the limit": 1}


@pytest.mark.parametrize("journal_s", [0.0, 0.1])
def test_a_request_that_is_under_way_when_recording_stops_is_kept_as_far_as_it_came_or_counted(
    tmp_path: Path, journal_s: float
) -> None:
    reason = "recording was switched off before the request ended"
    before = counters()
    config = TraceConfig(mode=TraceMode.RECORD, cassette_dir=str(tmp_path), journal_s=journal_s)
    runtime().start_recording(config)
    response = _serve("/1")
    runtime().stop()
    assert _close(response) == b"x"
    now = counters()
    found = [(cassette.request.path, cassette.complete) for cassette in cassettes(tmp_path)]
    assert found == ([("/1", False)] if journal_s else [])
    assert now.cassettes_cut - before.cassettes_cut == len(found)
    assert now.cassettes_dropped.get(reason, 0) - before.cassettes_dropped.get(reason, 0) == 1 - len(found)
    assert now.sessions_open == 0
