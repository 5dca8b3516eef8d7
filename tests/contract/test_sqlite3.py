"""sqlite3 keeps the contract where an app uses it itself, also where calls are added to a cassette."""

from __future__ import annotations

from typing import ClassVar

from tests.contract.framework import AddingContract
from tests.contract.sqlite3_flavour import Sqlite3Flavour


class TestSqlite3(AddingContract):
    flavour: ClassVar[Sqlite3Flavour] = Sqlite3Flavour()
    cases = flavour.cases
