"""The drivers of MySQL and MariaDB keep the contract where an app uses them itself.

They share the cases: each case is run over one of them that has it, and over all of these in ``make test-whole``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from tests.contract.aiomysql_flavour import AioMySqlFlavour
from tests.contract.asyncmy_flavour import AsyncMyFlavour
from tests.contract.framework import Contract, Shares
from tests.contract.mysql_flavour import MySqlFlavour
from tests.contract.mysqlclient_flavour import MySqlClientFlavour
from tests.contract.mysqlconnector_cases import MYSQLCONNECTOR_CASES
from tests.contract.mysqlconnector_flavour import MySqlConnectorFlavour
from tests.contract.pymysql_flavour import PyMySqlFlavour
from tests.servers.mariadb import needs_mariadb, needs_mysqlclient

# The first test of a class makes all runs that need the database: on a busy machine that takes minutes.
pytestmark = [pytest.mark.timeout(1200), needs_mariadb]

one_driver_a_case = Shares("drivers of MySQL that an app uses itself")


class _MySql(Contract):
    flavour: ClassVar[MySqlFlavour]

    def __init_subclass__(cls) -> None:
        cls.cases = cls.flavour.cases


@one_driver_a_case
class TestPyMySql(_MySql):
    flavour = PyMySqlFlavour()


@one_driver_a_case
@needs_mysqlclient
class TestMySqlClient(_MySql):
    flavour = MySqlClientFlavour()


@one_driver_a_case
class TestMySqlConnector(_MySql):
    flavour = MySqlConnectorFlavour()


@one_driver_a_case
class TestAioMySql(_MySql):
    flavour = AioMySqlFlavour()


@one_driver_a_case
class TestAsyncMy(_MySql):
    flavour = AsyncMyFlavour()


def test_mysqlconnector_over_a_handle_in_c(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    program = Path(__file__).with_name("mysqlconnector_program.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", program, tmp_path],
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() >= MYSQLCONNECTOR_CASES.keys()
    assert not any(found.values()), found
