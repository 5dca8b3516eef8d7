"""SQLAlchemy keeps the contract over the drivers of MySQL and MariaDB.

Calls are added to a cassette (``new_episodes``) over one driver of each kind: what differs there is the connection of
the replay. Those for pymysql and mysqlclient are of one class, and so are those for aiomysql and asyncmy.
"""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.framework import AddingContract, Contract
from tests.contract.sql_flavour import SqlFlavour
from tests.servers.mariadb import needs_mariadb, needs_mysqlclient

# The first test of a class makes all runs that need the database: on a busy machine that takes minutes.
pytestmark = [pytest.mark.timeout(1200), needs_mariadb]


class _MySql(Contract):
    flavour: ClassVar[SqlFlavour]

    def __init_subclass__(cls) -> None:
        cls.cases = cls.flavour.cases


class TestPymysql(_MySql, AddingContract):
    flavour = SqlFlavour("pymysql")


@needs_mysqlclient
class TestMysqlclient(_MySql):
    flavour = SqlFlavour("mysqldb")


class TestAiomysql(_MySql):
    flavour = SqlFlavour("aiomysql")


class TestAsyncmy(_MySql, AddingContract):
    flavour = SqlFlavour("asyncmy")
