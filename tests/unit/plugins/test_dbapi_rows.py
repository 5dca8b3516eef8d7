"""Rows as a recording keeps them: what is done column by column gives what is done value by value."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from timetracer_otel import record
from timetracer_otel.constants import DRIVER_TYPE, DRIVER_VALUE
from timetracer_otel.libraries.kits.dbapi.app_types import note_made
from timetracer_otel.libraries.kits.dbapi.values import plain_row, plain_rows, size_of_row

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.dates(),
    st.lists(st.integers(), max_size=2),
    st.just(decimal.Decimal("1.5")),
    st.datetimes(timezones=st.sampled_from([None, dt.timezone.utc])),
)
ROWS = st.integers(0, 4).flatmap(lambda width: st.lists(st.tuples(*[VALUES] * width), max_size=12))
RAGGED = st.lists(st.lists(VALUES, max_size=3).map(tuple), max_size=12)


@given(st.one_of(ROWS, RAGGED))
def test_rows_are_kept_and_sized_as_each_of_them_would_be(rows: list[tuple[Any, ...]]) -> None:
    kept, size_bytes = plain_rows(rows)
    assert kept == list(map(plain_row, rows))
    assert [list(map(type, row)) for row in kept] == [list(map(type, plain_row(row))) for row in rows]
    assert size_bytes == sum(map(size_of_row, kept))


def test_a_time_that_the_app_has_made_by_its_own_function_is_taken_apart(tmp_path: Path) -> None:
    rows = [(number, dt.datetime(2024, 1, 1 + number, tzinfo=dt.timezone.utc)) for number in range(9)]
    with record(tmp_path / "x.msgpack"):
        note_made(rows[5][1], "kind", "name", ["2024"])
        kept, _ = plain_rows(rows)
        assert kept[:5] + kept[6:] == rows[:5] + rows[6:]
        assert kept[5] == (5, {DRIVER_TYPE: "app", DRIVER_VALUE: ["kind", "name", ["2024"]]})
        assert plain_rows(rows)[0] == rows, "it was told once"


def test_a_value_that_the_app_changes_later_stays_as_it_was_fetched() -> None:
    rows = [(number, [number], dt.date(2024, 1, 1)) for number in range(100)]
    kept, _ = plain_rows(rows)
    rows[7][1].append(8)
    rows.clear()
    assert kept[7] == (7, [7], dt.date(2024, 1, 1))
