"""What an app does while it is recorded, by library: each function gives what the app saw, as plain text.

The app knows nothing of recordings. Its servers run in another process, so that what runs here of ours is what runs
on its own threads, or in the writer's. Clients verify no certificates: to load those of the machine takes longer than
all else.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tests.suite_injection import library
from tests.suite_injection.amqp_calls import AMQP, AMQP_CONSUMERS
from tests.suite_injection.aws import AWS
from tests.suite_injection.direct import DIRECT
from tests.suite_injection.grpc_calls import GRPC
from tests.suite_injection.incoming import INCOMING
from tests.suite_injection.jobs import JOBS
from tests.suite_injection.kafka_calls import KAFKA, KAFKA_CONSUMERS
from tests.suite_injection.mongo import MONGO
from tests.suite_injection.mysql import MYSQL
from tests.suite_injection.postgres import POSTGRES
from tests.suite_injection.servers import Servers, seen, seen_async
from tests.suite_injection.websocket_calls import WEBSOCKET

__all__ = ["WORKLOADS"]


LENGTH = {"Content-Length": "8"}
"""The upstream reads no chunked bodies."""


def _chunks() -> Iterator[bytes]:
    yield b'{"a": '
    yield b"1}"


def httpx_sync(servers: Servers) -> list[str]:
    import httpx

    headers = {"Authorization": "Bearer Zq8vT41xKw0pLm7"}
    with httpx.Client(verify=False, base_url=servers.http, headers=headers) as client:

        def streamed() -> Any:
            with client.stream("GET", "/items") as response:
                return [*response.iter_bytes(5)], response.status_code

        def left() -> Any:
            with client.stream("GET", "/items") as response:
                return next(response.iter_raw(4))

        return [
            seen(lambda: client.get("/users/1", params={"q": "é"}).json()),
            seen(lambda: client.get("/items").text),
            seen(lambda: client.post("/echo", json={"password": "Hm4kLq9sWe"}).content),
            seen(lambda: client.post("/echo", content=_chunks(), headers=LENGTH).content),
            seen(streamed),
            seen(left),
            seen(lambda: client.get("/missing").raise_for_status()),
            seen(lambda: httpx.get(servers.nothing, verify=False)),
        ]


def httpx_async(servers: Servers) -> list[str]:
    import httpx

    async def chunks() -> Any:
        for chunk in _chunks():
            yield chunk

    async def main() -> list[str]:
        async with httpx.AsyncClient(verify=False, base_url=servers.http) as client:

            async def read(path: str) -> Any:
                return (await client.get(path)).json()

            async def streamed() -> Any:
                async with client.stream("POST", "/echo", content=chunks(), headers=LENGTH) as response:
                    return [chunk async for chunk in response.aiter_bytes(3)]

            return [
                await seen_async(lambda: read("/users/1")),
                await seen_async(lambda: asyncio.gather(*(read(f"/users/{number}") for number in range(3)))),
                await seen_async(streamed),
                await seen_async(lambda: asyncio.wait_for(client.get("/slow/5000"), 0.05)),
                await seen_async(lambda: client.get(servers.nothing)),
            ]

    return asyncio.run(main())


def requests(servers: Servers) -> list[str]:
    import requests

    with requests.Session() as session:

        def streamed() -> Any:
            with session.get(f"{servers.http}/items", stream=True) as response:
                return [*response.iter_content(6)]

        def raw() -> Any:
            with session.get(f"{servers.http}/users/2", stream=True) as response:
                return response.raw.read(4), response.raw.read()

        return [
            seen(lambda: session.get(f"{servers.http}/users/1", params={"token": "Zq8vT41xKw0p"}).json()),
            seen(lambda: session.post(f"{servers.http}/echo", data={"a": "1"}).content),
            seen(lambda: session.post(f"{servers.http}/echo", data=io.BytesIO(b"".join(_chunks()))).content),
            seen(streamed),
            seen(raw),
            seen(lambda: session.get(f"{servers.http}/missing").raise_for_status()),
            seen(lambda: session.get(servers.nothing).text).partition("object at")[0],
        ]


def urllib(servers: Servers) -> list[str]:
    import http.client
    from urllib.parse import urlsplit
    from urllib.request import Request, urlopen

    def opened(path: str, body: Any = None, **headers: str) -> Any:
        with urlopen(Request(f"{servers.http}{path}", body, headers)) as response:
            return response.read()

    connection = http.client.HTTPConnection(urlsplit(servers.http).netloc)

    def kept(ask: Callable[[], Any]) -> Any:
        # Where a request fails, the connection can be used no more.
        try:
            return ask()
        except BaseException:
            connection.close()
            raise

    def asked(method: str, path: str, *given: Any) -> Any:
        connection.request(method, path, *given)
        return connection.getresponse().read()

    def in_steps() -> Any:
        connection.putrequest("POST", "/echo")
        connection.putheader("Content-Length", str(len(b"".join(_chunks()))))
        connection.endheaders()
        connection.send(io.BytesIO(b"".join(_chunks())))
        return connection.getresponse().read()

    def left() -> Any:
        connection.connect()
        connection.request("GET", "/users/2")
        response = connection.getresponse()
        found = response.read(4)
        response.close()
        connection.close()
        return found

    def refused() -> Any:
        http.client.HTTPConnection(urlsplit(servers.nothing).netloc).connect()

    return [
        seen(lambda: opened("/users/1?token=Zq8vT41xKw0p")),
        seen(lambda: opened("/echo", b"a=1")),
        seen(lambda: kept(lambda: asked("POST", "/echo", _chunks(), LENGTH))),
        seen(lambda: kept(lambda: asked("GET", "/items"))),
        seen(lambda: kept(in_steps)),
        seen(lambda: kept(left)),
        seen(refused),
        seen(lambda: urlopen(servers.nothing)),
    ]


def urllib3(servers: Servers) -> list[str]:
    import urllib3

    with urllib3.PoolManager(retries=urllib3.Retry(1, backoff_factor=0)) as pools:

        def streamed() -> Any:
            response = pools.request("GET", f"{servers.http}/items", preload_content=False)
            return [*response.stream(6)]

        def left() -> Any:
            response = pools.request("GET", f"{servers.http}/users/2", preload_content=False)
            found = response.read(4)
            response.close()
            return found

        def posted(**body: Any) -> Any:
            return pools.request("POST", f"{servers.http}/echo", **body).data

        return [
            seen(lambda: pools.request("GET", f"{servers.http}/users/1", fields={"token": "Zq8vT41xKw0p"}).data),
            seen(lambda: posted(fields={"a": "1"}, encode_multipart=False)),
            seen(lambda: posted(body=io.BytesIO(b"".join(_chunks())), headers=LENGTH)),
            seen(lambda: posted(body=_chunks(), headers=LENGTH)),
            seen(streamed),
            seen(left),
            seen(lambda: pools.request("GET", servers.nothing).data).partition("object at")[0],
        ]


def aiohttp(servers: Servers) -> list[str]:
    import aiohttp

    async def chunks() -> Any:
        for chunk in _chunks():
            yield chunk

    async def main() -> list[str]:
        async with aiohttp.ClientSession(servers.http) as session:

            async def read(path: str) -> Any:
                async with session.get(path) as response:
                    return await response.json()

            async def posted(**body: Any) -> Any:
                async with session.post("/echo", **body) as response:
                    return await response.read()

            async def streamed() -> Any:
                async with session.get("/items", auto_decompress=False) as response:
                    head = b"".join([chunk async for chunk in response.content.iter_any()])[:2]
                    return head, response.headers.get("content-type")

            async def lines() -> Any:
                async with session.get("/drops") as response:
                    return [line async for line in response.content]

            async def left() -> Any:
                async with session.get("/drops") as response:
                    return await response.content.readexactly(1)

            async def missing() -> Any:
                async with session.get("/missing", raise_for_status=True) as response:
                    return await response.text()

            async def refused() -> Any:
                async with session.get(servers.nothing) as response:
                    return await response.text()

            return [
                await seen_async(lambda: read("/users/1")),
                await seen_async(lambda: asyncio.gather(*(read(f"/users/{number}") for number in range(3)))),
                await seen_async(lambda: posted(json={"token": "Zq8vT41xKw0p"})),
                await seen_async(lambda: posted(data=chunks(), headers=LENGTH)),
                await seen_async(streamed),
                await seen_async(lines),
                await seen_async(left),
                (await seen_async(missing)),
                await seen_async(lambda: asyncio.wait_for(read("/slow/5000"), 0.05)),
                await seen_async(refused),
            ]

    return asyncio.run(main())


def sqlalchemy(servers: Servers) -> list[str]:
    import sqlalchemy as sa

    # In a file: a connection that is given up takes a database in memory with it.
    file = Path(servers.folder, "workload.db")
    file.unlink(missing_ok=True)
    engine = sa.create_engine(f"sqlite:///{file}")
    table = sa.Table(
        "users",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, unique=True),
        sa.Column("password", sa.String),
    )
    rows = [{"name": name, "password": f"Hm4kLq9sWe{name}"} for name in ("Ada", "Bob", "Cem")]

    def begun() -> Any:
        with engine.begin() as connection:
            table.create(connection)
            return connection.execute(table.insert(), rows).rowcount

    def selected() -> Any:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.select(table).where(table.c.id > 1))]

    def one_by_one() -> Any:
        with engine.connect() as connection:
            found = connection.execution_options(stream_results=True).execute(sa.select(table.c.name))
            return tuple(found.fetchone() or ()), tuple(found.fetchmany(1)[0]), found.scalars().all()

    def half() -> Any:
        with engine.connect() as connection:
            return tuple(connection.execute(sa.select(table.c.name)).fetchone() or ())

    def broken() -> Any:
        with engine.begin() as connection:
            return connection.execute(table.insert(), rows[0])

    def raw() -> Any:
        connection = engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("SELECT name FROM users WHERE id = ?", (3,))
            return cursor.fetchall(), cursor.description[0][0]
        finally:
            connection.close()

    found = [seen(call) for call in (begun, selected, one_by_one, half, broken, raw)]
    engine.dispose()
    return found


def sqlalchemy_async(servers: Servers) -> list[str]:
    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import create_async_engine

    async def main() -> list[str]:
        engine = create_async_engine("sqlite+aiosqlite://")

        async def made() -> Any:
            async with engine.begin() as connection:
                await connection.execute(sa.text("CREATE TABLE t (id INTEGER)"))
                await connection.execute(sa.text("INSERT INTO t VALUES (:id)"), [{"id": 1}, {"id": 2}])
                return [tuple(row) for row in await connection.execute(sa.text("SELECT id FROM t"))]

        async def streamed() -> Any:
            async with engine.connect() as connection:
                return [tuple(row) async for row in await connection.stream(sa.text("SELECT 1 UNION SELECT 2"))]

        async def broken() -> Any:
            async with engine.connect() as connection:
                await connection.execute(sa.text("SELECT nothing"))

        found = [await seen_async(call) for call in (made, streamed, broken)]
        await engine.dispose()
        return found

    return asyncio.run(main())


def functions(servers: Servers) -> list[str]:
    client = library.Client(servers.http)

    async def main() -> list[str]:
        calls = [partial(library.fetch_async, servers.http, user) for user in (3, 4, -1)]
        return [await seen_async(call) for call in calls]

    return [
        seen(lambda: client.fetch(1)),
        seen(lambda: client.fetch(2, token="Zq8vT41xKw0p")),
        seen(lambda: client.fetch(-1)),
        *asyncio.run(main()),
    ]


def logs(servers: Servers) -> list[str]:
    """What the app's own logging writes, while it is recorded."""
    import io
    import logging

    written = io.StringIO()
    logger = logging.Logger("shop.orders")  # noqa: LOG001
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(funcName)s %(message)s"))

    def work() -> Any:
        logger.debug("no handler, and %s", {"an": "argument"})
        logger.addHandler(handler)
        logger.info("of %d", 2)
        try:
            raise LookupError("no such item")
        except LookupError:
            logger.exception("failed")
        # The numbers of lines are those of this file.
        return written.getvalue().splitlines()[:2]

    return [seen(work)]


def threads(servers: Servers) -> list[str]:
    import _thread
    import threading
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    def read(number: int) -> Any:
        return httpx.get(f"{servers.http}/users/{number}", verify=False).json()

    def started() -> Any:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(seen(lambda: read(1))))
        thread.start()
        thread.join()
        return found

    def by_function() -> Any:
        found: list[Any] = []
        over = threading.Event()

        def run(number: int) -> None:
            found.append(seen(lambda: read(number)))
            over.set()

        _thread.start_new_thread(run, (2,))
        over.wait(5)
        return found

    def submitted() -> Any:
        with ThreadPoolExecutor(2) as executor:
            return list(executor.map(read, range(3)))

    return [seen(started), seen(by_function), seen(submitted)]


def redis_sync(servers: Servers) -> list[str]:
    import redis

    client: Any = redis.Redis.from_url(servers.redis)

    def piped() -> Any:
        with client.pipeline() as pipe:
            return pipe.set("b", "2").incr("n").get("b").execute()

    def subscribed() -> Any:
        with client.pubsub() as channel:
            channel.subscribe("c")
            first = channel.get_message(timeout=2)
            client.publish("c", "hello")
            return first, channel.get_message(timeout=2)

    found = [
        seen(client.flushall),
        seen(lambda: client.set("a", b"\xff")),
        seen(lambda: client.get("a")),
        seen(lambda: client.hset("h", mapping={"password": "Hm4kLq9sWe", "x": 1})),
        seen(lambda: client.hgetall("h")),
        seen(lambda: client.incr("h")),
        seen(piped),
        seen(subscribed),
        seen(lambda: list(client.scan_iter("*"))[:1] != []),
    ]
    return [*found, seen(client.close)]


def redis_async(servers: Servers) -> list[str]:
    from redis.asyncio import Redis

    async def main() -> list[str]:
        # By default, the client gives up after 5 s. On a busy machine, these may be over before the app gives up.
        client: Any = Redis.from_url(servers.redis, socket_timeout=60)

        async def piped() -> Any:
            async with client.pipeline() as pipe:
                return await pipe.set("d", "2").get("d").execute()

        found = [
            await seen_async(lambda: client.set("c", "1")),
            await seen_async(lambda: client.get("c")),
            await seen_async(piped),
            await seen_async(lambda: client.lpush("c", 1)),
            await seen_async(lambda: asyncio.wait_for(client.blpop(["empty"], 5), 0.05)),
        ]
        return [*found, await seen_async(getattr(client, "aclose", client.close))]

    return asyncio.run(main())


def redis_connections(servers: Servers) -> list[str]:
    """What connections do besides commands and replies: subscriptions, locks, transactions, errors, threads."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client: Any = redis.Redis.from_url(servers.redis, decode_responses=True)
    other: Any = redis.Redis.from_url(servers.redis)

    def locked() -> Any:
        with client.lock("lock", timeout=5):
            return client.exists("lock")

    def watched() -> Any:
        with client.pipeline() as pipe:
            pipe.watch("a")
            before = pipe.get("a")
            pipe.multi()
            return before, pipe.set("a", 2).get("a").execute()

    def at_once() -> Any:
        connection = client.connection_pool.get_connection()
        try:
            connection.send_packed_command(iter(connection.pack_commands([("GET", "a"), ("ECHO", "x")])))
            return connection.read_response(), connection.read_response()
        finally:
            client.connection_pool.release(connection)

    def heard() -> Any:
        messages: Any = SimpleQueue()
        channel = client.pubsub(ignore_subscribe_messages=True)

        def ended(error: Exception, _: Any, thread: Any) -> None:
            messages.put(error)
            thread.stop()

        channel.subscribe(c=messages.put)
        thread = channel.run_in_thread(sleep_time=0.05, exception_handler=ended)
        try:
            # Until the subscription is there, nobody receives it.
            while not other.publish("c", "first"):
                time.sleep(0.01)
            message = messages.get(timeout=3)
            if isinstance(message, Exception):
                raise message
            return message
        finally:
            thread.stop()
            thread.join(3)

    def connected_again() -> Any:
        with client.pubsub() as channel:
            channel.subscribe("d")
            first = channel.get_message(timeout=2)
            channel.connection.disconnect()
            # The library connects, and subscribes again.
            again = channel.get_message(timeout=2)
            other.publish("d", "later")
            return first, again, channel.get_message(timeout=2), channel.get_message(timeout=0.01)

    def refused() -> Any:
        return redis.Redis(port=1, retry=Retry(NoBackoff(), 0)).get("a")

    def cut() -> Any:
        with redis.Redis.from_url(servers.redis, socket_timeout=0.1) as hasty:
            return hasty.blpop(["empty"], 5)

    found = [
        seen(lambda: client.mset({"a": 1, "b": 2})),
        *map(seen, (locked, watched, at_once, heard, connected_again, refused, cut)),
        seen(lambda: client.eval("return redis.call('GET', KEYS[1])", 1, "a")),
        seen(lambda: client.get(object())).partition("object at")[0],
        seen(lambda: client.blpop(["empty"], 0.05)),
    ]
    return [*found, seen(client.close), seen(other.close)]


def redis_connections_async(servers: Servers) -> list[str]:
    """The same, awaited."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    async def main() -> list[str]:
        client: Any = Redis.from_url(servers.redis, decode_responses=True)
        other: Any = Redis.from_url(servers.redis)

        async def locked() -> Any:
            async with client.lock("lock", timeout=5):
                return await client.exists("lock")

        async def watched() -> Any:
            async with client.pipeline() as pipe:
                await pipe.watch("a")
                before = await pipe.get("a")
                pipe.multi()
                return before, await pipe.set("a", 2).get("a").execute()

        async def heard() -> Any:
            async with client.pubsub() as channel:
                await channel.subscribe("c")
                first = await channel.get_message(timeout=1)
                await other.publish("c", "one")
                await other.publish("c", "two")
                return first, [await channel.get_message(timeout=1) for _ in range(2)]

        async def listened() -> Any:
            async with client.pubsub(ignore_subscribe_messages=True) as channel:
                await channel.subscribe("d")
                listening = asyncio.ensure_future(anext(aiter(channel.listen())))
                while not await other.publish("d", "one"):
                    await asyncio.sleep(0.01)
                return await asyncio.wait_for(listening, 6)

        async def connected_again() -> Any:
            async with client.pubsub() as channel:
                await channel.subscribe("e")
                first = await channel.get_message(timeout=1)
                await channel.connection.disconnect()
                await channel.connect()
                return first, await channel.get_message(timeout=1)

        async def refused() -> Any:
            return await Redis(port=1, retry=Retry(NoBackoff(), 0)).get("a")

        async def gathered() -> Any:
            return await asyncio.gather(*(client.get(key) for key in ("a", "b", "none")))

        found = [
            await seen_async(lambda: client.mset({"a": 1, "b": 2})),
            *[await seen_async(call) for call in (locked, watched, heard, listened, connected_again, refused)],
            await seen_async(gathered),
            await seen_async(lambda: client.get({})),
        ]
        return [
            *found,
            await seen_async(getattr(client, "aclose", client.close)),
            await seen_async(getattr(other, "aclose", other.close)),
        ]

    return asyncio.run(main())


def without_plugin(servers: Servers) -> list[str]:
    """Clients that no plugin captures: a recording notes their connections, and a replay refuses them."""
    import http.client
    import socket

    import psycopg2  # type: ignore[import-untyped]

    host, _, port = servers.http.removeprefix("http://").partition(":")

    def by_http_client() -> Any:
        connection = http.client.HTTPConnection(host, int(port))
        try:
            connection.request("GET", "/items")
            return connection.getresponse().read()
        finally:
            connection.close()

    def by_a_socket() -> Any:
        with socket.create_connection((host, int(port))) as connection:
            return connection.send(b"")

    def by_psycopg2() -> Any:
        return psycopg2.connect(servers.nothing.replace("http", "postgresql"))

    return [seen(by_http_client), seen(by_a_socket), seen(by_psycopg2)]


_CLIENTS = (
    httpx_sync,
    httpx_async,
    requests,
    urllib,
    urllib3,
    aiohttp,
    sqlalchemy,
    sqlalchemy_async,
    functions,
    threads,
    logs,
    without_plugin,
)
_REDIS = (redis_sync, redis_async, redis_connections, redis_connections_async)
WORKLOADS: dict[str, Callable[[Servers], list[str]]] = {
    **{work.__name__: work for work in (*_CLIENTS, *_REDIS)},
    **POSTGRES,
    **MYSQL,
    **AWS,
    **DIRECT,
    **GRPC,
    **AMQP,
    **AMQP_CONSUMERS,
    **KAFKA,
    **KAFKA_CONSUMERS,
    **WEBSOCKET,
    **MONGO,
    **INCOMING,
    **JOBS,
}
