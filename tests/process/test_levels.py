"""A call that OpenTelemetry traces at several levels is one call, and a script of several spans is one cassette."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback import Loopback
from tests.process._programs import cassettes, instrumented
from tests.servers.postgres import Postgres
from timetracer_otel.report import event_detail, summary, timeline
from timetracer_otel.session.models import model_use
from timetracer_otel.types import Cassette

LEVELS = """
    import asyncio, os
    import asyncpg, httpx, psycopg2, pycurl, requests, urllib3
    import sqlalchemy
    from opentelemetry import trace
    from sqlalchemy.ext.asyncio import create_async_engine

    tracer = trace.get_tracer("opentelemetry.instrumentation.model_client")
    engine = sqlalchemy.create_engine(os.environ["psycopg2"])
    one = sqlalchemy.text("SELECT 41 + 1")

    async def ask():
        async_engine = create_async_engine(os.environ["asyncpg"])
        async with async_engine.connect() as connection:
            assert (await connection.execute(one)).scalar_one() == 42
            await connection.commit()
        await async_engine.dispose()

    pool = urllib3.connectionpool.HTTPConnectionPool
    urlopen = pool.urlopen

    def traced(*args, **kwargs):
        with trace.get_tracer("wire").start_as_current_span("urllib3 GET", kind=trace.SpanKind.CLIENT):
            return urlopen(*args, **kwargs)

    def calls():
        with engine.connect() as connection:
            assert connection.execute(one).scalar_one() == 42
            connection.commit()
        asyncio.run(ask())
        # OpenTelemetry's requests keeps its urllib3 silent; another tracer of urllib3 does not keep silent.
        pool.urlopen = traced
        requests.get(os.environ["URL"] + "/users/1")
        pool.urlopen = urlopen
        with tracer.start_as_current_span("chat model-1", kind=trace.SpanKind.CLIENT):
            httpx.get(os.environ["URL"] + "/users/2")
        # Most clients of language models do not make their span current: it ends with the stream.
        model = tracer.start_span("chat model-2", kind=trace.SpanKind.CLIENT, attributes={"gen_ai.system": "x"})
        with httpx.stream("GET", os.environ["URL"] + "/users/4") as response:
            response.read()
        model.end()
        url = os.environ["URL"] + "/users/3"
        asker = trace.get_tracer("opentelemetry.instrumentation.pycurl")
        with asker.start_as_current_span("GET", kind=trace.SpanKind.CLIENT, attributes={"url.full": url}):
            handle = pycurl.Curl()
            handle.setopt(handle.URL, url)
            handle.setopt(handle.WRITEFUNCTION, len)
            handle.perform()
            handle.close()

    calls()
    with trace.get_tracer("app").start_as_current_span("GET /x", kind=trace.SpanKind.SERVER):
        calls()
"""
STEPS = """
    import os
    import httpx
    from opentelemetry import trace

    tracer = trace.get_tracer("script")
    for number in (1, 2):
        with tracer.start_as_current_span(f"step {{number}}"):
            with tracer.start_as_current_span("inner"):
                print(httpx.get(os.environ["URL"] + f"/users/{{number}}").json()["id"])
    if {serves}:
        with tracer.start_as_current_span("GET /x", kind=trace.SpanKind.SERVER):
            pass
        with tracer.start_as_current_span("nightly"):
            httpx.get(os.environ["URL"] + "/users/3")
"""

MODELS = """
    import asyncio, os
    import httpx
    from opentelemetry import trace

    tracer = trace.get_tracer("opentelemetry.instrumentation.some_model")
    URL = os.environ["URL"]

    def before(name):
        return dict(
            kind=trace.SpanKind.CLIENT, attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": name}
        )

    def ended(span, tokens):
        span.set_attribute("gen_ai.usage.input_tokens", tokens)
        span.end()

    # A model's span that is current, one that is not, and one that is asked twice, as the first answer was an error.
    with tracer.start_as_current_span("chat", end_on_exit=False, **before("current")) as span:
        httpx.get(URL + "/users/1")
    ended(span, 1)
    span = tracer.start_span("chat", **before("beside"))
    with httpx.stream("GET", URL + "/users/2") as response:
        response.read()
    ended(span, 2)
    # One that is asked by an agent, whose span is around it.
    with tracer.start_as_current_span("agent", kind=trace.SpanKind.CLIENT, attributes={"gen_ai.system": "x"}):
        span = tracer.start_span("chat", **before("by an agent"))
        httpx.get(URL + "/users/11")
        ended(span, 11)
    # One that ends before its request does.
    span = tracer.start_span("chat", **before("first"))
    with httpx.stream("GET", URL + "/users/10") as response:
        ended(span, 10)
        response.read()
    with tracer.start_as_current_span("chat", end_on_exit=False, **before("retried")) as span:
        httpx.get(URL + "/nothing")
        httpx.get(URL + "/users/3")
    ended(span, 3)

    async def ask(client, number):
        span = tracer.start_span("chat", **before(f"at once {number}"))
        await client.get(URL + f"/users/{number}")
        ended(span, number)

    async def at_once():
        async with httpx.AsyncClient() as client:
            await asyncio.gather(*(ask(client, number) for number in (4, 5, 6)))

    asyncio.run(at_once())
    httpx.get(URL + "/users/7")
    # One more than may wait: the first of them is written without its model.
    open_ones = []
    with httpx.Client() as client:
        for number in range(100, 165):
            open_ones.append(tracer.start_span("chat", **before("many")))
            client.get(URL + f"/users/{number}")
    for number, span in enumerate(open_ones, 100):
        ended(span, number)
    # Nobody ends this one: the requests are written all the same.
    left = tracer.start_span("chat", **before("left open"))
    for number in (8, 9):
        httpx.get(URL + f"/users/{number}")
"""


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def check_levels(cassette: Cassette) -> None:
    observed = [event for event in cassette.events if event.not_replayable is not None]
    # The only call that no plugin captured.
    assert [(event.signature.lib, event.signature.url) for event in observed] == [
        ("pycurl", observed[0].signature.url)
    ], timeline(cassette)
    assert observed[0].signature.url is not None
    assert observed[0].signature.url.endswith("/users/3")
    shown = timeline(cassette)
    (model,) = [index for index, line in enumerate(shown) if "chat model-1" in line]
    assert "httpx GET" in shown[model + 1]
    (sent,) = [index for index, line in enumerate(shown) if "requests GET" in line]
    assert "urllib3 GET" in shown[sent + 1]
    for scope in ("psycopg2", "asyncpg"):
        within = [
            (event.signature.method, [span.name for span in event.within])
            for event in cassette.events
            if any(scope in (span.scope or "") for span in event.within)
        ]
        if scope == "psycopg2":
            assert ("SELECT", ["SELECT"]) in within, within
        else:
            # The adapter begins the transaction while the first statement runs.
            assert any({"BEGIN", "BEGIN;"}.intersection(names) for _, names in within), within
    assert "; 1 observed only" in "\n".join(summary(cassette))
    (sent_event,) = [event for event in cassette.events if event.signature.lib == "requests"]
    assert any("urllib3 GET" in line for line in event_detail(sent_event))


def test_a_call_that_is_traced_at_several_levels_is_one(upstream: Loopback, tmp_path: Path) -> None:
    settings = {"TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(tmp_path)}
    server = Postgres()
    try:
        urls = {name: server.url(name).render_as_string(hide_password=False) for name in ("psycopg2", "asyncpg")}
        done = instrumented(LEVELS, URL=upstream.url, **settings, **urls)
    finally:
        server.close()
    assert done.returncode == 0, done.stderr
    process, request = sorted(cassettes(tmp_path), key=lambda each: each.request.method)
    check_levels(request)
    check_levels(process)


def test_a_model_that_is_asked_outside_requests_is_shown(upstream: Loopback, tmp_path: Path) -> None:
    """Each call is written when it has ended: that to a model waits for the model's span, which ends after it."""
    settings = {"TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(tmp_path)}
    done = instrumented(MODELS, URL=upstream.url, **settings)
    assert done.returncode == 0, done.stderr
    (recording,) = cassettes(tmp_path)
    events = recording.events
    shown = {(event.signature.url or "").rpartition("/")[2]: str(model_use(event) or "") for event in events}
    assert shown == {
        "1": "current, 1 tokens in",
        "2": "beside, 2 tokens in",
        "10": "first, 10 tokens in",
        "11": "",
        "nothing": "",
        "3": "retried, 3 tokens in",
        **{str(number): f"at once {number}, {number} tokens in" for number in (4, 5, 6)},
        **{str(number): f"many, {number} tokens in" for number in range(101, 165)},
        **dict.fromkeys(("7", "8", "9", "100"), ""),
    }
    assert len(events) == len(shown)
    (by_agent,) = [event for event in events if (event.signature.url or "").endswith("/11")]
    assert [span.name for span in by_agent.within] == ["agent", "chat"]
    assert not [event for event in events if event.not_replayable is not None]


@pytest.mark.parametrize("serves", [False, True])
def test_the_steps_of_a_script_are_one_cassette(upstream: Loopback, tmp_path: Path, serves: bool) -> None:
    code = STEPS.format(serves=serves)
    bare = instrumented(code, URL=upstream.url)
    assert bare.stdout.split() == ["1", "2"], bare.stderr
    done = instrumented(code, TIMETRACER_MODE="record", TIMETRACER_DIR=str(tmp_path), URL=upstream.url)
    assert done.stdout.split() == ["1", "2"], done.stderr
    found = {f"{each.request.method} {each.request.path}": each for each in cassettes(tmp_path)}
    # A service that has had a request may run jobs of its own.
    assert sorted(found) == ([" ", "INTERNAL nightly", "SERVER GET /x"] if serves else [" "])
    script = found[" "]
    assert [event.path for event in script.events] == [("step 1", "inner"), ("step 2", "inner")]
    upstream.stop()
    target = tmp_path if serves else Path(script.path or "")
    done = instrumented(code, TIMETRACER_MODE="replay", TIMETRACER_CASSETTE=str(target), URL=upstream.url)
    assert done.stdout.split() == ["1", "2"], done.stderr
    assert " 0 missed, 0 unused, 0 live" in done.stderr
