"""aiosqlite used directly, in the words of the contract."""

from __future__ import annotations

from typing import Any, ClassVar

import aiosqlite

from tests.contract.aiosqlite_cases import AIOSQLITE_CASES
from tests.contract.sqlite3_flavour import Sqlite3Flavour
from timetracer_otel.plugins import disable_aiosqlite, enable_aiosqlite

__all__ = ["FLAVOUR", "AiosqliteFlavour"]


class AiosqliteFlavour(Sqlite3Flavour):
    """aiosqlite on a file, which is removed before a replay."""

    name = "aiosqlite"
    own_cases = AIOSQLITE_CASES
    # Its methods are awaited, so the cases for drivers of PEP 249 stand among its own once more.
    general_cases = {}  # noqa: RUF012
    switches = enable_aiosqlite, disable_aiosqlite
    patched: ClassVar[tuple[Any, ...]] = (aiosqlite.Connection,)

    def connect(self, *, fails: bool = False, reads: bool = False, **options: Any) -> Any:
        if reads:
            return aiosqlite.connect(f"{self.file.as_uri()}?mode=ro", uri=True, **options)
        return aiosqlite.connect(self.file.parent / "nowhere" / "app.db" if fails else self.file, **options)


FLAVOUR = AiosqliteFlavour
