"""What a process that records leaves on the disk is bounded: its own cassette by rotation, its folder by ``keep``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.loopback import Loopback
from timetracer_otel import counters
from timetracer_otel.base.settings import KeptBounds
from timetracer_otel.cassette import CassetteStore, keep_within, read_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import TraceMode
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.incoming import wsgi
from timetracer_otel.match.process_recordings import paths_beside
from timetracer_otel.plugins import disable_httpx, enable_httpx
from timetracer_otel.process import keeping
from timetracer_otel.process.runtime import runtime
from timetracer_otel.types import Cassette


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        enable_httpx()
        yield server
        disable_httpx()


@contextmanager
def _recording(folder: Path, **settings: Any) -> Iterator[None]:
    runtime().start_recording(TraceConfig(mode=TraceMode.RECORD, cassette_dir=str(folder), **settings))
    try:
        yield
    finally:
        runtime().stop()


def _ask(upstream: Loopback, *users: int) -> None:
    for user in users:
        assert httpx.get(f"{upstream.url}/users/{user}").json()["id"] == user


def _request(upstream: Loopback, user: int) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        _ask(upstream, user)
        start_response("200 OK", [])
        return [b""]

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": f"/{user}", "SCRIPT_NAME": "", "QUERY_STRING": ""}
    assert b"".join(wsgi.serve(app, environ, lambda *_: None, "mine", lambda environ: None)) == b""


def _cassettes(folder: Path) -> list[Cassette]:
    return [read_cassette(stored.path) for stored in CassetteStore(folder).list()]


def _users(cassette: Cassette) -> list[int]:
    return [int((event.signature.url or "").rpartition("/")[2]) for event in cassette.events]


def test_a_worker_that_polls_keeps_its_first_calls_and_its_last(upstream: Loopback, tmp_path: Path) -> None:
    before = sum(number for reason, number in counters().events_dropped.items() if "newer ones" in reason)
    with _recording(tmp_path, max_events=3):
        _ask(upstream, *range(20))
        under_way = [_users(cassette) for cassette in _cassettes(tmp_path)]
    assert under_way == [[0, 1, 2], [15, 16, 17], [18, 19]]
    found = _cassettes(tmp_path)
    assert [_users(cassette) for cassette in found] == under_way
    assert all(cassette.complete for cassette in found)
    (reason,) = (reason for reason in found[-1].stats.dropped if "newer ones" in reason)
    assert found[-1].stats.dropped == {reason: 12}
    assert counters().events_dropped[reason] == before + 12
    # Times of a file are those since its own beginning.
    assert all(abs(event.start_offset_ms) < 5_000 for cassette in found for event in cassette.events)
    assert len({cassette.session.recorded_at for cassette in found}) == 3


def test_a_file_is_finished_when_it_is_as_large_as_a_recording_may_be(upstream: Loopback, tmp_path: Path) -> None:
    with _recording(tmp_path, max_session_kb=2):
        _ask(upstream, *range(12))
    found = _cassettes(tmp_path)
    # The last call may have filled its file.
    assert len(found) in (2, 3)
    assert _users(found[0])[0] == 0
    assert _users(found[-1])[-1] == 11
    assert all(stored.size_bytes < 6_000 for stored in CassetteStore(tmp_path).list())


def test_a_file_that_somebody_deleted_is_begun_again(upstream: Loopback, tmp_path: Path) -> None:
    with _recording(tmp_path):
        _ask(upstream, 1)
        (stored,) = CassetteStore(tmp_path).list()
        CassetteStore(tmp_path).delete(stored.path)
        _ask(upstream, 2)
    assert [_users(cassette) for cassette in _cassettes(tmp_path)] == [[2]]


def test_a_folder_keeps_as_much_as_it_is_told(
    upstream: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _recording(tmp_path):
        for user in range(3):
            _request(upstream, user)
    long_ago_s = time.time() - 2 * 86_400
    for stored in CassetteStore(tmp_path).list():
        os.utime(stored.path, (long_ago_s, long_ago_s))
    # What is too old goes when a process begins to record; what is too much, while it records and at its end.
    with _recording(tmp_path, keep="1d, 4"):
        for user in range(3, 9):
            _request(upstream, user)
            # The times of files are those of the kernel's clock, which ticks every few milliseconds. On a busy
            # machine the writer's thread may write two cassettes within one tick, so each is waited for.
            assert runtime().flush()
            time.sleep(0.05)
    assert [cassette.request.path for cassette in _cassettes(tmp_path)] == ["/5", "/6", "/7", "/8"]
    monkeypatch.setattr(keeping, "_INTERVAL_S", 0.0)
    with _recording(tmp_path, keep="2", max_events=1):
        _ask(upstream, *range(10, 15))
        deadline_s = time.monotonic() + 20
        while len(CassetteStore(tmp_path).list()) > 2 and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert 1 <= len(CassetteStore(tmp_path).list()) <= 2
    assert _users(_cassettes(tmp_path)[-1]) == [14]


def test_the_size_of_a_folder(upstream: Loopback, tmp_path: Path) -> None:
    with _recording(tmp_path):
        for user in range(6):
            _request(upstream, user)
    sizes = [stored.size_bytes for stored in CassetteStore(tmp_path).list()]
    with _recording(tmp_path, keep=f"{sum(sizes[-3:]) // 1024 + 1}KB"):
        _request(upstream, 6)
    left = [stored.size_bytes for stored in CassetteStore(tmp_path).list()]
    assert sum(left) <= (sum(sizes[-3:]) // 1024 + 1) * 1024
    assert [cassette.request.path for cassette in _cassettes(tmp_path)][-1] == "/6"
    assert 1 < len(left) < 6


def test_what_a_process_did_at_its_start_stays_as_long_as_a_request_of_it(
    upstream: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _recording(tmp_path):
        _ask(upstream, 1)
        for user in (2, 3, 4):
            _request(upstream, user)
    monkeypatch.chdir(tmp_path)
    store = CassetteStore(".")
    found = {cassette.request.path: cassette.path for cassette in store.heads() if isinstance(cassette, Cassette)}
    for ago_s, path in enumerate(["/4", "/3", "/2", ""]):
        os.utime(found[path] or "", (time.time() - ago_s, time.time() - ago_s))
    assert keep_within(store, KeptBounds(number=2)) == [found["/2"]]
    kept = store.get(found["/3"] or "")
    assert [path.name for path in paths_beside(kept)] == [Path(found[""] or "").name]
    # The bounds are of what may go.
    assert keep_within(store, KeptBounds(number=2)) == []
    assert sorted(keep_within(store, KeptBounds(age_s=0.0))) == sorted(found[path] or "" for path in ("/4", "/3", ""))


@pytest.mark.parametrize("text", ["7", "7d", "10KB", "7d,100,2GB", " 12 h , 5 MB "])
def test_bounds_that_are_understood(text: str) -> None:
    assert TraceConfig(keep=text).keep == text


@pytest.mark.parametrize("text", ["seven days", "-1", "7d,8d", "7w", "1.5GB"])
def test_bounds_that_are_not(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"keep=?: .* is not allowed. Allowed: an age"):
        TraceConfig(keep=text)


def test_no_bounds_delete_nothing(tmp_path: Path) -> None:
    assert keep_within(CassetteStore(tmp_path), KeptBounds()) == []
