"""What stands for a secret value: the same for all values of a kind, and of that kind."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetracer_otel.redact.stand_ins import stand_in

ZONE = dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("hunter2", "[REDACTED]"),
        ("", "[REDACTED]"),
        ("12345", "[REDACTED]"),
        ("2020-01-02", "1970-01-01"),
        ("2020-01-02 03:04:05.000006", "1970-01-01 00:00:00.000000"),
        ("2020-01-02T03:04:05Z", "1970-01-01T00:00:00Z"),
        ("2020-01-02T03:04+02:00", "1970-01-01T00:00+02:00"),
        ("03:04:05", "00:00:00"),
        ("2020-01-02 and more", "[REDACTED]"),
        ("+02:00", "[REDACTED]"),
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "00000000-0000-0000-0000-000000000000"),
        ("6ba7b8109dad11d180b400c04fd430c8", "0" * 32),
        ('{"a": 1}', "{}"),
        ("[1, 2]", "[]"),
        ("{not json", "[REDACTED]"),
        ("[" * 100_000, "[REDACTED]"),
        (dt.datetime(2020, 1, 2, tzinfo=ZONE), dt.datetime(1970, 1, 1, tzinfo=ZONE)),
        (dt.time(1, tzinfo=ZONE), dt.time(0, tzinfo=ZONE)),
        ({"timetracer:type": "asyncpg.UUID", "timetracer:value": str(uuid.UUID(int=7))}, str(uuid.UUID(int=0))),
        ({"timetracer:type": "psycopg2.Inet", "timetracer:value": "10.0.0.1/8"}, str(dt.date.min)),
        ({"timetracer:type": "dict", "timetracer:value": [["a", 1]]}, []),
    ],
)
def test_stand_ins(value: Any, expected: Any) -> None:
    found = stand_in(value)
    if type(value) is dict:
        assert found["timetracer:type"] == value["timetracer:type"]
        found = found["timetracer:value"]
        if value["timetracer:type"] == "psycopg2.Inet":
            expected = ".".join("0000")
    assert found == expected
    assert type(found) is type(expected)


@given(st.one_of(st.text(), st.uuids().map(str), st.datetimes().map(str), st.lists(st.text()).map(json.dumps)))
def test_a_text_that_is_replaced_leaves_nothing_behind(value: str) -> None:
    found = stand_in(value)
    assert stand_in(found) == found
    assert set(found) <= set("[REDACTED]{}:-T .0197Z+ ")
