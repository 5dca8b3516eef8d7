"""Where statements can carry a secret: in values, literals, results, names, comments, errors, addresses."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from tests.planted.packed import PACKED
from tests.planted.planter import Planter, refusals_told
from tests.planted.secrets import digits

__all__ = ["plant", "plant_async"]

_TABLE = """CREATE TABLE IF NOT EXISTS people (
    id INTEGER, name VARCHAR(4000), password VARCHAR(4000) UNIQUE, note VARCHAR(200) UNIQUE, api_key BIGINT)"""


def plant_async(planter: Planter, engine: Any, *, backwards: bool) -> Any:
    """As `plant`, for an engine of asyncio; gives what is to be awaited."""

    async def run() -> None:
        # The statements are the same: SQLAlchemy bridges the two worlds by greenlets.
        async with engine.connect() as connection:
            await connection.run_sync(lambda given: _plant(planter, given, backwards))

    return run()


def plant(planter: Planter, engine: sa.Engine, *, backwards: bool) -> None:
    """Plant a secret in each place of this engine's calls."""
    with engine.connect() as connection:
        _plant(planter, connection, backwards)


def _plant(planter: Planter, connection: sa.Connection, backwards: bool) -> None:
    dialect, driver = connection.dialect.name, connection.dialect.driver

    def run(statement: str, values: Any = None) -> None:
        with refusals_told():
            made = connection.execute(sa.text(statement), values)
            if made.returns_rows:
                made.all()
            connection.commit()
        with refusals_told():
            connection.rollback()

    def literal(text: str) -> str:
        text = text.replace("'", "''").replace("\\", "\\\\" if dialect == "mysql" else "\\")
        return text.replace("%", "%%") if driver in ("psycopg", "psycopg2", "pymysql") else text

    def raw(statement: str) -> None:
        """As a driver gets it, with all that SQLAlchemy would read as its own."""
        with refusals_told():
            connection.exec_driver_sql(statement)
        with refusals_told():
            connection.rollback()

    run(_TABLE)
    run("DELETE FROM people")
    named = planter.named
    sa_table = sa.table("people", *map(sa.column, ("id", "name", "password", "note", "api_key")))
    run("SELECT id FROM people WHERE password = :password", {"password": named("bound value")})
    run("SELECT id FROM people WHERE name = :token_1", {"token_1": named("bound value with a number")})
    run("INSERT INTO people (id, password) VALUES (1, :password)", {"password": named("inserted")})
    run("SELECT * FROM people")
    run("SELECT password AS x FROM people")
    # No call has told of this one: the statement that stores it has it in two halves.
    whole = planter.answered("column under another label")
    halves = f"'{literal(whole[:8])}', '{literal(whole[8:])}'"
    joined = f"CONCAT({halves})" if dialect == "mysql" else halves.replace(", ", " || ", 1)
    with refusals_told():
        connection.exec_driver_sql(f"INSERT INTO people (id, password) VALUES (20, {joined})")
        connection.commit()
    for column in ("password", "p.password"):
        run(f"SELECT {column} AS v FROM people p WHERE id = 20")
    text = "CHAR" if dialect == "mysql" else "TEXT"
    run(f"SELECT SUBSTR(CAST(:of AS {text}), 3) AS api_key", {"of": "--" + planter.answered("column")})
    with refusals_told():
        connection.execute(
            sa_table.insert(),
            [{"id": 2, "password": named("inserted with others")}, {"id": 3, "password": named("another row")}],
        )
        connection.commit()
    with refusals_told():
        connection.execute(sa_table.insert().values(id=4, api_key=int(named("number", digits))))
        connection.execute(sa.select(sa_table.c.api_key)).all()
        connection.commit()
    run("SELECT id, api_key, password FROM people ORDER BY id")
    taken = named("value that is taken")
    for _ in range(2):
        run("INSERT INTO people (id, password) VALUES (5, :password)", {"password": taken})
    raw(f"INSERT INTO people (id, password) VALUES (6, '{literal(named('literal in an insert'))}')")
    raw(f"UPDATE people SET password = '{literal(named('literal in an update'))}' WHERE id = 6")
    raw(f"SELECT id FROM people WHERE password = '{literal(named('literal in a condition'))}'")
    raw(f"SELECT id FROM people WHERE password IN ('a', '{literal(named('literal in a list'))}')")
    raw(f"SELECT '{literal(named('literal under a label'))}' AS access_token")
    for _ in range(2):
        raw(f"INSERT INTO people (id, password) VALUES (7, '{literal(taken)}')")
    document = json.dumps({"token": named("json that is bound")})
    run("INSERT INTO people (id, name) VALUES (8, :document)", {"document": document})
    run("SELECT name FROM people WHERE id = 8")
    if dialect == "postgresql":
        run("SELECT CAST(:document AS JSONB) AS document", {"document": json.dumps({"token": named("json column")})})
        run("SELECT ARRAY[CAST(:secret AS TEXT)] AS secret", {"secret": named("array")})
        raw(f"ALTER ROLE nobody_here PASSWORD '{literal(named('password of a role'))}'")
        raw(f"CREATE USER MAPPING FOR x SERVER y OPTIONS (password '{literal(named('option'))}')")
        run("SELECT CAST(:token AS INTEGER)", {"token": named("value that cannot be cast")})
        raw(f"SELECT set_config('app.token', '{literal(named('setting'))}', false)")
        raw(f"SET app.token = '{literal(named('another setting'))}'")
    if dialect == "mysql":
        raw(f"CREATE USER nobody IDENTIFIED BY '{literal(named('password of a user'))}'")
        raw(f"SET PASSWORD FOR nobody = PASSWORD('{literal(named('password that is set'))}')")
    if driver in ("psycopg", "psycopg2", "asyncpg", "pymysql"):
        raw("SELECT 1")

    def texts(place: str, *, escapes: bool = True, longest: int | None = None) -> list[str]:
        return list(planter.anywhere(place, escapes=escapes, backwards=backwards, longest=longest))

    for text in texts("another bound value"):
        run("SELECT id FROM people WHERE name = :of", {"of": text})
    for text in texts("pattern"):
        run("SELECT id FROM people WHERE name LIKE :of", {"of": f"%{text}%"})
    for text in texts("another column"):
        run("INSERT INTO people (id, name) VALUES (9, :of)", {"of": f"it is {text}"})
        run("SELECT name FROM people WHERE id = 9")
    for text in texts("another literal"):
        raw(f"SELECT id FROM people WHERE name = '{literal(text)}'")
    for text in texts("result of a literal"):
        raw(f"SELECT '{literal(text)}' AS of_it")
    for text in texts("several rows"):
        with refusals_told():
            connection.execute(sa_table.insert(), [{"id": 10, "name": text}, {"id": 11, "name": f"or {text}"}])
            connection.commit()
    for text in texts("value that is taken, of another column", escapes=False):
        for _ in range(2):
            run("INSERT INTO people (id, note) VALUES (12, :note)", {"note": text})
    for text in texts("comment", escapes=False):
        raw(f"SELECT 1 /* {text} */")
    # PostgreSQL cuts a longer name, in which nothing can be known.
    for text in texts("label", escapes=False, longest=60):
        raw(f'SELECT 1 AS "{text}"' if dialect != "mysql" else f"SELECT 1 AS `{text}`")
    for text in texts("table that is missing", escapes=False):
        quote = "`" if dialect == "mysql" else '"'
        raw(f"SELECT * FROM {quote}{text}{quote}")
    for text in texts("syntax error", escapes=False):
        raw(f"SELEC '{literal(text)}'")
    for text in texts("bytes"):
        with refusals_told():
            connection.execute(sa.select(sa.literal(b"\0\1" + text.encode() + b"\xff", sa.LargeBinary))).all()
        with refusals_told():
            connection.rollback()
    for kind, pack in PACKED.items():
        packed = [pack({"token": named(kind)}), *(pack({"of": text}) for text in texts(f"another field of {kind}"))]
        for value in packed:
            with refusals_told():
                connection.execute(sa.select(sa.literal(value, sa.LargeBinary))).all()
            with refusals_told():
                connection.rollback()
    if dialect == "postgresql":
        for text in texts("another array"):
            run("SELECT ARRAY[CAST(:of AS TEXT), 'b']", {"of": text})
        for text in texts("another value that cannot be cast"):
            run("SELECT CAST(:of AS INTEGER)", {"of": text})
        for text in texts("literal that cannot be cast"):
            raw(f"SELECT CAST('{literal(text)}' AS DATE)")
        for text in texts("raised"):
            raw(f"DO $$ BEGIN RAISE EXCEPTION 'no %', '{literal(text)}'; END $$")
