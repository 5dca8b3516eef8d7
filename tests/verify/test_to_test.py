"""``timetracer-otel to-test``: the files that it writes, and what they do when the app changes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import timetracer_otel
from tests import forks
from tests.examples import drawn
from tests.loopback import Loopback
from tests.sample_cassettes import body, cassette
from tests.verify._failures import Failing
from tests.verify._services import environment
from timetracer_otel import cli
from timetracer_otel.cassette import read_cassette, save_cassette
from timetracer_otel.constants import JOB
from timetracer_otel.types import HeaderMap, RequestSnapshot, ResponseSnapshot

FRAMEWORKS = ["starlette", *drawn([["flask", "django"]], "framework")]
WRITTEN = '''\
"""GET /orders/7, as it was recorded: answered with 500 (KeyError).

Recorded at TIME, written by `timetracer-otel to-test`.
The calls of the app are answered from the recording beside this file.
Trace: TRACE
"""

from pathlib import Path

from timetracer_otel.pytest_plugin import ReproduceFixture

RECORDING = Path(__file__).parent / "cassettes/test_order/get_orders_7/request.msgpack"


def test_get_orders_7_answers_500(timetracer_reproduce: ReproduceFixture) -> None:
    answer = timetracer_reproduce(RECORDING, "tests.verify._failing:starlette_app()")
    assert answer.status == 500, answer.difference
    assert answer.error_type == "KeyError", answer.difference
    assert answer.is_as_recorded, answer.difference
'''


@pytest.fixture(scope="module", params=FRAMEWORKS)
def failing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Failing:
    if request.param == "starlette":
        recorded: Failing = request.getfixturevalue("one")
        return recorded
    return Failing(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Failing:
    return Failing("starlette", tmp_path_factory.mktemp("one"))


def to_test(recording: str, folder: Path, name: str, *options: str) -> Path:
    path = folder / f"{name}.py"
    assert cli.main(["to-test", recording, "-o", str(path), "--no-run", *options]) == 0
    return path


def run(folder: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a folder, with our plugin alone."""
    variables = environment([], PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", **changes)
    plugins = ("-p", "timetracer_otel.pytest_plugin", "-p", "no:cacheprovider")
    return forks.run(
        "-m", "pytest", "-q", *plugins, str(folder), *arguments, env=variables, cwd=folder, loaded="tool"
    )


def test_the_tests_that_are_written_do_what_they_say(failing: Failing, tmp_path: Path) -> None:
    app = ["--app", f"tests.verify._failing:{failing.module[2]}_app()"]
    order = failing.order.path
    to_test(order, tmp_path, "test_order", *app)
    to_test(order, tmp_path, "test_mended", *app, "--expect", "200")
    to_test(order, tmp_path, "test_named", *app, "--name", "test_a_name_that_is_longer_than_most_lines_are")
    to_test(order, tmp_path, "test_" + "long_" * 12 + "name", *app, "--ignore", "header:content-type,body:$.at[*].id")
    to_test(
        order, tmp_path, "test_expected_and_ignored", *app, "--expect", "201", "--ignore", "body:$." + "long" * 20
    )
    if "/stock" in failing.rows:
        to_test(failing.rows["/stock"].session_id, tmp_path, "test_stock", *app, "--dir", str(failing.folder))
    formatted = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--diff", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert formatted.stdout == ""
    linted = ["ruff", "check", "--isolated", "--select", "E,F,I,UP,B,RUF", "--line-length", "88", str(tmp_path)]
    assert subprocess.run([sys.executable, "-m", *linted], capture_output=True).returncode == 0

    passing = 4 if "/stock" in failing.rows else 3
    done = run(tmp_path, "--timetracer-orphans", UPSTREAM=failing.upstream)
    assert f"2 failed, {passing} passed in " in done.stdout, done.stdout + done.stderr
    # By the exception that was recorded, at the line of the app.
    assert done.stdout.count('>       left = stock.json()["left"]') == 2
    assert done.stdout.count("E       KeyError: 'left'") == 2
    assert "no test used" not in done.stdout

    mended = run(tmp_path, "-k", "test_order or test_mended", UPSTREAM=failing.upstream, REPAIRED="1")
    assert "1 failed, 1 passed" in mended.stdout, mended.stdout + mended.stderr
    assert "E       AssertionError: status: recorded 500, now 200" in mended.stdout
    assert "exception: recorded KeyError, now none" in mended.stdout

    changed = run(tmp_path, "-k", "test_order or test_mended", UPSTREAM="http://127.0.0.1:9")
    assert "2 failed" in changed.stdout
    missed = re.findall(
        r"^E .*No recorded call matches: httpx GET http://127.0.0.1:9/users/7$", changed.stdout, re.MULTILINE
    )
    assert len(missed) == 2


def test_the_text_of_a_test(one: Failing, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "tests" / "orders"
    path = to_test(one.order.session_id, folder, "test_order", *APP, "--dir", str(one.folder))
    recorded = read_cassette(one.order.path)
    text = path.read_text()
    assert text == WRITTEN.replace("TIME", recorded.session.recorded_at[:19]).replace(
        "TRACE", recorded.session.trace_id or ""
    )
    recording = folder / "cassettes" / "test_order" / "get_orders_7" / "request.msgpack"
    assert capsys.readouterr().out == f"wrote      {path}\nrecording  {recording}\n"
    assert recording.read_bytes() == Path(one.order.path).read_bytes()
    # The recording that a test has may be given as well.
    assert to_test(str(recording), folder, "test_order", *APP, "--force").read_text() == text
    assert recording.read_bytes() == Path(one.order.path).read_bytes()


APP = ("--app", "tests.verify._failing:starlette_app()")


def test_a_test_that_does_not_do_what_it_says_is_told(
    one: Failing, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said of one that does is shown on the page `from-a-trace-id-to-a-debugger`."""
    for name, value in environment([], UPSTREAM=one.upstream, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("REPAIRED", "1")
    arguments = ["to-test", one.order.path, "-o", str(tmp_path / "test_order.py"), *APP, "--force"]
    assert cli.main(arguments) == 1
    said = capsys.readouterr().out
    assert "\nran        it does not pass as it stands:\n\nF" in said
    assert "AssertionError: status: recorded 500, now 200" in said
    assert cli.main([*arguments, "--expect", "200"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "ran        it passes already"


def test_a_service_is_started_by_its_command(one: Failing, tmp_path: Path) -> None:
    command = ["python", *one.module]
    path = to_test(one.order.path, tmp_path, "test_service", "--", *command)
    text = path.read_text()
    assert re.search(r"timetracer_verify\(\n        RECORDING,\n        \[\n            \"python\",", text)
    done = run(tmp_path, "--timetracer-orphans", **environment(command))
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "no test used" not in done.stdout
    changed = run(tmp_path, **environment(command, REPAIRED="1"))
    assert "1 failed" in changed.stdout
    assert "  status: recorded 500, now 200\n" in changed.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["ORDER", "-o", "test_x.py"],
            "say what to run behind --, as in: timetracer-otel to-test ID -o tests/test_it.py",
        ),
        (["ORDER", "--app=shop:app"], "the following arguments are required: -o/--output"),
        (
            ["ORDER", "-o", "x.py", "--app", "shop:app"],
            "-o: x.py is no name of a test file. Name it like tests/test_o",
        ),
        (
            ["ORDER", "-o", "job.msgpack/tests/test_x.py", "--app", "shop:app"],
            "-o: cannot make the folder job.msgpack/tests: Not a directory. Name another file.",
        ),
        (
            ["ORDER", "-o", "test_there.py", "--app", "shop:app"],
            "-o: test_there.py exists. Name another file, or repl",
        ),
        (
            ["ORDER", "-o", "test_x.py", "--app", "shop:app", "--", "x"],
            "--app: the test calls the app itself, or start",
        ),
        (
            ["ORDER", "-o", "test_x.py", "--app", "shop:app", "--url", "x"],
            "--url: an app that is called with --app lis",
        ),
        (["ORDER", "-o", "test_x.py", "--expect", "200", "--", "x"], "--expect: needs --app; a service that runs as"),
        (
            ["ORDER", "-o", "test_x.py", "--app", "shop:app", "--expect", "99"],
            "--expect: 99 is not allowed. Allowed: a",
        ),
        (
            ["ORDER", "-o", "test_x.py", "--app", "shop:app", "--name", "a b"],
            "--name: 'a b' is not allowed. Allowed: t",
        ),
        (["ORDER", "-o", "test_x.py", "--app", "shop:app", "--ignore", "query:a"], "'query:a' says nothing about an"),
        (
            ["FOLDER", "-o", "test_x.py", "--app", "shop:app"],
            "is a folder. Name one recording of it; list shows their",
        ),
        (["PROCESS", "-o", "test_x.py", "--app", "shop:app"], "cannot be sent again: it is about no request"),
        (
            ["JOB", "-o", "test_x.py", "--app", "shop:app"],
            "is of a job. Name its worker behind --, in the place of --a",
        ),
        (
            ["ORDER", "-o", "test_kept.py", "--app", "shop:app"],
            "get_orders_7 exists: another test may use it. Name thi",
        ),
    ],
)
def test_what_cannot_become_a_test_is_one_line(
    one: Failing,
    tmp_path: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, method in (("process", ""), ("job", JOB)):
        save_cassette(
            cassette([], request=RequestSnapshot(method, method), response=ResponseSnapshot(0)), f"{name}.msgpack"
        )
    Path("test_there.py").touch()
    os.makedirs("cassettes/test_kept/get_orders_7")  # noqa: PTH103 - relative
    names = {"FOLDER": ".", "PROCESS": "process.msgpack", "JOB": "job.msgpack", "ORDER": one.order.path}
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["to-test", *(names.get(each, each) for each in arguments)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert told.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


APPS = """
import asyncio
import json

import httpx

STARTED = []


def answer(method, target, headers, body):
    user = httpx.get("URL/users/7").json()
    said = {"method": method, "target": target, "x-twice": headers, "body": body, "user": user["name"]}
    return json.dumps({**said, "started": len(STARTED)}).encode()


def wsgi(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
    target = environ["PATH_INFO"].encode("latin-1").decode() + "?" + environ["QUERY_STRING"]
    if "fails" in body:
        raise ValueError(body)
    start_response("201 Created", [("content-type", "application/json"), ("x-made", "1"), ("x-made", "2")])
    text = answer(environ["REQUEST_METHOD"], target, environ.get("HTTP_X_TWICE"), body)
    return [text[:5], text[5:]]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        STARTED.append(httpx.get("URL/users/1").status_code)
        scope["state"]["started"] = True
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        STARTED.clear()
        await send({"type": "lifespan.shutdown.complete"})
        return
    assert scope["state"] == {"started": True}
    body = (await receive())["body"].decode()
    if "fails" in body:
        raise ValueError(body)
    twice = ",".join(value.decode() for name, value in scope["headers"] if name == b"x-twice") or None
    target = scope["path"] + "?" + scope["query_string"].decode()
    headers = [(b"content-type", b"application/json"), (b"x-made", b"1"), (b"x-made", b"2")]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    text = answer(scope["method"], target, twice, body)
    await send({"type": "http.response.body", "body": text[:5], "more_body": True})
    await send({"type": "http.response.body", "body": text[5:]})
    assert (await asyncio.wait_for(receive(), 60))["type"] == "http.disconnect"


def make():
    return wsgi


async def bare(scope, receive, send):
    assert scope["type"] == "http", "no lifespan"
    await asgi({**scope, "state": {"started": True}}, receive, send)


async def stuck(scope, receive, send):
    if scope["type"] == "lifespan":
        await send({"type": "lifespan.startup.failed", "message": "no database"})
"""
CALLS = """
import json
import os

import pytest

import apps
from timetracer_otel import ConfigurationError, ReplayMismatchError

ANSWER = {
    "method": "POST",
    "target": "/ä/b?page=1&page=2",
    "x-twice": "a,b",
    "body": "ok",
    "user": "Ada",
    "started": 0,
}


@pytest.mark.parametrize("app", ["apps:wsgi", "apps:make()", "apps:bare", apps.wsgi])
def test_the_app_is_given_the_recorded_request(timetracer_reproduce, app):
    answer = timetracer_reproduce("made.msgpack", app)
    assert answer.json() == ANSWER
    assert answer.headers.pairs[1:] == ((b"x-made", b"1"), (b"x-made", b"2"))
    assert answer.is_as_recorded, answer.difference
    assert (answer.error, answer.error_type) == (None, None)
    assert repr(answer) == "<201 for POST /ä/b>"


def test_headers_and_parts_of_the_answer_may_be_left_out(timetracer_reproduce):
    changed = timetracer_reproduce("made.msgpack", "apps:wsgi", headers={"X-Twice": "c"})
    assert changed.difference == "body $.x-twice: recorded 'a,b', now 'c,c'"
    ignoring = {"headers": {"X-Twice": "c"}, "ignore_in_answer": ["body:$.x-twice"]}
    assert timetracer_reproduce("made.msgpack", "apps:wsgi", **ignoring).is_as_recorded


def test_an_app_is_started_and_ended(timetracer_reproduce):
    with pytest.raises(ReplayMismatchError, match="No recorded call matches: httpx GET .*/users/1"):
        # Its start asks for what nobody recorded.
        timetracer_reproduce("made.msgpack", "apps:asgi")
    assert apps.STARTED == []
    with pytest.raises(RuntimeError, match="no database"):
        timetracer_reproduce("made.msgpack", "apps:stuck")


@pytest.mark.parametrize("app", ["apps:wsgi", "apps:bare"])
def test_an_app_without_an_answer_raises(timetracer_reproduce, app):
    with pytest.raises(ValueError, match="it fails"):
        timetracer_reproduce("failing.msgpack", app)


@pytest.mark.parametrize(
    ("app", "says"),
    [
        ("apps", "app: 'apps' is not allowed. Allowed: module:app, or module:factory"),
        ("nowhere:app", "app: there is no module 'nowhere'"),
        ("apps:nothing", "app: apps has no 'nothing'"),
        ("apps:STARTED", "is no ASGI or WSGI app: it cannot be called"),
    ],
)
def test_what_is_no_app_says_so(timetracer_reproduce, app, says):
    with pytest.raises(ConfigurationError, match=says):
        timetracer_reproduce("made.msgpack", app)


def test_what_is_no_request_says_so(timetracer_reproduce):
    with pytest.raises(ConfigurationError, match="it is no recording of an HTTP request"):
        timetracer_reproduce("process.msgpack", "apps:wsgi")
"""


def test_an_app_is_called_as_a_server_would(tmp_path: Path) -> None:
    with Loopback() as upstream, timetracer_otel.record(tmp_path / "calls.msgpack"):
        httpx.get(f"{upstream.url}/users/7")
    (tmp_path / "apps.py").write_text(APPS.replace("URL", upstream.url))
    (tmp_path / "test_calls.py").write_text(CALLS)
    said = {"method": "POST", "target": "/ä/b?page=1&page=2", "x-twice": "a,b", "body": "ok", "user": "Ada"}
    headers = HeaderMap([(b"content-type", b"application/json"), (b"x-made", b"1"), (b"x-made", b"2")])
    asked = HeaderMap([(b"Host", b"shop:80"), (b"X-Twice", b"a"), (b"X-Twice", b"b"), (b"Transfer-Encoding", b"x")])
    recorded = read_cassette(tmp_path / "calls.msgpack")
    recorded.response = ResponseSnapshot(201, headers, body(json.dumps({**said, "started": 0}).encode()))
    for name, sent in (("made", b"ok"), ("failing", b"it fails")):
        recorded.request = RequestSnapshot(
            "POST", "/ä/b", target="/%C3%A4/b?page=1&page=2", headers=asked, body=body(sent)
        )
        save_cassette(recorded, tmp_path / "cassettes" / f"{name}.msgpack")
    process = cassette([], request=RequestSnapshot("", ""), response=ResponseSnapshot(0))
    save_cassette(process, tmp_path / "cassettes" / "process.msgpack")
    done = run(tmp_path)
    assert "13 passed" in done.stdout, done.stdout + done.stderr
