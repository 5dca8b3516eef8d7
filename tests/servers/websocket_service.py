"""A server of WebSockets in a process of its own (`websocket_server`)."""

from __future__ import annotations

from contextlib import suppress
from urllib.request import urlopen

from tests.servers._process import ServerProcess

__all__ = ["WebSocketService"]


class WebSocketService:
    """One server."""

    def __init__(self) -> None:
        self._process = ServerProcess("tests.servers.websocket_server")

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._process.port('ws')}"

    @property
    def url(self) -> str:
        """The same as a URL."""
        return f"ws://{self.address}"

    def stop(self) -> None:
        """End it. Nobody listens at its port from then on."""
        self._process.stop()

    def close(self) -> None:
        """The same, and let its port go."""
        self._process.close()

    @staticmethod
    def leave(address: str) -> None:
        """Let a server of another process stop listening."""
        with suppress(OSError):
            urlopen(f"http://{address}/leave", timeout=5).close()
