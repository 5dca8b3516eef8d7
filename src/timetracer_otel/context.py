"""Sessions set by hand: which one is current, and making one current without a block.

A session that is set here is current in this context, and in tasks, threads and greenlets that are started in it. A
replay that is set here is a closed world, as that of a block is. Plugins are switched on by their own functions
(`timetracer_otel.plugins`). All functions are safe from any thread and task.
"""

# pyright: strict

from __future__ import annotations

from contextvars import Token
from typing import TYPE_CHECKING

from opentelemetry.context import Context

from timetracer_otel.current import (
    attach_session,
    clear_session,
    detach_session,
    get_current_session,
    has_active_session,
    require_session,
)
from timetracer_otel.threads import hold, release

if TYPE_CHECKING:
    from timetracer_otel.session import BaseSession

__all__ = [
    "clear_session",
    "get_current_session",
    "has_active_session",
    "require_session",
    "reset_session",
    "set_session",
]


def set_session(session: BaseSession) -> Token[Context]:
    """Make a session current in this context, and in tasks and threads that are started in it.

    Nobody need reset it: what is switched on for a session does not keep the session alive, and ends after it.

    Returns:
        A token for `reset_session`.
    """
    hold(session)
    if session.is_replaying:
        # Imported here: who records pays for no guard.
        from timetracer_otel.process.surroundings import close_world

        close_world(session)
    return attach_session(session)


def reset_session(token: Token[Context]) -> None:
    """Undo the `set_session` that gave this token."""
    session = detach_session(token)
    if session is None:
        return
    release(session)
    if getattr(session, "is_replaying", False):
        from timetracer_otel.process.surroundings import open_world

        open_world(session)
