"""Requests as the middlewares state them, under the replay of a folder: sessions, and what is said of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sample_cassettes import cassette, http_event
from timetracer_otel.cassette import save_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import EventType
from timetracer_otel.context import get_current_session
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.incoming.scope import IncomingRequest, RequestScope
from timetracer_otel.process.folder_replay import FolderReplay
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import Call, HeaderMap, RequestSnapshot

CALL = Call("httpx", EventType.HTTP_CLIENT, "GET", "http://up/a")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[FolderReplay]:
    (tmp_path / "cassettes").mkdir()
    for name, query in (("one", "1"), ("two", "2")):
        request = RequestSnapshot("GET", "/items", headers=HeaderMap([(b"host", b"a")]), query={"page": query})
        save_cassette(
            cassette([http_event(1, "http://up/a")], request=request), tmp_path / f"cassettes/{name}.msgpack"
        )
    made = FolderReplay(
        TraceConfig(
            mode="replay",  # type: ignore[arg-type]
            cassette_path=str(tmp_path / "cassettes"),
            replay_report=str(tmp_path / "report.jsonl"),
        )
    )
    yield made
    made.close()


def began(folder: FolderReplay, target: str, *headers: tuple[bytes, bytes]) -> tuple[RequestScope, ReplaySession]:
    incoming = IncomingRequest("GET", target.partition("?")[0], target, ((b"host", b"a"), *headers))
    scope = folder.request_began(incoming, None)
    assert scope is not None
    assert isinstance(scope.session, ReplaySession)
    return scope, scope.session


def report(folder: FolderReplay) -> list[dict[str, Any]]:
    path = Path(folder.index.directory).with_name("report.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_requests_at_once_have_sessions_of_their_own(folder: FolderReplay) -> None:
    (first, one), (second, two) = began(folder, "/items?page=1"), began(folder, "/items?page=2")
    with first:
        assert get_current_session() is one
        with second:
            assert get_current_session() is two
        assert get_current_session() is one
    assert [Path(session.cassette_path).stem for session in (one, two)] == ["one", "two"]
    assert one.match(CALL).eid == two.match(CALL).eid == 1
    first.end()
    second.end()
    assert [(line["state"], line.get("hits")) for line in report(folder)] == [
        ("began", None),
        ("began", None),
        ("ended", 1),
        ("ended", 1),
    ]


@pytest.mark.parametrize(
    "value", [b"timetracer.cassette=two.msgpack", b"user=7, timetracer.cassette=two.msgpack;x=1,a=b"]
)
def test_the_baggage_header_counts_where_nobody_has_read_it(folder: FolderReplay, value: bytes) -> None:
    _, session = began(folder, "/items?page=1", (b"Baggage", value))
    assert Path(session.cassette_path).stem == "two"


def test_a_request_that_differs_is_named_in_the_error(folder: FolderReplay) -> None:
    _, session = began(folder, "/items?page=3&token=geheim")
    with pytest.raises(ReplayMismatchError) as caught:
        session.match(Call("httpx", EventType.HTTP_CLIENT, "GET", "http://up/b"))
    assert (
        "recorded request: GET /items, now GET /items?page=3&token=[REDACTED]" in str(caught.value).splitlines()[-1]
    )


def test_what_outlives_its_request_is_still_answered_and_told_of(
    folder: FolderReplay, caplog: pytest.LogCaptureFixture
) -> None:
    scope, session = began(folder, "/items?page=1")
    with scope:
        pass
    scope.end()
    assert session.match(CALL).eid == 1
    with pytest.raises(ReplayMismatchError):
        session.match(CALL)
    last = report(folder)[-1]
    assert (last["request"], last["state"], Path(last["cassette"]).stem) == ("GET /items", "late", "one")
    assert last["misses"][0].startswith("No recorded answer is left for this call: httpx GET http://up/a")
    caplog.set_level(logging.INFO, "timetracer_otel")
    folder.finish()
    assert caplog.messages[0].endswith("1 requests from 1 of 2 recordings: 0 hit, 1 missed, 1 unused, 0 live")
    assert caplog.messages[1].startswith("timetracer-otel: missed in GET /items, after its end: No recorded answer")


def test_paths_that_are_not_recorded_count_for_nothing(
    folder: FolderReplay, caplog: pytest.LogCaptureFixture
) -> None:
    for target in ("/health", "/other"):
        scope, session = began(folder, target)
        with pytest.raises(ReplayMismatchError, match=f"No recording fits GET {target}, so httpx GET"):
            session.match(CALL)
        scope.end()
    caplog.set_level(logging.INFO, "timetracer_otel")
    folder.finish()
    assert ": 1 requests from 0 of 2 recordings, 1 without a recording: 0 hit, 2 missed" in caplog.messages[0]


def test_a_cassette_that_is_gone_refuses_its_request(folder: FolderReplay) -> None:
    Path(folder.index.entries[0].path).unlink()
    _, session = began(folder, "/items?page=1")
    with pytest.raises(ReplayMismatchError, match="The recording of GET /items cannot be read, so httpx GET"):
        session.match(CALL)


def test_a_report_that_cannot_be_written_is_one_line(
    folder: FolderReplay, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "report.jsonl").mkdir()
    for _ in range(2):
        scope, _session = began(folder, "/items?page=1")
        scope.end()
    (line,) = caplog.messages
    assert line == f"timetracer-otel: TIMETRACER_REPLAY_REPORT: cannot write {tmp_path}/report.jsonl: Is a directory"
