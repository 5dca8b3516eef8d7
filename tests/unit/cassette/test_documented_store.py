"""The store that docs/how-to-add-a-store.md shows passes the tests of every store."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cassette.store_contract import StoreContract
from timetracer_otel.cassette import Store

PAGE = Path(__file__).parents[3] / "docs" / "how-to-add-a-store.md"


def documented() -> dict[str, Any]:
    (block,) = re.findall(
        r"^```python\n(# database_store\.py\n.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    module: dict[str, Any] = {"__name__": "database_store"}
    exec(compile(block, str(PAGE), "exec"), module)
    return module


class TestDocumentedStore(StoreContract):
    def make(self, folder: Path) -> Store:
        made: Store = documented()["DatabaseStore"](str(folder / "cassettes.db"))
        return made

    def break_bytes(self, store: Store, name: str) -> None:
        with sqlite3.connect(str(store)) as connection:
            connection.execute("UPDATE cassette SET head = x'c1', data = x'c1' WHERE name = ?", (name,))
        connection.close()


def test_a_store_without_one_of_the_four_methods_cannot_be_made() -> None:
    for verb in ("put", "get", "heads", "delete"):
        kind = documented()["DatabaseStore"]
        members = {name: value for name, value in vars(kind).items() if name != verb and not name.startswith("__")}
        with pytest.raises(TypeError, match=verb):
            type("Incomplete", (Store,), members)()
