"""What a library above asks its server when it sets up a connection: a replay may need that, or may not.

Where a library keeps its connections, the first of several requests opens one, sets it up, and has the calls in its
recording. In a replay another request may be the first one. So what the recording of that lacks is passed without an
answer, as the opening of the connection is; to fetch from it is refused. What the recording has besides is not unused
(`DependencyEvent.sets_up`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timetracer_otel.calls import hooks
from timetracer_otel.calls.flow import Site, answer, flow
from timetracer_otel.calls.guarded import Flow
from timetracer_otel.libraries.kits.dbapi.call import StatementSite
from timetracer_otel.libraries.kits.dbapi.owners import setting_up
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.types import DependencyEvent

__all__ = ["claimed", "ran"]


def claimed(site: Site, session: ReplaySession) -> DependencyEvent | None:
    """The recorded event of a call, taken; None where none is left."""
    path = hooks.whereabouts(site.span).path()
    facts = site.as_it_is()
    event = session.match_as_recorded(site.lib, facts, path) if facts is not None else None
    if event is not None:
        return event
    # Another thread may take the event after we saw it, so we look again.
    while (event := session.upcoming(site.redacted(session), path)) is not None:
        if session.claim(event):
            return event
    return None


def ran(site: StatementSite, session: BaseSession, passed: Callable[[], Any]) -> Flow:
    """Replay a statement.

    Args:
        site: The statement.
        session: The replay.
        passed: Gives the result of a statement that sets up a connection, where nothing recorded answers it.
    """
    if setting_up.get() is None or not isinstance(session, ReplaySession) or session.adds_new_calls:
        return (yield from flow(site, session))
    event = claimed(site, session)
    if event is None:
        return passed()
    return (yield from answer(site, session, event, hooks.whereabouts(None).span))
