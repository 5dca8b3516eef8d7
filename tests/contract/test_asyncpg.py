"""asyncpg keeps the contract where an app uses it itself."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.asyncpg_flavour import AsyncpgFlavour
from tests.contract.framework import Contract

# The first test makes all runs that need the database: on a busy machine that takes minutes.
pytestmark = pytest.mark.timeout(1200)


class TestAsyncpg(Contract):
    flavour: ClassVar[AsyncpgFlavour] = AsyncpgFlavour()
    cases = flavour.cases
