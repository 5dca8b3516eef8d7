"""Private names of aiosqlite."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

__all__ = ["RELIED_UPON", "connection_of", "opening_by"]

RELIED_UPON = ("aiosqlite.core:Connection._connect", "aiosqlite.core:Connection._execute")


def connection_of(connection: Any) -> Any:
    """sqlite3's connection, which a connection of aiosqlite has in its thread."""
    return connection._connection


@contextmanager
def opening_by(connection: Any, changed: Callable[[Any], Any]) -> Generator[None, None, None]:
    """While the block runs, the thread of a connection opens it by another function, made of aiosqlite's."""
    own = connection._connector
    connection._connector = changed(own)
    try:
        yield
    finally:
        connection._connector = own
