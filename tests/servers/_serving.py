"""What each server of `http.server` does that tests start, as a program or in a thread."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from typing_extensions import Self

__all__ = ["InThread", "serve"]


def serve(name: str, handler: type[BaseHTTPRequestHandler]) -> None:
    """Serve until the standard input ends. The port is told under a name on the standard output."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"ports": {name: server.server_port}}), flush=True)
    sys.stdin.read()


class InThread:
    """A real HTTP server on loopback, in a thread; use it as a context manager.

    Attributes:
        port: Where it listens.
        url: Its address, without a slash at the end.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.port: int = self._server.server_port
        self.url: str = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
