"""Columns that are decoded without asyncpg's codecs: these give the same values, and the same bytes of them."""

from __future__ import annotations

import datetime as dt
import struct
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from timetracer_otel.cassette import pack, unpack
from timetracer_otel.cassette.sent_rows import decoded
from timetracer_otel.libraries.asyncpg import wire
from timetracer_otel.libraries.asyncpg.cells import KnownTypes
from timetracer_otel.libraries.asyncpg.internals import Codecs
from timetracer_otel.libraries.kits.dbapi.values import plain
from timetracer_otel.types import SentRows

_OIDS = (16, 17, 19, 20, 21, 23, 25, 26, 114, 700, 701, 1042, 1043, 1082, 1114, 1184, 2950)
_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.timezone.utc).replace(tzinfo=None)
_MICROSECOND = dt.timedelta(microseconds=1)
_days = st.dates().map(lambda day: struct.pack("!i", (day - _EPOCH.date()).days))
_moments = st.datetimes().map(lambda moment: struct.pack("!q", (moment - _EPOCH) // _MICROSECOND))
_ends = st.sampled_from(
    [
        *(struct.pack("!i", days) for days in (-(2**31), 2**31 - 1, (dt.date.min - _EPOCH.date()).days)),
        *(struct.pack("!q", (end - _EPOCH) // _MICROSECOND) for end in (dt.datetime.min, dt.datetime.max)),  # noqa: DTZ901
        *(struct.pack("!q", number) for number in (-(2**63), 2**63 - 1)),
        bytes.fromhex("7ff0000000000001"),  # a NaN that signals
    ]
)
_cells = st.one_of(st.none(), st.text().map(str.encode), st.binary(max_size=17), _days, _moments, _ends)
_of_one_width = st.sampled_from((1, 2, 4, 8, 16)).flatmap(
    lambda width: st.lists(st.none() | st.binary(min_size=width, max_size=width), max_size=5)
)


def _plain(value: Any) -> Any:
    # asyncpg has a class of its own, which makes no difference here: a replay makes it anew of the bytes.
    return uuid.UUID(int=value.int) if isinstance(value, uuid.UUID) else plain(value)


@pytest.mark.parametrize("oid", _OIDS)
@examples(40)
@given(cells=st.one_of(_of_one_width, st.lists(_days), st.lists(_moments), st.lists(_cells, max_size=5)))
def test_a_column_is_decoded_as_asyncpg_decodes_it(oid: int, cells: list[bytes | None]) -> None:
    found = decoded(oid, cells)

    if found is not None and cells:
        rows = [[cell] for cell in cells]
        assert [repr([value]) for value in found] == [
            repr(list(map(_plain, row))) for row in Codecs(()).values([oid], rows)
        ]
        assert KnownTypes().as_cells([oid], [[value] for value in found]) == rows


# Before 0.30, asyncpg gives a value for a time of another length, and reports that it could not read it.
@pytest.mark.filterwarnings("ignore:.*_decode_time:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("oid", _OIDS)
@examples(40)
@given(cells=st.one_of(_of_one_width, st.lists(_days), st.lists(_moments), st.lists(_cells, max_size=5)))
def test_rows_as_they_were_sent_have_the_values_that_asyncpg_makes(oid: int, cells: list[bytes | None]) -> None:
    rows = [[cell] for cell in cells]
    try:
        expected = [list(map(_plain, row)) for row in Codecs(()).values([oid], rows)]
    except Exception:
        # Then the app got none either.
        return

    assert repr(unpack(pack(SentRows([oid], len(rows), b"".join(map(wire.row, rows)))))) == repr(expected)


@pytest.mark.parametrize(
    ("oid", "cell", "value"),
    [
        (16, b"\1", True),
        (17, b"\0\xff", b"\0\xff"),
        (25, "Bö".encode(), "Bö"),
        (20, struct.pack("!q", -(2**63)), -(2**63)),
        (701, struct.pack("!d", 0.5), 0.5),
        (1082, struct.pack("!i", -1), dt.date(1999, 12, 31)),
        (1114, struct.pack("!q", 1), dt.datetime(2000, 1, 1, 0, 0, 0, 1)),  # noqa: DTZ001
        (1184, struct.pack("!q", -1_000_000), dt.datetime(1999, 12, 31, 23, 59, 59, tzinfo=dt.timezone.utc)),
    ],
)
def test_a_usual_value_needs_no_codec(oid: int, cell: bytes, value: object) -> None:
    assert decoded(oid, [cell, None, cell]) == [value, None, value]
