"""Whose a connection of a driver is: a call that two plugins see is recorded by the one above.

An ORM opens connections by a driver that has a plugin of its own. The app's call is the ORM's then, and the driver's
plugin leaves such a connection alone. Two things tell:

- `opening`: the library says so while it opens a connection, in a session or outside;
- `taken_over`: a connection that was opened before that library was patched has cursors of the driver's plugin. The
  library finds them when it takes a cursor.

Where the library above only waits in another way, as one for asyncio does that calls the driver in a thread, the
driver's plugin notes the calls after all, by the name that `through` gives.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from timetracer_otel.calls.nesting import CallAbove

__all__ = ["HELD", "answers", "disowned", "is_answered", "opening", "taken_over", "through"]

HELD: Final = "_timetracer_held"
"""The attribute of a connection that a driver's own plugin notes, with what is noted of it; None or missing where it
notes nothing."""

opening: Final[CallAbove[str]] = CallAbove("connection")
"""The plugin for which a driver opens a connection now."""

through: Final[CallAbove[str]] = CallAbove("asyncio over a driver")
"""The plugin whose name the events of a connection have that a driver opens now. Example: aiosqlite, over sqlite3."""

answers: Final[dict[str, Callable[[Any], bool]]] = {}
"""By driver: what tells of one of its connections, which is about to be used, whether the driver's plugin sees what
goes over it. The plugin puts it there; a connection that was opened before is noted then."""


def is_answered(driver: str, connection: Any) -> bool:
    """Whether the plugin of a driver sees what goes over a connection now: it answers, refuses, or counts that.

    It is asked under a guard: where a fault of ours keeps it from telling, the call is to be a miss that says so.
    """
    asked = answers.get(driver)
    return asked is not None and asked(connection)


def taken_over(cursor: Any) -> None:
    """A library takes a cursor. If the driver's plugin notes it already, that notes it no more, nor its connection.

    Args:
        cursor: Of whatever class: there may be proxies of others between.
    """
    notes = getattr(cursor, "_self_notes", None)
    if notes is not None:
        notes.is_another_s = True
    # Not every driver shows it.
    disowned(getattr(cursor, "connection", None) or getattr(cursor, "_connection", None))


def disowned(connection: Any) -> None:
    """A library has a driver's connection: the driver's plugin notes it no more."""
    if connection is not None and getattr(connection, HELD, connection) is not None:
        # A connection in C, of which its driver's plugin noted nothing, takes no attribute.
        with suppress(AttributeError):
            setattr(connection, HELD, None)
