"""The subjects: each says how to set itself up, and what stands around one batch of calls.

Imported by `worker` in the interpreter that is measured, so nothing but the standard library is imported at the top.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libraries import Library, Place, fill_redis, fill_sql
from workload import SIZES, operations

Around = Callable[[str], AbstractContextManager[object]]
"""Makes what stands around one batch of a size."""


@dataclass
class Setting:
    """What a subject may use."""

    name: str
    library: Library
    place: Place
    folder: Path
    sizes: list[str]
    record_all: Callable[[Around], None]
    """Run a batch of each size against the server, within a context, and stop the server."""

    def path(self, size: str, suffix: str) -> Path:
        """Where the cassette of a size lies."""
        return self.folder / f"{SIZES[size]}.{suffix}"


def _nothing(_: str) -> AbstractContextManager[object]:
    return contextlib.nullcontext()


@dataclass
class Subject:
    """How a worker runs its batches."""

    around: Around = _nothing
    client: Any = None
    """What the library makes its client with: a transport, or the client."""
    flush: Callable[[], object] = lambda: None
    """Waits for what is done later by a thread, so that it counts."""
    on_disk: Callable[[str], int] | None = None
    """How many bytes the recording of a batch of a size takes on disk."""


def _size_of(setting: Setting, suffix: str) -> Callable[[str], int]:
    def on_disk(size: str) -> int:
        path = setting.path(size, suffix)
        return path.stat().st_size if path.exists() else 0

    return on_disk


def bare(setting: Setting) -> Subject:
    return Subject()


def otel(setting: Setting) -> Subject:
    subject = _traced()
    instrument(setting.library.plugin)
    return subject


def record(setting: Setting, *, traced: bool) -> Subject:
    import timetracer_otel

    subject = _traced() if traced else Subject()
    if traced:
        instrument(setting.library.plugin)
    _enable("timetracer_otel", setting)
    span = subject.around

    @contextlib.contextmanager
    def around(size: str) -> Iterator[None]:
        with timetracer_otel.record(setting.path(size, "msgpack")), span(size):
            yield

    return Subject(around, flush=subject.flush, on_disk=_size_of(setting, "msgpack"))


def replay(setting: Setting, *, traced: bool) -> Subject:
    import timetracer_otel

    subject = _traced() if traced else Subject()
    if traced:
        instrument(setting.library.plugin)
    _enable("timetracer_otel", setting)
    span = subject.around
    setting.record_all(lambda size: timetracer_otel.record(setting.path(size, "msgpack")))

    @contextlib.contextmanager
    def around(size: str) -> Iterator[None]:
        with timetracer_otel.replay(setting.path(size, "msgpack")), span(size):
            yield

    return Subject(around, flush=subject.flush)


def stand_in(setting: Setting) -> Subject:
    """What tests put in the place of the server: each library has its own."""
    return STAND_INS[setting.name][1](setting)


def _mock_transport(setting: Setting) -> Subject:
    import httpx

    answers = {
        (operation.method, operation.path, operation.body or b""): operation.answer
        for size in setting.sizes
        for operation in operations(size)
    }

    def answer(request: httpx.Request) -> httpx.Response:
        content = answers[request.method, request.url.path, request.content]
        return httpx.Response(200, headers={"Content-Type": "application/json"}, content=content)

    return Subject(client=httpx.MockTransport(answer))


def _responses(setting: Setting) -> Subject:
    import responses

    @contextlib.contextmanager
    def around(size: str) -> Iterator[None]:
        with responses.RequestsMock() as mock:
            for operation in operations(size):
                url = setting.place[0] + operation.path
                mock.add(operation.method, url, body=operation.answer, content_type="application/json")
            yield

    return Subject(around)


def _aioresponses(setting: Setting) -> Subject:
    from aioresponses import aioresponses

    @contextlib.contextmanager
    def around(size: str) -> Iterator[None]:
        with aioresponses() as mock:
            for operation in operations(size):
                url = setting.place[0] + operation.path
                mock.add(url, operation.method, body=operation.answer, content_type="application/json")
            yield

    return Subject(around)


def _sqlite(setting: Setting) -> Subject:
    import sqlalchemy

    engine = sqlalchemy.create_engine("sqlite://")
    fill_sql(setting.place, engine)
    return Subject(client=engine)


def _fakeredis(setting: Setting) -> Subject:
    import fakeredis

    client = fakeredis.FakeRedis()
    fill_redis(setting.place, client)
    return Subject(client=client)


STAND_INS: dict[str, tuple[str, Callable[[Setting], Subject]]] = {
    "httpx": ("httpx.MockTransport", _mock_transport),
    "httpx, asyncio": ("httpx.MockTransport", _mock_transport),
    "requests": ("responses", _responses),
    "aiohttp": ("aioresponses", _aioresponses),
    "SQLAlchemy": ("sqlite in memory", _sqlite),
    "redis": ("fakeredis", _fakeredis),
}
"""For each library: the stand-in's name, and how it is set up."""


def vcrpy(setting: Setting, *, replay: bool) -> Subject:
    import vcr

    recorder = vcr.VCR(match_on=["method", "scheme", "host", "port", "path", "query", "body"])

    def recording(size: str) -> AbstractContextManager[object]:
        path = setting.path(size, "yaml")
        path.unlink(missing_ok=True)
        return recorder.use_cassette(str(path), record_mode="all")  # type: ignore[no-any-return]

    if not replay:
        return Subject(recording, on_disk=_size_of(setting, "yaml"))
    setting.record_all(recording)
    return Subject(lambda size: recorder.use_cassette(str(setting.path(size, "yaml")), record_mode="none"))


def cassetter(setting: Setting, *, replay: bool) -> Subject:
    from cassetter import use_cassette

    def around(size: str, mode: str) -> AbstractContextManager[object]:
        path = setting.path(size, "yaml")
        return use_cassette(path, match_on=["method", "uri", "body"], record_mode=mode)  # type: ignore[no-any-return]

    if not replay:
        return Subject(functools.partial(around, mode="rewrite"), on_disk=_size_of(setting, "yaml"))
    setting.record_all(functools.partial(around, mode="rewrite"))
    return Subject(functools.partial(around, mode="none"))


def timetracer(setting: Setting, *, replay: bool) -> Subject:
    from timetracer.cassette import read_cassette, write_cassette
    from timetracer.config import TraceConfig
    from timetracer.constants import CapturePolicy
    from timetracer.context import reset_session, set_session
    from timetracer.session import ReplaySession, TraceSession
    from timetracer.types import RequestSnapshot, ResponseSnapshot

    _enable("timetracer", setting)
    config = TraceConfig(
        mode="record",
        cassette_dir=str(setting.folder / "timetracer"),
        max_body_kb=2048,
        store_request_body=CapturePolicy.ALWAYS,
        store_response_body=CapturePolicy.ALWAYS,
    )
    written: dict[str, str] = {}

    @contextlib.contextmanager
    def current(session: Any) -> Iterator[None]:
        token = set_session(session)
        try:
            yield
        finally:
            reset_session(token)

    @contextlib.contextmanager
    def recording(size: str) -> Iterator[None]:
        session = TraceSession(config)
        session.set_request(RequestSnapshot(method="GET", path="/"))
        with current(session):
            yield
        session.set_response(ResponseSnapshot(status=200))
        session.finalize()
        if session.events:
            written[size] = write_cassette(session, config)

    @contextlib.contextmanager
    def replaying(size: str) -> Iterator[None]:
        if size not in written:
            raise LookupError("it has recorded nothing")
        with current(ReplaySession(read_cassette(written[size]), written[size])):
            yield

    if not replay:
        return Subject(recording, on_disk=lambda size: Path(written[size]).stat().st_size if size in written else 0)
    setting.record_all(recording)
    return Subject(replaying)


def tusk(setting: Setting, *, replay: bool) -> Subject:
    """Tusk Drift records what a request of a server calls, so a span of one stands around a batch."""
    os.environ["TUSK_DRIFT_MODE"] = "REPLAY" if replay else "RECORD"
    # It writes below the working directory.
    os.chdir(setting.folder)
    importlib.import_module(setting.library.plugin)
    from drift import TuskDrift
    from opentelemetry import trace

    if setting.library.plugin == "aiohttp":
        # `initialize` leaves this one off (0.1.29).
        from drift.instrumentation.aiohttp import AiohttpInstrumentation

        AiohttpInstrumentation()
    # Without the level, it writes what it does to the standard output, where our answers go.
    sdk = TuskDrift.initialize(env="benchmark", log_level="silent")
    sdk.mark_app_as_ready()
    tracer = trace.get_tracer("benchmarks")
    traces = setting.folder / ".tusk" / "traces"

    def calls_on_disk(size: str) -> int:
        """The bytes of the client calls. A file that has none is no recording."""
        files = list(traces.glob("*.jsonl"))
        lines = [line for file in files for line in file.read_bytes().splitlines()]
        found = sum(len(line) for line in lines if json.loads(line).get("parentSpanId"))
        for file in files:
            file.unlink()
        return found

    @contextlib.contextmanager
    def around(size: str) -> Iterator[None]:
        with tracer.start_as_current_span("request", kind=trace.SpanKind.SERVER):
            yield

    provider: Any = trace.get_tracer_provider()
    return Subject(around, flush=provider.force_flush, on_disk=None if replay else calls_on_disk)


def provider() -> Any:
    """A tracer provider as a service has it, whose spans go nowhere."""
    from opentelemetry.sdk.trace import TracerProvider

    made = TracerProvider()
    made.add_span_processor(no_export())
    return made


def no_export() -> Any:
    """A batch processor, whose exporter does nothing."""
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class NoExport(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    return BatchSpanProcessor(NoExport())


def _traced() -> Subject:
    """The process's provider, and one span of a request around each batch."""
    from opentelemetry import trace

    made = provider()
    trace.set_tracer_provider(made)
    tracer = trace.get_tracer("benchmarks")
    return Subject(lambda size: tracer.start_as_current_span("request"), flush=made.force_flush)


INSTRUMENTORS = {
    "aiohttp": ("aiohttp_client", "AioHttpClientInstrumentor"),
    "asyncpg": ("asyncpg", "AsyncPGInstrumentor"),
    "httpx": ("httpx", "HTTPXClientInstrumentor"),
    "redis": ("redis", "RedisInstrumentor"),
    "requests": ("requests", "RequestsInstrumentor"),
    "sqlalchemy": ("sqlalchemy", "SQLAlchemyInstrumentor"),
    "urllib3": ("urllib3", "URLLib3Instrumentor"),
}


def instrument(plugin: str) -> None:
    """Switch OpenTelemetry's instrumentation of a library on."""
    module, name = INSTRUMENTORS[plugin]
    instrumentor = getattr(importlib.import_module(f"opentelemetry.instrumentation.{module}"), name)()
    # The one of SQLAlchemy declares older versions than it works with.
    instrumentor.instrument(skip_dep_check=True)


def _enable(package: str, setting: Setting) -> None:
    plugin = setting.library.plugin
    getattr(importlib.import_module(f"{package}.plugins"), f"enable_{plugin}")()


SUBJECTS: dict[str, Callable[[Setting], Subject]] = {
    "bare": bare,
    "otel": otel,
    "record-otel": functools.partial(record, traced=True),
    "record": functools.partial(record, traced=False),
    "replay": functools.partial(replay, traced=False),
    "replay-otel": functools.partial(replay, traced=True),
    "stand-in": stand_in,
    "timetracer-record": functools.partial(timetracer, replay=False),
    "timetracer-replay": functools.partial(timetracer, replay=True),
    "vcrpy-record": functools.partial(vcrpy, replay=False),
    "vcrpy-replay": functools.partial(vcrpy, replay=True),
    "cassetter-record": functools.partial(cassetter, replay=False),
    "cassetter-replay": functools.partial(cassetter, replay=True),
    "tusk-record": functools.partial(tusk, replay=False),
    "tusk-replay": functools.partial(tusk, replay=True),
}
