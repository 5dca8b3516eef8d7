"""What sqlite3 tells the kit about a call: the file that a connection is of."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote, urlsplit

from timetracer_otel.libraries.kits.dbapi import drivers
from timetracer_otel.libraries.kits.dbapi.target import Target

__all__ = ["LIB", "FileTarget"]

LIB = "sqlite3"
_MEMORY = ":memory:"


class FileTarget(Target):
    """A file, or a database in memory.

    Args:
        sqlite3: The module.
        database: As the app gives it to ``connect``.
        is_uri: Whether it may be a URI.
        lib: The plugin.
    """

    refuses_empty_fetch = False

    def __init__(self, sqlite3: Any, database: Any, is_uri: bool, lib: str) -> None:
        name = _file_name(database, is_uri)
        super().__init__(lib, f"{drivers.SQLITE.packages[0]}:///{name}", sqlite3, name)

    @property
    def address(self) -> str | None:
        """None: it has no host."""
        return None

    state_of = staticmethod(lambda connection: [connection.in_transaction, connection.total_changes])
    """Whether a transaction is open, and how many rows were changed since the connection was opened."""


def _file_name(database: Any, is_uri: bool) -> str:
    """The file's name, without its folder: tests and containers have theirs in changing folders."""
    text = os.fsdecode(database)
    if is_uri and text.startswith("file:"):
        text = unquote(urlsplit(text).path)
    return text.rpartition("/")[2].rpartition(os.sep)[2] or _MEMORY
