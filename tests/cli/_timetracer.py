"""The package ``timetracer`` at work: it records a request of an ASGI app, or replays a file.

Arguments: ``record``, the addresses of `tests.loopback` and of Redis; or ``replay``, the first address, and
``CLIENT=FILE`` for each replay. It runs where that package is on the path. Prints what the clients got, in JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import requests
import timetracer.session
from timetracer.cassette import read_cassette, write_cassette
from timetracer.config import TraceConfig
from timetracer.context import reset_session, set_session
from timetracer.plugins import enable_aiohttp, enable_httpx, enable_redis, enable_requests, enable_sqlalchemy

from tests.cli._callers import CLIENTS

USED = ("httpx", "requests", "aiohttp")
REQUEST = b'{"sku": "tea"}'


def others(url: str, redis_url: str) -> None:
    """Calls of which a file of timetracer has less than a replay needs, one of each kind."""
    import redis
    import sqlalchemy

    enable_redis()
    enable_sqlalchemy()
    httpx.get(f"{url}/drops")
    with httpx.stream("GET", f"{url}/users/8") as answer:
        answer.read()
    requests.post(f"{url}/orders", files={"tea": b"green"})
    with contextlib.suppress(httpx.ConnectError):
        httpx.get("http://127.0.0.1:1/nothing")
    with redis.Redis.from_url(redis_url) as store:
        store.set("sku", b"\xff\x00")
        store.get("sku")
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 7 AS sku"))
    engine.dispose()


async def request_of(told: dict[str, Any], url: str, redis_url: str) -> None:
    """One request of an app that makes all of these calls."""
    from timetracer.integrations.fastapi import TimeTracerMiddleware

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for name in USED:
            told[name] = await asyncio.to_thread(CLIENTS[name], url)
        told["root"] = (await asyncio.to_thread(requests.get, url)).status_code
        await asyncio.to_thread(others, url, redis_url)
        head = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b'{"done":true}'})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": REQUEST, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        pass

    config = TraceConfig(mode="record", cassette_dir="made", service_name="shop", store_response_body="always")
    head = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/checkout", "query_string": b"a=1", "headers": head}
    await TimeTracerMiddleware(app, config=config)(scope, receive, send)


def record(url: str, redis_url: str) -> dict[str, Any]:
    """Write ``theirs.json``, and the same in gzip and in the schema before."""
    told: dict[str, Any] = {}
    asyncio.run(request_of(told, url, redis_url))
    (made,) = Path("made").rglob("*.json")
    made.rename("theirs.json")
    Path("theirs.json.gz").write_bytes(gzip.compress(Path("theirs.json").read_bytes()))
    timetracer.session.SCHEMA_VERSION = "0.1"
    session = timetracer.session.TraceSession(config=TraceConfig(cassette_dir="old"))
    token = set_session(session)
    told["old"] = CLIENTS["requests"](url)
    reset_session(token)
    Path(write_cassette(session, session.config)).rename("theirs-0.1.json")
    return told


def replay(url: str, *files: str) -> dict[str, Any]:
    """What the clients get of files."""
    told: dict[str, Any] = {}
    for each in files:
        client, _, path = each.partition("=")
        session = timetracer.session.ReplaySession(cassette=read_cassette(path), cassette_path=path, strict=True)
        token = set_session(session)
        told[client] = CLIENTS[client](url)
        reset_session(token)
        assert not session.get_unconsumed_events(), path
    return told


if __name__ == "__main__":
    for enable in (enable_httpx, enable_requests, enable_aiohttp):
        enable()
    real, sys.stdout = sys.stdout, sys.stderr  # timetracer prints a summary.
    made = (record if sys.argv[1] == "record" else replay)(*sys.argv[2:])
    print(json.dumps(made), file=real)
