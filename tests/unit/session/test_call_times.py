"""When a call was answered, and when the last of it was read, are told apart."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.unit.ended_calls import Ended
from timetracer_otel import record
from timetracer_otel.cassette import read_cassette
from timetracer_otel.constants import EventType
from timetracer_otel.plugins import disable_sqlite3, enable_sqlite3
from timetracer_otel.session.call_times import times_of
from timetracer_otel.types import Call, EventResult

CALL = Call("redis", EventType.REDIS, "SUBSCRIBE", "redis://cache:6379/0")


def test_a_call_lasts_until_its_answer_and_what_is_read_later_stands_apart() -> None:
    call = Ended(CALL, EventResult())
    assert times_of(call, 0.5, None) == (500.0, 1000.0, None)
    call.goes_on, call.ended_s = True, 6.0
    assert times_of(call, 0.5, None) == (500.0, 1000.0, 5000.0)


def test_a_call_under_way_lasts_until_the_end_of_the_recording_or_until_now() -> None:
    call = Ended(CALL, EventResult())
    call.ended_s = call.returned_s = None
    assert times_of(call, 0.5, 4.0) == (500.0, 3000.0, None)
    assert times_of(call, 0.5, None)[1] > 0


def test_a_cursor_that_nobody_closes_went_on_until_its_latest_row() -> None:
    call = Ended(CALL, EventResult())
    call.goes_on, call.ended_s, call.latest_s = True, None, 2.5
    assert times_of(call, 0.5, 90.0) == (500.0, 1000.0, 1500.0)
    call.latest_s = call.returned_s
    assert times_of(call, 0.5, 90.0) == (500.0, 1000.0, None)


def test_a_select_ends_with_its_last_row_however_long_its_cursor_is_open(tmp_path: Path) -> None:
    enable_sqlite3()
    try:
        with record(tmp_path / "s.msgpack") as session:
            connection = sqlite3.connect(tmp_path / "shop.db")
            cursor = connection.execute("SELECT 1 UNION SELECT 2")
            open_still = session.events[-1]
            assert open_still.duration_ms > 0
            assert open_still.ended_ms is None
            cursor.fetchall()
            read = session.events[-1]
            connection.execute("SELECT 3").fetchone()
            cursor.close()
            connection.close()
    finally:
        disable_sqlite3()
    event = next(each for each in read_cassette(tmp_path / "s.msgpack").events if "UNION" in str(each.call))
    assert isinstance(event.result.reply, dict)
    assert (event.duration_ms, event.ended_ms) == (open_still.duration_ms, read.ended_ms)
    assert event.ended_ms is not None
    assert abs(event.ended_ms - event.result.reply["fetches"][-1][2]) < 1e-6
    assert event.answered_offset_ms < event.end_offset_ms == event.start_offset_ms + event.ended_ms
