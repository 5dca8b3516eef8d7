"""Secret columns are replaced by values of the same type, which the app's own types can read."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import uuid
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine

from tests.servers.postgres import Postgres
from timetracer_otel import record, replay

EPOCH = dt.datetime.fromisoformat("1970-01-01")
TYPED: dict[str, tuple[str, Any]] = {
    "timestamp": ("TIMESTAMP '2020-01-01 10:00'", EPOCH),
    "timestamptz": ("TIMESTAMPTZ '2020-01-01 10:00+00'", EPOCH.replace(tzinfo=dt.timezone.utc)),
    "date": ("DATE '2020-01-01'", EPOCH.date()),
    "time": ("TIME '10:00'", dt.time()),
    "interval": ("INTERVAL '1 day'", dt.timedelta()),
    "array": ("ARRAY['hun' || 'ter2', 'b']", None),
    "jsonb": ("JSONB_BUILD_OBJECT('a', 'hun' || 'ter2')", None),
    "uuid": ("CAST('00000000-0000-0000-0000-' || '000000000007' AS uuid)", None),
    "inet": ("CAST('10.0.0.1' AS inet)", ipaddress.ip_address("0.0.0.0")),
    "inet6": ("CAST('fe80::1' AS inet)", ipaddress.ip_address("::")),
    "cidr": ("CAST('10.0.0.0/8' AS cidr)", ipaddress.ip_network("0.0.0.0/32")),
    "range": ("INT4RANGE(5, 7)", None),
    "multirange": ("INT4MULTIRANGE(INT4RANGE(5, 7))", None),
    "bits": ("B'0101'", None),
    "point": ("POINT(5, 7)", None),
    "text": ("'hun' || 'ter2'", None),
    "null": ("CAST(NULL AS text)", None),
}


async def _tokens(url: sa.URL) -> dict[str, Any]:
    engine = create_async_engine(url)
    found = {}
    async with engine.connect() as connection:
        for name, (expression, _) in TYPED.items():
            found[name] = (await connection.execute(sa.text(f"SELECT {expression} AS token"))).scalar()
    await engine.dispose()
    return found


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_a_secret_column_keeps_its_type(tmp_path: Path, postgres: Postgres, driver: str) -> None:
    postgres.start()
    url = postgres.url(driver)
    with record(tmp_path / "c.msgpack"):
        live = asyncio.run(_tokens(url))
    postgres.stop()
    assert b"hunter2" not in (tmp_path / "c.msgpack").read_bytes()
    with replay(tmp_path / "c.msgpack"):
        shown = asyncio.run(_tokens(url))
    assert {name: type(value) for name, value in shown.items()} == {name: type(value) for name, value in live.items()}
    assert {name: shown[name] for name in TYPED if TYPED[name][1] is not None} == {
        name: value for name, (_, value) in TYPED.items() if value is not None
    }
    assert [name for name, value in live.items() if shown[name] == value] == ["null"]


COLUMNS: dict[str, tuple[Any, Any]] = {
    "DateTime": (sa.DateTime(), dt.datetime.fromisoformat("2020-01-02T03:04:05.000006")),
    "Date": (sa.Date(), dt.date(2020, 1, 2)),
    "Time": (sa.Time(), dt.time(1, 2, 3, 4)),
    "JSON": (sa.JSON(), {"a": ["hunter2"]}),
    "JSON list": (sa.JSON(), ["hunter2"]),
    "Uuid": (sa.Uuid(), uuid.UUID(int=7)),
    "Interval": (sa.Interval(), dt.timedelta(days=5)),
    "Numeric": (sa.Numeric(10, 2, asdecimal=False), 7.5),
    "String": (sa.String(), "hunter2"),
    "LargeBinary": (sa.LargeBinary(), b"hunter2"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_types_that_sqlite_keeps_as_text_can_be_read(tmp_path: Path, name: str) -> None:
    kind, value = COLUMNS[name]
    table = sa.Table("keys", sa.MetaData(), sa.Column("token", kind))

    def run() -> Any:
        engine = sa.create_engine(f"sqlite:///{tmp_path}/app.db")
        with engine.begin() as connection:
            table.drop(connection, checkfirst=True)
            table.create(connection)
            connection.execute(table.insert().values(token=value))
            found = connection.execute(sa.select(table)).scalar_one()
        engine.dispose()
        return found

    with record(tmp_path / "c.msgpack"):
        assert run() == value
    assert b"hunter2" not in (tmp_path / "c.msgpack").read_bytes()
    with replay(tmp_path / "c.msgpack"):
        shown = run()
    assert type(shown) is type(value)
    assert shown != value


def test_an_array_of_the_apps_type_stays_a_list(tmp_path: Path, postgres: Postgres) -> None:
    postgres.start()
    table = sa.Table("keys", sa.MetaData(), sa.Column("token", postgresql.ARRAY(sa.String)))
    # Of a letter, the pseudonym may be the same letter.
    tokens = ["Zq8vT41xKw0p", "m7abLm3fQe9s"]

    def run() -> Any:
        engine = sa.create_engine(postgres.url("psycopg2"))
        with engine.connect() as connection:
            table.create(connection)
            connection.execute(table.insert().values(token=tokens))
            found = connection.execute(sa.select(table)).scalar_one()
        engine.dispose()
        return found

    with record(tmp_path / "c.msgpack"):
        assert run() == tokens
    with replay(tmp_path / "c.msgpack"):
        first, second = run()
    assert {first, second}.isdisjoint(tokens)
    assert first != second


LONG = "Zq8vT41xKw0pLm7abcdefgh0123456789QWERTYUIOPlkjhgfds"


async def _refused(url: sa.URL) -> str:
    """The text of the error of a call whose argument is of another type. asyncpg quotes 40 characters of it."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        await connection.execute(sa.text("SELECT CAST(:token AS TEXT)"), {"token": LONG})
        with pytest.raises(sa.exc.DBAPIError) as caught:
            await connection.execute(sa.text("SELECT CAST(:number AS INTEGER)"), {"number": LONG})
    await engine.dispose()
    return str(caught.value.orig)


def test_a_secret_that_an_error_cuts_off_is_replaced(tmp_path: Path, postgres: Postgres) -> None:
    postgres.start()
    url = postgres.url("asyncpg")
    with record(tmp_path / "c.msgpack"):
        live = asyncio.run(_refused(url))
    postgres.stop()
    assert LONG[:39] in live
    assert LONG not in live
    assert LONG[:10].encode() not in (tmp_path / "c.msgpack").read_bytes()
    with replay(tmp_path / "c.msgpack"):
        shown = asyncio.run(_refused(url))
    assert len(shown) == len(live)
