"""sqlite3 used directly, in the words of the contract."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, ClassVar

from tests.contract.direct_flavour import DirectFlavour
from tests.contract.sqlite3_cases import SQLITE3_CASES
from timetracer_otel.plugins import disable_sqlite3, enable_sqlite3

__all__ = ["FLAVOUR", "Sqlite3Flavour"]

_CONNECT = (sqlite3.connect, sqlite3.dbapi2.connect)


class Sqlite3Flavour(DirectFlavour):
    """sqlite3 on a file, which is removed before a replay."""

    name = "sqlite3"
    dbapi: Any = sqlite3
    serial = "INTEGER PRIMARY KEY"
    own_cases = SQLITE3_CASES
    switches = enable_sqlite3, disable_sqlite3
    patched: ClassVar[tuple[Any, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.file = Path()

    def connect(self, *, fails: bool = False, reads: bool = False, **options: Any) -> Any:
        """Open a connection to the file, to one in a folder that is not there, or only to read."""
        if reads:
            return sqlite3.connect(f"{self.file.as_uri()}?mode=ro", uri=True, **options)
        return sqlite3.connect(self.file.parent / "nowhere" / "app.db" if fails else self.file, **options)

    @staticmethod
    def sql(text: str) -> str:
        """The statement as it is."""
        return text

    def start(self, folder: Path) -> None:
        self.file = folder / "app.db"

    def reset(self) -> None:
        self.file.unlink(missing_ok=True)

    def stop(self) -> None:
        self.reset()

    def tear_down(self) -> None:
        self.reset()

    def is_untouched(self) -> bool:
        return (sqlite3.connect, sqlite3.dbapi2.connect) == _CONNECT

    def check_left(self) -> None:
        assert not self.file.exists()

    def told(self) -> str:
        return ""

    def tell(self, told: str, folder: Path, *, gone: bool) -> None:
        self.start(folder)
        self.reset()


FLAVOUR = Sqlite3Flavour
