"""aiosqlite keeps the contract where an app uses it itself, also where calls are added to a cassette."""

from __future__ import annotations

from typing import ClassVar

from tests.contract.aiosqlite_flavour import AiosqliteFlavour
from tests.contract.framework import AddingContract


class TestAiosqlite(AddingContract):
    flavour: ClassVar[AiosqliteFlavour] = AiosqliteFlavour()
    cases = flavour.cases
