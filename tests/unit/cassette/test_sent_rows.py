"""Rows that stand in a file as a server sent them: what comes back of them, and which bytes are none."""

from __future__ import annotations

import datetime as dt
import math
import struct
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from timetracer_otel.cassette import pack, unpack
from timetracer_otel.cassette.sent_rows import WIDTHS
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import SentRows

DAY = struct.pack("!i", 1)
HOUR = struct.pack("!q", 3_600_000_000)
IDENTIFIER = uuid.UUID("12345678-1234-5678-1234-567812345678")
UTC = dt.timezone.utc
CELLS: list[tuple[int, bytes | None, Any]] = [
    (16, b"\1", True),
    (17, b"\0\xff", b"\0\xff"),
    (20, struct.pack("!q", -(2**63)), -(2**63)),
    (21, struct.pack("!h", -2), -2),
    (23, struct.pack("!i", 7), 7),
    (26, struct.pack("!I", 2**32 - 1), 2**32 - 1),
    (25, "tée".encode(), "tée"),
    (1043, b"", ""),
    (114, b"{}", "{}"),
    (700, struct.pack("!f", 0.5), 0.5),
    (701, struct.pack("!d", 0.1), 0.1),
    (1082, DAY, dt.date(2000, 1, 2)),
    (1114, HOUR, dt.datetime(2000, 1, 1, 1)),  # noqa: DTZ001 - a naive one
    (1184, HOUR, dt.datetime(2000, 1, 1, 1, tzinfo=UTC)),
    (2950, IDENTIFIER.bytes, IDENTIFIER),
    (25, None, None),
    # What asyncpg makes of values that have no other form in Python.
    (16, b"\2", False),
    (1082, struct.pack("!i", 2**31 - 1), dt.date.max),
    (1082, struct.pack("!i", -(2**31)), dt.date.min),
    (1114, struct.pack("!q", 2**63 - 1), dt.datetime.max),  # noqa: DTZ901
    (1184, struct.pack("!q", -(2**63)), dt.datetime.min),  # noqa: DTZ901
]


def row(*cells: bytes | None) -> bytes:
    """A row as PostgreSQL sends it."""
    body = struct.pack("!H", len(cells))
    for cell in cells:
        body += b"\xff\xff\xff\xff" if cell is None else struct.pack("!i", len(cell)) + cell
    return b"D" + struct.pack("!I", len(body) + 4) + body


def test_rows_come_back_as_lists_of_values() -> None:
    types = [oid for oid, _, _ in CELLS]
    sent = row(*(cell for _, cell, _ in CELLS))
    found = unpack(pack({"rows": SentRows(types, 2, sent + sent)}))
    expected = [value for _, _, value in CELLS]
    assert found == {"rows": [expected, expected]}
    assert [list(map(type, each)) for each in found["rows"]] == [list(map(type, expected))] * 2


@pytest.mark.parametrize(("oid", "cell", "value"), CELLS)
def test_a_value_is_the_same_alone_and_among_others(oid: int, cell: bytes | None, value: Any) -> None:
    plain = next((each, one) for of, each, one in CELLS if of == oid)
    found = unpack(pack(SentRows([oid], 3, row(plain[0]) + row(cell) + row(None))))
    assert found == [[plain[1]], [value], [None]]
    assert type(found[1][0]) is type(value)


@pytest.mark.parametrize(("oid", "code"), [(700, "f"), (701, "d")])
def test_a_nan_of_any_bytes_is_a_nan(oid: int, code: str) -> None:
    odd = bytes([0xFF, 0xF8]) + bytes(struct.calcsize(code) - 3) + b"\1"
    ((found,),) = unpack(pack(SentRows([oid], 1, row(odd))))
    assert math.isnan(found)


def test_rows_without_columns_are_empty_lists() -> None:
    assert unpack(pack(SentRows([], 3, row() * 3))) == [[], [], []]


@pytest.mark.parametrize(
    "sent",
    [
        SentRows([25], 2, row(b"a")),
        SentRows([25], 1, row(b"a") * 2),
        SentRows([25], 1, row(b"a", b"b")),
        SentRows([25], 1, row(b"a")[:-1]),
        SentRows([25], 1, row(b"a") + b"D"),
        SentRows([25], 1, b"N" + row(b"a")[1:]),
        SentRows([25], 1, row(b"a")[:-5] + b"\0\0\0\2a"),
        SentRows([25], 1, row(b"a")[:-5] + b"\xff\xff\xff\xfea"),
        SentRows([25], 1, row(b"\xff")),
        SentRows([23], 1, row(b"\0\0\0")),
        SentRows([1082], 1, row(struct.pack("!i", 2**31 - 2))),
        SentRows([600], 1, row(bytes(16))),
        SentRows([], 2**32 - 1, b""),
    ],
)
def test_other_bytes_are_no_rows(sent: SentRows) -> None:
    with pytest.raises(CassetteError):
        unpack(pack(sent))


@given(st.lists(st.sampled_from(sorted(WIDTHS)), max_size=4), st.integers(0, 3), st.binary(max_size=60))
@examples(200)
def test_arbitrary_bytes_are_rows_or_a_cassette_error(types: list[int], number: int, data: bytes) -> None:
    try:
        found = unpack(pack(SentRows(types, number, data)))
    except CassetteError:
        return
    assert list(map(len, found)) == [len(types)] * number
