"""Releases of OpenTelemetry with other private names: no feature is lost, and no program stops.

A child process gets a copy of OpenTelemetry's packages in which one name is another one wherever it stands.
"""

from __future__ import annotations

import ast
import functools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import opentelemetry
import pytest

from tests.examples import drawn
from tests.loopback import Loopback
from tests.process._programs import by_script, plain
from timetracer_otel.cassette import read_cassette
from timetracer_otel.libraries.sqlalchemy.internals import otel_span

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "src", *sorted((ROOT / "exporters").glob("*/src"))]

OF_ITS_API = ("_RUNTIME_CONTEXT", "_current_context", "_SUPPRESS_INSTRUMENTATION_KEY")
OF_ITS_SPANS = ("_context", "_parent", "_kind", "_name", "_instrumentation_scope", "_attributes", "_dict")
OF_ITS_INSTRUMENTORS = ("_otel_span", "_span_dict")
"""On SQLAlchemy's execution context, and on pymongo's listener of commands."""
NAMES = (*OF_ITS_API, *OF_ITS_SPANS, *OF_ITS_INSTRUMENTORS)

OF_OTHERS = {
    "_channel": "a call of grpc",
    "_status": "a call of its core",
    "_close": "a cursor of psycopg",
    "_data": "the environment of a process",
    "_live_spans": "a module of ours",
    "_exchange": "a call of gRPC that is noted, and a function of ours",
    "_get_attributes": "a prepared statement of asyncpg",
    "_lock": "a session of ours",
    "_log_encoder": "the exporter of OTLP, which encodes logs by OpenTelemetry's own package",
    "_logs": "the same: logs are not declared stable there",
    "_message": "an operation of gRPC's core",
    "_method": "a response of http.client",
    "_metrics": "a client of kafka-python",
    "_prepare": "a connection of asyncpg",
    "_response": "a noted response of WSGI",
    "_rules": "a session of ours",
    "_sampler": "a module of ours",
    "_server_status": "a connection of mysql-connector-python",
    "_value": "a body of aiohttp",
}
"""Names that stand in our source for something else, and that OpenTelemetry happens to have as well."""


def _release(folder: Path, *names: str) -> dict[str, str]:
    """The environment of a program for which OpenTelemetry's packages call those names otherwise."""
    whole_names = re.compile(rf"(?<!\w)({'|'.join(names)})(?!\w)")
    renamed: set[str] = set()
    # A namespace: each package in it may lie in another folder, and the first one found counts.
    for package in (package for part in opentelemetry.__path__ for package in Path(part).iterdir()):
        texts = {path: path.read_text("utf-8") for path in package.rglob("*.py")}
        found = {path: whole_names.findall(text) for path, text in texts.items()}
        if not any(found.values()):
            continue
        copy = folder / "opentelemetry" / package.name
        shutil.copytree(package, copy)
        for path in filter(found.get, texts):
            text = whole_names.sub(r"\1_of_another_release", texts[path])
            (copy / path.relative_to(package)).write_text(text, "utf-8")
            renamed.update(found[path])
    assert renamed == set(names), "a name that OpenTelemetry has no more: take it out of the source and of this list"
    return {"PYTHONPATH": str(folder)}


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


SESSIONS = """
    import json, os
    import httpx, sqlalchemy
    from opentelemetry import trace
    from opentelemetry.instrumentation.utils import suppress_instrumentation
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    import timetracer_otel
    from timetracer_otel.plugins import enable_httpx, enable_sqlalchemy

    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    url, file = os.environ["URL"], os.environ["FILE"]
    tracer = trace.get_tracer("tests")

    def work(engine):
        with suppress_instrumentation():
            httpx.get(url + "/users/2")
        with tracer.start_as_current_span("job"), tracer.start_as_current_span("step"):
            answers = [httpx.get(url + "/users/1").json()["id"]]
            with engine.connect() as connection:
                answers.append(connection.execute(sqlalchemy.text("SELECT 42")).scalar())
        return answers

    def spans():
        ended = exporter.get_finished_spans()
        exporter.clear()
        names = {None: None, **{span.context.span_id: span.name for span in ended}}
        return [(span.name, span.kind.name, names[span.parent and span.parent.span_id]) for span in ended]

    told = []
    enable_httpx(), enable_sqlalchemy()
    for session in (timetracer_otel.record(file), timetracer_otel.replay(file)):
        engine = sqlalchemy.create_engine("sqlite://")
        with session as current:
            answers = work(engine)
        told.append({"answers": answers, "spans": spans()})
    print(json.dumps(told))
"""


@pytest.mark.sweep
@pytest.mark.parametrize(
    "names",
    # All of them in one release; and one of each kind, which then meets the others as they are.
    [NAMES, *((name,) for name in drawn([OF_ITS_API, OF_ITS_SPANS, OF_ITS_INSTRUMENTORS], "private names"))],
    ids=lambda names: "all" if names == NAMES else names[0],
)
def test_calls_are_recorded_and_replayed_in_their_spans(
    names: tuple[str, ...], upstream: Loopback, tmp_path: Path
) -> None:
    file = tmp_path / "x.msgpack"
    done = plain(SESSIONS, URL=upstream.url, FILE=str(file), **_release(tmp_path, *names))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    recorded, replayed = json.loads(done.stdout)
    assert recorded["answers"] == replayed["answers"] == [1, 42]
    assert recorded["spans"] == replayed["spans"]
    assert ["GET", "CLIENT", "step"] in recorded["spans"]
    assert ["SELECT", "CLIENT", "step"] in recorded["spans"]
    # What is suppressed passes through, in a replay too; the other one is answered.
    assert upstream.hits == {"/users/1": 1, "/users/2": 2}
    calls = {event.signature.method: event for event in read_cassette(file).events}
    spans = {method: event.span for method, event in calls.items() if event.span is not None}
    assert {method: (span.name, span.kind) for method, span in spans.items()} == {
        "GET": ("GET", "CLIENT"),
        "CONNECT": ("connect", "CLIENT"),
        # The app's own span, of which the statement's knows the id, and its path the name.
        "BEGIN": ("step", None),
        "SELECT": ("SELECT", "CLIENT"),
        "ROLLBACK": ("step", None),
    }
    assert {event.path for event in calls.values()} == {("job", "step")}
    step = spans["BEGIN"].span_id
    assert [spans[method].parent_span_id for method in ("GET", "CONNECT", "SELECT")] == [step] * 3


REQUEST = """
    import os, httpx
    from opentelemetry import trace
    attributes = {"http.request.method": "GET", "url.path": "/me", "http.response.status_code": 200}
    with trace.get_tracer("app").start_as_current_span("GET /me", kind=trace.SpanKind.SERVER, attributes=attributes):
        print(httpx.get(os.environ["URL"] + "/users/1").json()["id"])
"""


@pytest.fixture(scope="module")
def another_release(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All the names at once."""
    return _release(tmp_path_factory.mktemp("release"), *NAMES)


def test_any_program_starts_where_this_package_is_installed(another_release: dict[str, str]) -> None:
    done = by_script("pass", **another_release)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_requests_of_a_process_are_recorded(
    another_release: dict[str, str], upstream: Loopback, tmp_path: Path
) -> None:
    settings = {"TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(tmp_path)}
    done = by_script(REQUEST, URL=upstream.url, **settings, **another_release)
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)
    (file,) = tmp_path.rglob("*.msgpack")
    cassette = read_cassette(file)
    assert cassette.request.path == "/me"
    (event,) = cassette.events
    assert event.path == ("GET /me",)
    assert event.span is not None
    assert event.span.name == "GET"


def test_a_statement_without_a_span_has_none() -> None:
    assert otel_span(None) is None
    assert otel_span(SimpleNamespace(_is_server_side=False, span="no span")) is None


def test_every_private_name_of_opentelemetry_in_the_source_stands_in_the_list() -> None:
    found: dict[str, list[str]] = {}
    for source in SOURCES:
        for path in sorted(source.rglob("*.py")):
            for name, line in _private_names(ast.parse(path.read_text("utf-8"))):
                found.setdefault(name, []).append(f"{path.relative_to(ROOT)}:{line}")
    assert {name: places for name, places in found.items() if name not in {*NAMES, *OF_OTHERS}} == {}
    assert set(NAMES) <= set(found), "a name that is used no more"


@pytest.mark.parametrize(
    "code",
    [
        "from opentelemetry.trace.propagation import _SPAN_KEY",
        "from opentelemetry.sdk import _configuration",
        "import opentelemetry.sdk._configuration",
        "name = span._name",
        "name = getattr(span, '_name', None)",
        "names = attrgetter('_name')",
    ],
)
def test_a_private_name_is_found_however_it_is_used(code: str) -> None:
    assert [line for _, line in _private_names(ast.parse(code))] == [1]


@pytest.mark.parametrize(
    "code", ["self._name = 1", "session._ended_by_us = 1", "import _thread", "x = '_name of it'"]
)
def test_names_of_our_own_are_no_private_names_of_opentelemetry(code: str) -> None:
    assert list(_private_names(ast.parse(code))) == []


def _private_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Names with an underscore that OpenTelemetry's packages give to something, and the lines that use them."""
    for node in ast.walk(tree):
        named: list[str] = []
        if isinstance(node, ast.Import):
            named = [part for alias in node.names for part in _parts(alias.name)]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "opentelemetry":
            named = [*_parts(node.module or ""), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Attribute):
            ours = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
            named = [node.attr] if node.attr in _theirs() and not ours else []
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = [node.value] if node.value in _theirs() else []
        for name in named:
            if name.startswith("_") and not name.startswith("__"):
                yield name, getattr(node, "lineno", 0)


def _parts(module: str) -> list[str]:
    return module.split(".") if module.startswith("opentelemetry.") else []


@functools.lru_cache(maxsize=1)
def _theirs() -> frozenset[str]:
    """What is private in those packages of OpenTelemetry whose objects we meet: all they bind under such a name."""
    bound: set[str] = set()
    for part in opentelemetry.__path__:
        for package in ("baggage", "context", "instrumentation", "propagate", "propagators", "sdk/trace", "trace"):
            for path in (Path(part) / package).rglob("*.py"):
                for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                    if isinstance(node, (ast.Attribute, ast.Name)) and isinstance(node.ctx, ast.Store):
                        bound.add(node.attr if isinstance(node, ast.Attribute) else node.id)
                    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                        bound.add(node.name)
    return frozenset(name for name in bound if re.fullmatch("_[A-Za-z].*", name))
