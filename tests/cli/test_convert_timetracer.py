"""Cassettes of the package timetracer, made by itself, replay in ours for each client, and ours in timetracer."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from tests import forks
from tests.children import ROOT, environment
from tests.cli import _callers
from tests.loopback import Loopback
from tests.servers.redis import RedisServer
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.cli import main
from timetracer_otel.exceptions import ReplayMismatchError

BESIDE = Path(sys.prefix, "beside")
"""Where the Makefile installs timetracer, which is a plugin of pytest as well."""
CLIENTS = ("httpx", "requests", "aiohttp")
"""Those that timetracer captures."""
JSON = ("--to", "json")
BODY_IS_A_HASH = "timetracer keeps a hash of a request's body, and no body to compare"


def by_timetracer(folder: Path, *arguments: str) -> dict[str, Any]:
    """What the clients get in a process where timetracer is at work."""
    done = forks.run(
        *(str(Path(__file__).with_name("_timetracer.py")), *arguments),
        env=environment(PYTHONPATH=os.pathsep.join([str(ROOT), str(BESIDE)])),
        cwd=folder,
        loaded="tool",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def short(answers: list[Any]) -> list[Any]:
    """What timetracer keeps of answers: the status, the type and the body."""
    return [(status, dict(headers)["content-type"], body) for status, headers, body in answers]


class Made:
    """A folder with files of timetracer and of ours, and what the clients got. The servers are stopped by now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with Loopback() as server, RedisServer(folder / "redis") as store:
            self.url = server.url
            self.bare = {client: short(call(server.url)) for client, call in _callers.CLIENTS.items()}
            self.told = by_timetracer(folder, "record", server.url, store.url)
            for client in CLIENTS:
                with record(folder / f"{client}.msgpack"):
                    _callers.CLIENTS[client](server.url)
        for name in ("theirs.json", "theirs.json.gz", "theirs-0.1.json"):
            assert main(["convert", str(folder / name), str(folder / f"{name}.msgpack")]) == 1


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("timetracer"))


@pytest.fixture
def without_posts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients make the calls alone of which timetracer keeps all that a replay needs."""
    monkeypatch.setattr(_callers, "CALLS", [call for call in _callers.CALLS if call[0] == "GET"])


def of_gets(answers: list[Any]) -> list[Any]:
    return [answer for answer, call in zip(answers, _callers.CALLS, strict=True) if call[0] == "GET"]


def test_timetracer_itself_alters_no_answer(made: Made) -> None:
    # Otherwise the comparisons below would say nothing of the real answers.
    assert {client: short(made.told[client]) for client in CLIENTS} == {each: made.bare[each] for each in CLIENTS}


@pytest.mark.parametrize("name", ["theirs.json.msgpack", "theirs.json.gz.msgpack"])
def test_a_cassette_of_timetracer_answers_other_clients(
    made: Made, name: str, request: pytest.FixtureRequest
) -> None:
    expected = of_gets(made.bare["httpx"])
    request.getfixturevalue("without_posts")
    with replay(made.folder / name, fail_on_unused=True):
        # Three clients made these calls. Three others get the answers.
        for client in ("urllib3", "aiohttp", "httpx"):
            assert short(_callers.CLIENTS[client](made.url)) == expected
        assert requests.get(made.url).status_code == made.told["root"]


def test_a_cassette_of_the_schema_before_answers(made: Made, request: pytest.FixtureRequest) -> None:
    expected = of_gets(short(made.told["old"]))
    request.getfixturevalue("without_posts")
    with replay(made.folder / "theirs-0.1.json.msgpack"):
        assert short(_callers.CLIENTS["urllib3"](made.url)) == expected


def test_what_json_could_not_hold_is_not_replayable_and_says_why(made: Made) -> None:
    events = read_cassette(made.folder / "theirs.json.msgpack").events
    lost = {(each.signature.lib, each.signature.method, each.not_replayable) for each in events}
    assert {each for each in lost if each[2] is not None} == {
        ("http", "POST", BODY_IS_A_HASH),
        ("http", "POST", "timetracer does not note of each request whether it had a body"),
        ("http", "GET", "the body of its answer is no JSON, of which timetracer keeps a hash alone"),
        ("http", "GET", "the body of its answer was empty or a stream, which timetracer does not tell apart"),
        ("http", "GET", "timetracer keeps the name and the text of an error, and no exception"),
        ("redis", "SET", "timetracer keeps a reply as text, whatever its type, and its arguments as a hash"),
        ("redis", "GET", "timetracer keeps a reply as text, whatever its type, and its arguments as a hash"),
        ("sqlalchemy", "SELECT", "timetracer keeps neither the statement nor its rows"),
    }
    (failed,) = [each for each in events if each.result.error_type is not None]
    assert (failed.result.error_type, failed.result.error) == ("ConnectError", "[Errno 111] Connection refused")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (("POST", "/orders", b'{"sku": "tea", "n": 2}'), BODY_IS_A_HASH),
        (("POST", "/orders", b""), BODY_IS_A_HASH),
        (("GET", "/drops", b""), "the body of its answer is no JSON"),
        (("GET", "/users/8", b""), "was empty or a stream"),
    ],
)
def test_a_call_of_which_something_is_lost_is_a_miss_with_the_reason(
    made: Made, call: tuple[str, str, bytes], text: str
) -> None:
    method, path, body = call
    with pytest.raises(ReplayMismatchError, match=text), replay(made.folder / "theirs.json.msgpack"):
        httpx.request(method, made.url + path, content=body)


def test_the_request_that_came_in_is_kept(made: Made) -> None:
    cassette = read_cassette(made.folder / "theirs.json.msgpack")
    request, response, session = cassette.request, cassette.response, cassette.session
    assert (request.method, request.path, request.query) == ("POST", "/checkout", {"a": "1"})
    assert (request.body, response.body) != (None, None)
    assert [each.body.data for each in (request, response) if each.body] == [b'{"sku": "tea"}', b'{"done":true}']
    assert (response.status, session.service, session.env) == (200, "shop", "local")
    assert session.framework.startswith("timetracer 1.")


def test_our_recordings_replay_in_timetracer(made: Made) -> None:
    files = []
    for client in CLIENTS:
        assert main(["convert", str(made.folder / f"{client}.msgpack"), f"{made.folder}/{client}.json", *JSON]) == 0
        files.append(f"{client}={client}.json")
    told = by_timetracer(made.folder, "replay", made.url, *files)
    assert {client: short(answers) for client, answers in told.items()} == {each: made.bare[each] for each in CLIENTS}


def test_there_and_back_loses_no_call_without_a_body(made: Made, request: pytest.FixtureRequest) -> None:
    expected = of_gets(made.bare["requests"])
    request.getfixturevalue("without_posts")
    between, back = made.folder / "between.json", made.folder / "back.msgpack"
    assert main(["convert", str(made.folder / "requests.msgpack"), str(between), *JSON]) == 0
    assert main(["convert", str(between), str(back)]) == 1
    with replay(back):
        assert short(_callers.CLIENTS["urllib3"](made.url)) == expected


def test_which_json_is_meant_is_asked(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(made.folder / "httpx.msgpack"), str(made.folder / "which.json")]) == 2
    assert "may be of several formats: json, vcr-json. Say which by --to." in capsys.readouterr().err
