"""An OTLP/HTTP receiver in a process of its own (see `tests.servers._process`); ``GET /count`` says what it got.

These are the names of spans, and of whatever else it is asked or sent the method and the path.
"""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.servers._serving import serve


class _Handler(BaseHTTPRequestHandler):
    names: list[str] = []  # noqa: RUF012 - one list for all requests

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/v1/traces":
            self.names.append(f"POST {self.path}")
            self._answer(b"{}", "application/json")
            return
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            self.names += [span.name for scope in resource.scope_spans for span in scope.spans]
        self._answer(ExportTraceServiceResponse().SerializeToString(), "application/x-protobuf")

    def do_GET(self) -> None:
        if self.path != "/count":
            self.names.append(f"GET {self.path}")
            self._answer(b"{}", "application/json")
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
