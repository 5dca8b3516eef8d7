"""``clock="recorded"``: the app's time in a replay begins when the recording began."""

from __future__ import annotations

import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
import time_machine
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.children import told_under_hash_seed
from tests.loopback import Loopback
from tests.sample_cassettes import cassette, http_event
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette, save_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import TraceMode
from timetracer_otel.exceptions import ConfigurationError, ReplayMismatchError
from timetracer_otel.incoming.scope import IncomingRequest
from timetracer_otel.match.answer_names import AnswerNames
from timetracer_otel.process.folder_replay import FolderReplay
from timetracer_otel.types import HeaderMap, RequestSnapshot

PROGRAM = Path(__file__).with_name("_clock_program.py")


def year() -> int:
    return datetime.now(timezone.utc).year


def recorded_in(path: Path, when: str, target: str = "/a") -> Path:
    """A recording of a request, made at a time."""
    made = cassette(
        [http_event(1, "http://up/a")], request=RequestSnapshot("GET", target, headers=HeaderMap([(b"host", b"a")]))
    )
    made.session.recorded_at = when
    made.session.id = f"{target[1:]}-{when}"
    save_cassette(made, path)
    return path


def test_expiry_checks_dated_queries_and_signatures_are_as_recorded(tmp_path: Path) -> None:
    path = tmp_path / "old.msgpack"
    with Loopback() as upstream:
        bare = told_under_hash_seed(1, PROGRAM, "bare", upstream.url, str(path), folder=tmp_path)
        recorded = told_under_hash_seed(2, PROGRAM, "record", upstream.url, str(path), folder=tmp_path)
    replayed = told_under_hash_seed(3, PROGRAM, "replay", upstream.url, str(path), folder=tmp_path)
    assert bare["expired"] is False
    assert bare["task"] == 2021
    assert recorded == bare
    assert replayed == bare
    assert read_cassette(path).session.recorded_at.startswith("2021-03-04T23:30:0")


def test_the_clock_begins_with_the_recording_and_ends_with_the_block(tmp_path: Path) -> None:
    path = recorded_in(tmp_path / "a.msgpack", "2019-05-06T07:08:09.250000+00:00")
    before = time.time()
    with replay(path, clock="recorded", fail_on_miss=False):
        now = datetime.now(timezone.utc)
        assert now.isoformat()[:19] == "2019-05-06T07:08:09"
        time.sleep(0.05)
        # It goes on.
        assert 0.04 <= (datetime.now(timezone.utc) - now).total_seconds() < 30
        with replay(path, clock="recorded"):
            assert year() == 2019
        assert year() == 2019
    assert 0 <= time.time() - before < 60
    with replay(path):
        assert year() > 2019


def test_spans_keep_the_real_time(tmp_path: Path) -> None:
    path = recorded_in(tmp_path / "a.msgpack", "2019-05-06T07:08:09+00:00")
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before = time.time_ns()
    with replay(path, clock="recorded"), provider.get_tracer("t").start_as_current_span("work"):
        assert year() == 2019
        assert httpx.get("http://up/a").status_code == 200
    (span,) = [span for span in exporter.get_finished_spans() if span.name == "work"]
    assert before <= (span.start_time or 0) <= (span.end_time or 0) <= time.time_ns()


def test_a_recording_within_such_a_replay_has_the_real_time(tmp_path: Path) -> None:
    path = recorded_in(tmp_path / "a.msgpack", "2019-05-06T07:08:09+00:00")
    with replay(path, clock="recorded"), record(tmp_path / "b.msgpack"):
        assert year() == 2019
    assert read_cassette(tmp_path / "b.msgpack").session.recorded_at > "2025"


def test_a_second_recording_has_no_clock_beside_the_first(tmp_path: Path) -> None:
    one = recorded_in(tmp_path / "a.msgpack", "2019-05-06T07:08:09+00:00")
    other = recorded_in(tmp_path / "b.msgpack", "2020-05-06T07:08:09+00:00")
    with replay(one, clock="recorded"):
        with pytest.raises(ConfigurationError, match="has the clock of a recording of 2019-05-06"):
            replay(other, clock="recorded").__enter__()
        assert year() == 2019
        # One that does not ask for a clock may run beside it.
        with replay(other):
            assert year() == 2019
    with replay(other, clock="recorded"):
        assert year() == 2020
    assert year() > 2020


def test_without_the_extra_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recorded_in(tmp_path / "a.msgpack", "2019-05-06T07:08:09+00:00")
    monkeypatch.setitem(sys.modules, "time_machine", None)
    with pytest.raises(ConfigurationError, match=r'Install: pip install "timetracer-otel\[clock\]"'):
        replay(path, clock="recorded").__enter__()
    with replay(path):
        pass


def test_a_clock_that_is_no_clock_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Allowed: real, recorded"):
        TraceConfig(clock="slow")


def test_of_a_folder_each_request_has_the_clock_of_its_recording(tmp_path: Path) -> None:
    recorded_in(tmp_path / "c/one.msgpack", "2018-01-02T03:04:05+00:00", "/one")
    recorded_in(tmp_path / "c/two.msgpack", "2020-01-02T03:04:05+00:00", "/two")
    config = TraceConfig(mode=TraceMode.REPLAY, cassette_path=str(tmp_path / "c"), clock="recorded")
    folder = FolderReplay(config)

    def begin(path: str) -> object:
        scope = folder.request_began(IncomingRequest("GET", path, path, ((b"host", b"a"),)), None)
        assert scope is not None
        return scope

    try:
        # Before the first request, and outside of all, that of the first recording.
        assert year() == 2018
        two = begin("/two")
        assert year() == 2020
        # A process has one clock: that of the first of several requests at once.
        one = begin("/one")
        assert year() == 2020
        one.end()  # type: ignore[attr-defined]
        two.end()  # type: ignore[attr-defined]
        begin("/one").end()  # type: ignore[attr-defined]
        assert year() == 2018
    finally:
        folder.finish()
    assert year() > 2020


def test_verify_compares_times_of_an_answer_with_those_of_the_recording() -> None:
    made = cassette([], request=RequestSnapshot("GET", "/a"))
    texts = "2026-03-01T12:00:00.300000+00:00", "2026-03-01T12:00:01.900000+00:00"
    assert AnswerNames(made, [], ["time"], 3.0, recorded_clock=True).agree(*texts)
    assert not AnswerNames(made, [], ["time"], 3.0).agree(*texts)


def test_values_that_the_app_stamps_are_bound_under_the_recorded_clock(tmp_path: Path) -> None:
    path = tmp_path / "a.msgpack"

    def order(upstream: str) -> str:
        text = datetime.now(timezone.utc).isoformat()
        answer: dict[str, str] = httpx.post(f"{upstream}/orders", json={"at": text}).json()
        return "same" if answer["at"] == text else "other"

    with Loopback() as upstream:
        with time_machine.travel(1_500_000_000), record(path):
            assert order(upstream.url) == "same"
        with replay(path, clock="recorded") as session:
            worker = threading.Thread(target=time.sleep, args=(0.01,))
            worker.start()
            worker.join()
            assert order(upstream.url) == "same"
        assert [each.kind for each in session.verdict().bindings] == ["time"]


def test_a_cached_token_is_valid_as_recorded_or_the_miss_says_what_to_do(
    tmp_path: Path,
) -> None:
    """Weeks later, the app finds its token expired, and fetches another one, which nobody has recorded."""
    path = tmp_path / "a.msgpack"
    cache: dict[str, Any] = {"expires_at": 0}

    def app(upstream: str) -> int:
        with httpx.Client() as client:
            kept = client.post(f"{upstream}/cache", json={"expires_at": 1_500_003_600}).json()
            if kept["expires_at"] < time.time():
                cache.update(client.get(f"{upstream}/users/7").json())
            return client.get(f"{upstream}/items").status_code

    with Loopback() as upstream, time_machine.travel(1_500_000_000), record(path):
        assert app(upstream.url) == 200
    with replay(path, clock="recorded", fail_on_unused=True):
        assert app(upstream.url) == 200
    with pytest.raises(ReplayMismatchError) as caught, replay(path):
        app(upstream.url)
    advice = "The time 1500003600 in the answer of #1 has passed since the recording"
    assert advice in str(caught.value)
    assert 'clock="recorded" gives it the time of the recording' in str(caught.value)
    # Before that time, a miss has other reasons.
    with time_machine.travel(1_500_001_000), replay(path, fail_on_miss=False):
        httpx.post(f"{upstream.url}/cache", json={"expires_at": 1_500_003_600})
        with pytest.raises(ReplayMismatchError) as caught:
            httpx.get(f"{upstream.url}/users/7")
    assert "has passed since" not in str(caught.value)
