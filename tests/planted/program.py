"""Makes calls of every library with secrets in them, in requests to two services and outside of any.

Usage: ``python -m tests.planted.program FOLDER FIRST SCENE ...``. Where servers are is told by the environment.
In FOLDER it notes what it has planted, and copies the files that are on disk while a request runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import requests
import sqlalchemy as sa

from tests.planted import django_places, http_places, redis_places, sql_places, web_places
from tests.planted.planter import Planter, refusals_told

FOLDER, FIRST = Path(sys.argv[1]), int(sys.argv[2])
SERVERS: dict[str, str] = json.loads(os.environ["PLANTED_SERVERS"])
RECORDS = os.environ.get("TIMETRACER_MODE") == "record"


def httpx_client() -> http_places.Client:
    client = httpx.Client(trust_env=False)

    def send(method: str, url: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> object:
        return client.request(method, url, headers=headers, content=body)

    return send


def requests_client() -> http_places.Client:
    session = requests.Session()
    session.trust_env = False

    def send(method: str, url: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> object:
        return session.request(method, url, headers=headers, data=body, allow_redirects=False).content

    return send


def async_client(library: str, loop: asyncio.AbstractEventLoop) -> http_places.Client:
    opened: list[Any] = []

    async def send_httpx(method: str, url: str, headers: dict[str, str] | None, body: bytes | None) -> object:
        if not opened:
            opened.append(httpx.AsyncClient(trust_env=False))
        return await opened[0].request(method, url, headers=headers, content=body)

    async def send_aiohttp(method: str, url: str, headers: dict[str, str] | None, body: bytes | None) -> object:
        import aiohttp
        from yarl import URL

        if not opened:
            opened.append(aiohttp.ClientSession())
        where = URL(url, encoded=True)
        async with opened[0].request(method, where, headers=headers, data=body, allow_redirects=False) as response:
            return await response.read()

    send = send_httpx if library == "httpx" else send_aiohttp
    return lambda method, url, headers=None, body=None: loop.run_until_complete(send(method, url, headers, body))


class Scenes:
    """What runs in one recording each."""

    def __init__(self, planter: Planter) -> None:
        self.planter = planter
        self.up = http_places.Upstream(int(SERVERS["upstream"]), answers=RECORDS)
        client = httpx_client()
        self.reveal: Callable[[list[str]], object] = lambda texts: client(
            "GET", self.up.gives(json.dumps([{"password": text} for text in texts]).encode())
        )

    def http(self, library: str, backwards: bool) -> None:
        loop = asyncio.new_event_loop()
        clients = {
            "httpx": httpx_client,
            "requests": requests_client,
            "httpx async": lambda: async_client("httpx", loop),
            "aiohttp": lambda: async_client("aiohttp", loop),
        }
        http_places.plant(self.planter, clients[library](), self.up, backwards=backwards)

    def redis(self, library: str, backwards: bool) -> None:
        import redis
        import redis.asyncio

        aside = _redis_aside(SERVERS["redis"])
        module = redis.asyncio if library == "async" else redis
        asyncio.run(redis_places.plant(self.planter, module, SERVERS["redis"], aside, backwards=backwards))

    def sql(self, url: str, backwards: bool) -> None:
        if "asyncpg" in url or "aiosqlite" in url:
            from sqlalchemy.ext.asyncio import create_async_engine

            async def run() -> None:
                engine = create_async_engine(url)
                await sql_places.plant_async(self.planter, engine, backwards=backwards)
                await engine.dispose()

            asyncio.run(run())
        else:
            engine = sa.create_engine(url)
            sql_places.plant(self.planter, engine, backwards=backwards)
            engine.dispose()
        if "sqlite" not in url:
            self._refused(url)

    def _refused(self, url: str) -> None:
        """Connections that fail, whose errors may quote their address."""
        driver = url.partition(":")[0]
        for number, address in enumerate(("ada:{}@127.0.0.1:1/shop", "ada:{}@127.0.0.1:1/shop?connect_timeout=x")):
            secret = quote(self.planter.named(f"address of a database {number}"), safe="")
            with refusals_told():
                if "asyncpg" in url:
                    from sqlalchemy.ext.asyncio import create_async_engine

                    async def connect(to: str) -> None:
                        async with create_async_engine(to).connect():
                            pass

                    asyncio.run(connect(f"{driver}://{address.format(secret)}"))
                else:
                    with sa.create_engine(f"{driver}://{address.format(secret)}").connect():
                        pass

    def spans(self, _: str, backwards: bool) -> None:
        if not RECORDS:
            return  # A replay refuses calls that no plugin records.
        web_places.plant_spans(self.planter, backwards)

    def play(self, name: str, *, backwards: bool = True) -> None:
        kind, _, which = name.partition(" ")
        thorough = backwards and name in THOROUGH
        self.planter.scene(name if backwards else f"{name} (as it goes)", self.reveal, thorough=thorough)
        getattr(self, kind)(SERVERS.get(which, which), backwards)
        self.planter.end_scene()


def _redis_aside(url: str) -> Callable[..., object]:
    """Runs commands over a socket of our own."""
    import socket
    from urllib.parse import urlsplit

    port = urlsplit(url).port or 0

    def run(*words: object) -> object:
        if not RECORDS:
            return None
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        with socket.create_connection(("127.0.0.1", port)) as connection:
            packed = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
            connection.sendall(b"*%d\r\n%s" % (len(parts), packed))
            return connection.recv(1000)

    return run


THOROUGH = {"http httpx", "http requests", "redis sync", "redis async", "sql sqlite", "sql psycopg", "spans all"}
"""What the plugins of the same kind have in common is tried here with each way to write a secret."""
SCENES = [
    *("http httpx", "http requests", "http httpx async", "http aiohttp", "redis sync", "redis async"),
    *("sql sqlite", "sql psycopg", "sql psycopg2", "sql asyncpg", "sql pymysql", "spans all"),
]


def main() -> None:
    planter = Planter(FIRST)
    scenes = Scenes(planter)
    wanted = sys.argv[3:]
    if "process" in wanted:
        # Outside of any request: calls go to the disk as they end.
        for name in ("http httpx", "redis sync", "sql sqlite", "spans all"):
            scenes.play(name, backwards=False)
    stage = web_places.Stage()
    ports = {name: int(SERVERS[name]) for name in ("fastapi", "flask", "django")}
    for name, port in ports.items():
        web_places.serve(name, stage, port)
    for name in (name for name in SCENES if name in wanted and SERVERS.get(name.partition(" ")[2], "?")):
        stage.acts[name] = lambda name=name: scenes.play(name)  # type: ignore[misc]
        status = web_places.ask(ports["fastapi"], name, f"/scene/{quote(name)}")
        assert status == 200 or not RECORDS, (name, status)
    for framework, port in ports.items():
        if f"web {framework}" in wanted:
            web_places.plant(planter, port, stage, scenes.reveal, f"web {framework}", scenes.up)
    if "web django" in wanted:
        django_places.plant(planter, ports["django"], scenes.reveal)
    if "long" in wanted:

        def long() -> None:
            for name in ("http requests", "redis sync", "sql sqlite"):
                scenes.play(name, backwards=False)
            folder = Path(os.environ["TIMETRACER_DIR"])
            while RECORDS and not [*folder.rglob("*.part")]:
                time.sleep(0.01)
            time.sleep(0.4)
            for part in folder.rglob("*.part*"):
                with suppress(FileNotFoundError):
                    shutil.copy(part, FOLDER)

        stage.acts["long"] = long
        web_places.ask(ports["fastapi"], "long", "/scene/long")
    planter.save(FOLDER / "planted.json")


if __name__ == "__main__":
    main()
