"""The subjects: each says how to set itself up, and what stands around one batch of calls.

Imported by `worker` in the interpreter that is measured, so nothing but the standard library is imported at the top.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workload import Operation

Around = Callable[[], AbstractContextManager[object]]
"""Makes what stands around one batch."""


@dataclass
class Setting:
    """What a subject may use."""

    folder: Path
    batch: list[Operation]
    run_once: Callable[[Any, Around], None]
    """Run the batch against the server, within a context; takes the transport (None: the real one)."""


@dataclass
class Subject:
    """How a worker runs its batches."""

    around: Around = contextlib.nullcontext
    transport: Any = None
    shutdown: Callable[[], None] = lambda: None


def bare(setting: Setting) -> Subject:
    return Subject()


def mock_transport(setting: Setting) -> Subject:
    import httpx

    answers = {
        (operation.method, operation.path, operation.body or b""): operation.answer for operation in setting.batch
    }

    def answer(request: httpx.Request) -> httpx.Response:
        content = answers[request.method, request.url.path, request.content]
        return httpx.Response(200, headers={"Content-Type": "application/json"}, content=content)

    return Subject(transport=httpx.MockTransport(answer))


def otel(setting: Setting, *, export: bool = True) -> Subject:
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

    subject = _traced(export)
    HTTPXClientInstrumentor().instrument()
    return subject


def record(setting: Setting, *, traced: bool) -> Subject:
    import timetracer_otel
    from timetracer_otel.plugins import enable_httpx

    subject = _traced(True) if traced else Subject()
    enable_httpx()
    span = subject.around
    path = setting.folder / f"record-{traced}.msgpack"

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        with timetracer_otel.record(path), span():
            yield

    subject.around = around
    return subject


def replay(setting: Setting, *, traced: bool) -> Subject:
    import timetracer_otel
    from timetracer_otel.plugins import enable_httpx

    subject = _traced(True) if traced else Subject()
    enable_httpx()
    span = subject.around
    path = setting.folder / f"replay-{traced}.msgpack"
    setting.run_once(None, lambda: timetracer_otel.record(path))

    @contextlib.contextmanager
    def around() -> Iterator[None]:
        with timetracer_otel.replay(path), span():
            yield

    subject.around = around
    return subject


def vcrpy(setting: Setting, *, replay: bool) -> Subject:
    import vcr

    path = setting.folder / f"vcrpy-{replay}.yaml"
    recorder = vcr.VCR(match_on=["method", "scheme", "host", "port", "path", "query", "body"])

    def recording() -> AbstractContextManager[object]:
        path.unlink(missing_ok=True)
        return recorder.use_cassette(str(path), record_mode="all")  # type: ignore[no-any-return]

    if not replay:
        return Subject(recording)
    setting.run_once(None, recording)
    return Subject(lambda: recorder.use_cassette(str(path), record_mode="none"))


def cassetter(setting: Setting, *, replay: bool) -> Subject:
    from cassetter import use_cassette

    path = setting.folder / f"cassetter-{replay}.yaml"
    around = functools.partial(use_cassette, path, match_on=["method", "uri", "body"])
    recording = functools.partial(around, record_mode="rewrite")
    if not replay:
        return Subject(recording)
    setting.run_once(None, recording)
    return Subject(functools.partial(around, record_mode="none"))


def timetracer(setting: Setting, *, replay: bool) -> Subject:
    from timetracer.cassette import read_cassette, write_cassette
    from timetracer.config import TraceConfig
    from timetracer.constants import CapturePolicy
    from timetracer.context import reset_session, set_session
    from timetracer.plugins import enable_httpx
    from timetracer.session import ReplaySession, TraceSession
    from timetracer.types import RequestSnapshot, ResponseSnapshot

    enable_httpx()
    config = TraceConfig(
        mode="record",
        cassette_dir=str(setting.folder / "timetracer"),
        max_body_kb=1024,
        store_request_body=CapturePolicy.ALWAYS,
        store_response_body=CapturePolicy.ALWAYS,
    )
    written: list[str] = []

    @contextlib.contextmanager
    def current(session: Any) -> Iterator[None]:
        token = set_session(session)
        try:
            yield
        finally:
            reset_session(token)

    @contextlib.contextmanager
    def recording() -> Iterator[None]:
        session = TraceSession(config)
        session.set_request(RequestSnapshot(method="GET", path="/"))
        with current(session):
            yield
        session.set_response(ResponseSnapshot(status=200))
        session.finalize()
        written[:] = [write_cassette(session, config)]

    @contextlib.contextmanager
    def replaying() -> Iterator[None]:
        with current(ReplaySession(read_cassette(written[0]), written[0])):
            yield

    if not replay:
        return Subject(recording)
    setting.run_once(None, recording)
    return Subject(replaying)


def provider(export: bool = True) -> Any:
    """A tracer provider as a service has it, whose spans go nowhere."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class NoExport(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    made = TracerProvider()
    if export:
        made.add_span_processor(BatchSpanProcessor(NoExport()))
    return made


def _traced(export: bool) -> Subject:
    """The process's provider, and one span of a request around each batch."""
    from opentelemetry import trace

    made = provider(export)
    trace.set_tracer_provider(made)
    tracer = trace.get_tracer("benchmarks")
    return Subject(lambda: tracer.start_as_current_span("request"), shutdown=made.shutdown)


SUBJECTS: dict[str, Callable[[Setting], Subject]] = {
    "bare": bare,
    "otel": otel,
    "otel-no-exporter": functools.partial(otel, export=False),
    "record-otel": functools.partial(record, traced=True),
    "record": functools.partial(record, traced=False),
    "mock": mock_transport,
    "replay": functools.partial(replay, traced=False),
    "replay-otel": functools.partial(replay, traced=True),
    "vcrpy-record": functools.partial(vcrpy, replay=False),
    "vcrpy-replay": functools.partial(vcrpy, replay=True),
    "cassetter-record": functools.partial(cassetter, replay=False),
    "cassetter-replay": functools.partial(cassetter, replay=True),
    "timetracer-record": functools.partial(timetracer, replay=False),
    "timetracer-replay": functools.partial(timetracer, replay=True),
}
