"""A server of WebSockets in a process of its own (`websocket_server`)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import ClassVar
from urllib.request import urlopen

import trustme

from tests.servers._process import ServerProcess

__all__ = ["WebSocketService"]


class WebSocketService:
    """One server.

    Args:
        folder: Where a certificate and a Unix socket are put. Then it listens there and by TLS as well. It is also a
            proxy.

    Attributes:
        authority: The file of the certificate's authority.
        path: Of the Unix socket.
        addresses: Those of all servers that this process has asked for, as sockets name them.
    """

    addresses: ClassVar[set[tuple[str, int]]] = set()

    def __init__(self, folder: Path | None = None) -> None:
        if folder is None:
            self._process = ServerProcess("tests.servers.websocket_server")
            return
        self.authority, self.path = str(folder / "authority.pem"), str(folder / "socket")
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.authority)
        certificate = str(folder / "server.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        self._process = ServerProcess("tests.servers.websocket_server", certificate, self.path)

    @property
    def secure_url(self) -> str:
        """The URL by TLS."""
        return f"wss://127.0.0.1:{self._port('wss')}"

    @property
    def proxy(self) -> tuple[str, int]:
        """Host and port of the proxy."""
        return "127.0.0.1", self._port("proxy")

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._port('ws')}"

    @property
    def url(self) -> str:
        """The same as a URL."""
        return f"ws://{self.address}"

    def _port(self, name: str) -> int:
        port = self._process.port(name)
        self.addresses.add(("127.0.0.1", port))
        return port

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
