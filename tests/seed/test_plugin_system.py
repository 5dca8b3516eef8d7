"""Every block of docs/plugin-system.md runs: recorded on real servers, and replayed with them stopped.

A block is the page's own text; only addresses are replaced by those of local servers, and names that the page takes
for granted (``redis_client``, ``some_library``) are given.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import inspect
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import redis
from sqlalchemy import create_engine, text

from tests.loopback import Loopback
from tests.servers.postgres import Postgres
from tests.servers.redis import RedisServer
from timetracer_otel import ReplayMismatchError, plugins, record, replay
from timetracer_otel.config import TraceConfig
from timetracer_otel.context import get_current_session
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import BodySnapshot

PAGE = Path(__file__).parents[2] / "docs" / "plugin-system.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
DATA = "https://api.example.com/data"


def block(mark: str, language: str = "python") -> str:
    """The one block that has a text in it."""
    (found,) = [body for kind, body in BLOCKS if kind == language and mark in body]
    return found


def execute(code: str, **names: Any) -> dict[str, Any]:
    """Run a block, which may await at its top, and give its names."""
    made = eval(compile(code, "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.iscoroutine(made):
        asyncio.run(made)
    return names


@pytest.fixture
def upstream() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture(autouse=True)
def _switched_off_again() -> Iterator[None]:
    yield
    for name in ("aiohttp", "httpx", "redis", "requests", "sqlalchemy"):
        getattr(plugins, f"disable_{name}")()


@pytest.mark.parametrize(
    ("mark", "names", "answer"),
    [
        ("enable_httpx()", {"httpx": httpx}, lambda seen: seen["response"].json()),
        ("enable_requests()", {"requests": None}, lambda seen: seen["response"].json()),
        ("enable_aiohttp()", {"aiohttp": None}, lambda seen: seen["data"]),
    ],
)
def test_http_plugins(mark: str, names: dict[str, Any], answer: Any, upstream: Loopback, tmp_path: Path) -> None:
    names = {name: module or __import__(name) for name, module in names.items()}
    code = block(mark).replace(DATA, f"{upstream.url}/items")
    with record(tmp_path / "x.msgpack") as recorded:
        live = answer(execute(code, **names))
    upstream.stop()
    assert live == {"items": ["tea", "cake"]}
    assert [event.signature.method for event in recorded.events] == ["GET"]
    with replay(tmp_path / "x.msgpack", fail_on_unused=True):
        assert answer(execute(code, **names)) == live
    assert upstream.hits == {"/items": 1}


def test_sqlalchemy(tmp_path: Path) -> None:
    server = Postgres()
    try:
        url = server.url("psycopg").render_as_string(hide_password=False)
        code = block("enable_sqlalchemy(engine)").replace("postgresql://...", url)

        def rows() -> Any:
            engine = execute(code)["engine"]
            with engine.connect() as connection:
                found = connection.execute(text("SELECT 7 AS id, 'Ada' AS name, now() AS at")).all()
            engine.dispose()
            return found

        with record(tmp_path / "x.msgpack"):
            live = rows()
        server.stop()
        with replay(tmp_path / "x.msgpack"):
            assert rows() == live
    finally:
        server.start()
        server.close()


def test_redis(redis_server: RedisServer, tmp_path: Path) -> None:
    code = block("enable_redis()")

    def run() -> Any:
        client = redis.Redis.from_url(redis_server.url)
        execute(code, redis_client=client)
        seen = client.get("cache:key"), client.get("user:123")
        client.close()
        return seen

    with record(tmp_path / "x.msgpack") as recorded:
        assert run() == (b"value", None)
    assert [event.signature.method for event in recorded.events][-4:] == ["GET", "SET", "GET", "GET"]
    redis_server.stop()
    with replay(tmp_path / "x.msgpack"):
        assert run() == (b"value", None)


class Shop:
    """One HTTP call, one statement, one command."""

    def __init__(self, upstream: Loopback, redis_server: RedisServer, folder: Path) -> None:
        self.upstream = upstream
        self.redis_server = redis_server
        self.database = f"sqlite:///{folder / 'shop.db'}"

    def run(self) -> list[Any]:
        seen: list[Any] = [httpx.get(f"{self.upstream.url}/users/7").json()]
        engine = create_engine(self.database)
        with engine.connect() as connection:
            seen.append(connection.execute(text("SELECT 7, 'Ada'")).all())
        engine.dispose()
        client = redis.Redis.from_url(self.redis_server.url)
        seen.append(client.incr("visits"))
        client.close()
        return seen


@pytest.fixture
def shop(upstream: Loopback, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.chdir(tmp_path)
    shop = Shop(upstream, redis_server, tmp_path)
    with record("./cassettes/checkout.json"):
        assert shop.run()[2] == 1
    return shop


def check_http_mocked_and_the_rest_live(shop: Shop, config: TraceConfig, visits: int = 2) -> None:
    shop.upstream.stop()
    with replay(config=config) as session:
        seen = shop.run()
    assert seen[0] == {"id": 7, "name": "Ada"}
    assert seen[2] == visits, "the real server counted"
    assert shop.upstream.hits == {"/users/7": 1}
    verdict = session.verdict()
    assert [event.signature.lib for event in verdict.hits] == ["httpx"]
    assert (verdict.unused, set(verdict.live)) == ((), {"redis", "sqlalchemy"})


def test_the_configurations_of_hybrid_replay(shop: Shop) -> None:
    code = block("# Option 1")
    first, second = re.findall(r"^config = TraceConfig\(.*?^\)$", code, re.MULTILINE | re.DOTALL)
    imports = code.partition("\n")[0]
    check_http_mocked_and_the_rest_live(shop, execute(f"{imports}\n{first}")["config"])
    check_http_mocked_and_the_rest_live(shop, execute(f"{imports}\n{second}")["config"], visits=3)


@pytest.mark.parametrize("number", [0, 1])
def test_the_variables_of_hybrid_replay(shop: Shop, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line for line in block("TIMETRACER_MOCK_PLUGINS", "bash").splitlines() if "=" in line]
    name, _, value = lines[number].partition("=")
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("TIMETRACER_MODE", "replay")
    monkeypatch.setenv("TIMETRACER_CASSETTE", "./cassettes/checkout.json")
    check_http_mocked_and_the_rest_live(shop, TraceConfig.from_env())


def test_use_case_external_api(shop: Shop) -> None:
    config = execute(block("# Mock Stripe API but use real database"), TraceConfig=TraceConfig)["config"]
    config.cassette_path = "./cassettes/checkout.json"
    check_http_mocked_and_the_rest_live(shop, config)


def test_use_case_performance(shop: Shop) -> None:
    config = execute(block("# Keep all dependencies live"), TraceConfig=TraceConfig)["config"]
    with record("trace.msgpack", config=config) as session:
        assert shop.run()[2] == 2
    assert {event.signature.lib for event in session.events} == {"httpx", "sqlalchemy", "redis"}
    assert shop.upstream.hits == {"/users/7": 2}


def test_a_custom_plugin(tmp_path: Path) -> None:
    def function(number: int, *, fail: bool = False) -> dict[str, Any]:
        calls.append(number)
        if fail:
            raise RuntimeError(f"no {number}")
        return {"number": number, "calls": len(calls)}

    calls: list[int] = []
    library = SimpleNamespace(function=function)
    names = {"time": time, "json": json, "hashlib": hashlib, "BodySnapshot": BodySnapshot, "some_library": library}
    execute(block("def enable_my_plugin"), **names)
    namespace = execute(block("def enable_my_plugin") + block("def _record_call"), **names)
    namespace["enable_my_plugin"]()

    def run() -> list[Any]:
        seen: list[Any] = [library.function(1), library.function(2), library.function(1)]
        with pytest.raises(RuntimeError) as caught:
            library.function(3, fail=True)
        return [*seen, str(caught.value)]

    with record(tmp_path / "x.msgpack") as recorded:
        assert recorded.is_recording
        assert not recorded.is_replaying
        live = run()
    assert live[2] == {"number": 1, "calls": 3}
    assert [event.signature.lib for event in recorded.events] == ["my_plugin"] * 4
    calls.clear()
    with replay(tmp_path / "x.msgpack") as session:
        assert get_current_session() is session
        assert session.is_replaying
        assert run() == live
    assert calls == []
    assert session.verdict().ok
    with replay(tmp_path / "x.msgpack", fail_on_miss=False), pytest.raises(ReplayMismatchError, match="my_plugin"):
        library.function(9)
    with replay(tmp_path / "x.msgpack", live_plugins=["my_plugin"]) as session:
        assert isinstance(session, ReplaySession)
        assert not session.should_mock_plugin("my_plugin")
        assert run()[0] == {"number": 1, "calls": 1}
    assert len(calls) == 4
    assert library.function(5) == {"number": 5, "calls": 5}


def test_no_block_is_left_out() -> None:
    """Every Python block, and that of the variables, is looked up by a mark that stands in this file."""
    here = Path(__file__).read_text("utf-8")
    marks = re.findall(r'block\("([^"]+)"', here) + re.findall(r'^        \("(enable_\w+\(\))"', here, re.MULTILINE)
    for language, body in BLOCKS:
        if language == "python" or "TIMETRACER_" in body:
            assert any(mark in body for mark in marks), body
