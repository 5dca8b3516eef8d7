"""Recording anew over an older cassette: calls that have not changed stay in the file as they were."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.loopback import Loopback
from timetracer_otel import record, replay
from timetracer_otel.cassette import cassette_to_bytes, read_cassette
from timetracer_otel.cassette.model import encode_event
from timetracer_otel.match.rerecording import rerecorded
from timetracer_otel.report import rerecording_lines
from timetracer_otel.session import TraceSession
from timetracer_otel.types import Cassette, DependencyEvent


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "work.msgpack"


def work(
    url: str, shop: Path, *, amount: int = 1, one_more: bool = False, rows: str = "abc", last: bool = True
) -> list[Any]:
    """A program with a secret, a value that it makes in each run, and a transaction."""
    order = str(uuid.uuid4())
    headers = {"Authorization": "Bearer s3cr3t-of-the-program-4711"}
    found: list[Any] = []
    with httpx.Client(headers=headers) as client:
        found.append(client.get(f"{url}/users/7").json())
        if one_more:
            found.append(client.get(f"{url}/items").status_code)
        found.append(client.post(f"{url}/echo", json={"order": order, "amount": amount}).json()["amount"])
        shop.unlink(missing_ok=True)
        connection = sqlite3.connect(shop)
        connection.execute("CREATE TABLE names (name TEXT)")
        connection.executemany("INSERT INTO names VALUES (?)", [(each,) for each in rows])
        connection.commit()
        found.append(connection.execute("SELECT name FROM names").fetchall())
        connection.close()
        if last:
            found.append(client.post(f"{url}/echo", json={"paid": order}).status_code)
    return found


def recorded_anew(path: Path, url: str, **changes: Any) -> tuple[list[Any], TraceSession]:
    with replay(path, record_mode="all") as session:
        found = work(url, path.with_name("shop.db"), **changes)
    assert isinstance(session, TraceSession)
    return found, session


def packed(event: DependencyEvent) -> bytes:
    """The bytes of an event but for its number, and for those of its transaction: those before it decide these."""
    events = (event, *event.transaction)
    numbers = [each.eid for each in events]
    for each in events:
        each.eid = 0
    try:
        return encode_event(event)[0]
    finally:
        for each, number in zip(events, numbers, strict=True):
            each.eid = number


def kept(before: Cassette, now: Cassette) -> int:
    left = [packed(event) for event in before.events]
    found = 0
    for event in map(packed, now.events):
        if event in left:
            left.remove(event)
            found += 1
    return found


def test_a_file_stays_byte_for_byte_where_no_call_has_changed(upstream: Loopback, path: Path) -> None:
    with record(path):
        work(upstream.url, path.with_name("shop.db"))
    before = path.read_bytes()
    _, session = recorded_anew(path, upstream.url)
    assert path.read_bytes() == before
    assert session.rerecorded is not None
    assert rerecording_lines(session.rerecorded) == [
        f"{path} was recorded anew: no call has changed, and the file stays as it was"
    ]


@pytest.mark.parametrize(
    ("changes", "lost", "told"),
    [
        ({"amount": 2}, 1, "1 changed"),
        ({"rows": "abd"}, 3, "2 changed"),  # and the end of the transaction, which stands with the INSERT
        ({"one_more": True}, 0, "1 added; http.client 3 -> 4"),
        ({"last": False}, 1, "1 gone; http.client 3 -> 2"),
    ],
)
def test_only_what_changed_is_written_anew(
    upstream: Loopback, path: Path, changes: dict[str, Any], lost: int, told: str
) -> None:
    with record(path):
        work(upstream.url, path.with_name("shop.db"))
    before = read_cassette(path)
    seen, session = recorded_anew(path, upstream.url, **changes)
    now = read_cassette(path)
    assert kept(before, now) == len(before.events) - lost
    assert [event.eid for event in now.events] == list(range(1, len(now.events) + 1))
    starts = [event.start_offset_ms for event in now.events]
    assert starts == sorted(starts)
    assert (now.session.id, now.session.recorded_at) == (before.session.id, before.session.recorded_at)
    assert now.session.renewed_at is not None
    assert session.rerecorded is not None
    lines = rerecording_lines(session.rerecorded)
    assert lines[0].startswith(
        f"{path} was recorded anew: {len(before.events) - lost} calls of {len(now.events)} stay"
    )
    assert lines[-1].partition("; ")[0] == told.partition("; ")[0]
    assert told.partition("; ")[2] in lines[-1]
    # The calls of both recordings have one secret and one order, by one name each.
    assert b"s3cr3t" not in path.read_bytes()
    upstream.stop()
    with replay(path) as replayed:
        assert work(upstream.url, path.with_name("shop.db"), **changes) == seen
    assert not replayed.verdict().unused


def test_values_of_both_recordings_have_one_name(upstream: Loopback, path: Path) -> None:
    with record(path):
        work(upstream.url, path.with_name("shop.db"))
    before = read_cassette(path)
    recorded_anew(path, upstream.url, amount=2)
    now = read_cassette(path)
    orders = [event.call.body.data for event in now.events if event.call and event.call.body]
    assert orders[0][10:46] == orders[1][9:45]  # {"order":"…" and {"paid":"…"
    assert [event.span.trace_id for event in now.events if event.span] == [
        event.span.trace_id for event in before.events if event.span
    ]
    assert now.pseudonyms == before.pseudonyms


@pytest.mark.parametrize(("took_ms", "order"), [(50.0, [1, 2, 3]), (5.0, [3, 1, 2])])
def test_calls_at_the_same_time_stand_in_the_order_of_the_older_recording(
    upstream: Loopback, path: Path, took_ms: float, order: list[int]
) -> None:
    """Calls one after the other have the new order."""
    with record(path):
        for number in (1, 2, 3):
            httpx.get(f"{upstream.url}/users/{number}")
    before, now = read_cassette(path), read_cassette(path)
    now.events = [now.events[2], now.events[0], now.events[1]]
    for eid, event in enumerate(now.events, 1):
        event.eid, event.start_offset_ms, event.duration_ms = eid, eid * 10.0, took_ms
    made = rerecorded(before, now)
    assert made.is_same is (order == [1, 2, 3])
    assert [event.eid for event in made.cassette.events] == [1, 2, 3]
    assert [event.signature.url for event in made.cassette.events] == [f"{upstream.url}/users/{n}" for n in order]
    moved = [] if made.is_same else ["1 moved"]
    assert rerecording_lines(made)[-1:] == (moved or rerecording_lines(made)[:1])


def test_an_answer_that_only_asks_gets_is_the_new_one(upstream: Loopback, path: Path) -> None:
    """A UUID in it says which thing it is, and was there before."""
    with record(path):
        first = httpx.get(f"{upstream.url}/fresh").json()
    with replay(path, record_mode="all"):
        second = httpx.get(f"{upstream.url}/fresh").json()
    with replay(path):
        assert httpx.get(f"{upstream.url}/fresh").json() == second != first


def test_the_old_cassette_stays_until_the_new_one_is_written(
    upstream: Loopback, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with record(path):
        work(upstream.url, path.with_name("shop.db"))
    before = path.read_bytes()
    block = replay(path, record_mode="all")
    block.__enter__()
    work(upstream.url, path.with_name("shop.db"), amount=2)
    assert path.read_bytes() == before
    monkeypatch.setattr("timetracer_otel.cassette.whole_files.os.replace", _stopped)
    with pytest.raises(KeyboardInterrupt):
        block.__exit__(None, None, None)
    assert path.read_bytes() == before
    assert sorted(each.name for each in path.parent.iterdir()) == ["shop.db", path.name]


def _stopped(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("changes", [{"redact_extra": ["amount"]}, {"random_state": True}])
def test_a_recording_by_other_rules_is_new_as_a_whole(
    upstream: Loopback, path: Path, changes: dict[str, Any]
) -> None:
    with record(path):
        work(upstream.url, path.with_name("shop.db"))
    before = read_cassette(path)
    with replay(path, record_mode="all", **changes) as session:
        work(upstream.url, path.with_name("shop.db"), amount=2)
    assert isinstance(session, TraceSession)
    assert session.rerecorded is not None
    assert "all of it is new" in rerecording_lines(session.rerecorded)[0]
    assert read_cassette(path).session.id == session.session_id != before.session.id


def test_an_event_is_packed_as_it_was_read(upstream: Loopback, path: Path) -> None:
    with record(path):
        work(upstream.url, path.with_name("shop.db"))
    assert cassette_to_bytes(read_cassette(path)) == path.read_bytes()
