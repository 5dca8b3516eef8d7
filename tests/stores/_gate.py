"""A gate before an S3 server: what it lets pass, what it answers itself with 503, and what it never answers."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any

from tests.servers._serving import InThread

__all__ = ["Gate"]

_LEFT_OUT = {"connection", "transfer-encoding", "content-length", "date", "server"}


class Gate(InThread):
    """An HTTP proxy for one server. ``decide`` is asked for each request by its number, method and path.

    It gives ``""`` to let it pass, ``"503"`` to refuse it, ``"lost"`` to let it reach the server and close the
    connection in the place of an answer, ``"cut"`` to close the connection before the server is asked, and
    ``"silent"`` to give no answer until the gate is closed.
    """

    def __init__(self, port: int, decide: Callable[[int, str, str], str]) -> None:
        self.seen: list[tuple[str, str, str]] = []
        gate = self
        lock = threading.Lock()
        self._closes = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size)
                with lock:
                    what = decide(len(gate.seen), self.command, self.path)
                    gate.seen.append((self.command, self.path, what))
                if what == "503":
                    self.send_response(503)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if what == "silent":
                    gate._closes.wait()
                if what in ("cut", "silent"):
                    self.close_connection = True
                    return
                server = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                server.request(self.command, self.path, body, {**headers, "Host": self.headers["Host"]})
                answer = server.getresponse()
                data = answer.read()
                server.close()
                if what == "lost":
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _LEFT_OUT:
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_one  # noqa: N815 - their names

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        super().__init__(Handler)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closes.set()
        super().__exit__(kind, error, traceback)
