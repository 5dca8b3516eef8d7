"""What SQL statements are matched by, where two processes give a driver other texts for the same values."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from timetracer_otel.libraries.kits.dbapi.statements import CursorCall, arguments
from timetracer_otel.libraries.sqlalchemy.internals import unordered_values


class Flags(sa.TypeDecorator[Any]):
    """A type of an app's own, which is MySQL's there."""

    impl = sa.String
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        return mysql.SET("a", "b", "c") if dialect.name == "mysql" else sa.String()


TABLE = sa.Table(
    "kinds",
    sa.MetaData(),
    sa.Column("flags", mysql.SET("a", "b", "c")),
    sa.Column("own", Flags()),
    sa.Column("name", sa.String(10)),
)


def test_the_sets_of_mysql_have_no_order() -> None:
    compiled = TABLE.insert().compile(dialect=mysql.dialect())  # type: ignore[no-untyped-call]
    assert unordered_values(SimpleNamespace(compiled=compiled)) == {"flags", "own"}
    assert unordered_values(SimpleNamespace(compiled=None)) == frozenset()


def test_values_without_order_are_equal_however_a_set_was_joined() -> None:
    def matched(flags: str, name: str = "b,a", **call: Any) -> Any:
        given = {"flags": flags, "flags__1": flags, "name": name}
        return arguments(CursorCall("INSERT", **{"values": given, **call}), (), frozenset({"flags"}))

    assert matched("c,a") == matched("a,c")
    assert matched("c,a") != matched("a,b")
    assert matched("a", name="a,b") != matched("a", name="b,a")
    many = [matched(flags, values=[{"flags": flags}, {"flags": None}], many=True) for flags in ("c,a", "a,c")]
    assert many[0] == many[1]
    positional = [
        arguments(CursorCall("INSERT", (flags, 1)), ("flags", "id"), frozenset({"flags"})) for flags in ("b,a", "a,b")
    ]
    assert positional[0] == positional[1]
