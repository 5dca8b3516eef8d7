"""Calls that outlive the request they belong to: each stands in one cassette or is counted, none in two."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.loopback import Loopback
from tests.process._programs import cassettes, plain
from timetracer_otel.otel.spans import LiveSpans, live_span
from timetracer_otel.types import Cassette

_PROGRAM = """
    import asyncio, json, os
    import httpx
    from opentelemetry import trace
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.instrumentation.starlette import StarletteInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    import timetracer_otel
    from timetracer_otel.cassette import CassetteStore
    from timetracer_otel.otel import TimetracerInstrumentor
    from timetracer_otel.process import late_calls

    late_calls.POLL_S = float(os.environ.get("POLL_S", late_calls.POLL_S))
    trace.set_tracer_provider(TracerProvider())
    HTTPXClientInstrumentor().instrument()
    StarletteInstrumentor().instrument()
    TimetracerInstrumentor().instrument()
    # Imported here, since OpenTelemetry replaces the class when it is instrumented.
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route
    told, tasks, answered = [], [], asyncio.Event()

    def on_disk():
        return any(each.method and each.complete for each in CassetteStore(os.environ["TIMETRACER_DIR"]).list())

    async def child(client, steps):
        for step in steps:
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif step == "answered":
                await answered.wait()
            elif step == "written":
                while os.environ.get("TIMETRACER_MODE") == "record" and not on_disk():
                    await asyncio.sleep(0.01)
            else:
                response = await client.get(os.environ["UPSTREAM"] + step)
                told.append([step, response.status_code, response.text])

    async def handle(request):
        tasks.append(asyncio.create_task(child(request.app.state.client, json.loads(os.environ["STEPS"]))))
        await asyncio.sleep(0.05)
        return PlainTextResponse("done", status_code=int(os.environ.get("STATUS", "200")))

    async def main():
        app = Starlette(routes=[Route("/order", handle)])
        sent = []

        async def receive():
            return {"type": "http.request", "body": b""}

        async def send(message):
            sent.append(message["type"])

        scope = {"type": "http", "method": "GET", "path": "/order", "query_string": b"", "headers": [],
                 "root_path": "", "app_root_path": "", "client": None, "http_version": "1.1", "scheme": "http"}
        async with httpx.AsyncClient() as app.state.client:
            await app(scope, receive, send)
            answered.set()
            await asyncio.gather(*tasks)

    asyncio.run(main())
    TimetracerInstrumentor().uninstrument()
    now = timetracer_otel.counters()
    print(json.dumps({"told": told, "late": now.calls_late, "dropped": dict(now.events_dropped),
                      "open": now.sessions_open}))
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def _run(url: str, steps: list[Any], **settings: str) -> tuple[dict[str, Any], str]:
    run = plain(_PROGRAM, UPSTREAM=url, STEPS=json.dumps(steps), **settings)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout), run.stderr


def _recorded(folder: Path) -> tuple[Cassette | None, Cassette | None]:
    """The cassette of the request and that of the process."""
    found = cassettes(folder)
    requests = [cassette for cassette in found if cassette.request.method]
    outside = [cassette for cassette in found if not cassette.request.method]
    assert len(requests) <= 1
    assert len(outside) <= 1
    return next(iter(requests), None), next(iter(outside), None)


def _paths(cassette: Cassette | None) -> list[str]:
    events = cassette.events if cassette is not None else []
    return ["/" + (event.signature.url or "").split("/", 3)[3] for event in events]


def test_calls_under_way_and_those_behind_them_stand_in_the_cassette_and_replay(tmp_path: Path) -> None:
    steps = ["/slow/800", "/users/1", 0.01, "/slow/200", "/users/2", "written"]
    settings = {"TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(tmp_path)}
    with Loopback() as upstream:
        bare, _ = _run(upstream.url, steps)
        # A busy machine may take the time of two looks to go from one call to the next.
        recorded, log = _run(upstream.url, steps, POLL_S="0.5", **settings)
        assert log == ""
    request, outside = _recorded(tmp_path)
    assert request is not None
    assert (_paths(request), outside) == (["/slow/800", "/users/1", "/slow/200", "/users/2"], None)
    assert [event.not_replayable for event in request.events] == [None] * 4
    assert {event.span.name for event in request.events if event.span is not None} == {"GET"}
    assert request.stats.dropped == {}
    # The duration is that of the request, which ended before the late calls began.
    assert request.stats.total_duration_ms <= request.events[1].start_offset_ms
    replayed, _ = _run(upstream.url, steps, TIMETRACER_MODE="replay", TIMETRACER_CASSETTE=request.path or "")
    assert recorded["told"] == replayed["told"] == bare["told"]
    assert (recorded["late"], recorded["dropped"], recorded["open"]) == (3, {}, 0)


def test_a_call_that_begins_when_the_cassette_is_written_goes_to_the_process_with_its_trace(tmp_path: Path) -> None:
    steps = ["answered", "written", "/users/1", 0.1, "/users/2"]
    with Loopback() as upstream:
        bare, _ = _run(upstream.url, steps)
        told, log = _run(upstream.url, steps, TIMETRACER_MODE="record", TIMETRACER_DIR=str(tmp_path))
    request, outside = _recorded(tmp_path)
    assert request is not None
    assert outside is not None
    assert (_paths(request), _paths(outside)) == ([], ["/users/1", "/users/2"])
    assert {event.span.trace_id for event in outside.events if event.span} == {request.session.trace_id}
    assert {event.span.name for event in outside.events if event.span} == {"GET"}
    assert (told["late"], told["dropped"], log) == (0, {}, "")
    replayed, _ = _run(upstream.url, steps, TIMETRACER_MODE="replay", TIMETRACER_CASSETTE=str(tmp_path))
    assert told["told"] == replayed["told"] == bare["told"]


def test_a_call_that_takes_too_long_is_cut_and_counted_once(upstream: Loopback, tmp_path: Path) -> None:
    told, log = _run(
        upstream.url,
        ["/slow/3000", "/users/1"],
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(tmp_path),
        TIMETRACER_LATE_S="0.3",
    )
    assert [step for step, _, _ in told["told"]] == ["/slow/3000", "/users/1"]
    request, outside = _recorded(tmp_path)
    assert request is not None
    assert (_paths(request), _paths(outside)) == (["/slow/3000"], ["/users/1"])
    assert "ended before there was an answer" in (request.events[0].not_replayable or "")
    assert request.stats.dropped == told["dropped"] == {"answers that came after the end": 1}
    assert "recording lost something" in log


def test_a_flush_on_the_event_loop_does_not_wait_for_calls_that_end_on_it(tmp_path: Path) -> None:
    run = plain(
        """
        import asyncio, json, os
        import httpx
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from timetracer_otel.otel import TimetracerInstrumentor, TimetracerSpanExporter
        from timetracer_otel.cassette import CassetteStore

        trace.set_tracer_provider(TracerProvider())
        TimetracerInstrumentor().instrument()
        tracer, provider = trace.get_tracer("app"), trace.get_tracer_provider()
        asked, answer = asyncio.Event(), asyncio.Event()

        async def upstream(reader, writer):
            await reader.readuntil(b"\\r\\n\\r\\n")
            asked.set()
            await answer.wait()
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\ndone")
            writer.close()

        def on_disk():
            return [stored.request_path for stored in CassetteStore(os.environ["DIR"]).list() if stored.complete]

        async def main():
            server = await asyncio.start_server(upstream, "127.0.0.1")
            port = server.sockets[0].getsockname()[1]
            async with server, httpx.AsyncClient() as client:
                with tracer.start_as_current_span("ended", kind=trace.SpanKind.CONSUMER):
                    pass
                with tracer.start_as_current_span("order", kind=trace.SpanKind.CONSUMER):
                    task = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/"))
                    await asked.wait()
                flushed = [provider.force_flush(), TimetracerSpanExporter().force_flush()]
                provider.shutdown()
                flushed.append(on_disk())
                answer.set()
                print(json.dumps([flushed, (await task).text]))

        asyncio.run(main())
        TimetracerInstrumentor().uninstrument()
        """,
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(tmp_path),
        DIR=str(tmp_path),
        # A flush that waited for late calls would give up at its time limit, and return False.
        TIMETRACER_LATE_S="600",
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [[True, True, ["ended"]], "done"], run.stderr
    found = {cassette.request.path: cassette for cassette in cassettes(tmp_path)}
    assert [event.not_replayable for event in found["order"].events] == [None]


def test_where_only_failures_are_kept_late_calls_of_others_are_left_out(upstream: Loopback, tmp_path: Path) -> None:
    settings = {"TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(tmp_path), "TIMETRACER_ERRORS_ONLY": "true"}
    told, log = _run(upstream.url, ["/slow/200", 0.4, "/users/1"], **settings)
    assert (_recorded(tmp_path), told["dropped"], log) == ((None, None), {}, "")

    told, log = _run(upstream.url, ["/slow/200", "written", "/users/1"], STATUS="500", **settings)
    request, outside = _recorded(tmp_path)
    assert (_paths(request), outside) == (["/slow/200"], None)
    assert told["dropped"] == {"calls after the end": 1}
    assert "in no cassette" in log


def test_a_task_that_outlives_a_record_block_calls_as_without_us_and_is_counted(
    upstream: Loopback, tmp_path: Path
) -> None:
    run = plain(
        """
        import asyncio, json, os
        import httpx
        import timetracer_otel
        from timetracer_otel.plugins import enable_httpx

        # Without it, nothing of ours is left in httpx behind the block.
        enable_httpx()

        async def late():
            async with httpx.AsyncClient() as client:
                await asyncio.sleep(0.1)
                return [(await client.get(os.environ["UPSTREAM"] + f"/users/{n}")).json()["id"] for n in (1, 2)]

        async def main():
            with timetracer_otel.record(os.environ["FILE"]):
                task = asyncio.create_task(late())
            return await task

        print(json.dumps([asyncio.run(main()), dict(timetracer_otel.counters().events_dropped)]))
        """,
        UPSTREAM=upstream.url,
        FILE=str(tmp_path / "block.msgpack"),
    )
    assert json.loads(run.stdout) == [[1, 2], {"calls after the end": 2}], run.stderr
    assert run.stderr.count("in no cassette") == 1
    (cassette,) = cassettes(tmp_path)
    assert cassette.events == []


def test_a_span_that_nobody_can_end_keeps_no_recording_waiting(tmp_path: Path) -> None:
    run = plain(
        """
        import os, time
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from timetracer_otel.cassette import CassetteStore
        from timetracer_otel.process.runtime import runtime

        trace.set_tracer_provider(TracerProvider())
        runtime().start_from_environment()
        tracer = trace.get_tracer("app")

        def whole():
            return sum(each.complete for each in CassetteStore(os.environ["TIMETRACER_DIR"]).list())

        kept = []
        for keep in (kept.append, lambda span: None):
            with tracer.start_as_current_span("GET /order", kind=trace.SpanKind.SERVER):
                keep(tracer.start_span("lost"))
        deadline_s = time.monotonic() + 30
        while not whole() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        time.sleep(0.3)
        print(whole(), len(runtime().spans))
        """,
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(tmp_path),
        TIMETRACER_LATE_S="60",
    )
    # The recording whose span the app still has goes on waiting.
    assert run.stdout.split() == ["1", "1"], run.stderr


def test_spans_may_begin_while_the_writer_looks_which_are_live() -> None:
    spans = LiveSpans(lambda: None)
    alive = [object() for _ in range(2000)]
    known = [live_span((span, None, None, None, False, False, 0)) for span in alive]
    spans.by_id.update(enumerate(known))

    def begin(phase: str, _: dict[str, int]) -> None:
        """A collection of garbage lets another thread run, or code of the app's."""
        spans.by_id[len(spans.by_id)] = known[0]

    thresholds = gc.get_threshold()
    gc.callbacks.append(begin)
    gc.set_threshold(10)
    try:
        assert spans.sessions() == {None}
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(begin)
    assert len(spans.by_id) >= len(known)


def test_a_statement_of_an_async_engine_has_one_span_and_its_recording_is_written_at_once(tmp_path: Path) -> None:
    run = plain(
        """
        import asyncio
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from timetracer_otel.plugins import enable_sqlalchemy
        from timetracer_otel.process.runtime import runtime

        trace.set_tracer_provider(TracerProvider())
        runtime().start_from_environment()
        enable_sqlalchemy()
        from sqlalchemy import text
        from sqlalchemy.ext.asyncio import create_async_engine

        async def main():
            engine = create_async_engine("sqlite+aiosqlite://")
            with trace.get_tracer("app").start_as_current_span("GET /order", kind=trace.SpanKind.SERVER):
                async with engine.connect() as connection:
                    await connection.execute(text("SELECT 1"))
            print(len(runtime().spans))
            await engine.dispose()

        asyncio.run(main())
        """,
        TIMETRACER_MODE="record",
        TIMETRACER_DIR=str(tmp_path),
    )
    assert run.stdout.split() == ["0"], run.stderr
