"""Old and new semantic conventions: what a cassette has of requests and calls is the same under each.

``OTEL_SEMCONV_STABILITY_OPT_IN`` chooses them, for HTTP and for databases; it is read once in a process. No release
of OpenTelemetry's instrumentations knows a value for messaging. Roots and one of the calls are seen by their spans
only here: no middleware or seam of ours tells what they are about.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.process._programs import plain
from tests.process._three_runs import three_runs
from tests.servers.redis import RedisServer
from timetracer_otel.cassette import CassetteStore
from timetracer_otel.cli import main
from timetracer_otel.constants import EventType

APP = """
    import asyncio, os, sqlite3, urllib.request
    import aiohttp, httpx, redis, requests, sqlalchemy, urllib3
    from fastapi import FastAPI, Response
    from fastapi.testclient import TestClient
    from opentelemetry import trace
    from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
    from opentelemetry.instrumentation.urllib import URLLibInstrumentor
    from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from timetracer_otel import TimetracerInstrumentor

    trace.set_tracer_provider(TracerProvider())
    for instrumentor in (
        AioHttpClientInstrumentor, HTTPXClientInstrumentor, RedisInstrumentor, RequestsInstrumentor,
        URLLibInstrumentor, URLLib3Instrumentor,
    ):
        instrumentor().instrument()
    SQLAlchemyInstrumentor().instrument(skip_dep_check=True)
    SQLite3Instrumentor().instrument()
    TimetracerInstrumentor().instrument()
    app = FastAPI()

    async def by_aiohttp(url):
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            return await answer.json()

    @app.get("/orders/{number}")
    def order(number: int, response: Response):
        response.status_code = 202
        user = httpx.get(os.environ["UPSTREAM"] + "/users/1", params={"token": "s3cr3t-of-the-url"}).json()
        url = os.environ["UPSTREAM"] + "/users/"
        others = [asyncio.run(by_aiohttp(url + "2")), requests.get(url + "3").json()]
        others += [urllib3.request("GET", url + "4").json(), urllib.request.urlopen(url + "5").read().decode()]
        with redis.Redis.from_url(os.environ["REDIS"]) as store:
            others.append(store.set("stock", number))
        with sqlalchemy.create_engine("sqlite:///" + os.environ["DATABASE"]).connect() as connection:
            price = connection.scalar(sqlalchemy.text("SELECT 7 AS price"))
        # In memory: the process's own, whose statements are observed and run in a replay, too.
        with sqlite3.connect(":memory:") as memory:
            two = memory.cursor().execute("SELECT 2 AS number").fetchone()
        return [number, user, others, price, two]

    FastAPIInstrumentor.instrument_app(app)
    with TestClient(app) as client:
        answer = client.get("/orders/7?page=3")
        print(answer.status_code, answer.text)
"""
OLD: dict[str, set[str]] = {"http": {"http.method", "http.status_code"}, "db": {"db.statement", "db.system"}}
NEW: dict[str, set[str]] = {
    "http": {"http.request.method", "http.response.status_code"},
    "db": {"db.query.text", "db.system.name"},
}
Attributes = dict[str, set[str]]
VALUES: dict[str | None, tuple[Attributes, Attributes]] = {
    None: (OLD, NEW),
    "http,database": (NEW, OLD),
    "http/dup,database/dup": ({kind: OLD[kind] | NEW[kind] for kind in OLD}, {"http": set(), "db": set()}),
    "messaging": (OLD, NEW),
}
"""By the value of the variable: the attributes that the spans of calls then have, and those that they lack."""


@pytest.mark.parametrize("value", VALUES, ids=lambda value: str(value).replace("/", "-"))
def test_route_status_method_and_statement_are_found(
    value: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = RedisServer(tmp_path)
    names = {"DATABASE": str(tmp_path / "shop.db"), "REDIS": store.url}
    if value is not None:
        names["OTEL_SEMCONV_STABILITY_OPT_IN"] = value
    # Our middleware is not put in, so that the request is what its span says.
    disabled = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "fastapi,starlette"}
    folder = tmp_path / "cassettes"

    def run(code: str, **changes: str) -> subprocess.CompletedProcess[str]:
        if changes["TIMETRACER_MODE"] == "replay":
            store.stop()
        return plain(code, **changes)

    with store:
        cassette = three_runs(run, APP, folder, hits=5, elsewhere=5, env={**names, **disabled}).cassette
    request, response = cassette.request, cassette.response
    assert (request.method, request.path, request.route_template) == ("GET", "/orders/7", "/orders/{number}")
    assert (request.query, response.status, request.user_agent) == ({"page": "3"}, 202, "testclient")
    called = [event for event in cassette.events if event.event_type is EventType.HTTP_CLIENT]
    (stored,) = (event for event in cassette.events if event.signature.lib == "redis")
    selected, observed = (event for event in cassette.events if "SELECT" in str(event.span))
    assert [(event.signature.lib, event.signature.method, event.result.status) for event in called] == [
        (lib, "GET", 200) for lib in ("httpx", "aiohttp", "requests", "urllib3", "urllib")
    ]
    assert (selected.event_type, observed.event_type) == (EventType.DB_QUERY, EventType.DB_QUERY)
    assert selected.call is not None
    assert "SELECT 7 AS price" in str(selected.call)
    has, lacks = VALUES[value]
    seen = [(event, "http") for event in called] + [(event, "db") for event in (stored, selected, observed)]
    for event, kind in seen:
        assert event.span is not None
        assert has[kind] <= event.span.attributes.keys(), event.signature
        assert not lacks[kind] & event.span.attributes.keys(), event.signature
    assert "s3cr3t-of-the-url" not in str([event.span for event in called])
    (path,) = CassetteStore(folder).list()
    assert main(["show", str(path.path)]) == 0
    shown = capsys.readouterr().out
    assert "GET /orders/7 -> 202" in shown
    assert main(["show", str(path.path), "--event", str(selected.eid)]) == 0
    assert "SELECT 7 AS price" in capsys.readouterr().out
