"""``timetracer-otel check``: recorded calls are made again, and what has changed is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli._upstream import TOKEN, Upstream
from tests.cli.conftest import Run
from timetracer_otel import record
from timetracer_otel.cassette import read_cassette


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.stop()


@pytest.fixture
def recorded(upstream: Upstream, tmp_path: Path) -> Upstream:
    """Two recordings: ``cassettes/a.msgpack`` and ``cassettes/b.msgpack``."""
    with record(tmp_path / "cassettes" / "a.msgpack"), httpx.Client(base_url=upstream.url) as client:
        client.get("/user?page=1&page=2")
        client.head("/user")
        client.get("/packed")
        client.get("/moved")
        client.post("/search", json={"name": "Ada"})
    with record(tmp_path / "cassettes" / "b.msgpack"), httpx.Client(base_url=upstream.url) as client:
        client.get("/user?page=1&page=2")
        client.get("/mine", headers={"Authorization": TOKEN})
    upstream.asked.clear()
    return upstream


def said(text: str, upstream: Upstream) -> str:
    return text.replace(upstream.url, "http://UPSTREAM")


def test_calls_that_answer_as_they_did_are_the_same(run: Run, recorded: Upstream) -> None:
    for width in ("80", "200"):
        recorded.asked.clear()
        recorded.etag = width  # Of a header that says nothing of the content.
        done = run("check", "cassettes", COLUMNS=width)
        assert (done.returncode, done.stderr) == (0, "")
        assert said(done.stdout, recorded) == (
            "same       GET http://UPSTREAM/user?page=1&page=2\n"
            "same       HEAD http://UPSTREAM/user\n"
            "same       GET http://UPSTREAM/packed\n"
            "same       GET http://UPSTREAM/moved\n"
            "not asked  POST http://UPSTREAM/search\n"
            "    it may change something (--also makes it again)\n"
            "    in cassettes/a.msgpack #5\n"
            "not asked  GET http://UPSTREAM/mine\n"
            "    the recording lacks its header Authorization (give it with --header)\n"
            "    in cassettes/b.msgpack #2\n"
            "\n"
            "4 same, 2 not asked; 0 of 2 recordings are stale\n"
        )
        # Each is made once, and no redirect is followed: its next hop would be a call of its own.
        assert [(method, path) for method, path, _ in recorded.asked] == [
            ("GET", "/user?page=1&page=2"),
            ("HEAD", "/user"),
            ("GET", "/packed"),
            ("GET", "/moved"),
        ]


def test_values_and_shapes_that_changed_are_told_by_their_places(run: Run, recorded: Upstream) -> None:
    recorded.user = {"id": 7, "name": "Bob", "tags": [{"name": "a"}]}
    done = run("check", "cassettes", "--also", "POST:/sea*")
    assert (done.returncode, done.stderr) == (1, "")
    lines = said(done.stdout, recorded).splitlines()
    assert lines[:4] == [
        "changed    GET http://UPSTREAM/user?page=1&page=2",
        "    body $.name: recorded 'Ada', now 'Bob'",
        "    in cassettes/a.msgpack #1, cassettes/b.msgpack #1",
        "same       HEAD http://UPSTREAM/user",
    ]
    assert lines[-1] == "3 changed, 2 same, 1 not asked; 2 of 2 recordings are stale"
    assert recorded.asked[-1][:2] == ("POST", "/search")
    assert run("check", "cassettes", "--ignore", "body:$.name").returncode == 0
    assert run("check", "cassettes", "--shape").returncode == 0
    recorded.user = {"id": "7", "tags": [{"name": "a"}, {"name": None, "more": 1}], "new": True}
    done = run("check", "cassettes/b.msgpack", "--shape")
    assert done.returncode == 1
    assert said(done.stdout, recorded).splitlines()[:7] == [
        "changed    GET http://UPSTREAM/user?page=1&page=2",
        "    body $.id: recorded number, now text",
        "    body $.name: recorded text, now (missing)",
        "    body $.tags[*].name: recorded text, now null or text",
        "    body $.tags[*].more: recorded (missing), now number",
        "    body $.new: recorded (missing), now boolean",
        "    in cassettes/b.msgpack #1",
    ]


def test_credentials_are_the_users_and_go_where_they_belong(run: Run, recorded: Upstream, tmp_path: Path) -> None:
    done = run("check", "cassettes/b.msgpack", "--header", f"Authorization: {TOKEN}", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [path for _, path, headers in recorded.asked if headers.get("authorization") == TOKEN] == ["/mine"]
    # What a server says of the token is shown to nobody.
    recorded.user = {"id": 7, "name": TOKEN.partition(" ")[2]}
    done = run("check", "cassettes/b.msgpack", "--header", f"Authorization: {TOKEN}")
    assert done.returncode == 1
    assert TOKEN.partition(" ")[2] not in done.stdout
    # No placeholder of a secret goes out, not even in base64.
    with record(tmp_path / "c.msgpack"):
        httpx.get(f"{recorded.url}/mine", auth=("ada", "s3cr3t-4711-of-ada"))
        httpx.get(f"{recorded.url}/user", params={"api_key": "k-0123456789abcdef0123456789"})
    recorded.asked.clear()
    done = run("check", "c.msgpack")
    assert (done.returncode, recorded.asked) == (2, [])
    assert done.stdout.count("not asked") == 3
    kept = read_cassette(tmp_path / "c.msgpack").pseudonyms
    assert not any(name in said(str(recorded.asked), recorded) for name in kept)


def test_a_header_needs_its_host_where_several_have_it(run: Run, recorded: Upstream, tmp_path: Path) -> None:
    other = Upstream()
    try:
        with record(tmp_path / "cassettes" / "c.msgpack"):
            httpx.get(f"{other.url}/mine", headers={"Authorization": TOKEN})
        other.asked.clear()
        done = run("check", "cassettes", "--header", f"Authorization: {TOKEN}")
        assert (done.returncode, done.stdout, recorded.asked, other.asked) == (2, "", [], [])
        assert done.stderr.startswith(
            "timetracer-otel: --header: calls to several hosts have the header authorization"
        )
        host = other.url.removeprefix("http://")
        run("check", "cassettes", "--header", f"{host} Authorization: {TOKEN}")
        assert [headers["authorization"] for _, _, headers in other.asked] == [TOKEN]
        assert not any("authorization" in headers for _, _, headers in recorded.asked)
    finally:
        other.stop()


def test_a_server_that_is_gone_is_trouble(run: Run, recorded: Upstream, tmp_path: Path) -> None:
    recorded.stop()
    named = read_cassette(tmp_path / "cassettes" / "b.msgpack").session.id[:8]
    done = run("check", named, "--json")
    assert (done.returncode, done.stderr) == (2, "")
    found = json.loads(done.stdout)
    assert [call["outcome"] for call in found["calls"]] == ["no answer", "not asked"]
    assert found["calls"][0]["differences"] == ["Connection refused"]
    assert found["stale"] == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--also", "/search"], "--also: '/search' is not allowed."),
        (["--header", "s3cr3t"], "--header: not allowed as it is."),
        (["--header", "X-Nothing: 1"], "--header: no recorded call has the header x-nothing."),
        (["--timeout", "0"], "--timeout: 0 is not allowed."),
    ],
)
def test_bad_options_are_told(run: Run, recorded: Upstream, options: list[str], told: str) -> None:
    done = run("check", "cassettes", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"timetracer-otel: {told}")
    assert not recorded.asked
