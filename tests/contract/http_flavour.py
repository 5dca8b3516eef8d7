"""What the contract asks of an HTTP client: the words that the neutral cases are written in.

Cases are written once, as coroutines. The flavour of a synchronous client has coroutines that never wait, so that
stepping one once runs it to its end.
"""

from __future__ import annotations

import contextvars
import gc
import ssl
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import anyio

from tests.contract.framework import Case, Flavour, drive, run_async
from tests.servers._upstream import Upstream

__all__ = ["HttpFlavour", "Observation", "Pieces", "Session"]

T = TypeVar("T")
Observation = dict[str, Any]


@dataclass
class Pieces:
    """A request body in pieces: the flavour makes it the kind of generator that its client takes.

    Attributes:
        pulled: How many pieces the client has asked for.
    """

    pieces: list[bytes]
    fails: Exception | None = None
    """Raised behind the last piece."""
    pulled: int = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            self.pulled += 1
            yield piece
        if self.fails is not None:
            raise self.fails

    async def asynchronous(self) -> AsyncIterator[bytes]:
        """The same for asynchronous clients."""
        for piece in self:
            await anyio.sleep(0)
            yield piece


class Session(Protocol):
    """A client that is open. Every method returns what the app would see; errors are observed too.

    Only `ReplayMismatchError` is raised: no app is meant to catch it.
    """

    async def call(self, method: str, target: str, **options: Any) -> Observation:
        """One call, its response read whole.

        Options: ``params``, ``json``, ``form`` (mapping), ``content`` (bytes, text, file or `Pieces`), ``files``
        (as the client takes them), ``headers``, ``cookies``, ``auth`` (``("basic" | "digest", user, password)``),
        ``follow`` (redirects), ``timeout`` (seconds, or a dictionary by ``connect``, ``read``, ``write``, ``pool``).
        """

    async def stream(
        self,
        method: str,
        target: str,
        *,
        read: str = "bytes",
        size: int | None = None,
        take: int | None = None,
        after: Callable[[int], None] | None = None,
        **options: Any,
    ) -> Observation:
        """One call, its response read piece by piece (``raw``, ``bytes``, ``text`` or ``lines``).

        Stops after ``take`` pieces; ``after`` is called with the number of pieces behind each.
        """

    def jar(self) -> list[Any]:
        """The session's cookies."""


class HttpFlavour(Flavour):
    """One client library in one of its ways of use.

    Attributes:
        plugin: The plugin's name.
        switches: Enable the plugin, and disable it.
        features: What the client can do; a case may need some of them.
        asynchronous: Whether calls are awaited.
        upstream: The servers; set while cases run.
    """

    recording = adding = replaying = {"redact": "off"}  # noqa: RUF012
    plugin: str
    switches: ClassVar[tuple[Callable[[], None], Callable[[], None]]]
    features: frozenset[str]
    asynchronous: bool
    upstream: Upstream

    @abstractmethod
    def open(self, **options: Any) -> AbstractAsyncContextManager[Session]:
        """A client; options are ``headers``, ``cookies``, ``auth``, ``follow``, ``timeout``, ``trusts`` (False:
        not the tests' certificates), ``proxy`` (its name), ``http2``, ``max_connections``."""

    @abstractmethod
    def instrumentor(self) -> Any:
        """OpenTelemetry's instrumentor of the library (a singleton)."""

    def enable(self) -> None:
        self.switches[0]()

    def disable(self) -> None:
        self.switches[1]()

    def start(self, folder: Path) -> None:
        self.upstream = Upstream(folder)

    def reset(self) -> None:
        if self.upstream.running:
            self.upstream.control("reset")

    def stop(self) -> None:
        self.upstream.stop()

    def tear_down(self) -> None:
        self.upstream.close()
        # What failed calls have left is told in the test that left it.
        gc.collect()

    def perform(self, case: Case) -> Any:
        return self.run(case.run)

    def run(self, function: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        """Run one case to its end."""
        return run_async(function(self)) if self.asynchronous else drive(function(self))

    def url(self, path: str, server: str = "http") -> str:
        """An absolute URL on one of the servers."""
        return self.upstream.url(path, server)

    def release(self, token: str) -> None:
        """Let a waiting endpoint go on; nothing in a replay."""
        if self.upstream.running:
            self.upstream.control("release", token)

    async def together(
        self, jobs: Iterable[Callable[[], Coroutine[Any, Any, T]]], sent_in_turn: str | None = None
    ) -> list[T]:
        """Run jobs at the same time (in tasks, or in threads that have this context); results in their order.

        Args:
            jobs: What to run.
            sent_in_turn: The path that each job calls once, where threads must not send at the same time: the next
                one begins when the server has the request of the one before.
        """
        jobs = list(jobs)
        results: dict[int, T] = {}
        if not self.asynchronous:
            contexts = [contextvars.copy_context() for _ in jobs]
            waiting: list[Future[T]] = []
            before = 0 if sent_in_turn is None or not self.upstream.running else self.upstream.hits(sent_in_turn)
            with ThreadPoolExecutor(len(jobs)) as pool:
                for context, job in zip(contexts, jobs, strict=True):
                    waiting.append(pool.submit(context.run, drive, job()))
                    while not (waiting[-1].done() or self._has_arrived(sent_in_turn, before + len(waiting))):
                        time.sleep(0.001)
                return [future.result() for future in waiting]

        async def one(number: int, job: Callable[[], Coroutine[Any, Any, T]]) -> None:
            results[number] = await job()

        async with anyio.create_task_group() as group:
            for number, job in enumerate(jobs):
                group.start_soon(one, number, job)
        return [results[number] for number in range(len(jobs))]

    def _has_arrived(self, path: str | None, number: int) -> bool:
        """Whether so many requests for a path are with the server, where there is one and somebody asks."""
        return path is None or not self.upstream.running or self.upstream.hits(path) >= number

    def trusting(self) -> ssl.SSLContext:
        """A TLS context that trusts the tests' certificates; made once, as that takes long."""
        return self.upstream.trusting
