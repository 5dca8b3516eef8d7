"""What has to be in place while a session runs in a block: seams, threads that carry it, spans, the guard."""

from __future__ import annotations

from timetracer_otel.calls.registry import load_plugins
from timetracer_otel.guard import network_guard
from timetracer_otel.otel import thread_context
from timetracer_otel.process.runtime import runtime
from timetracer_otel.session import BaseSession

__all__ = ["Surroundings"]


class Surroundings:
    """Everything around one session, from when it is made until `end`.

    Args:
        session: The session.
        block_network: Whether connections are refused that no plugin makes for the session.
    """

    def __init__(self, session: BaseSession, block_network: bool) -> None:
        self._session = session
        if block_network:
            network_guard.begin(session)
        self._plugins = load_plugins()
        for plugin in self._plugins:
            plugin.activate()
        thread_context.hold()
        runtime().watch_spans()

    def end(self) -> None:
        """Take away what was put in place for this session."""
        network_guard.end(self._session)
        for plugin in self._plugins:
            plugin.deactivate()
        thread_context.release()
