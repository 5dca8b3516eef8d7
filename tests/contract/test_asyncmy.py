"""asyncmy keeps the contract where an app uses it itself."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.asyncmy_flavour import AsyncMyFlavour
from tests.contract.framework import Contract
from tests.servers.mariadb import needs_mariadb

# The first test makes all runs that need the database: on a busy machine that takes minutes.
pytestmark = [pytest.mark.timeout(1200), needs_mariadb]


class TestAsyncMy(Contract):
    flavour: ClassVar[AsyncMyFlavour] = AsyncMyFlavour()
    cases = flavour.cases
