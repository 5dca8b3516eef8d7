"""What a user of aiosqlite sees besides the contract: whose a call is, spans, what a replay refuses."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
import sqlalchemy as sa
from opentelemetry import trace
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.ext.asyncio import create_async_engine

from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.plugins import disable_aiosqlite, disable_sqlalchemy, enable_aiosqlite, enable_sqlalchemy


@pytest.fixture
def enabled() -> Iterator[None]:
    enable_aiosqlite()
    yield
    disable_aiosqlite()


async def _count(connection: aiosqlite.Connection) -> Any:
    await connection.execute("CREATE TABLE IF NOT EXISTS t (n)")
    await connection.execute("INSERT INTO t VALUES (1)")
    await connection.commit()
    return await connection.execute_fetchall("SELECT count(*) FROM t")


def _methods(cassette: Path) -> list[tuple[str, str]]:
    return [(event.signature.lib, event.signature.method) for event in read_cassette(cassette).events]


@pytest.mark.parametrize("first", ["sqlalchemy", "aiosqlite"])
@pytest.mark.parametrize("opened", ["in the session", "before it", "before it, past SQLAlchemy's plugin"])
def test_a_statement_of_sqlalchemy_is_one_event(tmp_path: Path, first: str, opened: str) -> None:
    async def work(engine: Any) -> Any:
        async with engine.begin() as connection:
            await connection.execute(sa.text("CREATE TABLE IF NOT EXISTS t (n INTEGER)"))
            await connection.execute(sa.text("INSERT INTO t VALUES (1)"))
            return (await connection.execute(sa.text("SELECT count(*) FROM t"))).all()

    async def recorded() -> Any:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'app.db'}")
        if opened != "in the session":
            await work(engine)
        with record(tmp_path / "x.msgpack"):
            found = await work(engine)
        await engine.dispose()
        return found

    async def replayed() -> Any:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'app.db'}")
        with replay(tmp_path / "x.msgpack"):
            found = await work(engine)
        await engine.dispose()
        return found

    switches = [enable_sqlalchemy, enable_aiosqlite]
    try:
        for enable in switches if first == "sqlalchemy" else reversed(switches):
            if enable is enable_aiosqlite or "past" not in opened:
                enable()
        found = asyncio.run(recorded())
        methods = [method for lib, method in _methods(tmp_path / "x.msgpack") if method != "CONNECT"]
        assert methods == ["BEGIN", "CREATE", "INSERT", "SELECT", "COMMIT"]
        assert {lib for lib, _ in _methods(tmp_path / "x.msgpack")} == {"sqlalchemy"}
        assert asyncio.run(replayed()) == found
    finally:
        disable_sqlalchemy()
        disable_aiosqlite()


def test_a_call_belongs_to_the_session_of_the_task_that_waits_for_it(tmp_path: Path, enabled: None) -> None:
    async def work(number: int, connection: aiosqlite.Connection) -> None:
        with record(tmp_path / f"{number}.msgpack"):
            await connection.execute_fetchall("SELECT ?", (number,))
            await asyncio.sleep(0.01)
            await connection.execute_fetchall("SELECT ?", (-number,))

    async def main() -> None:
        with record(tmp_path / "opening.msgpack"):
            connection = await aiosqlite.connect(tmp_path / "app.db")
        # Its thread was started in a session that has ended.
        await connection.execute_fetchall("SELECT 'in no session'")
        await asyncio.gather(work(1, connection), work(2, connection))
        await connection.close()

    asyncio.run(main())
    assert _methods(tmp_path / "opening.msgpack") == [("aiosqlite", "CONNECT")]
    for number in (1, 2):
        events = read_cassette(tmp_path / f"{number}.msgpack").events
        values = [event.call.args["parameters"] for event in events if event.call is not None]
        assert values == [[number], [-number]]


def test_a_connection_that_was_opened_before_the_session(tmp_path: Path, enabled: None) -> None:
    async def main() -> None:
        async with aiosqlite.connect(tmp_path / "app.db") as connection:
            with record(tmp_path / "x.msgpack"):
                first = await _count(connection)
            with replay(tmp_path / "x.msgpack"):
                assert await _count(connection) == first == [(1,)]
            assert await _count(connection) == [(2,)], "the replay wrote nothing"

    asyncio.run(main())


@pytest.mark.parametrize(("name", "lib"), [("aiosqlite", "aiosqlite"), ("db", "aiosqlite")])
def test_a_live_database(tmp_path: Path, name: str, lib: str) -> None:
    async def work() -> Any:
        async with aiosqlite.connect(tmp_path / "app.db") as connection:
            return await _count(connection)

    with record(tmp_path / "x.msgpack"):
        assert asyncio.run(work()) == [(1,)]
    assert {lib for lib, _ in _methods(tmp_path / "x.msgpack")} == {"aiosqlite"}
    with replay(tmp_path / "x.msgpack", live_plugins=[name]) as session:
        assert asyncio.run(work()) == [(2,)]
    assert session.verdict().live == {lib: 5}
    with replay(tmp_path / "x.msgpack", live_plugins=["sqlite3"]) as session:
        assert asyncio.run(work()) == [(1,)]


def test_a_backup_is_refused(tmp_path: Path) -> None:
    async def work() -> Any:
        async with aiosqlite.connect(tmp_path / "app.db") as connection:
            found = await _count(connection)
            async with aiosqlite.connect(tmp_path / "copy.db") as copy:
                await connection.backup(copy)
        return found

    with record(tmp_path / "x.msgpack"):
        asyncio.run(work())
    with (
        replay(tmp_path / "x.msgpack", fail_on_miss=False),
        pytest.raises(ReplayMismatchError, match=r"(?s)connection\.backup.*name aiosqlite in live_plugins"),
    ):
        asyncio.run(work())


def test_enabling_it_enables_sqlite3_beneath(tmp_path: Path) -> None:
    own = sqlite3.connect
    enable_aiosqlite()
    enable_aiosqlite()
    assert sqlite3.connect is not own
    disable_aiosqlite()
    assert sqlite3.connect is own


@pytest.mark.parametrize("mode", ["bare", "record", "replay"])
def test_spans_are_those_of_a_bare_run(tmp_path: Path, mode: str) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    async def work() -> Any:
        with trace.get_tracer("app", tracer_provider=provider).start_as_current_span("work"):
            async with aiosqlite.connect(tmp_path / "app.db") as connection:
                cursor = await connection.cursor()
                await cursor.execute("SELECT 1 AS one")
                return await cursor.fetchall()

    instrumentor: Any = SQLite3Instrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        if mode != "bare":
            with record(tmp_path / "x.msgpack"):
                found = asyncio.run(work())
        if mode == "replay":
            exporter.clear()
            with replay(tmp_path / "x.msgpack"):
                assert asyncio.run(work()) == found
        if mode == "bare":
            asyncio.run(work())
    finally:
        instrumentor.uninstrument()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert spans.keys() == {"work", "SELECT"}
    # aiosqlite's thread has no span: what begins there is the root of a trace.
    assert spans["SELECT"].parent is None
    assert dict(spans["SELECT"].attributes or {}).get("timetracer.replayed") is (True if mode == "replay" else None)
    if mode != "bare":
        (select,) = (
            event for event in read_cassette(tmp_path / "x.msgpack").events if event.signature.method == "SELECT"
        )
        assert select.span is not None
        assert mode == "replay" or select.span.span_id == f"{spans['SELECT'].context.span_id:016x}"  # type: ignore[union-attr]
