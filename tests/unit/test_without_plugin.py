"""Where clients without a plugin connect, as far as their arguments tell; and what a refusal must not show."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import oracledb
import pytest

from timetracer_otel.libraries.mysqlclient import plugin as mysqlclient
from timetracer_otel.libraries.without_plugin import CLIENTS


def address(module: str, name: str, *args: Any, **kwargs: Any) -> str | None:
    connectors = {found.name: found for found in CLIENTS.connectors[module](ModuleType(module))}
    return connectors[name].address(args, kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs", "found"),
    [
        (("Driver={x};Server=tcp:db.internal,1444;Uid=app;Pwd=s3cret",), {}, "db.internal:1444"),
        (("DRIVER=x;SERVER=db;PORT=5433",), {}, "db:5433"),
        ((), {"server": "db"}, "db:1433"),
        (("Driver={x};Socket=/run/mysqld.sock;Uid=app",), {}, "/run/mysqld.sock"),
        (("DSN=shop;PWD=s3cret",), {}, "the data source shop"),
        (("garbage",), {}, "the database of its connection string"),
    ],
)
def test_pyodbc(args: tuple[Any, ...], kwargs: dict[str, Any], found: str) -> None:
    assert address("pyodbc", "connect", *args, **kwargs) == found


@pytest.mark.parametrize(
    ("args", "kwargs", "found"),
    [
        ((), {"host": "db", "port": 3307, "password": "s3cret"}, "db:3307"),
        (("db", "app", "s3cret", "shop"), {}, "db:3306"),
        ((), {"unix_socket": "/run/mysqld.sock"}, "/run/mysqld.sock"),
        ((), {}, "localhost:3306"),
    ],
)
def test_mysqlclient(args: tuple[Any, ...], kwargs: dict[str, Any], found: str) -> None:
    # Its plugin declares it, and makes an exception for what it records or answers.
    (connector,) = mysqlclient.connectors["MySQLdb.connections"](ModuleType("MySQLdb.connections"))
    assert connector.address((object(), *args), kwargs) == found


@pytest.mark.parametrize(
    ("args", "kwargs", "found"),
    [
        (("db:1522/shop",), {}, "db:1522"),
        (("app/s3cret@db/shop",), {}, "db:1521"),
        (("tcps://db:2484/shop",), {}, "db:2484"),
        (("(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST=db)(PORT=1523)))",), {}, "db:1523"),
        ((), {"host": "db"}, "db:1521"),
        ((), {"params": SimpleNamespace(host=["db"], port=[1524])}, "db:1524"),
        ((), {"pool": SimpleNamespace(dsn="db/shop")}, "db:1521"),
        ((), {}, "the database of its settings"),
    ],
)
def test_oracledb(args: tuple[Any, ...], kwargs: dict[str, Any], found: str) -> None:
    assert address("oracledb.connection", "Connection.__init__", object(), *args, **kwargs) == found


@pytest.mark.parametrize(
    ("connection", "found"),
    [
        (SimpleNamespace(dsn="app/s3cret@db:1522/shop"), "db:1522"),
        (SimpleNamespace(dsn=None), "its server"),
        (None, "its server"),
    ],
)
def test_a_cursor_of_oracledb(connection: Any, found: str) -> None:
    module = ModuleType("oracledb.cursor")
    module.Cursor = oracledb.Cursor  # type: ignore[attr-defined]
    connectors = CLIENTS.connectors["oracledb.cursor"](module)
    assert [each.name for each in connectors] == [
        f"Cursor.{name}" for name in ("execute", "executemany", "callproc", "callfunc")
    ]
    assert {each.address((SimpleNamespace(connection=connection),), {}) for each in connectors} == {found}
    assert all(each.is_open for each in connectors)


def test_confluent_kafka() -> None:
    of = "confluent_kafka.cimpl", "_AdminClientImpl.__init__", object()
    assert address(*of, {"bootstrap.servers": "a:9092,b:9092"}) == "a:9092,b:9092"
    assert address(*of, **{"bootstrap.servers": "a:9092"}) == "a:9092"
    assert address(*of, {}) == "the brokers that its settings name"


def test_awscrt() -> None:
    of = "awscrt.s3", "S3Client.make_request", object()
    assert address(*of, request=SimpleNamespace(headers={"host": "shop.s3.amazonaws.com"})) == (
        "shop.s3.amazonaws.com:443"
    )
    assert address(*of, request=None) == "a host that its request names"
