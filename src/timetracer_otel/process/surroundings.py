"""What a block of `record` or `replay` switches on: seams, the session in threads, the span processor, the guard.

A replay that is set by hand needs a part of it: the closed world.
"""

from __future__ import annotations

import math

from timetracer_otel import logs
from timetracer_otel.calls.library import activate_all, deactivate_all
from timetracer_otel.process import closed_world, recorded_clock
from timetracer_otel.process.runtime import runtime
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.threads import hold, linger, release

__all__ = ["LATE_CALLS_S", "Surroundings", "close_world", "open_world"]

LATE_CALLS_S = 60.0
"""For how long calls are counted that begin after the end of their recording, where plugins are enabled."""


class Surroundings:
    """Everything that one session needs in the process, from when this is made until `end`.

    Args:
        session: The session.
        block_network: Whether connections are refused that no plugin makes for the session.
    """

    def __init__(self, session: BaseSession, block_network: bool) -> None:
        self._session = session
        self._has_clock = recorded_clock.begin(session)
        self._watches = isinstance(session, ReplaySession)
        if isinstance(session, ReplaySession):
            closed_world.watch(session.config.live_hosts if session.config is not None else ())
        else:
            closed_world.note()
            logs.hold()
        if block_network:
            closed_world.block(session)
        self._plugins = activate_all()
        hold()
        runtime().watch_spans()

    def end(self) -> None:
        """Switch off what was switched on for this session."""
        if self._has_clock:
            recorded_clock.end()
        closed_world.unblock(self._session)
        if self._watches:
            closed_world.unwatch()
        else:
            closed_world.unnote()
            logs.release()
        deactivate_all(self._plugins)
        # A replay refuses late calls; a recording that has ended only counts them.
        linger(self._session, math.inf if self._watches else LATE_CALLS_S)
        release()


def close_world(session: BaseSession) -> None:
    """Refuse what no plugin captures in a replay that is set by hand, until `open_world` or until it is gone."""
    config = session.config if isinstance(session, ReplaySession) else None
    if closed_world.watch(config.live_hosts if config is not None else (), session):
        # A call over an open connection is refused when its span begins.
        runtime().watch_spans()


def open_world(session: BaseSession) -> None:
    """Undo one `close_world`."""
    closed_world.unwatch(session)
