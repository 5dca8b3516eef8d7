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
import contextlib
import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import callgrind
import results
from clients import (
    Calls,
    aiohttp_get,
    asyncpg_one,
    asyncpg_rows,
    httpx_get,
    psycopg_select_within,
    redis_get,
    redis_pipeline,
    requests_get,
    sqlite_rows,
    urllib3_get,
)
from made_calls import large
from servers import SERVERS
from subjects import INSTRUMENTORS, instrument, provider

from timetracer_otel.cassette import write_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.session import TraceSession

CALLS = 100
BULKY = 10
"""How many calls a cassette has whose calls have a thousand rows or a hundred commands."""
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
        server: Which of the `SERVERS` it calls.
        client: Opens a client of this server, and gives a function that makes so many calls with it.
        calls: How many calls a cassette has.
        goal: What it may cost.
    """

    name: str
    server: str
    client: Callable[[str, Path], Calls]
    calls: int
    goal: Goal


KINDS = (
    Kind("httpx GET, 300 B", "http", httpx_get, CALLS, Goal(0.4, None, 0.1)),
    Kind("requests GET, 300 B", "http", requests_get, CALLS, Goal(0.4, None, 0.15)),
    Kind("urllib3 GET, 300 B", "http", urllib3_get, CALLS, Goal(0.4, None, 0.15)),
    Kind("aiohttp GET, 300 B", "http", aiohttp_get, CALLS, Goal(0.4, None, 0.15)),
    Kind("psycopg SELECT 1", "postgresql", psycopg_select_within, CALLS, Goal(0.6, None, 0.15)),
    Kind("asyncpg SELECT 1", "postgresql", asyncpg_one, CALLS, Goal(0.6, None, 0.15)),
    Kind("Redis GET", "redis", redis_get, CALLS, Goal(0.6, None, 0.15)),
    Kind("sqlite SELECT, 1,000 rows of 5", "none", sqlite_rows, BULKY, Goal(None, 1.6, None)),
    Kind("asyncpg SELECT, 1,000 rows of 5", "postgresql", asyncpg_rows, BULKY, Goal(None, 1.6, None)),
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
    from timetracer_otel import plugins

    kinds = [kind for kind in KINDS if kind.name in names]
    made = provider()
    trace.set_tracer_provider(made)
    tracer = trace.get_tracer("benchmarks")

    clients = []

    def each(around: Callable[[], contextlib.AbstractContextManager[object]], *, flushes: bool) -> None:
        for kind in kinds:
            calls = kind.client(os.environ[variable(kind.server)], Path())
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
    used = [plugin for plugin in INSTRUMENTORS if plugin != "urllib3" or any(map(is_apart, kinds))]
    for plugin in used:
        instrument(plugin)
    each(contextlib.nullcontext, flushes=True)
    for plugin in used:
        getattr(plugins, f"enable_{plugin}")()
    with tempfile.TemporaryDirectory() as folder:
        each(lambda: timetracer_otel.record(Path(folder, "calls.msgpack")), flushes=True)
    os._exit(0)


def is_apart(kind: Kind) -> bool:
    """Whether a kind has a process of its own: what instruments urllib3 sees the calls of requests as well."""
    return kind.client is urllib3_get


def mark(counts: bool) -> None:
    """Let `callgrind` write down its count."""
    if counts:
        callgrind.mark()


def variable(server: str) -> str:
    """The variable that has the address of a server."""
    return f"BENCHMARK_{server.upper()}"


def counted(names: list[str], *, fewer: int = 1, keep: Path | None = None) -> Iterator[tuple[Kind, Counts]]:
    """Count the kinds of these names, with so many times fewer calls."""
    for apart in (False, True):
        kinds = [kind for kind in KINDS if kind.name in names and is_apart(kind) == apart]
        if kinds:
            yield from _counted(kinds, fewer, keep)


def _counted(kinds: list[Kind], fewer: int, keep: Path | None) -> Iterator[tuple[Kind, Counts]]:
    command = [__file__, "--fewer", str(fewer), "--count", *(kind.name for kind in kinds)]
    with contextlib.ExitStack() as stack:
        # Each server is a process of its own.
        needed = sorted({kind.server for kind in kinds})
        where = {variable(server): stack.enter_context(SERVERS[server]()) for server in needed}
        counts = callgrind.between_marks(*command, environment=where, keep=keep)
    # There is one count between two marks of a bare kind, and two between three; and one from each kind to the next.
    bare, rest = counts[: 2 * len(kinds) : 2], counts[2 * len(kinds) :]
    otel, recorded = rest[: 3 * len(kinds)], rest[3 * len(kinds) :]
    for at, kind in enumerate(kinds):
        numbers = [bare[at], *otel[3 * at : 3 * at + 2], *recorded[3 * at : 3 * at + 2]]
        yield kind, Counts(*(number / (kind.calls // fewer) for number in numbers))


def body_ms(rounds: int) -> float:
    """Processor time of making and writing one call with a JSON body of 1 MB: the least of the rounds."""
    ended = large(1 << 20)
    taken = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            config = TraceConfig(cassette_dir=folder)
            session = TraceSession(config)
            session.call_began(ended)
            began_s = time.process_time()
            write_cassette(session, config)
            taken.append(time.process_time() - began_s)
    return min(taken) * 1000


def line(kind: Kind, counts: Counts) -> str:
    """The row of a kind."""
    adds = counts.otel_adds + counts.exported
    figures = (counts.bare, adds, counts.otel_adds, counts.thread, counts.whole)
    shares = (counts.thread / counts.otel_adds, counts.whole / adds)
    cells = [kind.name, *(f"{figure:,.0f}" for figure in figures), *(f"{share:.0%}" for share in shares)]
    return f"| {' | '.join(cells)} | {(counts.bare + counts.whole) / counts.bare:.2f} |"


def stated(kind: Kind, counts: Counts) -> Iterator[results.Goal]:
    """What the goals for a kind say of it."""
    share, factor, thread = kind.goal
    if share is not None:
        figure = counts.whole / (counts.otel_adds + counts.exported)
        yield results.Goal(f"record, in whole, of what OTel adds: {kind.name}", figure, share, "share")
    if factor is not None:
        figure = (counts.bare + counts.whole) / counts.bare
        yield results.Goal(f"record, in whole, against the bare call: {kind.name}", figure, factor)
    if thread is not None:
        figure = counts.thread / counts.otel_adds
        yield results.Goal(f"record, calling thread, of what OTel adds: {kind.name}", figure, thread, "share")


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
    goals: list[results.Goal] = []
    if callgrind.is_there():
        print("| instructions | bare | OTel adds | on its thread | recording adds on the thread | in whole ", end="")
        print("| of OTel's thread | of OTel's whole | recorded against bare |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        for kind, counts in counted(names, fewer=arguments.fewer, keep=arguments.keep):
            print(line(kind, counts), flush=True)
            goals += stated(kind, counts)
    else:
        print("No instructions were counted: that needs valgrind.")
    goals.append(
        results.Goal("make and write a call, JSON body of 1 MB", body_ms(arguments.rounds), BODY_GOAL_MS, "ms")
    )
    results.state(goals)


if __name__ == "__main__":
    main()
