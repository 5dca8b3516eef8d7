"""What recording costs, from the seam to the file: ``python benchmarks/recording.py``, or within ``make bench``.

The same calls are made bare, with OpenTelemetry's own instrumentation, and recorded beside it, one after the other in
one process. `callgrind` counts the instructions of all its threads. What OpenTelemetry adds is counted with its batch
processor and an exporter that does nothing. What recording adds is

- on the calling thread: all that happens within the calls;
- in whole: that, and making the events, replacing secrets, writing the cassette and closing it.

The servers are real, and other processes. A cassette has as many calls as `CALLS` says; opening a recording is not
counted. How long one call with a body of 1 MB takes to make and to write is timed instead: most of it is spent in
functions that do much with few instructions.

Without `valgrind`, nothing is counted: the script says so, and only times the last line.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import callgrind
from redaction import Ended
from subjects import provider

from timetracer_otel.cassette import write_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import EventType
from timetracer_otel.session import TraceSession
from timetracer_otel.types import BodySnapshot, Call, EventResult, HeaderMap

HERE = Path(__file__).parent
CALLS = 100
BULKY = 10
"""How many calls a cassette has whose calls have a thousand rows or a hundred commands."""
ROWS = 1000
COMMANDS = 100
WARM_UP = 2
"""Batches before the one that is counted: in the first ones, caches are filled and connections are made."""


class Goal(NamedTuple):
    """What a kind of call may cost.

    Attributes:
        share: In whole, of what OpenTelemetry adds; None where the whole is held against the bare call.
        factor: The bare call recorded, against the bare call.
        thread: On the calling thread alone, of what OpenTelemetry adds.
    """

    share: float | None
    factor: float | None
    thread: float | None


class Kind(NamedTuple):
    """One kind of call.

    Attributes:
        name: As the table has it.
        server: Which of the `SERVERS` it calls; None where there is none.
        client: Makes a client, and gives a function that makes so many calls with it.
        calls: How many calls a cassette has.
        goal: What it may cost.
    """

    name: str
    server: str | None
    client: Callable[[], Callable[[int], object]]
    calls: int
    goal: Goal


def _http() -> str:
    return f"http://127.0.0.1:{os.environ['BENCH_HTTP']}/300"


def httpx_get() -> Callable[[int], object]:
    import httpx

    client, url = httpx.Client(trust_env=False), _http()

    def calls(number: int) -> None:
        for _ in range(number):
            assert len(client.get(url).content) == 300

    return calls


def requests_get() -> Callable[[int], object]:
    import requests

    client, url = requests.Session(), _http()
    client.trust_env = False

    def calls(number: int) -> None:
        for _ in range(number):
            assert len(client.get(url).content) == 300

    return calls


def aiohttp_get() -> Callable[[int], object]:
    import aiohttp

    loop, url = asyncio.new_event_loop(), _http()

    async def client() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    session = loop.run_until_complete(client())

    async def get(number: int) -> None:
        for _ in range(number):
            async with session.get(url) as response:
                assert len(await response.read()) == 300

    return lambda number: loop.run_until_complete(get(number))


def psycopg_select() -> Callable[[int], object]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(f"postgresql+psycopg://{os.environ['BENCH_POSTGRES']}")
    # In one transaction, so that its begin and its end, which are calls of their own, are not counted.
    connection, statement = engine.connect(), sqlalchemy.text("SELECT 1")

    def calls(number: int) -> None:
        for _ in range(number):
            assert connection.execute(statement).scalar() == 1

    return calls


def sqlite_rows() -> Callable[[int], object]:
    import sqlalchemy
    from sqlalchemy.pool import StaticPool

    def connect() -> sqlite3.Connection:
        made = sqlite3.connect(":memory:", check_same_thread=False)
        made.execute("CREATE TABLE items (id INTEGER, name TEXT, mail TEXT, price REAL, kind TEXT)")
        rows = [(at, f"name of {at}", f"user{at}@example.com", at * 1.5, "text") for at in range(ROWS)]
        made.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", rows)
        made.commit()
        return made

    engine = sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=StaticPool)
    connection, statement = engine.connect(), sqlalchemy.text("SELECT id, name, mail, price, kind FROM items")

    def calls(number: int) -> None:
        for _ in range(number):
            assert len(connection.execute(statement).all()) == ROWS

    return calls


def redis_get() -> Callable[[int], object]:
    import redis

    client = redis.Redis(unix_socket_path=os.environ["BENCH_REDIS"])
    client.set("key", "some value of a user")

    def calls(number: int) -> None:
        for _ in range(number):
            assert client.get("key")

    return calls


def redis_pipeline() -> Callable[[int], object]:
    import redis

    client = redis.Redis(unix_socket_path=os.environ["BENCH_REDIS"])

    def calls(number: int) -> None:
        for _ in range(number):
            pipeline = client.pipeline(transaction=False)
            for command in range(COMMANDS // 2):
                pipeline.set(f"key {command}", f"some value of {command}")
                pipeline.get(f"key {command}")
            assert len(pipeline.execute()) == COMMANDS

    return calls


KINDS = (
    Kind("httpx GET, 300 B", "http", httpx_get, CALLS, Goal(0.4, None, 0.1)),
    Kind("requests GET, 300 B", "http", requests_get, CALLS, Goal(0.4, None, 0.15)),
    Kind("aiohttp GET, 300 B", "http", aiohttp_get, CALLS, Goal(0.4, None, 0.15)),
    Kind("psycopg SELECT 1", "postgresql", psycopg_select, CALLS, Goal(0.6, None, 0.15)),
    Kind("Redis GET", "redis", redis_get, CALLS, Goal(0.6, None, 0.15)),
    Kind("sqlite SELECT, 1,000 rows of 5", None, sqlite_rows, BULKY, Goal(None, 1.6, None)),
    Kind("Redis pipeline of 100", "redis", redis_pipeline, BULKY, Goal(None, 1.25, None)),
)
BODY_GOAL_MS = 1.5


class Counts(NamedTuple):
    """Instructions per call.

    Attributes:
        bare: Of the call.
        otel: Of the call with OpenTelemetry's instrumentation.
        exported: Of what is left to do for a span after the call.
        recorded: Of the call with both.
        written: Of what is left to do for the span and the cassette.
    """

    bare: float
    otel: float
    exported: float
    recorded: float
    written: float

    @property
    def otel_adds(self) -> float:
        """What OpenTelemetry adds on the calling thread."""
        return self.otel - self.bare

    @property
    def thread(self) -> float:
        """What recording adds on the calling thread."""
        return self.recorded - self.otel

    @property
    def whole(self) -> float:
        """What recording adds in whole."""
        return self.thread + self.written - self.exported


def count(names: list[str], fewer: int) -> None:
    """Under `callgrind`: make all calls bare, then with OpenTelemetry, then recorded, and mark what is counted."""
    from opentelemetry import trace

    import timetracer_otel
    from timetracer_otel.plugins import enable_aiohttp, enable_httpx, enable_redis, enable_requests, enable_sqlalchemy

    kinds = [kind for kind in KINDS if kind.name in names]
    made = provider()
    trace.set_tracer_provider(made)
    tracer = trace.get_tracer("benchmarks")

    clients = []

    def each(around: Callable[[], contextlib.AbstractContextManager[object]], *, flushes: bool) -> None:
        for kind in kinds:
            calls = kind.client()
            # Its end would be counted with the calls of another.
            clients.append(calls)
            for turn in range(WARM_UP + 1):
                counts = turn == WARM_UP
                gc.collect()
                gc.disable()
                with around():
                    with tracer.start_as_current_span("request") if flushes else contextlib.nullcontext():
                        mark(counts)
                        calls(kind.calls // fewer)
                        mark(counts)
                    if flushes:
                        made.force_flush()
                if flushes:
                    mark(counts)
                gc.enable()

    each(contextlib.nullcontext, flushes=False)
    _instrument()
    each(contextlib.nullcontext, flushes=True)
    for enable in (enable_httpx, enable_requests, enable_aiohttp, enable_sqlalchemy, enable_redis):
        enable()
    with tempfile.TemporaryDirectory() as folder:
        each(lambda: timetracer_otel.record(Path(folder, "calls.msgpack")), flushes=True)
    os._exit(0)


def mark(counts: bool) -> None:
    """Let `callgrind` write down its count."""
    if counts:
        callgrind.mark()


def _instrument() -> None:
    from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    instrumentors: list[Any] = [
        AioHttpClientInstrumentor(),
        HTTPXClientInstrumentor(),
        RedisInstrumentor(),
        RequestsInstrumentor(),
        SQLAlchemyInstrumentor(),
    ]
    for instrumentor in instrumentors:
        # The one of SQLAlchemy declares older versions than it works with.
        instrumentor.instrument(skip_dep_check=True)


@contextlib.contextmanager
def http_server() -> Iterator[tuple[str, str]]:
    """Gives the variable that says where the server is, as the next two do."""
    command = [sys.executable, str(HERE / "workload.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield "BENCH_HTTP", process.stdout.readline().strip()
        finally:
            process.communicate()


@contextlib.contextmanager
def postgresql_server() -> Iterator[tuple[str, str]]:
    server = importlib.import_module("tests.servers.postgres").Postgres()
    try:
        yield "BENCH_POSTGRES", server.url("psycopg").render_as_string(hide_password=False).partition("://")[2]
    finally:
        server.close()


@contextlib.contextmanager
def redis_server() -> Iterator[tuple[str, str]]:
    module = importlib.import_module("tests.servers.redis")
    with tempfile.TemporaryDirectory() as folder, module.RedisServer(Path(folder)) as server:
        yield "BENCH_REDIS", server.socket_path


SERVERS = {"http": http_server, "postgresql": postgresql_server, "redis": redis_server}


def counted(names: list[str], *, fewer: int = 1, keep: Path | None = None) -> Iterator[tuple[Kind, Counts]]:
    """Count the kinds of these names, with so many times fewer calls."""
    command = [__file__, "--fewer", str(fewer), "--count", *names]
    kinds = [kind for kind in KINDS if kind.name in names]
    sys.path.append(str(HERE.parent))
    with contextlib.ExitStack() as stack:
        # Each server is a process of its own.
        needed = sorted({kind.server for kind in kinds if kind.server is not None})
        where = dict(stack.enter_context(SERVERS[server]()) for server in needed)
        counts = callgrind.between_marks(*command, environment=where, keep=keep)
    # There is one count between two marks of a bare kind, and two between three; and one from each kind to the next.
    bare, rest = counts[: 2 * len(kinds) : 2], counts[2 * len(kinds) :]
    otel, recorded = rest[: 3 * len(kinds)], rest[3 * len(kinds) :]
    for at, kind in enumerate(kinds):
        numbers = [bare[at], *otel[3 * at : 3 * at + 2], *recorded[3 * at : 3 * at + 2]]
        yield kind, Counts(*(number / (kind.calls // fewer) for number in numbers))


def body_ms(rounds: int) -> float:
    """Processor time of making and writing one call with a JSON body of 1 MB: the least of the rounds."""
    items = [
        {"id": at, "name": f"Item number {at}", "price": 12.5, "mail": f"user{at}@example.com"} for at in range(13000)
    ]
    data = json.dumps(items).encode()[: 1 << 20]
    headers = HeaderMap(((b"Content-Type", b"application/json"),))
    call = Call("httpx", EventType.HTTP_CLIENT, "GET", "https://api.example.com/v1/items", ((b"Accept", b"*/*"),))
    taken = []
    for _ in range(rounds):
        body = BodySnapshot(True, "bytes", data, size_bytes=len(data), chunks=((1.0, len(data)),))
        ended = Ended(call, lambda body=body: EventResult(status=200, headers=headers, body=body))  # type: ignore[misc]
        with tempfile.TemporaryDirectory() as folder:
            config = TraceConfig(cassette_dir=folder)
            session = TraceSession(config)
            session.call_began(ended)
            began_s = time.process_time()
            write_cassette(session, config)
            taken.append(time.process_time() - began_s)
    return min(taken) * 1000


def verdict(value: float, goal: float) -> str:
    """Whether a goal was met."""
    return "met" if value <= goal else "**missed**"


def lines(kind: Kind, counts: Counts) -> Iterator[str]:
    """The lines of the table that are of one kind."""
    adds = f"{counts.bare:,.0f} | {counts.otel_adds + counts.exported:,.0f}"
    within = f"| {kind.name} | {adds} | {counts.whole:,.0f}"
    share, factor, thread = kind.goal
    if share is not None:
        value = counts.whole / (counts.otel_adds + counts.exported)
        yield f"{within} | {value:.0%} of OTel | {share:.0%} | {verdict(value, share)} |"
    if factor is not None:
        value = (counts.bare + counts.whole) / counts.bare
        yield f"{within} | {value:.2f} x bare | {factor:.2f} | {verdict(value, factor)} |"
    value = counts.thread / counts.otel_adds
    within = f"| {kind.name}, calling thread | {adds} | {counts.thread:,.0f} | {value:.0%} of OTel"
    yield f"{within} | {thread:.0%} | {verdict(value, thread)} |" if thread is not None else f"{within} | | |"


def main() -> None:
    """Print a table that says for each goal whether it was met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200, help="of the call with a body of 1 MB")
    parser.add_argument("--only", action="append", help="a kind, by the beginning of its name")
    parser.add_argument("--fewer", type=int, default=1, help="make this many times fewer calls under callgrind")
    parser.add_argument("--keep", type=Path, help="leave what callgrind counted in this file")
    parser.add_argument("--count", nargs="*", help="make the calls of these kinds, for callgrind")
    arguments = parser.parse_args()
    if arguments.count is not None:
        count(arguments.count, arguments.fewer)
    names = [kind.name for kind in KINDS if not arguments.only or kind.name.startswith(tuple(arguments.only))]
    print("| | bare | OTel adds | recording adds | that is | goal | |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    if callgrind.is_there():
        for kind, counts in counted(names, fewer=arguments.fewer, keep=arguments.keep):
            print(*lines(kind, counts), sep="\n")
    taken_ms = body_ms(arguments.rounds)
    found = verdict(taken_ms, BODY_GOAL_MS)
    print(f"| JSON body of 1 MB, make and write | | | | {taken_ms:.2f} ms | {BODY_GOAL_MS} ms | {found} |")
    if not callgrind.is_there():
        print("\nNo instructions were counted: that needs valgrind.")


if __name__ == "__main__":
    main()
