"""A server that takes telemetry, in a process of its own (see `tests.servers._process`); ``GET /count`` says what.

These are the names of spans, by OTLP/HTTP or by the protocol of Datadog's agent, and of whatever else it is asked or
sent the method and the path.
"""

from __future__ import annotations

import gzip
import json
import os
from http.server import BaseHTTPRequestHandler

import msgpack  # type: ignore[import-untyped]
import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.servers._serving import serve

_ANSWERS = {
    # Datadog's agent says which protocols it knows.
    "/info": {"version": "7.70.0", "endpoints": ["/v0.4/traces"]},
    # By these Logfire's client knows that its token is good.
    "/v1/info": {"project_name": "shop", "project_url": "http://127.0.0.1/shop"},
}


class _Handler(BaseHTTPRequestHandler):
    names: list[str] = []  # noqa: RUF012 - one list for all requests

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        encoding = self.headers.get("Content-Encoding")
        if encoding == "gzip":
            body = gzip.decompress(body)
        elif encoding == "zstd":
            body = zstandard.ZstdDecompressor().decompress(body, max_output_size=1 << 24)
        if self.path == "/v1/traces":
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                self.names += [span.name for scope in resource.scope_spans for span in scope.spans]
            self._answer(ExportTraceServiceResponse().SerializeToString(), "application/x-protobuf")
        elif self.path == "/v0.4/traces":
            self.names += [span["name"] for spans in msgpack.unpackb(body) for span in spans]
            self._answer(b'{"rate_by_service": {}}', "application/json")
        else:
            self.names.append(f"{self.command} {self.path}")
            self._answer(b"{}", "application/json")

    def do_PUT(self) -> None:
        # Older releases of ddtrace put their traces.
        self.do_POST()

    def do_GET(self) -> None:
        if self.path != "/count":
            self.names.append(f"GET {self.path}")
            self._answer(json.dumps(_ANSWERS.get(self.path, {})).encode(), "application/json")
            return
        self._answer(json.dumps(self.names).encode(), "application/json")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


if __name__ == "__main__":
    serve("otlp", _Handler)
    os._exit(0)
