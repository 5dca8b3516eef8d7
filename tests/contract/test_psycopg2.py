"""psycopg2 keeps the contract where an app uses it itself."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contract.framework import Contract
from tests.contract.psycopg2_flavour import Psycopg2Flavour

# The first test makes all runs that need the database: on a busy machine that takes minutes.
pytestmark = pytest.mark.timeout(1200)


class TestPsycopg2(Contract):
    flavour: ClassVar[Psycopg2Flavour] = Psycopg2Flavour()
    cases = flavour.cases
