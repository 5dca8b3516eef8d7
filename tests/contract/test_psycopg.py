"""psycopg keeps the contract where an app uses it itself, blocking and with asyncio."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.framework import AddingContract
from tests.contract.psycopg_flavour import PsycopgFlavour

# The first test makes all runs that need the database: on a busy machine that takes minutes.
pytestmark = pytest.mark.timeout(1200)


class TestPsycopg(AddingContract):
    flavour: ClassVar[PsycopgFlavour] = PsycopgFlavour()
    cases = flavour.cases
