"""The middlewares that an app adds to itself: which requests get a recording or a replay, and what stands in it."""

from __future__ import annotations

import ast
import asyncio
import gc
import io
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.loopback import Loopback
from timetracer_otel import integrations, record
from timetracer_otel.cassette import read_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.context import get_current_session
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.integrations import django as of_django
from timetracer_otel.integrations import fastapi, flask, starlette
from timetracer_otel.plugins import disable_httpx, enable_httpx
from timetracer_otel.process.runtime import runtime
from timetracer_otel.types import Cassette

PIECES = [b"one\n", b"two\n"]


@pytest.fixture(autouse=True)
def _apps_are_gone() -> Iterator[None]:
    """The network guard is on for as long as there is an app that replays; apps stand in circles of references."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def asgi_app(url: str, config: TraceConfig) -> Starlette:
    async def counted(request: Request) -> Response:
        async with httpx.AsyncClient() as client:
            return JSONResponse((await client.get(f"{url}/counted")).json())

    async def failing(request: Request) -> Response:
        async with httpx.AsyncClient() as client:
            return Response((await client.get(f"{url}/failing")).content, status_code=503)

    async def stream(request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for number, piece in enumerate(PIECES):
                async with httpx.AsyncClient() as client:
                    await client.get(f"{url}/users/{number}")
                yield piece

        return StreamingResponse(pieces())

    async def boom(request: Request) -> Response:
        raise KeyError("boom")

    routes = [Route("/counted", counted), Route("/health", counted), Route("/failing", failing)]
    app = Starlette(routes=[*routes, Route("/stream", stream), Route("/boom", boom)])
    app.add_middleware(starlette.TimeTracerMiddleware, config=config)
    return app


def get(app: Any, path: str) -> httpx.Response:
    with TestClient(app, raise_server_exceptions=False) as client:
        return client.get(path)


def made(folder: Path) -> list[Cassette]:
    return [read_cassette(path) for path in sorted(folder.rglob("*.msgpack"))]


def recording(folder: Path, **settings: Any) -> TraceConfig:
    return TraceConfig(mode="record", cassette_dir=str(folder), **settings)  # type: ignore[arg-type]


def replaying(folder: Path, **settings: Any) -> TraceConfig:
    (path,) = folder.rglob("*.msgpack")
    return TraceConfig(mode="replay", cassette_path=str(path), **settings)  # type: ignore[arg-type]


def test_a_request_is_on_disk_when_its_response_is_there_and_replays_as_often_as_it_comes(
    tmp_path: Path, upstream: Loopback
) -> None:
    answer = get(asgi_app(upstream.url, recording(tmp_path)), "/counted").json()
    assert len(made(tmp_path)) == 1
    hits = upstream.hits["/counted"]
    app = asgi_app(upstream.url, replaying(tmp_path))
    assert [get(app, "/counted").json() for _ in range(3)] == [answer] * 3
    # The same app of another mode beside it goes out.
    assert get(asgi_app(upstream.url, TraceConfig(mode="off")), "/counted").json() == hits + 1  # type: ignore[arg-type]
    assert get_current_session() is None


def test_requests_at_once_have_a_recording_each(tmp_path: Path, upstream: Loopback) -> None:
    app = flask_app(upstream.url, recording(tmp_path))
    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(lambda _: app.test_client().get("/counted").get_json(), range(8)))
    assert len(answers) == 8
    assert sorted(int(each.response.body.data) for each in made(tmp_path) if each.response.body) == sorted(answers)
    assert {len(each.events) for each in made(tmp_path)} == {1}


@pytest.mark.parametrize(
    ("path", "settings", "number"),
    [
        ("/health", {}, 0),
        ("/health", {"exclude_paths": []}, 1),
        ("/counted", {"sample_rate": 0.0}, 0),
        ("/counted", {"errors_only": True}, 0),
        ("/failing", {"errors_only": True}, 1),
        ("/boom", {"errors_only": True}, 1),
    ],
)
def test_which_requests_are_recorded(
    tmp_path: Path, upstream: Loopback, path: str, settings: dict[str, Any], number: int
) -> None:
    get(asgi_app(upstream.url, recording(tmp_path, **settings)), path)
    assert len(made(tmp_path)) == number


def test_urls_that_opentelemetry_leaves_out_are_left_out(
    tmp_path: Path, upstream: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_STARLETTE_EXCLUDED_URLS", "counted")
    get(asgi_app(upstream.url, recording(tmp_path)), "/counted")
    assert not made(tmp_path)


def test_an_exception_of_the_app_stands_in_the_recording(tmp_path: Path, upstream: Loopback) -> None:
    assert get(asgi_app(upstream.url, recording(tmp_path)), "/boom").status_code == 500
    (cassette,) = made(tmp_path)
    assert cassette.error_info is not None
    assert cassette.error_info["type"] == "KeyError"


def test_a_stream_has_its_calls_and_its_body(tmp_path: Path, upstream: Loopback) -> None:
    def get_wsgi(app: Any, path: str) -> Any:
        with app.test_client().get(path) as response:
            response.get_data()
            return response

    for app, send in ((asgi_app, get), (flask_app, get_wsgi)):
        folder = tmp_path / app.__name__
        live = send(app(upstream.url, recording(folder)), "/stream")
        (cassette,) = made(folder)
        assert cassette.response.body is not None
        assert (cassette.response.body.data, len(cassette.events)) == (b"".join(PIECES), 2)
        replayed = send(app("http://127.0.0.1:1", replaying(folder, match_on=["method"])), "/stream")
        assert getattr(replayed, "data", None) == getattr(live, "data", None)
        assert getattr(replayed, "text", None) == getattr(live, "text", None)


def test_a_block_around_a_request_has_its_calls(tmp_path: Path, upstream: Loopback) -> None:
    app = asgi_app(upstream.url, recording(tmp_path / "app"))
    with record(tmp_path / "block.msgpack"):
        get(app, "/counted")
    assert len(read_cassette(tmp_path / "block.msgpack").events) == 1
    assert not made(tmp_path / "app")


def test_a_process_that_records_by_itself_decides(tmp_path: Path, upstream: Loopback) -> None:
    runtime().start_recording(recording(tmp_path / "process"))
    enable_httpx()
    try:
        get(asgi_app(upstream.url, TraceConfig(mode="off")), "/counted")  # type: ignore[arg-type]
        get(asgi_app(upstream.url, recording(tmp_path / "app")), "/counted")
    finally:
        disable_httpx()
        runtime().stop()
    requests = [each for each in made(tmp_path / "process") if each.request.path == "/counted"]
    assert [len(each.events) for each in requests] == [1, 1]
    assert not made(tmp_path / "app")


def test_a_cassette_that_is_not_there_lets_no_call_out(
    tmp_path: Path, upstream: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    hits = upstream.hits["/counted"]
    config = TraceConfig(mode="replay", cassette_path=str(tmp_path / "none.msgpack"))  # type: ignore[arg-type]
    app = asgi_app(upstream.url, config)
    # A path that is not recorded makes no call, either.
    assert [get(app, path).status_code for path in ("/counted", "/health")] == [500, 500]
    assert "This replay could not start" in caplog.text
    assert "none.msgpack. Record it first" in caplog.text
    assert upstream.hits["/counted"] == hits


@pytest.mark.parametrize(
    ("path", "text"), [(None, "mode='replay' needs a cassette"), (".", "is a folder.*timetracer-otel replay")]
)
def test_a_replay_names_one_cassette(path: str | None, text: str) -> None:
    config = TraceConfig(mode="replay", cassette_path=path)  # type: ignore[arg-type]
    for middleware in (starlette.TimeTracerMiddleware, fastapi.TimeTracerMiddleware, flask.TimeTracerMiddleware):
        with pytest.raises(ConfigurationError, match=text):
            middleware(lambda: None, config=config)


def test_what_a_replay_did_is_told(tmp_path: Path, upstream: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    get(asgi_app(upstream.url, recording(tmp_path)), "/counted")
    caplog.clear()
    get(asgi_app(upstream.url, replaying(tmp_path)), "/counted")
    assert "1 hit" in caplog.text
    get(asgi_app(upstream.url, replaying(tmp_path)), "/stream")
    assert "2 missed" in caplog.text or "1 missed" in caplog.text


def test_plugins_are_enabled_by_name() -> None:
    with pytest.raises(
        ConfigurationError, match=r"nobody knows 'reqests'; did you mean 'requests'\? Known: .*urllib3"
    ):
        starlette.auto_setup(Starlette(), TraceConfig(), plugins=["reqests"])
    with pytest.raises(ConfigurationError, match=r"nobody knows 'x'\. Known"):
        of_django.auto_setup(["x"])


def test_every_name_of_timetracer_is_there() -> None:
    folder = Path(sys.prefix, "beside", "timetracer", "integrations")
    for name, ours in {"fastapi": fastapi, "starlette": starlette, "flask": flask, "django": of_django}.items():
        theirs = ast.parse((folder / f"{name}.py").read_text()).body
        defined = [node.name for node in theirs if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
        defined += [
            each.id
            for node in theirs
            if isinstance(node, ast.Assign)
            for each in node.targets
            if isinstance(each, ast.Name)
        ]
        assert {each for each in defined if not each.startswith("_")} <= {*ours.__all__}
    (listed,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((folder / "__init__.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    assert {*listed} == {*integrations.__all__}


def flask_app(url: str, config: TraceConfig) -> Any:
    import flask as framework

    app = framework.Flask("shop")

    @app.get("/counted")
    def counted() -> Any:
        return str(httpx.get(f"{url}/counted").json()), {"Content-Type": "application/json"}

    @app.get("/stream")
    def stream() -> Any:
        def pieces() -> Iterator[bytes]:
            for number, piece in enumerate(PIECES):
                httpx.get(f"{url}/users/{number}")
                yield piece

        return framework.Response(pieces())

    flask.init_app(app, config)
    return app


def project(url: str) -> ModuleType:
    """A project of Django with sync and async views."""
    from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
    from django.urls import path

    def upload(request: HttpRequest) -> HttpResponse:
        return HttpResponse(b"".join(file.read() for file in request.FILES.values()))

    def first(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.read(4))

    def lines(request: HttpRequest) -> HttpResponse:
        response = HttpResponse(b"".join(reversed([*request])))
        response.set_cookie("a", "1")
        return response

    def stream(request: HttpRequest) -> StreamingHttpResponse:
        def pieces() -> Iterator[bytes]:
            for number, piece in enumerate(PIECES):
                httpx.get(f"{url}/users/{number}")
                yield piece

        return StreamingHttpResponse(pieces())

    async def stream_async(request: HttpRequest) -> StreamingHttpResponse:
        async def pieces() -> AsyncIterator[bytes]:
            for number, piece in enumerate(PIECES):
                async with httpx.AsyncClient() as client:
                    await client.get(f"{url}/users/{number}")
                yield piece

        return StreamingHttpResponse(pieces())

    async def counted(request: HttpRequest) -> HttpResponse:
        async with httpx.AsyncClient() as client:
            return HttpResponse((await client.get(f"{url}/counted")).content)

    def file(request: HttpRequest) -> FileResponse:
        return FileResponse(io.BytesIO(b"content"))

    def boom(request: HttpRequest) -> HttpResponse:
        raise KeyError("boom")

    found: Any = ModuleType("project")
    views = (upload, first, lines, stream, stream_async, counted, file, boom)
    found.urlpatterns = [path(view.__name__, view) for view in views]
    return found


@pytest.fixture(scope="module")
def django_with(upstream: Loopback) -> Callable[[dict[str, Any]], Any]:
    """Gives a context in which Django has the project, with settings of ours."""
    import django
    from django.conf import settings
    from django.test import override_settings

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="x", ROOT_URLCONF="")
        django.setup()
    middleware = ["timetracer_otel.integrations.django.TimeTracerMiddleware"]
    urls = project(upstream.url)
    return lambda ours: override_settings(ROOT_URLCONF=urls, MIDDLEWARE=middleware, TIMETRACER=ours)


def of(folder: Path) -> dict[str, Any]:
    return {"MODE": "record", "CASSETTE_DIR": str(folder), "LIVE_PLUGINS": None}


@pytest.mark.parametrize(
    ("path", "sent", "answer"),
    [
        ("upload", {"file": io.BytesIO(b"green tea")}, b"green tea"),
        ("first", b"green tea", b"gree"),
        ("lines", b"a\nb\n", b"b\na\n"),
    ],
)
def test_django_reads_a_body_in_its_own_way(
    django_with: Callable[[dict[str, Any]], Any], tmp_path: Path, path: str, sent: Any, answer: bytes
) -> None:
    from django.test import Client

    with django_with(of(tmp_path)):
        if isinstance(sent, bytes):
            response = Client().post(f"/{path}", sent, content_type="text/plain")
        else:
            response = Client().post(f"/{path}", sent)
    assert response.content == answer
    (cassette,) = made(tmp_path)
    assert cassette.request.body is not None
    assert cassette.response.body is not None
    assert cassette.response.body.data == answer
    noted = cassette.request.body.data
    assert b"green tea" in noted if path == "upload" else noted == {"first": b"gree", "lines": b"a\nb\n"}[path]
    assert cassette.request.route_template == f"/{path}"
    assert ("set-cookie" in cassette.response.headers) is (path == "lines")


def test_streams_and_views_of_django(django_with: Callable[[dict[str, Any]], Any], tmp_path: Path) -> None:
    from django.test import AsyncClient, Client

    async def ask(path: str) -> bytes:
        response = await AsyncClient().get(f"/{path}")
        body = b"".join([each async for each in response]) if response.streaming else response.content
        await asyncio.to_thread(response.close)
        return body

    def ask_sync(path: str) -> bytes:
        response = Client().get(f"/{path}")
        body = response.getvalue() if response.streaming else response.content
        response.close()
        return body

    told: dict[str, bytes] = {}
    for path in ("stream", "stream_async", "counted"):
        folder = tmp_path / path
        with django_with(of(folder)):
            told[path] = asyncio.run(ask(path)) if path != "stream" else ask_sync(path)
        (cassette,) = made(folder)
        assert cassette.response.body is not None
        assert cassette.response.body.data == told[path]
        assert len(cassette.events) == (1 if path == "counted" else 2)
        (file,) = folder.rglob("*.msgpack")
        with django_with({"MODE": "replay", "CASSETTE_PATH": str(file)}):
            assert (asyncio.run(ask(path)) if path != "stream" else ask_sync(path)) == told[path]
    assert told["stream"] == told["stream_async"] == b"".join(PIECES)
    with django_with(of(tmp_path / "file")):
        assert ask_sync("file") == b"content"
    (cassette,) = made(tmp_path / "file")
    assert cassette.response.body is not None
    assert not cassette.response.body.captured


def test_an_error_of_a_view_of_django_is_a_failed_request(
    django_with: Callable[[dict[str, Any]], Any], tmp_path: Path
) -> None:
    from django.test import Client

    with django_with({**of(tmp_path), "ERRORS_ONLY": True}):
        client = Client(raise_request_exception=False)
        assert client.get("/boom").status_code == 500
        assert client.get("/nowhere").status_code == 404
    assert [each.response.status for each in made(tmp_path)] == [500]


def test_the_settings_of_django_are_checked(
    django_with: Callable[[dict[str, Any]], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        django_with({"MODES": "record"}),
        pytest.raises(ConfigurationError, match=r"no 'MODES'; did you mean 'MODE'"),
    ):
        of_django.TimeTracerMiddleware(lambda request: None)
    monkeypatch.setenv("TIMETRACER_SERVICE", "shop")
    with django_with({}):
        assert of_django.TimeTracerMiddleware(lambda request: None).config.service_name == "shop"
    with django_with({"MODE": "off"}):
        assert of_django.TimeTracerMiddleware(lambda request: None).config.exclude_paths == []
