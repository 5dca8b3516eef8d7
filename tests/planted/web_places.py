"""Where requests that come in, their answers, their spans and their errors can carry a secret: two services."""

from __future__ import annotations

import gzip
import html
import http.client
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import httpx
import msgpack  # type: ignore[import-untyped,unused-ignore]
import requests
import sqlalchemy as sa

from tests.planted import django_service
from tests.planted.http_places import Upstream, refused_input
from tests.planted.planter import Planter
from tests.planted.secrets import plain

__all__ = ["plant", "plant_spans", "serve"]

Answer = tuple[int, list[tuple[str, str]], bytes]


def fastapi_app(act: Callable[[str], Answer]) -> Any:
    """Each path but those below ``/gone`` runs what it is told, with each method."""
    from fastapi import FastAPI
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import Response

    app = FastAPI()

    async def anything(request: Request) -> Response:
        await request.body()
        status, headers, body = await run_in_threadpool(act, request.headers["x-act"])
        response = Response(body, status)
        for name, value in headers:
            response.raw_headers.append((name.encode("latin-1"), value.encode("latin-1")))
        return response

    for path in ("/a", "/of/{path:path}", "/scene/{path:path}"):
        app.add_route(path, anything, methods=["GET", "POST"])
    return app


def flask_app(act: Callable[[str], Answer]) -> Any:
    """The same with the other interface of servers."""
    import flask

    app = flask.Flask("service")
    # What the app logs of its errors is its own.
    app.logger.disabled = True

    @app.route("/a", methods=["GET", "POST"])
    @app.route("/of/<path:path>", methods=["GET", "POST"])
    def anything(path: str = "") -> flask.Response:
        flask.request.get_data()
        status, headers, body = act(flask.request.headers["x-act"])
        return flask.Response(body, status, headers)

    return app


def serve(framework: str, act: Callable[[str], Answer], port: int) -> None:
    """Serve an app in a thread."""
    if framework == "fastapi":
        import uvicorn

        server = uvicorn.Server(uvicorn.Config(fastapi_app(act), port=port, log_level="critical", lifespan="off"))
        threading.Thread(target=server.run, daemon=True).start()
        while not server.started:
            time.sleep(0.01)
    elif framework == "django":
        django_service.serve(act, port)
    else:
        import logging

        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        flask_server = make_server("127.0.0.1", port, flask_app(act), threaded=True)
        threading.Thread(target=flask_server.serve_forever, daemon=True).start()


def ask(
    port: int, act: str, path: str = "/a", headers: dict[str, str] | None = None, body: bytes | None = None
) -> int:
    """Send a request by a client that nothing records; gives the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("GET" if body is None else "POST", path, body, {"X-Act": act, **(headers or {})})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


class Stage:
    """Runs in the app what the next request is to do. For one request at a time."""

    def __init__(self) -> None:
        self.acts: dict[str, Callable[[], Answer | None]] = {}

    def __call__(self, act: str) -> Answer:
        answer = self.acts[act]()
        return answer if answer is not None else (200, [], b"{}")


def _telling(reveal: Callable[[list[str]], object], told: list[str]) -> None:
    if told:
        reveal(told)


def plant(
    planter: Planter, port: int, stage: Stage, reveal: Callable[[list[str]], object], name: str, up: Upstream
) -> None:
    """Plant secrets in requests that come in, in their answers and in what ends them, one request each."""
    form, as_json = "application/x-www-form-urlencoded", "application/json"

    def request(place: str, make: Callable[[str], tuple[str, dict[str, str], bytes | None]], text: str) -> None:
        stage.acts[place] = lambda: None
        path, headers, body = make(text)
        ask(port, place, path, headers, body)

    def kind(value: str) -> dict[str, str]:
        return {"Content-Type": value}

    named: dict[str, Callable[[str], tuple[str, dict[str, str], bytes | None]]] = {
        "query": lambda s: (f"/a?{urlencode({'token': s, 'n': 1})}", {}, None),
        "header": lambda s: ("/a", {"X-Api-Key": s}, None),
        "authorization": lambda s: ("/a", {"Authorization": f"Bearer {s}"}, None),
        "cookie": lambda s: ("/a", {"Cookie": f"sessionid={quote(s, safe='')}; theme=dark"}, None),
        "json": lambda s: ("/a", kind(as_json), json.dumps({"password": s}).encode()),
        "compressed json": lambda s: (
            "/a",
            {**kind(as_json), "Content-Encoding": "gzip"},
            gzip.compress(json.dumps({"password": s}).encode()),
        ),
        "form": lambda s: ("/a", kind(form), f"password={quote_plus(s)}&a=1".encode()),
        "multipart": lambda s: (
            "/a",
            kind("multipart/form-data; boundary=bOuNd"),
            f'--bOuNd\r\nContent-Disposition: form-data; name="password"\r\n\r\n{s}\r\n--bOuNd--\r\n'.encode(),
        ),
        "msgpack": lambda s: ("/a", kind("application/msgpack"), msgpack.packb({"password": s})),
        "xml": lambda s: ("/a", kind("text/xml"), f"<a><password>{html.escape(s)}</password></a>".encode()),
        "referer": lambda s: ("/a", {"Referer": f"https://h/?access_token={quote(s, safe='')}"}, None),
    }
    for place, make in named.items():
        planter.scene(f"{name} {place}", reveal)
        request(place, make, planter.named("request"))
    answers: dict[str, Callable[[str], Answer]] = {
        "json": lambda s: (200, [("Content-Type", as_json)], json.dumps({"access_token": s}).encode()),
        "cookie": lambda s: (200, [("Set-Cookie", f"session={quote(s, safe='')}; Path=/")], b""),
        "header": lambda s: (200, [("X-Auth-Token", s)], b""),
        "location": lambda s: (302, [("Location", f"/b#access_token={quote(s, safe='')}")], b""),
        "html": lambda s: (
            200,
            [("Content-Type", "text/html")],
            f'<input name="csrf_token" value="{html.escape(s)}">'.encode(),
        ),
        "input that is refused": lambda s: (422, [("Content-Type", as_json)], refused_input(s)),
        "compressed": lambda s: (
            200,
            [("Content-Type", as_json), ("Content-Encoding", "gzip")],
            gzip.compress(json.dumps({"access_token": s}).encode()),
        ),
    }
    for place, answer in answers.items():
        planter.scene(f"{name} answer {place}", reveal)
        secret = planter.named("answer")
        stage.acts[place] = partial(answer, secret)
        ask(port, place)

    others: dict[str, Callable[[str], tuple[str, dict[str, str], bytes | None]]] = {
        "path": lambda s: (f"/of/{quote(s, safe='')}/x", {}, None),
        "another query": lambda s: (f"/a?{urlencode({'of': s})}", {}, None),
        "another header": lambda s: ("/a", {"X-Of": s}, None),
        "user agent": lambda s: ("/a", {"User-Agent": f"app ({s})"}, None),
        "another cookie": lambda s: ("/a", {"Cookie": f"lang={quote(s, safe='')}"}, None),
        "another field": lambda s: ("/a", kind(as_json), json.dumps({"of": s}).encode()),
        "another form field": lambda s: ("/a", kind(form), urlencode({"of": s}).encode()),
        "file": lambda s: (
            "/a",
            kind("multipart/form-data; boundary=bOuNd"),
            f'--bOuNd\r\nContent-Disposition: form-data; name="f"; filename="{quote(s)}"\r\n\r\n{s}\r\n'
            f"--bOuNd--\r\n".encode(),
        ),
        "text": lambda s: ("/a", kind("text/plain"), f"see {s}".encode()),
    }
    told: list[str]
    ways = ("form", "known", "later")
    for turn, (place, make) in enumerate(others.items()):
        header = "header" in place or "agent" in place
        for why in ways if name.endswith("fastapi") else ways[turn % 3 :][:1]:
            # What an earlier call told is told in the same recording: the request's own.
            told = []
            planter.scene(f"{name} {place}", told.extend)
            if why == "form":
                text = planter.form(place, lines=not header)
            else:
                text = (planter.known if why == "known" else planter.later)(place)
            planter.end_scene()
            stage.acts[place] = partial(_telling, reveal, told)
            path, headers, body = make(text)
            ask(port, place, path, headers, body)

    told = []
    # The page of an error shows what variables hold: of this one, it shows nothing.
    is_told = told.__contains__

    def raising(text: str) -> Callable[[], Answer]:
        def act() -> Answer:
            local = text
            if is_told(text):
                reveal([text])
            raise ValueError(f"cannot work with {local}")

        return act

    def replying(text: str) -> Callable[[], Answer]:
        def act() -> Answer:
            if is_told(text):
                reveal([text])
            return 200, [("X-Of", quote(text)), ("Content-Type", "text/plain")], f"it is {text}".encode()

        return act

    for place, make_act in (("error", raising), ("answer", replying)):
        planter.scene(f"{name} {place}", told.extend)
        for text in (planter.form(place), planter.form(place, "pem"), planter.known(place)):
            stage.acts[place] = make_act(text)
            ask(port, place)
    planter.scene(f"{name} error", lambda told: None)
    secret = planter.named("error", plain)

    def refuse() -> Answer:
        raise ValueError(f"login failed: password='{secret}', user=ada")

    stage.acts["refuse"] = refuse
    ask(port, "refuse")

    planter.scene(f"{name} path without a route", lambda told: None)
    secret = quote(planter.named("query"), safe="")
    ask(port, "refuse", f"/gone/{quote(planter.form('path', lines=False), safe='')}/x?token={secret}")
    _plant_errors(planter, port, stage, name, up)


def _plant_errors(planter: Planter, port: int, stage: Stage, name: str, up: Upstream) -> None:
    """Calls whose errors quote what is secret in them, and end the request."""
    missing, nobody = up.gives(b"{}", status=404), "http://127.0.0.1:1/a"
    engine = sa.create_engine("sqlite://")

    def execute(statement: str, **values: str) -> None:
        with engine.connect() as connection:
            connection.execute(sa.text(statement), values)

    def connect(address: str) -> None:
        sa.create_engine(address).connect()

    errors: dict[str, Callable[[str], object]] = {
        "status of httpx": lambda s: httpx.get(missing, params={"access_token": s}).raise_for_status(),
        "status of requests": lambda s: requests.get(missing, params={"access_token": s}).raise_for_status(),
        "refused by httpx": lambda s: httpx.get(nobody, params={"access_token": s}),
        "refused by requests": lambda s: requests.get(nobody, params={"access_token": s}),
        "illegal header of httpx": lambda s: httpx.get(missing, headers={"Authorization": f"Bearer {s}\n"}),
        "illegal header of requests": lambda s: requests.get(missing, headers={"X-Api-Key": f"{s}\n"}),
        "bound values of SQLAlchemy": lambda s: execute("SELECT * FROM gone WHERE password = :password", password=s),
        "statement of SQLAlchemy": lambda s: execute(f"SELECT * FROM gone WHERE password = '{s}'"),
        "address of a database": lambda s: connect(f"postgresql+psycopg://ada:{quote(s, safe='')}@127.0.0.1:1/shop"),
    }
    for place, call in errors.items():
        planter.scene(f"{name} {place}", lambda told: None)
        # A quote would end the literal of a statement.
        secret = planter.named("error", plain if "statement" in place else None)

        def act(call: Callable[[str], object] = call, secret: str = secret) -> None:
            call(secret)

        stage.acts[place] = act
        assert ask(port, place) == 500, place


def plant_spans(planter: Planter, backwards: bool = True) -> None:
    """Plant secrets in what instrumentations put on spans of calls that no plugin records."""
    from opentelemetry import trace
    from opentelemetry.trace import Link, SpanKind, StatusCode

    tracer = trace.get_tracer("some.library")

    def client(name: str = "call", **attributes: Any) -> Any:
        return tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=attributes)

    named = planter.named
    attributes: dict[str, Any] = {
        "url.full": f"https://h/a?access_token={quote(named('url of a span'), safe='')}",
        "url.query": f"n=1&access_token={quote(named('query of a span'), safe='')}",
        "http.url": f"https://ada:{quote(named('user information of a span'), safe='')}@h/a",
        "db.statement": f"SELECT 1 WHERE password = '{named('statement of a span').replace(chr(39), chr(39) * 2)}'",
        "db.query.text": f"UPDATE t SET token = '{named('query of a span').replace(chr(39), chr(39) * 2)}'",
        "http.request.header.authorization": ["Bearer " + named("header of a span")],
        "http.response.header.set_cookie": [f"session={quote(named('cookie of a span'), safe='')}; Path=/"],
        "rpc.request.metadata.authorization": ["Bearer " + named("metadata of a span")],
        "app.password": named("attribute of a span"),
        "api_key": named("attribute without a space"),
        "gen_ai.tool.call.arguments": json.dumps({"password": named("arguments of a tool")}),
        "db.query.parameter.password": named("bound value of a span"),
        "messaging.header.token": named("header of a message"),
    }
    for name, value in attributes.items():
        with client(**{name: value}):
            pass
    with suppress(ValueError), client():
        raise ValueError(f"no password='{named('error of a span').translate(_BARE)}'")
    with client() as span:
        span.set_status(StatusCode.ERROR, f"refused: token={named('status of a span').translate(_BARE)}")
        span.add_event("login", {"password": named("event of a span")})
    for text in planter.anywhere("name of a span", backwards=backwards):
        with client(text):
            pass
    for text in planter.anywhere("name of an outer span", backwards=backwards):
        with tracer.start_as_current_span(f"work {text}"), client():
            pass
    for text in planter.anywhere("another attribute of a span", backwards=backwards):
        with client(of=text, many=[text, "b"]):
            pass
    for text in planter.anywhere("another status of a span", backwards=backwards):
        with client() as span:
            span.set_status(StatusCode.ERROR, text)
    for text in planter.anywhere("event and link of a span", backwards=backwards):
        with (
            suppress(KeyError),
            tracer.start_as_current_span(
                "x", kind=SpanKind.CLIENT, links=[Link(trace.get_current_span().get_span_context(), {"of": text})]
            ) as span,
        ):
            span.add_event(text, {"of": text})
            raise KeyError(text)


_BARE = str.maketrans("", "", "'\"&;,()<>{}[]\\ %")
