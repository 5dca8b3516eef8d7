"""mysqlclient keeps the contract where an app uses it itself."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.framework import Contract
from tests.contract.mysqlclient_flavour import MySqlClientFlavour
from tests.servers.mariadb import needs_mariadb, needs_mysqlclient

# The first test makes all runs that need the database: on a busy machine that takes minutes.
pytestmark = [pytest.mark.timeout(1200), needs_mariadb, needs_mysqlclient]


class TestMySqlClient(Contract):
    flavour: ClassVar[MySqlClientFlavour] = MySqlClientFlavour()
    cases = flavour.cases
