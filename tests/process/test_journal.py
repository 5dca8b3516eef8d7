"""The journal: requests that are under way are on disk, as far as they have come."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from tests.loopback import Loopback
from tests.unit.ended_calls import Ended
from timetracer_otel.base import faults
from timetracer_otel.calls.registry import load_plugins
from timetracer_otel.cassette import (
    CassetteStore,
    StoredCassette,
    cassette_to_bytes,
    read_cassette,
    writer,
    written_events,
)
from timetracer_otel.cassette.compression import compression_of
from timetracer_otel.cassette.costs import OwnCosts
from timetracer_otel.cassette.model import encode_event
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import CompressionType, EventType, TraceMode
from timetracer_otel.context import require_session
from timetracer_otel.incoming import wsgi
from timetracer_otel.process.journal import Journal
from timetracer_otel.process.runtime import runtime
from timetracer_otel.session import TraceSession
from timetracer_otel.types import (
    BodySnapshot,
    Call,
    DependencyEvent,
    EventResult,
    EventSignature,
    HeaderMap,
    HeaderPairs,
    RequestSnapshot,
)

DEADLINE_S = 100.0
View = Callable[[], None]


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@contextmanager
def recording(folder: Path, journal_s: float = 0.02, **settings: Any) -> Iterator[None]:
    """Record the requests of this process."""
    config = TraceConfig(mode=TraceMode.RECORD, cassette_dir=str(folder), journal_s=journal_s, **settings)
    runtime().start_recording(config)
    plugins = load_plugins()
    for plugin in plugins:
        plugin.activate()
    try:
        yield
    finally:
        for plugin in plugins:
            plugin.deactivate()
        runtime().stop()


def served(view: View, status: str = "200 OK") -> None:
    """Answer one request by a function."""

    def app(environ: wsgi.Environ, start_response: wsgi.StartResponse) -> list[bytes]:
        view()
        start_response(status, [])
        return [b"done"]

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/view", "SCRIPT_NAME": "", "QUERY_STRING": ""}
    wsgi.serve(app, environ, lambda *_: None, "mine", lambda environ: None)


def listed(folder: Path, events: int | None = None) -> StoredCassette:
    """The one recording in a folder, when it has so many events."""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        found = CassetteStore(folder).list()
        if len(found) == 1 and events in {None, found[0].events}:
            return found[0]
        time.sleep(0.01)
    raise AssertionError(CassetteStore(folder).list())


def test_a_request_has_a_part_with_each_call_that_has_ended_until_its_cassette_is_there(
    upstream: Loopback, tmp_path: Path
) -> None:
    def view() -> None:
        for user in range(3):
            httpx.get(f"{upstream.url}/users/{user}")
            running = listed(tmp_path, events=user + 1)
            assert (running.running, running.complete, running.method, running.request_path) == (
                True,
                False,
                "GET",
                "/view",
            )
            part = read_cassette(running.path)
            assert [event.signature.url for event in part.events] == [
                f"{upstream.url}/users/{n}" for n in range(user + 1)
            ]
            assert [event.eid for event in part.events] == list(range(1, user + 2))
            assert all(event.result.status == 200 for event in part.events)

    with recording(tmp_path):
        served(view)
        assert runtime().flush()
        done = listed(tmp_path)
        assert (done.running, done.complete, done.status, done.events) == (False, True, 200, 3)
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == [Path(done.path).name]


def test_what_no_plugin_of_ours_saw_is_in_the_part_once(tmp_path: Path) -> None:
    provider = TracerProvider()
    provider.add_span_processor(runtime().processor)
    tracer = provider.get_tracer("opentelemetry.instrumentation.cassandra")
    seen: list[str] = []

    def view() -> None:
        session = require_session()
        assert isinstance(session, TraceSession)
        for number in range(2):
            signature = EventSignature(lib="mine", method=f"call {number}")
            session.add_event(DependencyEvent(0, EventType.CUSTOM, 0.0, 1.0, signature, EventResult(status=number)))
            with tracer.start_as_current_span(f"find {number}", kind=trace.SpanKind.CLIENT):
                seen.extend((f"call {number}", f"find {number}"))
            running = listed(tmp_path, events=len(seen))
            events = read_cassette(running.path).events
            assert sorted(event.signature.method for event in events) == sorted(seen)
            assert len({event.eid for event in events}) == len(seen)

    with recording(tmp_path):
        served(view)
    assert sorted(event.signature.method for event in read_cassette(listed(tmp_path).path).events) == sorted(seen)


def test_a_call_under_way_is_in_the_part_when_it_has_ended(upstream: Loopback, tmp_path: Path) -> None:
    def view() -> None:
        with httpx.stream("GET", f"{upstream.url}/users/1") as response:
            httpx.get(f"{upstream.url}/users/2")
            running = listed(tmp_path, events=1)
            assert read_cassette(running.path).events[0].eid == 2
            response.read()
        running = listed(tmp_path, events=2)
        assert [event.eid for event in read_cassette(running.path).events] == [1, 2]

    with recording(tmp_path):
        served(view)
    assert listed(tmp_path).complete


def test_where_only_failures_are_kept_the_part_of_a_success_goes(upstream: Loopback, tmp_path: Path) -> None:
    def view() -> None:
        httpx.get(f"{upstream.url}/users/1")
        listed(tmp_path, events=1)

    with recording(tmp_path, errors_only=True):
        served(view)
        deadline_s = time.monotonic() + DEADLINE_S
        while CassetteStore(tmp_path).list() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert CassetteStore(tmp_path).list() == []
        served(view, "500 Internal Server Error")
    assert (listed(tmp_path).complete, listed(tmp_path).status) == (True, 500)


@pytest.mark.parametrize("kind", [CompressionType.GZIP, CompressionType.ZSTD])
def test_the_part_of_a_compressed_cassette_is_not_compressed(
    upstream: Loopback, tmp_path: Path, kind: CompressionType
) -> None:
    def view() -> None:
        for user in range(2):
            httpx.get(f"{upstream.url}/users/{user}")
            part = Path(listed(tmp_path, events=user + 1).path)
            assert ".msgpack." in part.name
            assert compression_of(part.read_bytes()) is CompressionType.NONE

    with recording(tmp_path, compression=kind):
        served(view)
        assert runtime().flush()
        done = listed(tmp_path, events=2)
        assert compression_of(Path(done.path).read_bytes()) is kind
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == [Path(done.path).name]


@pytest.mark.parametrize("kind", list(CompressionType))
def test_an_open_part_keeps_less_than_4_kib_in_memory(tmp_path: Path, kind: CompressionType) -> None:
    """Besides what the session keeps for its cassette."""
    journal = Journal(CassetteStore(tmp_path, kind), 0.001)
    sessions = [TraceSession() for _ in range(64)]
    for session in sessions:
        session.request = RequestSnapshot("GET", "/view")
        session.head()
        journal.began(session)
    time.sleep(0.002)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        journal.tick()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(list(tmp_path.rglob("*.part"))) == len(sessions)
    assert (after - before) / len(sessions) < 4096
    journal.close()


def test_recordings_that_wait_to_be_written_come_before_parts_for_one_interval_at_most(tmp_path: Path) -> None:
    journal = Journal(CassetteStore(tmp_path), 0.2)
    session = TraceSession()
    session.request = RequestSnapshot("GET", "/view")
    journal.began(session)
    time.sleep(0.25)
    # Now the journal is due once in each interval. The first time is at once, since it was never due before.
    journal.tick()
    part = next(tmp_path.rglob("*.part"))
    session.add_event(
        DependencyEvent(0, EventType.CUSTOM, 0.0, 1.0, EventSignature(lib="mine", method="call"), EventResult())
    )
    came_s = time.monotonic()
    time.sleep(0.21)
    journal.tick(is_busy=True)
    assert time.monotonic() - came_s >= 0.35 or read_cassette(part).events == []
    while not read_cassette(part).events:
        assert time.monotonic() - came_s < DEADLINE_S
        time.sleep(0.01)
        journal.tick(is_busy=True)
    assert time.monotonic() - came_s >= 0.35
    journal.close()


def test_without_a_journal_there_are_no_parts(upstream: Loopback, tmp_path: Path) -> None:
    def view() -> None:
        httpx.get(f"{upstream.url}/users/1")
        time.sleep(0.3)
        assert list(tmp_path.iterdir()) == []

    with recording(tmp_path, journal_s=0.0):
        served(view)
    assert listed(tmp_path).complete


def test_a_request_that_waits_for_being_written_gets_no_part_meanwhile(tmp_path: Path) -> None:
    journal = Journal(CassetteStore(tmp_path), 0.01)
    session = TraceSession()
    session.request = RequestSnapshot("GET", "/view")
    journal.began(session)

    def parts() -> int:
        time.sleep(0.02)
        journal.tick()
        return len(list(tmp_path.rglob("*.part")))

    journal.queued(session)
    assert [parts() for _ in range(5)] == [0] * 5
    # The request has a call that outlives it. Its recording is kept until that call has ended.
    journal.queued(session, is_queued=False)
    deadline_s = time.monotonic() + DEADLINE_S
    while not parts():
        assert time.monotonic() < deadline_s
    journal.close()
    assert [read_cassette(file).session.id for file in tmp_path.rglob("*.msgpack")] == [session.session_id]


def test_requests_that_begin_while_the_parts_are_brought_up_to_date_are_no_fault(tmp_path: Path) -> None:
    """The garbage collector may run at any step of the journal, and with it another thread that begins a request."""
    journal = Journal(CassetteStore(tmp_path), 60.0)
    for _ in range(50):
        journal.began(TraceSession())
    begin = [TraceSession() for _ in range(50)]

    def begins(phase: str, _: object) -> None:
        if begin:
            journal.began(begin.pop())

    # Python keeps pairs that are not used any more, and collects no garbage where it takes one of these.
    pairs = [(number, number) for number in range(5_000)]
    before = gc.get_threshold()
    gc.callbacks.append(begins)
    gc.set_threshold(1, 100_000, 100_000)
    try:
        journal.tick()
    finally:
        begin.clear()
        gc.set_threshold(*before)
        gc.callbacks.remove(begins)
    assert pairs
    assert not list(tmp_path.rglob("*.part"))


def ended(number: int, headers: HeaderPairs = (), data: bytes = b"{}") -> Ended:
    call = Call("httpx", EventType.HTTP_CLIENT, "GET", f"https://api.example.com/items/{number}?page=2", headers)
    body = BodySnapshot(True, "bytes", data, size_bytes=len(data), chunks=((1.0, len(data)),))
    lines = HeaderMap(((b"Content-Type", b"application/json"),))
    made = Ended(call, EventResult(status=200, headers=lines, body=body, reply={"http_version": b"HTTP/1.1"}))
    made.started_s += number
    made.returned_s = made.ended_s = made.started_s + 0.5
    return made


class LongRequest:
    """A request of many calls, whose part the journal brings up to date at each tenth of them."""

    def __init__(self, folder: Path, kind: CompressionType, calls: Sequence[Ended]) -> None:
        self.store = CassetteStore(folder, kind)
        self.journal = Journal(self.store, 1e-9)
        self.session = TraceSession()
        self.session.request = RequestSnapshot("GET", "/view")
        self.journal.began(self.session)
        for number, call in enumerate(calls, 1):
            self.session.call_began(call)
            if number % 10 == 0:
                self.journal._due_s = 0.0
                self.journal.tick()
        (self.part,) = folder.rglob("*.part")

    def written(self, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, bytes, list[int]]:
        """The cassette, what its bytes would be without the part, and the positions of events that were packed."""
        self.session.finalize()
        cassette = self.session.to_cassette()
        packed: list[int] = []

        def encode(event: DependencyEvent, own: OwnCosts) -> object:
            packed.append(event.eid)
            return encode_event(event, own)

        with monkeypatch.context() as patched:
            patched.setattr(writer, "encode_event", encode)
            path = Path(self.store.put(cassette, self.journal.written(self.session)))
        return path, cassette_to_bytes(cassette, self.store.compression), packed


@pytest.mark.parametrize("kind", list(CompressionType))
def test_a_cassette_takes_the_bytes_of_its_events_from_its_part(
    tmp_path: Path, kind: CompressionType, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [ended(number, ((b"Accept", b"*/*"),)) for number in range(305)]
    path, expected, packed = LongRequest(tmp_path, kind, calls).written(monkeypatch)
    assert path.read_bytes() == expected
    # These were not in the part yet. What packs too well is written a second time, with bytes that do not pack.
    assert {*packed} == {*range(301, 306)}
    assert len(read_cassette(path).events) == 305


def test_events_have_other_positions_in_the_cassette_than_in_the_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [ended(number) for number in range(300)]
    request = LongRequest(tmp_path, CompressionType.NONE, calls)
    for call in (calls[10], calls[200]):
        request.session.call_withdrawn(call)
    path, expected, packed = request.written(monkeypatch)
    assert path.read_bytes() == expected
    assert packed == []
    events = read_cassette(path).events
    assert [event.eid for event in events] == [*range(1, 299)]
    assert [event.signature.url for event in events] == [
        f"https://api.example.com/items/{number}" for number in range(300) if number not in {10, 200}
    ]


def test_a_secret_that_is_found_when_it_stands_in_the_part_is_not_in_the_cassette(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [ended(number) for number in range(60)]
    # What the last call shows to be a secret stands in the answer of the third one.
    secret = "9qWmT4xVb2LrYzKd8NhC3FpJ"
    calls[2] = ended(2, data=f'["{secret}"]'.encode())
    calls[59] = ended(59, ((b"Authorization", f"Bearer {secret}".encode()),))
    request = LongRequest(tmp_path, CompressionType.NONE, calls)
    assert secret.encode() in request.part.read_bytes()
    path, expected, packed = request.written(monkeypatch)
    assert path.read_bytes() == expected
    assert secret.encode() not in expected
    assert 3 in packed


@pytest.mark.parametrize("harm", ["gone", "cut", "emptied", "other bytes"])
def test_a_part_that_somebody_has_changed_costs_no_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    request = LongRequest(tmp_path, CompressionType.NONE, [ended(number) for number in range(40)])
    data = request.part.read_bytes()
    if harm == "gone":
        request.part.unlink()
    else:
        request.part.write_bytes(
            {"cut": data[: len(data) // 2], "emptied": b"", "other bytes": bytes(len(data))}[harm]
        )
    path, expected, packed = request.written(monkeypatch)
    assert path.read_bytes() == expected
    assert len(packed) > 15


def test_a_fault_in_reading_the_part_costs_no_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = LongRequest(tmp_path, CompressionType.NONE, [ended(number) for number in range(20)])
    contained: list[BaseException] = []
    monkeypatch.setattr(faults, "contain", lambda where, error: contained.append(error))
    monkeypatch.setattr(written_events, "pack", lambda eid: 1 / 0)
    path, expected, packed = request.written(monkeypatch)
    assert path.read_bytes() == expected
    assert packed == [*range(1, 21)]
    assert [type(error) for error in contained] == [ZeroDivisionError] * 20
