"""SQLAlchemy keeps the contract over the drivers of MySQL and MariaDB, also where calls are added to a cassette.

The four drivers share the cases: each case is run over one of them, and over all of them in ``make test-whole``.
"""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.framework import AddingContract, Shares
from tests.contract.sql_flavour import SqlFlavour
from tests.servers.mariadb import needs_mariadb, needs_mysqlclient

# The first test of a class makes all runs that need the database: on a busy machine that takes minutes.
pytestmark = [pytest.mark.timeout(1200), needs_mariadb]

one_driver_a_case = Shares("drivers of MySQL")


class _MySql(AddingContract):
    flavour: ClassVar[SqlFlavour]

    def __init_subclass__(cls) -> None:
        cls.cases = cls.flavour.cases


@one_driver_a_case
class TestPymysql(_MySql):
    flavour = SqlFlavour("pymysql")


@one_driver_a_case
@needs_mysqlclient
class TestMysqlclient(_MySql):
    flavour = SqlFlavour("mysqldb")


@one_driver_a_case
class TestAiomysql(_MySql):
    flavour = SqlFlavour("aiomysql")


@one_driver_a_case
class TestAsyncmy(_MySql):
    flavour = SqlFlavour("asyncmy")
