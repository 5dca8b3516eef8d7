"""A server whose answers a test changes, for the command ``check``."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["TOKEN", "Upstream"]

TOKEN = "Bearer tok-9f8e7d6c5b4a39281706"
_PASSWORD = base64.b64encode(b"ada:s3cr3t-4711-of-ada").decode()


class Upstream:
    """A server whose answers a test changes, and which notes what it was asked."""

    def __init__(self) -> None:
        self.user: Any = {"id": 7, "name": "Ada", "tags": [{"name": "a"}]}
        self.etag = "1"
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                upstream.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
                path = self.path.partition("?")[0]
                if path == "/moved":
                    self.answer(302, b"", location="/user")
                elif path == "/mine" and self.headers["Authorization"] not in (TOKEN, f"Basic {_PASSWORD}"):
                    self.answer(401, b"{}")
                elif path == "/packed":
                    self.answer(200, gzip.compress(json.dumps(upstream.user).encode()), packed="gzip")
                else:
                    self.answer(200, json.dumps(upstream.user).encode())

            do_HEAD = do_POST = do_GET  # noqa: N815 - the names that the base class asks for

            def answer(self, status: int, body: bytes, packed: str = "", location: str = "") -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                lines = {"Content-Type": "application/json", "ETag": upstream.etag, "Content-Length": str(len(body))}
                for name, value in {**lines, "Content-Encoding": packed, "Location": location}.items():
                    if value:
                        self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
