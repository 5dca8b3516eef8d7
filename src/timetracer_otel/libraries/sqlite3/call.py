"""What sqlite3 tells the kit about a call: the file that a connection is of."""

from __future__ import annotations

import os
import re
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from timetracer_otel.libraries.kits.dbapi import drivers
from timetracer_otel.libraries.kits.dbapi.facts import recorded_facts
from timetracer_otel.libraries.kits.dbapi.target import Target
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession

__all__ = ["LIB", "FileTarget", "reaches_file"]

LIB = "sqlite3"
_MEMORY: Final = ":memory:"
_REACHES_FILE: Final = re.compile(r"\s*(?:ATTACH\b|VACUUM\b.*\bINTO\b)", re.IGNORECASE | re.DOTALL)


class FileTarget(Target):
    """A file, or a database in memory.

    A database in memory without a name belongs to its connection alone, and so to the process, as a dictionary does:
    it is no dependency. It takes part in a session where the user said so (the setting ``memory_databases``), and in
    the replay of such a recording.

    Args:
        sqlite3: The module.
        database: As the app gives it to ``connect``.
        is_uri: Whether it may be a URI.
        lib: The plugin.

    Attributes:
        is_own: Whether it is in memory and has no name.
    """

    refuses_empty_fetch = False

    def __init__(self, sqlite3: Any, database: Any, is_uri: bool, lib: str) -> None:
        text = os.fsdecode(database)
        shared = False
        if is_uri and text.startswith("file:"):
            parts = urlsplit(text)
            text = unquote(parts.path)
            shared = ("cache", "shared") in parse_qsl(parts.query)
        # The file's name, without its folder: tests and containers have theirs in changing folders.
        name = text.rpartition("/")[2].rpartition(os.sep)[2] or _MEMORY
        super().__init__(lib, f"{drivers.SQLITE.packages[0]}:///{name}", sqlite3, name)
        self.is_own = name == _MEMORY and not shared

    @property
    def address(self) -> str | None:
        """None: it has no host."""
        return None

    def takes_part(self, session: BaseSession | None) -> bool:
        """Whether a session notes or answers calls to it."""
        if not self.is_own or session is None:
            return True
        if isinstance(session, ReplaySession) and recorded_facts(session, self) is not None:
            return True
        config = session.config if isinstance(session, (TraceSession, ReplaySession)) else None
        return config is not None and config.memory_databases

    state_of = staticmethod(lambda connection: [connection.in_transaction, connection.total_changes])
    """Whether a transaction is open, and how many rows were changed since the connection was opened."""


def reaches_file(statement: Any) -> bool:
    """Whether a statement gives a database in memory a file to read or write."""
    return isinstance(statement, str) and _REACHES_FILE.match(statement) is not None
