"""SQLAlchemy keeps the contract over every driver, also where calls are added to a cassette (``new_episodes``).

PostgreSQL's drivers share the cases, and so do SQLite's: each case is run over one of them, and over all of them in
``make test-whole``.
"""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.framework import AddingContract, Shares
from tests.contract.sql_flavour import SqlFlavour

# The first test of a class makes all runs that need the database: on a busy machine that takes minutes.
pytestmark = pytest.mark.timeout(1200)

one_driver_of_sqlite_a_case = Shares("drivers of SQLite")
one_driver_a_case = Shares("drivers of PostgreSQL")


class _SqlAlchemy(AddingContract):
    flavour: ClassVar[SqlFlavour]

    def __init_subclass__(cls) -> None:
        cls.cases = cls.flavour.cases


@one_driver_of_sqlite_a_case
class TestSqlite(_SqlAlchemy):
    flavour = SqlFlavour("sqlite")


@one_driver_of_sqlite_a_case
class TestAiosqlite(_SqlAlchemy):
    flavour = SqlFlavour("aiosqlite")


@one_driver_a_case
class TestPsycopg(_SqlAlchemy):
    flavour = SqlFlavour("psycopg")


@one_driver_a_case
class TestPsycopgAsync(_SqlAlchemy):
    flavour = SqlFlavour("psycopg_async")


@one_driver_a_case
class TestPsycopg2(_SqlAlchemy):
    flavour = SqlFlavour("psycopg2")


@one_driver_a_case
class TestAsyncpg(_SqlAlchemy):
    flavour = SqlFlavour("asyncpg")
