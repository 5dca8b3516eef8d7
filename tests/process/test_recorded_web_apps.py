"""Apps of each web framework, served over HTTP: what their clients see is the same bare and recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.examples import drawn
from tests.loopback import Loopback
from tests.process._programs import cassettes, web_probe
from tests.process._web_probe import LARGE, REQUESTS, SECRET
from timetracer_otel.constants import BodyEnd
from timetracer_otel.types import BodySnapshot, Cassette, HeaderMap


class Run(NamedTuple):
    """What one run of the probe showed."""

    answers: list[dict[str, Any]]
    spans: list[str]
    """Names of those that were exported, sorted."""
    named: list[tuple[str, str, str]]
    """Of those that name a cassette: the span's name, the session's id, and the trace's."""
    folder: Path
    """Where its cassettes are."""


Probe = Callable[..., Run]
ALL = ("starlette", "fastapi", "flask", "django-wsgi", "django-asgi")
RUNS = [
    *((app, "none") for app in ALL),
    *drawn([[(app, tracing) for tracing in ("framework", "unsampled")] for app in ALL], "tracing"),
    *drawn([[(app, tracing) for tracing in ("after", "outside")] for app in ("starlette", "flask")], "order"),
]
"""Apps, and how they are traced: in ``make test`` not at all, and in one or two ways that the seed draws."""
MISSING = {
    "flask": {"/background", "/inner/users/4"},
    "django-wsgi": {"/background", "/broken", "/inner/users/4"},
    "django-asgi": {"/background", "/broken", "/inner/users/4"},
}
"""What an app does not have: it answers 404."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture(scope="module")
def probe(upstream: Loopback, tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """Run the probe, once for each set of arguments."""
    done: dict[tuple[Any, ...], Run] = {}

    def run(app: str, tracing: str, *, recorded: bool = True, **environment: str) -> Run:
        key = (app, tracing, recorded, *environment)
        if key not in done:
            folder = tmp_path_factory.mktemp("cassettes")
            mode = {"TIMETRACER_MODE": "record", "TIMETRACER_DIR": str(folder)} if recorded else {}
            told, _ = web_probe(app, tracing, upstream.url, **mode, **environment)
            done[key] = Run(**told, folder=folder)
        return done[key]

    return run


@pytest.mark.parametrize(("app", "tracing"), RUNS)
def test_a_recorded_app_answers_as_it_did_and_leaves_a_whole_cassette_of_each_request(
    probe: Probe, app: str, tracing: str
) -> None:
    bare = probe(app, "none", recorded=False).answers
    run = probe(app, tracing)
    assert run.answers == bare

    recorded = _by_request(run.folder)
    for number, (method, target, _, _) in enumerate(REQUESTS):
        if target == "/health":
            continue
        path = target.partition("?")[0]
        answer, cassette = bare[number], recorded.pop(number)
        assert cassette.complete
        assert cassette.session.framework == app.partition("-")[0]
        assert cassette.response.status == answer["status"]
        assert isinstance(cassette.response.headers, HeaderMap)
        # Django gives cookies with a blank before them; servers and clients take it off.
        given = [(name.decode().lower(), value.decode().strip()) for name, value in cassette.response.headers.pairs]
        sent = [pair for pair in given if pair[0] != "date"]
        # Its cookies hold a digit each, which is no secret.
        received = [(name.lower(), value) for name, value in answer["headers"]]
        # The server adds some of its own.
        assert [pair for pair in received if pair in sent] == sent
        if path not in MISSING.get(app, ()):
            assert [_user(event.signature.url) for event in cassette.events] == _calls(app, method, path)

        if number == 0:
            _check_the_head(cassette, traced=tracing != "none")
    assert not recorded


def _check_the_head(stored: Cassette, traced: bool) -> None:
    assert stored.request.route_template in {"/users/{user}", "/users/<int:user>"}
    token = stored.request.query.pop("token")
    assert stored.request.query == {"q": ["a b", "c"]}
    assert stored.pseudonyms == (token,)
    assert stored.request.target == f"/users/3?q=a%20b&q=c&token={token}"
    assert stored.request.client_ip == "127.0.0.1"
    assert isinstance(stored.request.headers, HeaderMap)
    assert stored.request.headers["authorization"] == f"Bearer {token}"
    called_in = stored.events[0].span
    assert (called_in is not None) == traced
    assert stored.session.trace_id == (called_in.trace_id if called_in is not None else None)


def _by_request(folder: Path) -> dict[int, Cassette]:
    """The cassettes by the place of their request in the probe's list: each request has one."""
    found = cassettes(folder)
    recorded = {int(cassette.request.headers["x-number"]): cassette for cassette in found}
    assert len(recorded) == len(found)
    return recorded


def _user(url: str | None) -> int:
    return int((url or "").rpartition("/")[2])


def _calls(app: str, method: str, path: str) -> list[int]:
    if (app, method) == ("fastapi", "HEAD"):
        return []
    if path.startswith(("/users/", "/inner/users/")):
        return [int(path.rpartition("/")[2])]
    return {"/stream": [0, 1, 2], "/boom": [1], "/background": [7], "/thread": [5]}.get(path, [])


@pytest.mark.parametrize("app", ALL)
def test_bodies_stand_in_the_cassette_as_they_passed(probe: Probe, app: str) -> None:
    recorded = _by_request(probe(app, "none").folder)

    def of(method: str, target: str, body: bytes | None = None) -> tuple[BodySnapshot | None, BodySnapshot, Cassette]:
        (number,) = (
            number
            for number, (its_method, its_target, _, its_body) in enumerate(REQUESTS)
            if (its_method, its_target, its_body) == (method, target, body)
        )
        cassette = recorded[number]
        assert cassette.response.body is not None
        return cassette.request.body, cassette.response.body, cassette

    request, response, _ = of("POST", "/echo", LARGE)
    assert request is not None
    assert request.data == response.data == LARGE
    assert request.end is response.end is BodyEnd.COMPLETE

    request, response, cassette = of("POST", "/echo", SECRET)
    assert request is not None
    (pseudonym,) = cassette.pseudonyms
    assert request.data == response.data == b'{"a": 1, "password": "%s"}' % pseudonym.encode()
    assert re.fullmatch("[a-z]{6}", pseudonym)
    assert b"geheim" not in request.data
    assert cassette.request.headers["content-length"] == str(len(request.data))

    request, _, _ = of("POST", "/first", LARGE)
    assert request is not None
    if app != "django-asgi":  # Django takes an ASGI body whole before it calls a view.
        assert request.end is BodyEnd.CLOSED
        assert 0 < (request.size_bytes or 0) < len(LARGE)

    _, response, _ = of("GET", "/stream")
    assert [size for _, size in response.chunks] == [4, 4, 6]

    request, _, cassette = of("GET", "/empty")
    assert (cassette.response.status, request) == (204, None)
    if app in {"flask", "django-wsgi"}:
        _, response, cassette = of("GET", "/file")
        assert not response.captured
        assert cassette.stats.dropped == {"response body sent by the server's file wrapper": 1}
    if app not in {"django-wsgi", "django-asgi"}:
        _, response, cassette = of("GET", "/broken")
        assert (response.end, response.data) == (BodyEnd.FAILED, b"some")
        assert cassette.error_info is not None
        assert (cassette.error_info["type"], cassette.error_info["message"]) == ("KeyError", "'broken'")


@pytest.mark.parametrize("app", ["starlette", "django-wsgi"])
def test_the_backend_gets_the_same_spans(probe: Probe, app: str) -> None:
    bare, recorded = probe(app, "framework", recorded=False), probe(app, "framework")
    assert bare.spans
    assert recorded.spans == bare.spans


@pytest.mark.parametrize("app", ["starlette", "django-wsgi"])
def test_the_root_span_of_each_request_names_its_cassette(probe: Probe, app: str) -> None:
    bare, recorded = probe(app, "framework", recorded=False), probe(app, "framework")
    assert bare.named == []
    stored = {each.session.id: each for each in cassettes(recorded.folder) if each.request.method}
    assert len(stored) > 10
    assert {session for _, session, _ in recorded.named} == set(stored)
    assert len(recorded.named) == len(stored)
    for name, session, trace in recorded.named:
        assert name.startswith(stored[session].request.method)
        assert trace == stored[session].session.trace_id


def test_only_failed_requests_are_kept_where_that_is_asked_for(probe: Probe) -> None:
    run = probe("starlette", "unsampled", TIMETRACER_ERRORS_ONLY="true")
    assert sorted(cassette.request.path for cassette in cassettes(run.folder)) == ["/boom", "/broken"]


@pytest.mark.parametrize(
    ("app", "variable"),
    [
        ("starlette", "OTEL_PYTHON_STARLETTE_EXCLUDED_URLS"),
        ("fastapi", "OTEL_PYTHON_EXCLUDED_URLS"),
        ("flask", "OTEL_PYTHON_FLASK_EXCLUDED_URLS"),
        ("django-asgi", "OTEL_PYTHON_DJANGO_EXCLUDED_URLS"),
    ],
)
def test_what_is_excluded_from_tracing_is_not_recorded(probe: Probe, app: str, variable: str) -> None:
    run = probe(app, "framework", **{variable: r"/users/\d, ^http://127.0.0.1:\d+/echo$"})
    assert [answer["body"] for answer in run.answers] == [
        answer["body"] for answer in probe(app, "framework").answers
    ]
    found = cassettes(run.folder)
    paths = {cassette.request.path for cassette in found}
    assert {"/stream", "/empty", "/no/such/path"} <= paths
    assert not [path for path in paths if "/users/" in path or path == "/echo"]
    # Nor are the calls of such requests, as calls of the process.
    assert "" not in paths
