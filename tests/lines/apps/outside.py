"""A line about code that runs outside any session: a server within the app, and a thread that was there before.

``UPSTREAM`` is a server's URL.
"""

from __future__ import annotations

import os
import queue
import threading
import urllib.request
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.lines._line import Lines

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9")
WORK: queue.Queue[tuple[str, Future[bytes]]] = queue.Queue()
URLS: list[str] = []
LINES = Lines()


class Handler(BaseHTTPRequestHandler):
    """Asks the upstream for whatever it is asked."""

    def do_GET(self) -> None:
        with urllib.request.urlopen(f"{UPSTREAM}{self.path}") as answer:
            body = answer.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def work() -> None:
    """What the thread does: it asks the server within the app."""
    while True:
        path, future = WORK.get()
        try:
            with urllib.request.urlopen(f"{URLS[0]}{path}") as answer:
                future.set_result(answer.read())
        except Exception as error:
            future.set_exception(error)


def before() -> None:
    """What the app does when it starts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    URLS.append(f"http://127.0.0.1:{server.server_port}")
    for target in (server.serve_forever, work):
        threading.Thread(target=target, daemon=True).start()


@LINES.add
def by_a_thread_and_a_server_that_were_there_before() -> Any:
    future: Future[bytes] = Future()
    WORK.put(("/users/40", future))
    return future.result(30)
