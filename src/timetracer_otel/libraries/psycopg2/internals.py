"""What is relied upon of psycopg2 (2.9) beyond its documentation.

Its connections and cursors are written in C. Their methods call each other by name only where the docstrings here say
so; otherwise they send to the server by themselves.
"""

from __future__ import annotations

import inspect
import sys
from types import FunctionType
from typing import Any

__all__ = ["RELIED_UPON", "calls_the_next_class", "connect_of", "traced_cursor"]

_FRAMES = 30
"""How many callers are looked at: what begins a span stands between."""

RELIED_UPON = (
    "psycopg2:connect",
    # A context manager calls `commit` or `rollback` of its object.
    "psycopg2.extensions:connection.__exit__",
    "psycopg2.extensions:connection.cursor_factory",
    # The constructor takes the numbers of the table and its column as well.
    "psycopg2.extensions:Column.table_oid",
    "psycopg2.extensions:ConnectionInfo.host",
    "psycopg2.extensions:encrypt_password",
    # A cursor makes each row by calling it with itself, and sets the values by their places.
    "psycopg2.extensions:cursor.row_factory",
    "psycopg2.extensions:cursor.statusmessage",
)


def connect_of(module: Any) -> Any:
    """The module's own ``connect``, however it is wrapped there."""
    return inspect.unwrap(module.connect)


def calls_the_next_class(method: Any) -> bool:
    """Whether a method that an app's class overrides goes on by ``super()``, so that it reaches a class beneath.

    psycopg2's own documentation has classes that call ``psycopg2.extensions.cursor.execute(self, ...)`` instead.
    """
    if type(method) is not FunctionType:
        return True
    return "super" in method.__code__.co_names


def traced_cursor() -> Any:
    """The cursor of the call for which OpenTelemetry's instrumentor begins a span now; None where it is not known.

    The function of the instrumentor that begins it has the cursor as an argument.
    """
    frame: Any = sys._getframe(1)
    for _ in range(_FRAMES):
        if frame is None:
            return None
        if frame.f_code.co_name == "traced_execution":
            return frame.f_locals.get("cursor")
        frame = frame.f_back
    return None
