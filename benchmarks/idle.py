"""What a call costs outside every session: ``python benchmarks/idle.py``, or within ``make bench``.

Each client makes the same calls to a real server three times: without us, with its plugin enabled before any session
has been, and with it enabled after a recording. Nothing records and nothing replays while they are made. The aim is
that a call costs 2 % at most more than without us.

Where `valgrind` is installed, instructions of the calling process are counted, which no other load changes. Without
it, the time of the processor is taken, in turns, and the least of the rounds. A client whose library or server is
not installed is left out, and named at the end.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import callgrind
import results
from clients import (
    Calls,
    Client,
    aiohttp_get,
    asyncpg_select,
    httpx_async_get,
    httpx_get,
    psycopg_select,
    redis_async_get,
    redis_get,
    redis_pipeline,
    requests_get,
    sqlite_select,
)
from servers import SERVERS

AIM = 0.02
STATES = ("without us", "enabled", "enabled, after a recording")
CALLS = 20
"""How many calls are counted at a time."""
WARM_UP = 5
"""As many times more are made before. Where a function was replaced or restored, Python takes 50 calls and more to
find out again which of its faster instructions serve."""
BATCHES = 2
"""How often the calls of a state are counted; the least counts."""

CLIENTS = {
    "httpx": Client("http", "httpx", httpx_get),
    "httpx, async": Client("http", "httpx", httpx_async_get),
    "requests": Client("http", "requests", requests_get),
    "aiohttp": Client("http", "aiohttp", aiohttp_get),
    "Redis GET": Client("redis", "redis", redis_get),
    "Redis GET, async": Client("redis", "redis", redis_async_get),
    "Redis pipeline of 100": Client("redis", "redis", redis_pipeline, 4),
    "SELECT 1, sqlite": Client("none", "sqlalchemy", sqlite_select),
    "SELECT 1, psycopg": Client("postgresql", "sqlalchemy", psycopg_select),
    "SELECT 1, asyncpg": Client("postgresql", "sqlalchemy", asyncpg_select),
}


def measure(client: Client, address: str, folder: Path, marked: Callable[[Calls, int], None], calls: int) -> None:
    """Make the calls of one client in each state, and give each batch to a function that measures it."""
    from timetracer_otel import record
    from timetracer_otel.process import surroundings

    # In the first minute after a recording, late calls are counted. What is measured is the time after that.
    surroundings.LATE_CALLS_S = 0.0
    plugin = importlib.import_module(f"timetracer_otel.plugins.{client.plugin}_plugin").plugin
    made = client.opened(address, folder)

    def batches() -> None:
        made(WARM_UP * calls)
        for _ in range(BATCHES):
            marked(made, calls)

    gc.collect()
    gc.freeze()
    gc.disable()
    batches()
    plugin.enable()
    batches()
    with record(folder / "recording.msgpack"):
        made(3)
    # The garbage collector is off, and a session that is gone is garbage.
    gc.collect()
    batches()


def count(calls: Calls, number: int) -> None:
    """Under `callgrind`: make some calls between two marks."""
    callgrind.mark()
    calls(number)
    callgrind.mark()


def counted(name: str, address: str, folder: Path, calls: int) -> list[float]:
    """Instructions of one call in each state, of the client with this name."""
    command = [__file__, "--client", name, "--calls", str(calls), "--count", address, str(folder)]
    # Every second count is of what stands between two batches.
    batches = callgrind.between_marks(*command)[::2]
    return [min(batches[at : at + BATCHES]) / calls for at in range(0, BATCHES * len(STATES), BATCHES)]


def timed(client: Client, address: str, folder: Path, calls: int) -> list[float]:
    """Nanoseconds of one call in each state, where nothing counts instructions."""
    taken: list[float] = []

    def time_them(made: Calls, number: int) -> None:
        began = time.process_time_ns()
        made(number)
        taken.append((time.process_time_ns() - began) / number)

    measure(client, address, folder, time_them, calls)
    return [min(taken[at : at + BATCHES]) for at in range(0, BATCHES * len(STATES), BATCHES)]


def main() -> None:
    """Print a table, and which clients miss the aim."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--client", choices=CLIENTS, action="append", help="measure these alone")
    parser.add_argument("--count", nargs=2, metavar=("ADDRESS", "FOLDER"), help="make the calls, for callgrind")
    parser.add_argument("--time-only", action="store_true", help="count no instructions")
    arguments = parser.parse_args()
    chosen: list[str] = arguments.client or list(CLIENTS)
    if arguments.count:
        address, folder = arguments.count
        measure(CLIENTS[chosen[0]], address, Path(folder), count, arguments.calls)
        return
    counts = callgrind.is_there() and not arguments.time_only
    unit = "instructions" if counts else "ns"
    print(f"| a call of | {unit} without us | enabled | more | after a recording | more |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    missed: list[str] = []
    goals: list[results.Goal] = []
    left_out: list[str] = []
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        addresses: dict[str, str] = {}
        for number, name in enumerate(chosen):
            client = CLIENTS[name]
            folder = base / str(number)
            folder.mkdir()
            try:
                if client.server not in addresses:
                    addresses[client.server] = stack.enter_context(SERVERS[client.server]())
            except Exception as error:
                left_out.append(f"{name} ({error})")
                continue
            address, calls = addresses[client.server], max(arguments.calls // client.fewer, 1)
            if counts:
                costs = counted(name, address, folder, calls)
            else:
                costs = timed(client, address, folder, calls)
            bare, *ours = costs
            more = [cost / bare - 1 for cost in ours]
            cells = (f"{cost:,.0f} | {share:+.1%}" for cost, share in zip(ours, more, strict=True))
            print(f"| {name} | {bare:,.0f} | {' | '.join(cells)} |", flush=True)
            goals.append(results.Goal(f"idle seam adds to the bare call: {name}", max(more), AIM, "share"))
            if max(more) > AIM:
                missed.append(name)
    print(f"\nThe aim is {AIM:.0%} more at most. Missed: {', '.join(missed) or 'none'}.")
    if left_out:
        print(f"Left out: {', '.join(left_out)}.")
    results.state(goals)


if __name__ == "__main__":
    main()
