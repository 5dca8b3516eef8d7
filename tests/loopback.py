"""A small upstream for programs that tests start: users, a list, a count, a UUID, slow answers, a model, spans."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import time
import uuid
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

__all__ = ["Loopback"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # With the usual 5, the sixth of several clients at once waits a second for the next try of its system.
    request_queue_size = 128


class Loopback:
    """A real HTTP server on loopback, in a thread; use it as a context manager.

    Attributes:
        url: Its address, without a slash at the end.
        hits: How many requests each path had.
    """

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        hits = self.hits

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.split("?", 1)[0]
                hits[path] += 1
                if path.startswith("/slow/"):
                    time.sleep(int(path.rpartition("/")[2]) / 1000)
                    self._answer(200, path.encode())
                elif path.startswith("/users/"):
                    self._answer(200, json.dumps({"id": int(path.rpartition("/")[2]), "name": "Ada"}).encode())
                elif path == "/failing":
                    self._answer(500, b'{"error": "no stock"}')
                elif path == "/whoami":
                    whose = hashlib.sha256(self.headers.get("Authorization", "").encode()).hexdigest()[:6]
                    self._answer(200, json.dumps({"tenant": f"n{whose}"}).encode())
                elif path == "/drops":
                    self._answer(200, b"drop\n" * 3, pause_s=0.02)
                elif path == "/items":
                    self._answer(200, gzip.compress(b'{"items": ["tea", "cake"]}', mtime=0), gzipped=True)
                elif path == "/counted":
                    self._answer(200, json.dumps(hits[path]).encode())
                elif path == "/fresh":
                    self._answer(200, json.dumps({"id": str(uuid.uuid4())}).encode())
                else:
                    self._answer(404, b'{"error": "not found"}')

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                hits[self.path] += 1
                if self.path.endswith("/chat/completions"):
                    streams = json.loads(body).get("stream", False)
                    self._answer(200, _chat(streams), kind="text/event-stream" if streams else "application/json")
                else:
                    self._answer(200, b"" if self.path.startswith("/v1/") else body)

            def _answer(
                self,
                status: int,
                body: bytes,
                gzipped: bool = False,
                kind: str = "application/json",
                pause_s: float = 0.0,
            ) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if gzipped:
                    self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if pause_s:
                    self.wfile.write(body[:1])
                    time.sleep(pause_s)
                    body = body[1:]
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        # `stop` waits until the loop looks whether it shall end: with the usual 0.5 s, for a quarter of a second.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._running = True
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Loopback:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Refuse connections from now on."""
        if self._running:
            self._running = False
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


_USED = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


def _chat(streams: bool) -> bytes:
    """What a language model answers, in the form of OpenAI's API; as events where it streams."""
    facts = {"id": "c-1", "created": 1, "model": "m-1"}
    if not streams:
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello Ada"}}
        return json.dumps({**facts, "object": "chat.completion", "choices": [choice], "usage": _USED}).encode()
    events = [
        json.dumps(
            {
                **facts,
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}],
            }
        )
        for word in ("Hello", " Ada")
    ]
    return "".join(f"data: {event}\n\n" for event in (*events, "[DONE]")).encode()
