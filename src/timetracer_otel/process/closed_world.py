"""The network guard, with all that it must know: the plugins' declarations, and the clients that have no plugin."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from timetracer_otel.guard import network_guard
from timetracer_otel.guard.places import is_in_transport
from timetracer_otel.libraries.without_plugin import CLIENTS
from timetracer_otel.session import BaseSession

__all__ = ["block", "carries_telemetry", "note", "unblock", "unnote", "unwatch", "watch"]


def carries_telemetry() -> bool:
    """Whether a span that begins is of telemetry that is sent: logs, traces, errors. It is no call of the app's."""
    return is_in_transport(_sends_telemetry)


@lru_cache(4096)
def _sends_telemetry(module: str) -> bool:
    # Every frame above a span is asked about.
    return module.startswith(CLIENTS.transports)


def watch(live_hosts: Collection[str] = (), session: BaseSession | None = None) -> bool:
    """Refuse or count what no plugin captures in replays, as one has begun, until `unwatch`.

    Args:
        live_hosts: The setting of the replay.
        session: The replay, where nobody need call `unwatch`: it is held weakly.

    Returns:
        Whether this is the first call for the session.
    """
    network_guard.know(CLIENTS)
    return network_guard.watch(session, by_name=bool(live_hosts))


def unwatch(session: BaseSession | None = None) -> None:
    """Undo one `watch`."""
    network_guard.unwatch(session)


def note(session: BaseSession | None = None) -> None:
    """Note the connections of recordings that no plugin makes, until `unnote`.

    Args:
        session: The recording, where nobody need call `unnote`: it is held weakly.
    """
    network_guard.know(CLIENTS)
    network_guard.watch_recording(session)


def unnote(session: BaseSession | None = None) -> None:
    """Undo one `note`."""
    network_guard.unwatch_recording(session)


def block(session: BaseSession) -> None:
    """Refuse every connection that no plugin makes for a session (``block_network``), until `unblock`."""
    network_guard.know(CLIENTS)
    network_guard.begin(session)


def unblock(session: BaseSession) -> None:
    """Undo `block`; harmless when repeated."""
    network_guard.end(session)
