"""What the Redis tests share: ways to use the client, and the contract's runs of one app with a server of a test."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import redis
import redis._parsers
import redis.asyncio
import redis.asyncio.cluster
import redis.cluster
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.contract.framework import Case, Flavour, Runs, drive, methods_of, run_async, settle
from tests.contract.observation import observe_error
from tests.servers.redis import RedisServer
from timetracer_otel.cassette import read_cassette
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.plugins import disable_redis, enable_redis
from timetracer_otel.types import Cassette

__all__ = [
    "FLAVOURS",
    "HAS_HIREDIS",
    "NAME",
    "VERSION",
    "App",
    "RedisApp",
    "RedisFlavour",
    "failing",
    "sync_app",
    "three_runs",
    "typed",
]

VERSION: tuple[int, ...] = tuple(int(part) for part in redis.__version__.split(".")[:2] if part.isdigit())

NAME = ("_",) if VERSION < (6, 0) else ()
"""What a pool of connections wants to know with redis-py 5, and warns of later."""

HAS_HIREDIS = VERSION >= (6, 0) and importlib.util.find_spec("hiredis") is not None
"""Whether redis-py can read RESP3 with hiredis, if told to."""


_MODULES: tuple[ModuleType, ...] = (redis.client, redis.connection, redis.cluster)
_MODULES += (redis.asyncio.client, redis.asyncio.connection, redis.asyncio.cluster)
_UNTOUCHED = methods_of(*_MODULES)


@dataclass(eq=False)
class RedisFlavour(Flavour):
    """One way to use redis-py.

    Attributes:
        asynchronous: Whether calls are awaited.
        protocol: Version of the Redis protocol; None for the client's own choice.
        decode: Whether the client decodes replies.
        single: Whether it keeps one connection to itself (and so reads with what redis-py chooses).
        hiredis: Whether its replies are read by hiredis, and not in Python.
        server: For the cases of the contract.
    """

    asynchronous: bool
    protocol: int | None = None
    decode: bool = False
    single: bool = False
    hiredis: bool = False
    server: RedisServer = field(init=False, repr=False)
    _servers: ExitStack = field(default_factory=ExitStack, init=False, repr=False)

    def __post_init__(self) -> None:
        words = ["async" if self.asynchronous else "sync"]
        more = {
            f"resp{self.protocol}": self.protocol,
            "text": self.decode,
            "single": self.single,
            "hiredis": self.hiredis,
        }
        self.name = "-".join([*words, *(word for word, there in more.items() if there)])

    def start(self, folder: Path) -> None:
        self.server = self._servers.enter_context(RedisServer(folder))

    def reset(self) -> None:
        if self.server.running:
            self.server.wipe()

    def stop(self) -> None:
        self.server.stop()

    def tear_down(self) -> None:
        self._servers.close()

    def enable(self) -> None:
        enable_redis()

    def disable(self) -> None:
        disable_redis()

    def is_untouched(self) -> bool:
        return methods_of(*_MODULES) == _UNTOUCHED

    def perform(self, case: Case) -> Any:
        return typed(self.run(case.run(RedisApp(self, self.server))))

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
        return run_async(app) if self.asynchronous else drive(app)


FLAVOURS = [
    RedisFlavour(asynchronous, protocol, decode)
    for asynchronous in (False, True)
    for protocol in (2, 3)
    for decode in (False, True)
]
FLAVOURS += [RedisFlavour(asynchronous, single=True) for asynchronous in (False, True)]
FLAVOURS += [RedisFlavour(asynchronous, 3, hiredis=True) for asynchronous in (False, True) if HAS_HIREDIS]

App = Callable[[RedisFlavour, RedisServer], Awaitable[Any]]


class RedisApp:
    """One app that uses clients of one flavour and one server, as the cases have it."""

    def __init__(self, flavour: RedisFlavour, server: RedisServer) -> None:
        self.flavour = flavour
        self.server = server

    def open(self, **options: Any) -> Any:
        """A client."""
        return self.flavour.open(self.server, **options)

    @property
    def binary(self) -> bytes:
        """Bytes that are no UTF-8, where the client gives bytes back; otherwise text beyond ASCII."""
        return "snö ☃".encode() if self.flavour.decode else bytes(range(256))


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
    """Make all runs of the contract, those that add calls among them, for one app with a server of its test.

    Args:
        app: Gives what it saw.
        flavour: The way to use the client.
        server: The server; stopped behind it.
        folder: For the cassette.
        repeatable: False where two runs with a server differ by nature (times, identifiers).
        settings: For the recording.
    """
    name = getattr(app, "__name__", "app")
    case = Case(name, lambda flavour: app(flavour, server), repeatable=repeatable)
    runs = Runs(_Given(flavour, server, settings), [case], folder, adding=True)
    if repeatable:
        runs.check_recording(case)
        runs.check_adding(case)
    for added in (False, True):
        runs.check_replay(case, added)
    return read_cassette(runs.cassette(case))


class _Given(Flavour):
    """A flavour whose server a test has started, and whose plugin a fixture has enabled."""

    def __init__(self, flavour: RedisFlavour, server: RedisServer, settings: dict[str, Any]) -> None:
        self.name = flavour.name
        self.recording = self.adding = settings
        self._flavour = flavour
        self._server = server

    def start(self, folder: Path) -> None:
        raise NotImplementedError("the test does it")

    def reset(self) -> None:
        if self._server.running:
            self._server.wipe()

    def stop(self) -> None:
        self._server.stop()

    def tear_down(self) -> None:
        raise NotImplementedError("the test does it")

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def is_untouched(self) -> bool:
        return True

    def perform(self, case: Case) -> Any:
        return typed(self._flavour.run(case.run(self._flavour)))
