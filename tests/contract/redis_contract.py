"""What the Redis tests share: ways to use the client, and one app run three times, the last time with no server."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import redis._parsers
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.contract._flavour import drive, settle
from tests.contract._observation import observe_error
from tests.servers.redis import RedisServer
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import Cassette

__all__ = ["FLAVOURS", "HAS_HIREDIS", "VERSION", "App", "RedisFlavour", "failing", "sync_app", "three_runs", "typed"]

VERSION: tuple[int, ...] = tuple(int(part) for part in redis.__version__.split(".")[:2] if part.isdigit())

HAS_HIREDIS = VERSION >= (6, 0) and importlib.util.find_spec("hiredis") is not None
"""Whether redis-py can read RESP3 with hiredis, if told to."""


@dataclass(frozen=True)
class RedisFlavour:
    """One way to use redis-py.

    Attributes:
        asynchronous: Whether calls are awaited.
        protocol: Version of the Redis protocol; None for the client's own choice.
        decode: Whether the client decodes replies.
        single: Whether it keeps one connection to itself (and so reads with what redis-py chooses).
        hiredis: Whether its replies are read by hiredis, and not in Python.
    """

    asynchronous: bool
    protocol: int | None = None
    decode: bool = False
    single: bool = False
    hiredis: bool = False

    @property
    def name(self) -> str:
        """As in the names of tests."""
        words = ["async" if self.asynchronous else "sync"]
        more = {
            f"resp{self.protocol}": self.protocol,
            "text": self.decode,
            "single": self.single,
            "hiredis": self.hiredis,
        }
        return "-".join([*words, *(word for word, there in more.items() if there)])

    @property
    def choices(self) -> dict[str, Any]:
        """What a client is made with."""
        choices = {"decode_responses": self.decode, "single_connection_client": self.single}
        return choices if self.protocol is None else {**choices, "protocol": self.protocol}

    @property
    def parser(self) -> Any:
        """The class that reads its replies; where hiredis is installed, redis-py would take that for all."""
        kind = "Hiredis" if self.hiredis else "RESP3" if self.protocol == 3 else "RESP2"
        return getattr(redis._parsers, f"_{'Async' * self.asynchronous}{kind}Parser")

    @property
    def module(self) -> Any:
        """``redis`` or ``redis.asyncio``."""
        return redis.asyncio if self.asynchronous else redis

    @asynccontextmanager
    async def open(self, server: RedisServer, **options: Any) -> AsyncIterator[Any]:
        """A client of a server; no retries unless asked for, so that errors come at once."""
        retry = redis.asyncio.retry.Retry if self.asynchronous else Retry
        client = self.module.Redis(
            **{
                "host": "127.0.0.1",
                "port": server.port,
                **self.choices,
                "retry": retry(NoBackoff(), 0),
                **options,
            }
        )
        if HAS_HIREDIS:
            client.connection_pool.connection_kwargs["parser_class"] = self.parser
        try:
            yield client
        finally:
            await self.close(client)

    async def close(self, client: Any) -> None:
        """Close a client, a subscription or a pipeline."""
        await settle((getattr(client, "aclose", None) or client.close)())

    async def pause(self, seconds: float) -> None:
        """Wait a little."""
        if self.asynchronous:
            await asyncio.sleep(seconds)

    def run(self, app: Coroutine[Any, Any, Any]) -> Any:
        """Run an app to its end."""
        return asyncio.run(app) if self.asynchronous else drive(app)


FLAVOURS = [
    RedisFlavour(asynchronous, protocol, decode)
    for asynchronous in (False, True)
    for protocol in (2, 3)
    for decode in (False, True)
]
FLAVOURS += [RedisFlavour(asynchronous, single=True) for asynchronous in (False, True)]
FLAVOURS += [RedisFlavour(asynchronous, 3, hiredis=True) for asynchronous in (False, True) if HAS_HIREDIS]

App = Callable[[RedisFlavour, RedisServer], Awaitable[Any]]


def sync_app(app: Callable[[], Any]) -> App:
    """An app that uses a synchronous client of its own making."""

    async def run(flavour: RedisFlavour, server: RedisServer) -> Any:
        return app()

    return run


async def failing(call: Callable[[], Any]) -> Any:
    """What a call gives or raises."""
    try:
        return await settle(call())
    except ReplayMismatchError:
        raise
    except Exception as error:
        return typed(error)


def typed(value: Any) -> Any:
    """A value with its type, at every level."""
    if isinstance(value, BaseException):
        return observe_error(value)
    if isinstance(value, dict):
        content: Any = [(typed(name), typed(item)) for name, item in value.items()]
    elif isinstance(value, (set, frozenset)):
        content = sorted((typed(item) for item in value), key=repr)
    elif isinstance(value, (list, tuple)):
        content = [typed(item) for item in value]
    else:
        content = repr(value)
    return f"{type(value).__module__}.{type(value).__qualname__}", content


def three_runs(
    app: App,
    flavour: RedisFlavour,
    server: RedisServer,
    folder: Path,
    *,
    repeatable: bool = True,
    **settings: Any,
) -> Cassette:
    """Run an app bare, recorded, and replayed with the server stopped; all must see the same, with the same types.

    So must a run that adds everything to a cassette without a call (``new_episodes``), and the replay of that.

    Args:
        app: Gives what it saw.
        flavour: The way to use the client.
        server: The server; stopped behind it.
        folder: For the cassette.
        repeatable: False where two runs with a server differ by nature (times, identifiers).
        settings: For the recording.
    """
    path, added = (folder / f"{getattr(app, '__name__', 'app')}{more}.msgpack" for more in ("", "-added"))

    async def call() -> Any:
        return await app(flavour, server)

    bare = typed(flavour.run(call()))
    server.wipe()
    with record(path, **settings):
        recorded = typed(flavour.run(call()))
    server.wipe()
    with record(added, **settings):
        pass
    with replay(added, record_mode="new_episodes", **settings):
        adding = typed(flavour.run(call()))
    server.stop()
    if repeatable:
        assert recorded == bare
        assert adding == bare
    for cassette, seen in ((path, recorded), (added, adding)):
        with replay(cassette) as session:
            assert typed(flavour.run(call())) == seen
        assert isinstance(session, ReplaySession)
        assert session.misses == []
        assert [event.signature for event in session.get_unconsumed_events()] == []
    return read_cassette(path)
