"""Files of OTLP by other makers, and ours as others read them."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import zstandard
from google.protobuf import json_format
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from timetracer_otel.exceptions import CassetteError
from timetracer_otel.exchange import HttpCall, Imported, imported_cassette, utc_text
from timetracer_otel.types import Cassette, SpanFacts
from timetracer_otel_exporter_otlp import (
    export_jaeger,
    export_json,
    export_json_logs,
    export_protobuf,
    export_protobuf_logs,
    import_format,
)

LENGTH = struct.Struct(">I")


def traced(*exporters: SpanExporter) -> None:
    """A request with a call by HTTP, which a lower instrumentation saw as well, one of SQL that failed, and one that
    another service answered in the same trace. Then a call outside any request.
    """
    provider = TracerProvider(resource=Resource({"service.name": "shop", "deployment.environment.name": "test"}))
    for exporter in exporters:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    other = TracerProvider(resource=Resource({"service.name": "stock"}))
    for exporter in exporters:
        other.add_span_processor(SimpleSpanProcessor(exporter))
    app, http = provider.get_tracer("app"), provider.get_tracer("opentelemetry.instrumentation.httpx")
    lower, sql = provider.get_tracer("x.urllib3"), provider.get_tracer("opentelemetry.instrumentation.psycopg")
    request: dict[str, str | int] = {
        "http.request.method": "GET",
        "url.path": "/cart",
        "url.query": "page=2",
        "http.route": "/cart",
        "http.response.status_code": 503,
    }
    with app.start_as_current_span("GET /cart", kind=SpanKind.SERVER, attributes=request) as root:
        with app.start_as_current_span("work"):
            call: dict[str, str | int] = {
                "http.request.method": "GET",
                "url.full": "http://stock/items?a=1",
                "http.response.status_code": 200,
            }
            with http.start_as_current_span("GET", kind=SpanKind.CLIENT, attributes=call):
                with lower.start_as_current_span("GET", kind=SpanKind.CLIENT, attributes=call):
                    pass
                with other.get_tracer("stock").start_as_current_span(
                    "GET /items",
                    kind=SpanKind.SERVER,
                    attributes={"http.request.method": "GET", "url.path": "/items"},
                ):
                    pass
        with (
            pytest.raises(ZeroDivisionError),
            sql.start_as_current_span(
                "SELECT", kind=SpanKind.CLIENT, attributes={"db.system.name": "postgresql", "server.address": "db"}
            ),
        ):
            raise ZeroDivisionError("no rows")
        root.set_status(StatusCode.ERROR, "cart is gone")
        root.record_exception(LookupError("cart"))
    with http.start_as_current_span("POST", kind=SpanKind.CLIENT, attributes={"http.request.method": "POST"}):
        pass
    provider.shutdown()
    other.shutdown()


@pytest.fixture(scope="module")
def spans() -> Sequence[ReadableSpan]:
    memory = InMemorySpanExporter()
    traced(memory)
    return memory.get_finished_spans()


class Receiver(BaseHTTPRequestHandler):
    received: list[bytes]

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append(gzip.decompress(data) if self.headers["Content-Encoding"] == "gzip" else data)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def sent() -> list[bytes]:
    """What OpenTelemetry's exporter sends to a backend, one request for each span."""
    handler = type("Handler", (Receiver,), {"received": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        traced(OTLPSpanExporter(f"http://127.0.0.1:{server.server_port}/v1/traces"))
        server.shutdown()
        thread.join()
    return handler.received  # type: ignore[attr-defined,no-any-return]


def hexadecimal(message: dict[str, Any]) -> dict[str, Any]:
    for resource in message["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in {"traceId", "spanId", "parentSpanId"} & span.keys():
                    span[name] = base64.b64decode(span[name]).hex().upper()
    return message


def as_json(request: bytes) -> bytes:
    """As Go writes it: with enumerations as numbers, and numbers of 64 bits as text."""
    message = json_format.MessageToDict(TracesData.FromString(request), use_integers_for_enums=True)
    return json.dumps(hexadecimal(message)).encode()


def framed(*messages: bytes) -> bytes:
    return b"".join(LENGTH.pack(len(each)) + each for each in messages)


FORMS: dict[str, Callable[[list[bytes]], bytes]] = {
    "JSON lines": lambda sent: b"\n".join(map(as_json, sent)) + b"\n",
    "an array of JSON": lambda sent: b"[" + b", ".join(map(as_json, sent)) + b"]",
    "JSON on several lines": lambda sent: json.dumps(
        {"resourceSpans": [each for one in sent for each in json.loads(as_json(one))["resourceSpans"]]}, indent=2
    ).encode(),
    "protobuf with lengths": lambda sent: framed(*sent),
    "one message of protobuf": b"".join,
    "zstd of protobuf": lambda sent: framed(*(zstandard.compress(each) for each in sent)),
    "zstd of JSON": lambda sent: framed(*(zstandard.compress(as_json(each)) for each in sent)),
}


@pytest.mark.parametrize("form", FORMS)
def test_spans_of_an_sdk_become_recordings(form: str, sent: list[bytes]) -> None:
    data = FORMS[form](sent)
    assert import_format.recognises(data)
    check(data)


if find_spec("opentelemetry.exporter.otlp.json") is not None:  # It is for the newest OpenTelemetry alone.

    def test_a_file_of_the_sdks_file_exporter_becomes_recordings(tmp_path: Path) -> None:
        exporter: Any = import_module("opentelemetry.exporter.otlp.json.file.trace_exporter")
        path = tmp_path / "spans.jsonl"
        with path.open("w") as stream:
            traced(exporter.FileSpanExporter(stream=stream))
        check(path.read_bytes())


def check(data: bytes) -> None:
    assert import_format.read_all is not None
    found: dict[str, Imported] = {}
    for each in import_format.read_all(data):
        found[each.cassette.request.path or "outside"] = each
    assert sorted(found) == ["/cart", "/items", "outside"]
    cart = found["/cart"].cassette
    assert (cart.session.service, cart.session.env) == ("shop", "test")
    assert cart.request.method == "GET"
    assert (cart.request.route_template, cart.request.target) == ("/cart", "/cart?page=2")
    assert cart.response.status == 503
    assert cart.error_info is not None
    assert {name: cart.error_info[name] for name in ("type", "message")} == {"type": "LookupError", "message": "cart"}
    http, sql = cart.events
    assert (http.signature.lib, http.signature.method, http.signature.url) == ("httpx", "GET", "http://stock/items")
    assert http.signature.query == {"a": "1"}
    assert (http.path, http.result.status) == (("GET /cart", "work"), 200)
    assert [each.scope for each in http.within] == ["x.urllib3"]
    assert http.not_replayable == "only observed: a span has neither the headers nor the bodies of a call"
    assert (sql.event_type.value, sql.signature.lib, sql.result.error) == (
        "db.query",
        "psycopg",
        "no rows",
    )
    assert sql.not_replayable == "only observed: a span has neither the parameters nor the rows of a statement"
    assert http.start_offset_ms >= 0 <= http.duration_ms <= cart.response.duration_ms
    assert found["/items"].cassette.session.service == "stock"
    assert found["/items"].cassette.session.trace_id == cart.session.trace_id
    assert [event.signature.method for event in found["outside"].cassette.events] == ["POST"]
    assert found["/cart"].notes == (
        "1 call of httpx cannot be replayed: a span has neither the headers nor the bodies of a call",
        "1 call of psycopg cannot be replayed: a span has neither the parameters nor the rows of a statement",
    )


def test_formats_are_registered_under_their_names() -> None:
    names = {each.name: each.load() for each in entry_points(group="timetracer_otel_exporter")}
    assert names["jaeger"] is export_jaeger
    assert names["otlp"] is export_json
    assert names["otlp-logs"] is export_json_logs
    assert names["otlp-proto"] is export_protobuf
    assert names["otlp-proto-logs"] is export_protobuf_logs
    (importer,) = entry_points(group="timetracer_otel_importer", name="otlp")
    assert importer.load() is import_format


def sample(spans: Sequence[ReadableSpan]) -> Cassette:
    """The recording of the cart, with the facts of its spans."""
    assert import_format.read_all is not None
    data = framed(encode_spans(spans).SerializeToString())
    (found,) = [each.cassette for each in import_format.read_all(data) if each.cassette.request.path == "/cart"]
    return found


def messages(data: bytes) -> Iterator[bytes]:
    while data:
        end = LENGTH.size + LENGTH.unpack_from(data)[0]
        yield data[LENGTH.size : end]
        data = data[end:]


def all_spans(message: Any) -> dict[str, Any]:
    return {
        span.name: span
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


def test_spans_go_out_as_they_came_in(spans: Sequence[ReadableSpan]) -> None:
    (message,) = messages(export_protobuf(sample(spans)))
    written = [
        (scope.scope.name, span)
        for resource in TracesData.FromString(message).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    calls = {(scope, span.name): span for scope, span in written}
    originals = [span for span in spans if span.kind is SpanKind.CLIENT and span.name != "POST"]
    assert len(originals) == 3
    for original in originals:
        assert original.instrumentation_scope is not None
        assert original.context is not None
        assert original.parent is not None
        made = calls[original.instrumentation_scope.name, original.name]
        assert made.trace_id == original.context.trace_id.to_bytes(16, "big")
        assert made.span_id == original.context.span_id.to_bytes(8, "big")
        assert made.parent_span_id == original.parent.span_id.to_bytes(8, "big")
        assert (made.start_time_unix_nano, made.end_time_unix_nano) == (original.start_time, original.end_time)
        assert (made.kind, made.status.code) == (3, original.status.status_code.value)
        assert made.status.message == (original.status.description or "")
        attributes = {each.key for each in made.attributes}
        assert attributes >= set(original.attributes or {})
    # What is around them: the request has the id that its call names, and "work" is within it.
    around = {span.name: span for scope, span in written if scope == "timetracer_otel"}
    originals_by_name = {span.name: span for span in spans}
    for name in ("GET /cart", "work"):
        context = originals_by_name[name].context
        assert context is not None
        assert around[name].span_id == context.span_id.to_bytes(8, "big")
    assert around["work"].parent_span_id == around["GET /cart"].span_id
    (exception,) = around["GET /cart"].events
    assert {each.key: each.value.string_value for each in exception.attributes}["exception.type"] == "LookupError"


def test_json_is_the_same_message_and_others_read_it(spans: Sequence[ReadableSpan]) -> None:
    cassette = sample(spans)
    data = export_json(cassette)
    assert data.count(b"\n") == 1
    (message,) = messages(export_protobuf(cassette))
    parsed = json.loads(data)
    by_hand = hexadecimal(json_format.MessageToDict(TracesData.FromString(message), use_integers_for_enums=True))
    assert json.loads(json.dumps(by_hand).lower()) == json.loads(data.lower())
    for span in [span for scope in parsed["resourceSpans"][0]["scopeSpans"] for span in scope["spans"]]:
        assert (len(span["traceId"]), len(span["spanId"])) == (32, 16)
        assert isinstance(span["kind"], int)
        assert isinstance(span["startTimeUnixNano"], str)


if find_spec("opentelemetry.proto_json") is not None:

    def test_opentelemetrys_own_reader_of_json_reads_ours(spans: Sequence[ReadableSpan]) -> None:
        traces: Any = import_module("opentelemetry.proto_json.trace.v1.trace").TracesData
        logs: Any = import_module("opentelemetry.proto_json.logs.v1.logs").LogsData
        cassette = sample(spans)
        (message,) = messages(export_protobuf(cassette))
        theirs = all_spans(traces.from_json(export_json(cassette).decode()))
        ours = all_spans(TracesData.FromString(message))
        assert theirs.keys() == ours.keys()
        for name, span in theirs.items():
            assert (span.trace_id, span.span_id, span.start_time_unix_nano, len(span.attributes)) == (
                ours[name].trace_id,
                ours[name].span_id,
                ours[name].start_time_unix_nano,
                len(ours[name].attributes),
            )
        (resource,) = logs.from_json(export_json_logs(cassette).decode()).resource_logs
        assert [each.event_name for scope in resource.scope_logs for each in scope.log_records] == [
            "timetracer_otel.recording",
            "timetracer_otel.call",
            "timetracer_otel.call",
        ]


def test_two_exports_of_a_cassette_are_the_same_bytes(spans: Sequence[ReadableSpan]) -> None:
    cassette = sample(spans)
    for export in (export_json, export_json_logs, export_protobuf, export_protobuf_logs):
        assert export(cassette) == export(cassette)


def test_a_recording_without_tracing_has_a_trace_of_its_own() -> None:
    call = HttpCall("GET", "http://h:81/a?b=1", status=200, start_ms=5.0, duration_ms=2.5).event(1)
    cassette = imported_cassette((), utc_text(datetime(2026, 3, 1, tzinfo=timezone.utc)), "x")
    cassette.events.append(call)
    cassette.request.method, cassette.request.path = "GET", "/cart"
    (message,) = messages(export_protobuf(cassette))
    found = all_spans(TracesData.FromString(message))
    assert sorted(found) == ["GET", "GET /cart"]
    made = {each.key: each.value for each in found["GET"].attributes}
    assert made["url.full"].string_value == "http://h:81/a"
    assert (made["server.address"].string_value, made["server.port"].int_value) == ("h", 81)
    assert made["timetracer.made_up"].bool_value
    assert found["GET"].parent_span_id == found["GET /cart"].span_id
    assert found["GET"].trace_id == found["GET /cart"].trace_id != bytes(16)
    assert found["GET"].end_time_unix_nano - found["GET"].start_time_unix_nano == 2_500_000
    (again,) = import_format.read_all(framed(message)) if import_format.read_all else ()
    assert [event.signature.lib for event in again.cassette.events] == ["http"]


@pytest.mark.parametrize("method", ["JOB", "MESSAGE", "MESSAGES"])
def test_what_a_worker_was_given_is_no_http_request(method: str) -> None:
    cassette = imported_cassette((), utc_text(datetime(2026, 3, 1, tzinfo=timezone.utc)), "x")
    cassette.request.method, cassette.request.path = method, "orders"
    (message,) = messages(export_protobuf(cassette))
    (span,) = all_spans(TracesData.FromString(message)).values()
    assert (span.name, span.kind) == ("orders", SpanKind.CONSUMER.value + 1)
    assert not {"http.request.method", "url.path"} & {each.key for each in span.attributes}


METRICS = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "a", "gauge": {"dataPoints": []}}]}]}]}


def test_what_is_of_another_signal_is_said(sent: list[bytes]) -> None:
    data = b"\n".join([*map(as_json, sent), json.dumps(METRICS).encode()])
    assert "1 message of metrics or profiles: a cassette has none" in import_format.read(data).notes
    packed = json_format.ParseDict(METRICS, MetricsData()).SerializeToString()
    assert "1 message of metrics or profiles: a cassette has none" in import_format.read(framed(*sent, packed)).notes


def test_log_records_of_an_app_stand_with_the_trace_that_they_are_of(spans: Sequence[ReadableSpan]) -> None:
    (root,) = [span for span in spans if span.name == "GET /cart"]
    assert root.context is not None
    record = {
        "timeUnixNano": str(root.end_time),
        "severityNumber": 13,
        "severityText": "WARN",
        "body": {"stringValue": "cart is empty"},
        "traceId": f"{root.context.trace_id:032x}",
        "spanId": f"{root.context.span_id:016x}",
    }
    other = {**record, "traceId": "1" * 32}
    logs = {"resourceLogs": [{"scopeLogs": [{"scope": {"name": "app.cart"}, "logRecords": [record, other]}]}]}
    packed = json_format.MessageToDict(encode_spans(spans), use_integers_for_enums=True)
    data = json.dumps(hexadecimal(packed)).encode() + b"\n" + json.dumps(logs).encode()
    assert import_format.read_all is not None
    (cart,) = [each.cassette for each in import_format.read_all(data) if each.cassette.request.path == "/cart"]
    (entry,) = cart.logs
    assert (entry.level, entry.severity, entry.logger, entry.message) == ("WARN", 30, "app.cart", "cart is empty")
    assert abs(entry.at_ms - cart.response.duration_ms) < 0.01
    (message,) = messages(export_protobuf_logs(cart))
    (resource,) = LogsData.FromString(message).resource_logs
    (again,) = [scope.log_records[0] for scope in resource.scope_logs if scope.scope.name == "app.cart"]
    assert (again.severity_number, again.severity_text, again.body.string_value) == (13, "WARN", "cart is empty")
    assert again.span_id == root.context.span_id.to_bytes(8, "big")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "there is nothing to make a cassette of"),
        (b"{}", "message 1: it has none of resourceSpans"),
        (b"[1]", "message 1: it has none of resourceSpans"),
        (b'{"resourceSpans": []}\n{', "line 2 is no JSON"),
        (b'{"resourceSpans": [1]}', "resourceSpans is no list of objects"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xy"}]}]}]}', "'xy' is no id in hexadecimal"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "a"}]}]}]}', "'a' has no ids of 16 and 8 bytes"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": 1}]}]}]}', "message 1"),
        (b"\0\0\1", "the length at byte 0 is cut"),
        (b"\0\0\0\2\x0a", "the message at byte 0 is cut: 2 bytes long, and 1 left"),
        (b"\0\0\0\2\x0a\x09", "it is no message of OTLP"),
        (b"\0\0\0\6\x28\xb5\x2f\xfd\xff\xff", "a message in zstd"),
        (b"[" * 100_000, "no OTLP"),
        (b"\xff", "no OTLP"),
    ],
)
def test_what_is_no_otlp_is_an_error_that_says_where(data: bytes, said: str) -> None:
    with pytest.raises(CassetteError, match="The file") as caught:
        import_format.read(data)
    assert said in str(caught.value)
    import_format.recognises(data)


def test_files_of_others_are_not_taken_for_otlp() -> None:
    for data in (
        b'{"log": {"entries": []}}',
        b"interactions: []",
        b"\x85\xa6format",
        b"",
        b"\x0a\x0a",
        b"[]",
        b"null",
    ):
        assert not import_format.recognises(data)


def test_jaegers_ui_finds_each_span_below_its_parent(spans: Sequence[ReadableSpan]) -> None:
    cassette = sample(spans)
    (trace,) = json.loads(export_jaeger.write(cassette).data)["data"]
    by_id = {span["spanID"]: span for span in trace["spans"]}
    theirs = json.loads(export_json.write(cassette).data)["resourceSpans"]
    otlp = {span["spanId"]: span for each in theirs for scope in each["scopeSpans"] for span in scope["spans"]}
    assert by_id.keys() == otlp.keys()
    assert trace["traceID"] == cassette.session.trace_id
    (process,) = trace["processes"].values()
    assert process["serviceName"] == "shop"
    assert {"key": "deployment.environment.name", "type": "string", "value": "test"} in process["tags"]
    for span_id, span in by_id.items():
        other = otlp[span_id]
        assert (span["operationName"], span["traceID"]) == (other["name"], other["traceId"])
        assert [each["spanID"] for each in span["references"]] == [
            other[name] for name in ("parentSpanId",) if name in other
        ]
        assert span["startTime"] == int(other["startTimeUnixNano"]) // 1000
        assert span["startTime"] + span["duration"] == int(other["endTimeUnixNano"]) // 1000
        assert trace["processes"].keys() == {span["processID"]}
    tags = {span["operationName"]: {tag["key"]: tag for tag in span["tags"]} for span in trace["spans"]}
    assert tags["GET /cart"]["span.kind"]["value"] == "server"
    assert tags["GET /cart"]["http.response.status_code"] == {
        "key": "http.response.status_code",
        "type": "int64",
        "value": 503,
    }
    assert tags["SELECT"]["error"] == {"key": "error", "type": "bool", "value": True}
    assert tags["SELECT"]["otel.scope.name"]["value"] == "opentelemetry.instrumentation.psycopg"
    (root,) = (span for span in trace["spans"] if not span["references"])
    logged = {field["key"]: field["value"] for log in root["logs"] for field in log["fields"]}
    assert (logged["event"], logged["exception.message"]) == ("exception", "cart")


def test_calls_without_spans_have_one_each_below_the_span_around_them(spans: Sequence[ReadableSpan]) -> None:
    cassette = sample(spans)
    server = next(span for span in spans if span.name == "GET /cart")
    assert server.context is not None
    around = SpanFacts(
        cassette.session.trace_id or "", f"{server.context.span_id:016x}", name="GET /cart", kind="SERVER"
    )
    calls = [HttpCall("GET", f"http://h/{number}", status=200, body=b"x").event(number) for number in (1, 2, 3)]
    cassette.events = [replace(event, span=around, path=()) for event in calls]
    (trace,) = json.loads(export_jaeger.write(cassette).data)["data"]
    parents = {
        span["spanID"]: [each["spanID"] for each in span["references"]]
        for span in trace["spans"]
        if span["spanID"] != around.span_id
    }
    assert list(parents.values()) == [[around.span_id]] * 3
    (root,) = (span for span in trace["spans"] if not span["references"])
    assert (root["spanID"], root["operationName"]) == (around.span_id, "GET /cart")
