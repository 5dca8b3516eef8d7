"""Rows as a recording keeps them: what is done column by column gives what is done value by value."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

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
)
ROWS = st.integers(0, 4).flatmap(lambda width: st.lists(st.tuples(*[VALUES] * width), max_size=12))
RAGGED = st.lists(st.lists(VALUES, max_size=3).map(tuple), max_size=12)


@given(st.one_of(ROWS, RAGGED))
def test_rows_are_kept_and_sized_as_each_of_them_would_be(rows: list[tuple[Any, ...]]) -> None:
    kept, size_bytes = plain_rows(rows)
    assert kept == list(map(plain_row, rows))
    assert [list(map(type, row)) for row in kept] == [list(map(type, plain_row(row))) for row in rows]
    assert size_bytes == sum(map(size_of_row, kept))


def test_a_value_that_the_app_changes_later_stays_as_it_was_fetched() -> None:
    rows = [(number, [number], dt.date(2024, 1, 1)) for number in range(100)]
    kept, _ = plain_rows(rows)
    rows[7][1].append(8)
    rows.clear()
    assert kept[7] == (7, [7], dt.date(2024, 1, 1))
