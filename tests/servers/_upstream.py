"""The servers of the HTTP tests, seen from the tests: addresses, certificates, control."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import trustme

from tests.servers._process import ServerProcess

__all__ = ["SharedUpstream", "Upstream"]

_SECURE = {"tls", "tls-other", "h2"}


class Upstream:
    """All servers of ``upstream.py`` in one process, and what a client must know of them.

    Attributes:
        trusting: A TLS context that trusts the servers' certificates.
    """

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        for name, host in (("server", "127.0.0.1"), ("other", "other.test")):
            authority.issue_cert(host).private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.authority))
        self.trusting = ssl.create_default_context(cafile=str(self.authority))
        self._process = ServerProcess("tests.servers.upstream", str(folder / "server.pem"), str(folder / "other.pem"))
        self._control = socket.create_connection(("127.0.0.1", self._process.port("control")), timeout=60)
        self._answers = self._control.makefile("rb")
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        """False from `stop` on (until `start`)."""
        return self._process.running

    def port(self, server: str) -> int:
        """A server's port."""
        return self._process.port(server)

    def url(self, path: str = "", server: str = "http") -> str:
        """An absolute URL on one of the servers."""
        scheme = "https" if server in _SECURE else "http"
        return f"{scheme}://127.0.0.1:{self.port(server)}{path}"

    def control(self, *words: str) -> int:
        """Send one command over a connection that no client library has a part in."""
        with self._lock:
            self._control.sendall(" ".join(words).encode() + b"\n")
            return int(self._answers.readline())

    def hits(self, path: str) -> int:
        """How many requests for a path arrived since the last reset."""
        return self.control("hits", path)

    def stop(self) -> None:
        """End the servers' process; their ports refuse connections until `close`."""
        self._answers.close()
        self._control.close()
        self._process.stop()

    def close(self) -> None:
        """Stop, and let the ports go."""
        Upstream.stop(self)
        self._process.close()


class SharedUpstream(Upstream):
    """One for many tests: `stop` closes every port and cuts every connection, `start` opens the same ports again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._up = True

    @property
    def running(self) -> bool:
        return self._up

    def start(self) -> None:
        """Open the ports where they are closed, and forget what earlier tests did."""
        self.control("up")
        self.control("reset")
        self._up = True

    def stop(self) -> None:
        self.control("down")
        self._up = False
