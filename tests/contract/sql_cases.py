"""What apps do with a database: cases that take a connection of SQLAlchemy's, for every driver alike.

Under an async engine they run through ``AsyncConnection.run_sync``. Each begins with no tables and no transaction.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
)

from tests.contract.sql_observation import attempt, seen

__all__ = ["CASES", "Case", "on_connection"]

Case = Callable[[sa.Connection], Any]
CASES: dict[str, Case] = {}


def on_connection(case: Case) -> Case:
    """Add a case."""
    CASES[case.__name__] = case
    return case


class Colour(enum.Enum):
    """For enum columns."""

    RED = "r"
    BLUE = "b"


class Base(DeclarativeBase):
    """Of the mapped classes."""


class Author(Base):
    """A parent."""

    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(50), unique=True)
    born: Mapped[dt.date | None]
    books: Mapped[list[Book]] = relationship(
        back_populates="author", cascade="all, delete-orphan", order_by="Book.title"
    )


class Book(Base):
    """A child."""

    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(sa.String(100))
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="books")


def items(connection: sa.Connection, rows: int = 0) -> sa.Table:
    """A fresh table, with some rows in it."""
    metadata = sa.MetaData()
    table = sa.Table(
        "item",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(40), nullable=False, unique=True),
        sa.Column("price", sa.Numeric(10, 2)),
        sa.CheckConstraint("price >= 0", name="not_negative"),
    )
    metadata.create_all(connection)
    if rows:
        values = [{"name": f"item {n}", "price": Decimal(n) / 4} for n in range(1, rows + 1)]
        connection.execute(table.insert(), values)
    connection.commit()
    return table


@on_connection
def select_insert_update_delete(connection: sa.Connection) -> Any:
    table = items(connection)
    inserted = connection.execute(table.insert().values(name="one", price=Decimal("1.50")))
    found = [seen(inserted.inserted_primary_key), inserted.rowcount]
    found.append(seen(connection.execute(sa.select(table)).all()))
    found.append(connection.execute(table.update().where(table.c.name == "one").values(price=2)).rowcount)
    found.append(connection.execute(table.update().where(table.c.name == "none").values(price=2)).rowcount)
    found.append(seen(connection.execute(sa.select(table).where(table.c.id == 77)).first()))
    found.append(seen(connection.execute(sa.select(table.c.price)).scalar_one()))
    found.append(connection.execute(table.delete()).rowcount)
    found.append(seen(connection.execute(sa.select(table)).all()))
    connection.commit()
    return found


@on_connection
def the_same_query_with_three_answers(connection: sa.Connection) -> Any:
    table = items(connection)
    count = sa.select(sa.func.count()).select_from(table)
    found = [connection.scalar(count)]
    for name in ("a", "b"):
        connection.execute(table.insert().values(name=name))
        found.append(connection.scalar(count))
    connection.rollback()
    return found


@on_connection
def returning(connection: sa.Connection) -> Any:
    table = items(connection, 3)
    found = [
        connection.execute(table.insert().values(name="new").returning(table.c.id, table.c.name)).all(),
        # MariaDB has no UPDATE … RETURNING.
        connection.execute(table.update().where(table.c.id < 3).values(price=9).returning(table)).all()
        if connection.dialect.update_returning
        else None,
        connection.execute(table.delete().where(table.c.id == 1).returning(table.c.name)).scalars().all(),
    ]
    connection.commit()
    return seen(found)


@on_connection
def executemany(connection: sa.Connection) -> Any:
    table = items(connection)
    result = connection.execute(table.insert(), [{"name": f"n{n}", "price": n} for n in range(20)])
    found: list[Any] = [result.rowcount]
    update = table.update().where(table.c.name == sa.bindparam("wanted")).values(price=sa.bindparam("now"))
    found.append(connection.execute(update, [{"wanted": f"n{n}", "now": n * 2} for n in range(5)]).rowcount)
    found.append(seen(connection.execute(sa.select(table.c.name, table.c.price).order_by(table.c.id)).all()))
    connection.commit()
    return found


@on_connection
def insertmanyvalues(connection: sa.Connection) -> Any:
    table = items(connection)
    # SQLAlchemy sends 1,000 rows in a statement unless told otherwise. One driver shows a statement of that length,
    # and smaller batches show for the others that there are several.
    batch = 1000 if connection.dialect.driver == "psycopg" else 50
    connection = connection.execution_options(insertmanyvalues_page_size=batch)
    rows = [{"name": f"n{n}", "price": n} for n in range(batch + batch // 10)]
    # SQLAlchemy sorts from 2.0.10 on.
    in_order: dict[str, Any] = (
        {"sort_by_parameter_order": True}
        if "sort_by_parameter_order" in sa.Insert.returning.__code__.co_varnames
        else {}
    )
    statement = table.insert().returning(table.c.id, table.c.name, **in_order)
    found = seen(connection.execute(statement, rows).all())
    connection.commit()
    return found


@on_connection
def ways_to_fetch(connection: sa.Connection) -> Any:
    table = items(connection, 25)
    query = sa.select(table.c.id, table.c.name).order_by(table.c.id)
    found: list[Any] = []
    result = connection.execute(query)
    found += [list(result.keys()), seen(result.fetchone()), seen(result.fetchmany(3)), seen(result.fetchall())]
    found.append(attempt(result.fetchone))
    found.append(seen([row for row in connection.execute(query)]))  # noqa: C416 - an app's loop
    found.append(seen(list(connection.execute(query).partitions(10))))
    found.append(seen([dict(row) for row in connection.execute(query).mappings().fetchmany(2)]))
    found.append(seen(connection.execute(query).scalars().first()))
    found.append(attempt(connection.execute(query).one))
    found.append(seen(connection.execute(query.where(table.c.id == 2)).one_or_none()))
    found.append(seen(connection.execute(query).columns("name").unique().all()))
    left = connection.execute(query)
    found.append(seen(left.fetchmany(2)))
    left.close()
    found.append(attempt(left.fetchone))
    frozen = connection.execute(query.limit(2)).freeze()
    found.append(seen([frozen().all(), frozen().all()]))
    connection.rollback()
    return found


@on_connection
def rows_that_stay_on_the_server(connection: sa.Connection) -> Any:
    table = items(connection, 60)
    query = sa.select(table.c.id).order_by(table.c.id)
    found: list[Any] = []
    streamed = connection.execute(query.execution_options(stream_results=True, max_row_buffer=7))
    found += [seen(streamed.fetchmany(3)), seen(streamed.fetchone())]
    streamed.close()
    with connection.execute(query.execution_options(yield_per=20)) as result:
        found += [seen(part) for part in result.partitions()]
    with connection.execute(query.execution_options(yield_per=10)) as result:
        for row in result:
            found.append(seen(row))
            if row.id == 15:
                break
    connection.rollback()
    return found


@on_connection
def every_generic_type(connection: sa.Connection) -> Any:
    metadata = sa.MetaData()
    table = sa.Table(
        "kinds",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("big", sa.BigInteger),
        sa.Column("small", sa.SmallInteger),
        sa.Column("exact", sa.Numeric(20, 8)),
        sa.Column("single", sa.Float),
        sa.Column("double", sa.Double),
        sa.Column("flag", sa.Boolean),
        sa.Column("day", sa.Date),
        sa.Column("clock", sa.Time),
        sa.Column("moment", sa.DateTime),
        sa.Column("span", sa.Interval),
        sa.Column("raw", sa.LargeBinary),
        sa.Column("text", sa.Text),
        sa.Column("json", sa.JSON),
        sa.Column("ident", sa.Uuid),
        sa.Column("ident_text", sa.Uuid(as_uuid=False)),
        sa.Column("colour", sa.Enum(Colour)),
        sa.Column("pickled", sa.PickleType),
    )
    metadata.create_all(connection)
    full = {
        "id": 1,
        "big": 2**62,
        "small": -7,
        "exact": Decimal("12345678.12345678"),
        "single": 1.5,
        "double": 0.1,
        "flag": True,
        "day": dt.date(1999, 12, 31),
        "clock": dt.time(23, 59, 59, 999999),
        "moment": dt.datetime(2024, 2, 29, 1, 2, 3, 4),  # noqa: DTZ001 - the column has no zone
        "span": dt.timedelta(days=3, seconds=5, microseconds=7),
        "raw": bytes(range(256)),
        "text": "naïve ☃ \U0001f600 'quoted' %s :x",
        "json": {"a": [1, 2.5, None, True, "ü"], "timetracer:type": "mine", "b": {}},
        "ident": uuid.UUID(int=5),
        "ident_text": str(uuid.UUID(int=6)),
        "colour": Colour.BLUE,
        "pickled": {"any": (1, 2)},
    }
    connection.execute(table.insert(), full)
    connection.execute(table.insert(), {**dict.fromkeys(full), "id": 2})
    connection.commit()
    found = [seen(row) for row in connection.execute(sa.select(table).order_by(table.c.id))]
    names = ("big", "exact", "day", "moment", "ident", "colour", "flag")
    found += [connection.scalar(sa.select(table.c.id).where(table.c[name] == full[name])) for name in names]
    found.append(seen(connection.scalar(sa.select(sa.func.max(table.c.moment)))))
    connection.rollback()
    return found


@on_connection
def transactions_and_savepoints(connection: sa.Connection) -> Any:
    table = items(connection)
    names = sa.select(table.c.name).order_by(table.c.name)
    found: list[Any] = []
    with connection.begin():
        connection.execute(table.insert().values(name="kept"))
        with connection.begin_nested():
            connection.execute(table.insert().values(name="kept as well"))
        inner = connection.begin_nested()
        connection.execute(table.insert().values(name="lost"))
        inner.rollback()
        found.append(seen(connection.scalars(names).all()))
    connection.execute(table.insert().values(name="lost too"))
    connection.rollback()
    found.append(seen(connection.scalars(names).all()))
    connection.rollback()

    def fails() -> None:
        with connection.begin():
            connection.execute(table.insert().values(name="never"))
            raise ValueError("by the app")

    found += [attempt(fails), seen(connection.scalars(names).all())]
    connection.rollback()
    return found


@on_connection
def errors_then_another_query(connection: sa.Connection) -> Any:
    table = items(connection, 2)
    statements = [
        table.insert().values(name="item 1"),
        table.insert().values(name=None),
        table.insert().values(name="negative", price=-1),
        sa.text("SELECT * FROM no_such_table"),
        sa.text("SELEKT 1"),
        sa.text("SELECT no_such_column FROM item"),
    ]
    found = []
    for statement in statements:
        found.append(attempt(connection.execute, statement))
        connection.rollback()
        found.append(connection.scalar(sa.select(sa.func.count()).select_from(table)))
        connection.rollback()
    found.append(attempt(connection.execute, table.insert(), [{"name": "x"}, {"name": "x"}]))
    connection.rollback()
    return found


@on_connection
def lists_of_values(connection: sa.Connection) -> Any:
    table = items(connection, 6)
    by_id = sa.select(table.c.name).where(table.c.id.in_([1, 3, 5])).order_by(table.c.id)
    found = [seen(connection.scalars(by_id).all())]
    expanding = sa.select(table.c.id).where(table.c.id.in_(sa.bindparam("ids", expanding=True))).order_by(table.c.id)
    found += [seen(connection.scalars(expanding, {"ids": ids}).all()) for ids in ([2], [4, 6], [])]
    connection.rollback()
    return found


@on_connection
def textual_statements(connection: sa.Connection) -> Any:
    items(connection, 3)
    found = [
        seen(connection.execute(sa.text("SELECT id, name FROM item WHERE id > :low ORDER BY id"), {"low": 1}).all()),
        seen(connection.exec_driver_sql("SELECT count(*) FROM item").scalar()),
        seen(connection.execute(sa.text("SELECT 1 /* a comment that stays */")).scalar()),
    ]
    connection.rollback()
    return found


@on_connection
def reflection(connection: sa.Connection) -> Any:
    Base.metadata.create_all(connection)
    connection.execute(sa.text("CREATE INDEX book_title ON book (title)"))
    connection.execute(sa.text("CREATE VIEW titles AS SELECT title FROM book"))
    connection.commit()
    inspector = sa.inspect(connection)
    found: list[Any] = [
        sorted(inspector.get_table_names()),
        inspector.get_view_names(),
        inspector.has_table("nothing"),
    ]
    for table in ("author", "book"):
        columns = [{name: str(value) for name, value in column.items()} for column in inspector.get_columns(table)]
        found += [columns, seen(inspector.get_pk_constraint(table)), seen(inspector.get_foreign_keys(table))]
        found += [seen(inspector.get_indexes(table)), seen(inspector.get_unique_constraints(table))]
    reflected = sa.MetaData()
    reflected.reflect(connection, views=True)
    found.append([f"{table.name}: {[str(column.type) for column in table.c]}" for table in reflected.sorted_tables])
    Base.metadata.create_all(connection)
    connection.execute(sa.text("DROP VIEW titles"))
    Base.metadata.drop_all(connection)
    connection.commit()
    found.append(sa.inspect(connection).get_table_names())
    connection.rollback()
    return found


@on_connection
def isolation_levels(connection: sa.Connection) -> Any:
    table = items(connection, 1)
    found: list[Any] = [connection.default_isolation_level, connection.get_isolation_level()]
    connection.rollback()
    for level in ("SERIALIZABLE", "AUTOCOMMIT", "READ UNCOMMITTED"):
        found.append(attempt(lambda level=level: connection.execution_options(isolation_level=level) is connection))
        found.append(attempt(connection.get_isolation_level) if level != "AUTOCOMMIT" else None)
        connection.execute(table.insert().values(name=level))
        connection.rollback()
        found.append(seen(connection.scalars(sa.select(table.c.name).order_by(table.c.id)).all()))
        connection.rollback()
    found.append(attempt(lambda: connection.execution_options(isolation_level="NO SUCH LEVEL")))
    return found


@on_connection
def mapped_classes(connection: sa.Connection) -> Any:
    Base.metadata.create_all(connection)
    connection.commit()
    found: list[Any] = []
    with Session(connection) as session:
        session.add_all(
            Author(name=f"a{n}", born=dt.date(1900 + n, 1, 1), books=[Book(title=f"t{n}.{m}") for m in range(n)])
            for n in range(1, 4)
        )
        session.commit()
        found.append([(author.id, author.name) for author in session.scalars(sa.select(Author).order_by(Author.id))])
    for options in ((), (selectinload(Author.books),), (joinedload(Author.books),)):
        with Session(connection) as session:
            query = sa.select(Author).options(*options).order_by(Author.id)
            authors = session.scalars(query).unique().all()
            found.append([(author.name, [book.title for book in author.books]) for author in authors])
            session.rollback()
    with Session(connection) as session:
        author = session.get(Author, 2)
        assert author is not None
        author.name = "renamed"
        author.books.pop()
        session.flush()
        session.expire(author)
        found.append((author.name, len(author.books), author.born))
        with session.begin_nested():
            session.add(Author(name="nested"))
        found.append(
            seen(
                session.execute(
                    sa.select(Author.name, sa.func.count(Book.id))
                    .outerjoin(Book)
                    .group_by(Author.name)
                    .order_by(Author.name)
                ).all()
            )
        )
        session.execute(sa.insert(Author), [{"name": f"bulk{n}"} for n in range(3)])
        session.delete(author)
        session.commit()
        session.merge(Author(id=1, name="merged"))
        session.commit()
        found.append(seen(session.scalars(sa.select(Author.name).order_by(Author.name)).all()))
        session.add(Author(name="merged"))
        found.append(attempt(session.commit))
        session.rollback()
        found.append(session.scalar(sa.select(sa.func.count(Author.id))))
    connection.rollback()
    return found


@on_connection
def one_connection_checked_while_used(connection: sa.Connection) -> Any:
    table = items(connection, 3)
    raw = connection.connection
    cursor = raw.cursor()
    cursor.execute("SELECT id, name FROM item ORDER BY id")
    found: list[Any] = [
        [column[0] for column in cursor.description],
        seen([tuple(row) for row in cursor.fetchmany(2)]),
    ]
    found.append(seen([tuple(row) for row in cursor.fetchall()]))
    cursor.close()
    found.append(connection.closed)
    found.append(seen(connection.scalar(sa.select(sa.func.count()).select_from(table))))
    connection.rollback()
    return found
