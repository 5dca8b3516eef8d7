"""The demo's tracing backend: takes OTLP over HTTP (protobuf) and keeps what it was sent."""

from __future__ import annotations

import gzip
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True)
class Received:
    """One span, as far as the demo looks at it."""

    name: str
    kind: str
    replayed: bool


class OtlpReceiver:
    """An OTLP endpoint on loopback, in threads of this process; use it as a context manager."""

    def __init__(self) -> None:
        self._spans: list[Received] = []
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    receiver.take(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the standard library's name)
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> OtlpReceiver:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep the spans of one export."""
        with self._lock:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        kind = Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower()
                        http = any(attribute.key.startswith("http.") for attribute in span.attributes)
                        kind = "http client" if kind == "client" and http else kind
                        replayed = any(
                            attribute.key == "timetracer.replayed" and attribute.value.bool_value
                            for attribute in span.attributes
                        )
                        self._spans.append(Received(span.name, kind, replayed))

    def take_all(self) -> list[Received]:
        """What came since the last time."""
        with self._lock:
            spans, self._spans = self._spans, []
            return spans

    def wait_for(self, kinds: dict[str, int], timeout_s: float = 10.0) -> Counter[str]:
        """Wait until as many spans of each kind are there, and count them; gives up in time, with what there is."""
        until = time.monotonic() + timeout_s
        while True:
            with self._lock:
                found = Counter(span.kind for span in self._spans)
            if all(found[kind] >= number for kind, number in kinds.items()) or time.monotonic() > until:
                return found
            time.sleep(0.05)
