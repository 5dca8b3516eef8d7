"""SQLAlchemy keeps the contract over every driver, also where calls are added to a cassette (``new_episodes``)."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.framework import AddingContract
from tests.contract.sql_flavour import SqlFlavour

# The first test of a class makes all runs that need the database: on a busy machine that takes minutes.
pytestmark = pytest.mark.timeout(1200)


class _SqlAlchemy(AddingContract):
    flavour: ClassVar[SqlFlavour]

    def __init_subclass__(cls) -> None:
        cls.cases = cls.flavour.cases


class TestSqlite(_SqlAlchemy):
    flavour = SqlFlavour("sqlite")


class TestAiosqlite(_SqlAlchemy):
    flavour = SqlFlavour("aiosqlite")


class TestPsycopg(_SqlAlchemy):
    flavour = SqlFlavour("psycopg")


class TestPsycopgAsync(_SqlAlchemy):
    flavour = SqlFlavour("psycopg_async")


class TestPsycopg2(_SqlAlchemy):
    flavour = SqlFlavour("psycopg2")


class TestAsyncpg(_SqlAlchemy):
    flavour = SqlFlavour("asyncpg")
