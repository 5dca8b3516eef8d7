"""The kit for databases serves any library: the library hands in its name and facts, and the kit knows none."""

from __future__ import annotations

import ast
import gc
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import timetracer_otel
from timetracer_otel import ReplayMismatchError, record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.libraries.kits.dbapi.drivers.sqlite import SqliteConnection
from timetracer_otel.libraries.kits.dbapi.facts import number_of, recorded_facts, untold_facts
from timetracer_otel.libraries.kits.dbapi.real_connection import RealConnection
from timetracer_otel.libraries.kits.dbapi.recording_cursor import RecordingCursor
from timetracer_otel.libraries.kits.dbapi.target import StatementFacts, Target
from timetracer_otel.session import ReplaySession, TraceSession

_SUM = "SELECT 1 + ? AS total"


class _Shop(Target):
    """The database of a library of somebody's, on sqlite3."""

    def __init__(self) -> None:
        super().__init__("shoplib", "shop://", sqlite3)

    def first_facts(self) -> dict[str, Any]:
        return {"version": 3}

    def statement_facts(self, context: Any) -> StatementFacts:
        return StatementFacts(names=(context,) if context else ())


def _record(path: Path) -> list[Any]:
    connection = sqlite3.connect(":memory:")
    try:
        with record(str(path)):
            cursor = RecordingCursor(connection.cursor(), _Shop())
            cursor._self_bind("price")
            cursor.execute(_SUM, (2,))
            rows: list[Any] = cursor.fetchall()
            cursor.close()
            return rows
    finally:
        connection.close()


def _replay_connection() -> SqliteConnection:
    target = _Shop()
    return SqliteConnection(target, RealConnection(target))


def test_a_library_of_any_name_records_and_replays_with_it(tmp_path: Path) -> None:
    path = tmp_path / "shop.msgpack"
    assert _record(path) == [(3,)]
    with replay(str(path)) as session:
        cursor = _replay_connection().library_cursor()
        cursor._self_bind("price")
        assert cursor.execute(_SUM, (2,)).fetchall() == [(3,)]
        assert cursor.description[0].name == "total"
    assert session.verdict().ok


def test_events_have_the_name_and_the_facts_that_the_library_hands_in(tmp_path: Path) -> None:
    path = tmp_path / "shop.msgpack"
    _record(path)
    cassette = read_cassette(str(path))
    (event,) = cassette.events
    assert (event.signature.lib, event.signature.url, event.signature.method) == ("shoplib", "shop://", "SELECT")
    assert event.call is not None
    assert event.call.args == {"statement": _SUM, "parameters": {"price": 2}}
    assert recorded_facts(ReplaySession(cassette, str(path)), _Shop()) == {"version": 3}


def test_a_hint_names_the_library(tmp_path: Path) -> None:
    path = tmp_path / "shop.msgpack"
    _record(path)
    miss = pytest.raises(ReplayMismatchError, match="name shoplib in live_plugins")
    with replay(str(path), fail_on_miss=False), miss:
        _replay_connection().library_cursor().executescript("SELECT 1")


def test_a_database_that_is_gone_does_not_give_its_number_to_another() -> None:
    session = TraceSession()
    first, second = _Shop(), _Shop()
    assert [untold_facts(session, target) for target in (first, second)] == [
        {"number": 1, "facts": {"version": 3}},
        {"number": 2, "facts": {"version": 3}},
    ]
    del first
    gc.collect()
    third = _Shop()
    assert untold_facts(session, third) == {"number": 3, "facts": {"version": 3}}
    assert (number_of(session, second), number_of(session, third)) == (2, 3)
    assert untold_facts(session, third) is None


def _names_in(file: Path) -> Iterator[str]:
    """The names and texts in a file's code, without comments and docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node not in docstrings:
            yield str(node.value)
        elif isinstance(node, (ast.Name, ast.Attribute)):
            yield node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.name for alias in node.names)
            yield getattr(node, "module", None) or ""


def test_no_code_of_the_kit_names_a_library_and_none_but_their_own_files_name_drivers() -> None:
    kit = Path(timetracer_otel.__file__).parent / "libraries" / "kits" / "dbapi"
    libraries, drivers = ("sqlalchemy",), ("asyncpg", "mysql", "oracle", "psycopg", "pyodbc", "sqlite")
    files = list(kit.rglob("*.py"))
    assert len(files) > 10
    for file in files:
        found = " ".join(_names_in(file)).lower()
        banned = libraries if file.parent.name == "drivers" else (*libraries, *drivers)
        assert [name for name in banned if name in found] == [], file.name
