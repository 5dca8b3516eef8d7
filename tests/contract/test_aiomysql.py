"""aiomysql keeps the contract where an app uses it itself."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.aiomysql_flavour import AioMySqlFlavour
from tests.contract.framework import Contract
from tests.servers.mariadb import needs_mariadb

# The first test makes all runs that need the database: on a busy machine that takes minutes.
pytestmark = [pytest.mark.timeout(1200), needs_mariadb]


class TestAioMySql(Contract):
    flavour: ClassVar[AioMySqlFlavour] = AioMySqlFlavour()
    cases = flavour.cases
