"""A small server of APIs whose clients stand on urllib3: Elasticsearch and OpenSearch, Kubernetes, S3.

It keeps what it is given.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers._serving import InThread

__all__ = ["Apis"]


def _pod(name: str, phase: str = "Running") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop"}, "status": {"phase": phase}, "spec": {"containers": []}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hits: Counter[str]
    kept: dict[str, bytes]

    def _any(self) -> None:
        parts = urlsplit(self.path)
        length = self.headers.get("Content-Length")
        self.sent = self.rfile.read(int(length)) if length else b""
        if self.headers.get("Content-Encoding") == "gzip":
            self.sent = gzip.decompress(self.sent)
        self.query = parse_qs(parts.query, keep_blank_values=True)
        self.hits[parts.path] += 1
        kind, _, rest = parts.path.removeprefix("/").partition("/")
        {"es": self._elasticsearch, "k8s": self._kubernetes}.get(kind, self._s3)(rest)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815 - names of the base class

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The same in each run: errors of the Kubernetes client quote it."""
        return "Mon, 30 Nov 2026 10:00:00 GMT"

    def log_message(self, *_: Any) -> None: ...

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "gzip" in self.headers.get("Accept-Encoding", "") and len(body) > 100:
            body = gzip.compress(body, mtime=0)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, status: int, value: Any, **headers: str) -> None:
        self._answer(status, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def _elasticsearch(self, path: str) -> None:
        headers = {"X_Elastic_Product": "Elasticsearch"}
        index, _, rest = path.partition("/")
        if self.hits[f"/es/{path}"] == 1 and index.startswith("busy"):
            self._json(503, {"error": "busy"}, **headers)
        elif rest.startswith("_doc/"):
            name = rest.removeprefix("_doc/")
            if self.command == "PUT":
                self.kept[path] = self.sent
                self._json(201, {"_index": index, "_id": name, "result": "created"}, **headers)
            elif path in self.kept:
                source = json.loads(self.kept[path])
                self._json(200, {"_index": index, "_id": name, "found": True, "_source": source}, **headers)
            else:
                self._json(404, {"_index": index, "_id": name, "found": False}, **headers)
        elif path == "_bulk":
            lines = [json.loads(line) for line in self.sent.splitlines()]
            items = [{"index": {"_id": line["index"]["_id"], "status": 201}} for line in lines[::2]]
            self._json(200, {"took": 1, "errors": False, "items": items}, **headers)
        elif rest == "_search":
            number = self.hits["/es/books/_search"]
            hits = [{"_id": str(n), "_source": {"title": f"Band {n}", "of": number}} for n in range(9)]
            self._json(200, {"took": 1, "hits": {"total": {"value": 9}, "hits": hits}}, **headers)
        else:
            self._json(200, {"name": "one", "version": {"number": "9.0.0"}, "acknowledged": True}, **headers)

    def _kubernetes(self, path: str) -> None:
        name = path.rpartition("/")[2]
        if self.query.get("watch"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number, phase in enumerate(("Pending", "Running", "Succeeded")):
                line = json.dumps({"type": "MODIFIED", "object": _pod(f"job-{number}", phase)}).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        elif name == "log":
            self._answer(200, b"line of a log\n" * 50, Content_Type="text/plain")
        elif self.command == "POST":
            self._json(201, json.loads(self.sent))
        elif self.command == "DELETE":
            self._json(404, {"kind": "Status", "reason": "NotFound", "code": 404, "message": f"{name} not found"})
        else:
            self._json(200, {"kind": "PodList", "items": [_pod("web-1"), _pod(f"web-{self.hits[self.path]}")]})

    def _s3(self, path: str) -> None:
        bucket = urlsplit(self.path).path.split("/")[1]
        if "location" in self.query:
            self._answer(200, b'<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>')
        elif self.command == "PUT":
            self.kept[self.path] = self.sent
            self._answer(200, ETag='"e-1"')
        elif "list-type" in self.query:
            names = sorted(name.rpartition("/")[2] for name in self.kept if name.startswith(f"/{bucket}/"))
            found = "".join(f"<Contents><Key>{name}</Key><Size>3</Size></Contents>" for name in names)
            self._answer(200, f"<ListBucketResult><Name>{bucket}</Name>{found}</ListBucketResult>".encode())
        elif not path:
            self._answer(200)
        elif self.path in self.kept:
            self._answer(200, self.kept[self.path], ETag='"e-1"', Last_Modified="Mon, 30 Nov 2026 10:00:00 GMT")
        else:
            text = f"<Error><Code>NoSuchKey</Code><Message>no</Message><Resource>{self.path}</Resource></Error>"
            self._answer(404, text.encode(), Content_Type="application/xml")


class Apis(InThread):
    """A real HTTP server on loopback, in a thread; use it as a context manager.

    Attributes:
        hits: How many requests each path had.
    """

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self._kept: dict[str, bytes] = {}
        super().__init__(type("Handler", (_Handler,), {"hits": self.hits, "kept": self._kept}))

    def reset(self) -> None:
        """Forget all that came in."""
        self.hits.clear()
        self._kept.clear()
