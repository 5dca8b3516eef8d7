"""A server of which SDKs above http.client ask something, in a process of its own (see `tests.servers._process`).

It has a few methods of Slack's API, a shelf of books that a document describes as Google's APIs are described, and
what httplib2 makes something of: redirects, an ETag, a password, a compressed answer.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers._serving import serve

_BOOKS = {"": {"books": ["a", "b"], "nextPageToken": "p2"}, "p2": {"books": ["c"]}}
_CHANNELS = {
    "": {"ok": True, "channels": [{"id": "C1"}, {"id": "C2"}], "response_metadata": {"next_cursor": "n2"}},
    "n2": {"ok": True, "channels": [{"id": "C3"}], "response_metadata": {"next_cursor": ""}},
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    limited = 0

    def do_GET(self) -> None:
        self._asked()

    def do_POST(self) -> None:
        self._asked()

    def do_PUT(self) -> None:
        self._asked()

    def _asked(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if parts.path.startswith("/api/"):
            self._slack(parts.path.removeprefix("/api/"), body)
        elif "/shelf/" in parts.path:
            self._books(parts.path, parse_qs(parts.query), body)
        else:
            self._plain(parts.path, body)

    def _slack(self, method: str, body: bytes) -> None:
        fields = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        if method == "limited.once":
            type(self).limited += 1
            if self.limited % 2:
                self._answer({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": "0"})
                return
        if method == "conversations.list":
            self._answer(_CHANNELS[fields.get("cursor", "")])
        elif method == "chat.postMessage" and fields.get("channel") == "nowhere":
            self._answer({"ok": False, "error": "channel_not_found"})
        else:
            # The boundary of an upload is a new one each time.
            is_upload = method == "files.echo"
            told = {"body": len(body)} if is_upload else {"fields": fields, "body": hashlib.sha256(body).hexdigest()}
            self._answer({"ok": True, "method": method, "ts": "1.5", **told})

    def _books(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        if path.endswith("/missing"):
            self._answer({"error": {"code": 404, "message": "no such book"}}, 404)
        elif self.command == "POST":
            self._answer({"title": body.decode("latin-1"), "kind": self.headers["Content-Type"]})
        else:
            self._answer(_BOOKS[query.get("pageToken", [""])[0]])

    def _plain(self, path: str, body: bytes) -> None:
        if path == "/redirect":
            self._answer({"moved": True}, 302, {"Location": "/json"})
        elif path == "/gzip":
            self._answer({"packed": True}, headers={"Content-Encoding": "gzip"})
        elif path == "/etag":
            if self.headers.get("If-None-Match") == '"1"':
                self._answer(None, 304, {"ETag": '"1"'})
            else:
                self._answer({"tagged": True}, headers={"ETag": '"1"', "Cache-Control": "no-cache"})
        elif path == "/basic" and "Authorization" not in self.headers:
            self._answer({"who": None}, 401, {"WWW-Authenticate": 'Basic realm="tests"'})
        else:
            seen = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            self._answer({"path": path, "body": body.decode("latin-1"), "headers": seen})

    def _answer(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        headers = headers or {}
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.compress(body, mtime=0)
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


if __name__ == "__main__":
    serve("http", _Handler)
    os._exit(0)
