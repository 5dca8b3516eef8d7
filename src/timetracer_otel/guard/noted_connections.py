"""The connections of a recording that no plugin makes: who makes one, and to where.

Where OpenTelemetry instruments a client, its spans stand in the recording and tell of it. This is about the others: a
replay will refuse their connections, and without a note nobody would know before.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from timetracer_otel.base.otel_context import instrumentation_suppressed
from timetracer_otel.calls import hooks
from timetracer_otel.calls.registry import UncapturedClients
from timetracer_otel.current import get_current_session
from timetracer_otel.guard.places import (
    is_in_package,
    is_own_plumbing,
    is_telemetry,
    library_of,
    places,
)
from timetracer_otel.session import TraceSession

__all__ = ["Noting"]

_MAY_BE_A_PLUGINS = frozenset({"asyncio", "socket"})
"""Modules that connect in tasks of their own, too. While a captured call is under way, it may be for that."""


class Noting:
    """Notes connections in the current session, where that is a recording.

    Args:
        owners: The packages whose connections are those of plugins.
        clients: Gives the clients that have no plugin.
    """

    def __init__(self, owners: Container[str], clients: Callable[[], UncapturedClients]) -> None:
        self._owners = owners
        self._clients = clients

    def note(self, address: str, library: str | None) -> None:
        """Note one that is about to be made, unless it is a plugin's, is telemetry, or has a span that tells of it.

        Args:
            address: Where it goes.
            library: Who makes it; None where the stack tells that.
        """
        session = get_current_session()
        if isinstance(session, TraceSession) and not instrumentation_suppressed():
            self._note(session, address, library)

    def _note(self, session: TraceSession, address: str, library: str | None) -> None:
        # The cheap questions come first: each new connection of a plugin asks them.
        if getattr(hooks.whereabouts(None), "is_client", False) or is_in_package(self._owners):
            return
        stack = places()
        if is_telemetry(stack, self._clients().transports) or is_own_plumbing(stack, is_path=address[:1] in "/@"):
            return
        library = library or library_of(stack)
        if library in self._clients().connect_for_others or (library in _MAY_BE_A_PLUGINS and session.is_calling):
            return
        session.connected(library, address)
