"""What it costs to load recordings: ``python benchmarks/loading.py``, or within ``make bench``.

A cassette is opened for a replay, with and without an answer to one call, and read as a whole, beside msgpack's own
unpacking of the same file, which is timed in turn with it. Only the ratios can be compared between machines. Of what
kind the calls are makes a difference: those that say who calls are compared by their tokens, and the beginnings and
ends of transactions stand within their statements. The memory of an event is that of the session with all of its
file, before any call, and when all events were read for the calls that would find them. Then cassettes in a folder
are opened, without the index that is kept beside the folder, and with it, and after one of them has changed, and are
listed by the command, with all that a process does from its start to its end.

All times are processor time, and the least of the rounds.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import results
from made_calls import http
from msgpack import Unpacker  # type: ignore[import-untyped,unused-ignore]
from steps import HEADERS, PSEUDONYMS, cassette, item, present, pseudonymised

from timetracer_otel.cassette import open_cassette, read_cassette, save_cassette
from timetracer_otel.cassette.stores.parts import PartWriter
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import EventType
from timetracer_otel.match.folder_index import FolderIndex
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.session.trace import EventFeed
from timetracer_otel.types import Call, Cassette

EVENTS = 10_000
LOADED_MS, FIRST_MS, FOLDER_MS, LISTED_MS, EVENT_BYTES, PART_BYTES = 40.0, 5.0, 50.0, 500.0, 1024.0, 4096.0
IN_PART = 4
"""Events of a part: what a request of a service has."""
PARTS = 500


def with_token(number: int) -> Call:
    """A call of one of two tenants."""
    token = (b"Authorization", b"Bearer " + PSEUDONYMS[number % len(PSEUDONYMS)].encode())
    return replace(item(number), headers=(*HEADERS, token))


def command(number: int) -> Call:
    """A command of Redis."""
    return Call("redis", EventType.REDIS, "GET", "redis://h:6379/0", args=["GET", f"user:{number}"])


def upload(number: int) -> Call:
    """A POST to the same URL each time."""
    body = b'{"number": %d, "text": "%s"}' % (number, b"x" * 160)
    return Call("httpx", EventType.HTTP_CLIENT, "POST", "http://service/items", HEADERS, body)


class Kind(NamedTuple):
    """Calls of one kind.

    Attributes:
        call: The recorded call with a number.
        change: What is changed in the recording.
    """

    call: Callable[[int], Call]
    change: Callable[[Cassette], Cassette] = lambda made: made


KINDS = {
    "GET, another URL each": Kind(item),
    "the same, with the tokens of two callers": Kind(with_token, pseudonymised),
    "POST, another body each": Kind(upload),
    "Redis GET, another key each": Kind(command),
}


def least_ms(rounds: int, *ways: Callable[[], object]) -> list[float]:
    """Milliseconds of each of some ways, which take turns."""
    best = [float("inf")] * len(ways)
    for _ in range(rounds):
        for position, way in enumerate(ways):
            gc.collect()
            began_s = time.process_time()
            made = way()
            best[position] = min(best[position], (time.process_time() - began_s) * 1e3)
            del made
    return best


def unpacked(path: str) -> list[Any]:
    """What msgpack alone makes of a file."""
    stream = Unpacker(max_buffer_size=0, strict_map_key=False)
    stream.feed(Path(path).read_bytes())
    return list(stream)


class Loaded(NamedTuple):
    """What it costs to load one cassette, in milliseconds and bytes."""

    plain_ms: float
    opened_ms: float
    first_ms: float
    whole_ms: float
    opened_bytes: float
    read_bytes: float
    file_bytes: float

    @property
    def row(self) -> str:
        times = (
            f"{each:.1f} ({each / self.plain_ms:.2f})" for each in (self.opened_ms, self.first_ms, self.whole_ms)
        )
        memory = (f"{each:,.0f}" for each in (self.opened_bytes, self.read_bytes, self.file_bytes))
        return f"{self.plain_ms:.1f} | {' | '.join((*times, *memory))} |"


def loaded(kind: Kind, folder: str, events: int, rounds: int) -> Loaded:
    """Write a cassette, and load it."""
    path = save_cassette(kind.change(cassette(map(kind.call, range(events)))), f"{folder}/loaded.msgpack")
    call = present(kind.call(events // 2))

    def first_answer() -> object:
        return ReplaySession(open_cassette(path), path).match(call).result

    times = least_ms(
        rounds, lambda: unpacked(path), lambda: open_cassette(path), first_answer, lambda: read_cassette(path)
    )
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    session = ReplaySession(open_cassette(path), path)
    opened = (tracemalloc.get_traced_memory()[0] - before) / events
    assert len(session.get_unconsumed_events()) == events
    read = (tracemalloc.get_traced_memory()[0] - before) / events
    tracemalloc.stop()
    plain, opened_ms, first_ms, whole_ms = times
    return Loaded(plain, opened_ms, first_ms, whole_ms, opened, read, Path(path).stat().st_size / events)


class Folder(NamedTuple):
    """Milliseconds of opening a folder of cassettes, and of the command ``list``."""

    first: float
    later: float
    changed: float
    listed: float


def listed_ms(folder: str, rounds: int) -> float:
    """The least that a process takes which lists a folder by its index."""

    def used_s() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    found = []
    for _ in range(rounds):
        began_s = used_s()
        subprocess.run(
            [sys.executable, "-m", "timetracer_otel", "list", folder], check=True, stdout=subprocess.DEVNULL
        )
        found.append((used_s() - began_s) * 1e3)
    return min(found)


def folder_ms(folder: str, size: int, rounds: int) -> Folder:
    """Open a folder of so many cassettes: the first time, later, and after one of them was written anew. And list it
    by its index.
    """

    def write(number: int) -> None:
        save_cassette(cassette([item(number)], f"/{number}", number), f"{folder}/{number}.msgpack")

    for number in range(size):
        write(number)
    # A folder that has just changed is not yet trusted to tell its next change.
    os.utime(folder, (0, 0))
    (first,) = least_ms(1, lambda: FolderIndex(folder))
    (later,) = least_ms(rounds, lambda: FolderIndex(folder))
    listed = listed_ms(folder, rounds)
    changed = float("inf")
    for number in range(rounds):
        write(number)
        changed = min(changed, *least_ms(1, lambda: FolderIndex(folder)))
    return Folder(first, later, changed, listed)


class Part(NamedTuple):
    """Bytes of memory that an open part takes.

    Attributes:
        itself: The part, and what is known of the events in it.
        events: The events themselves, which are made sooner than without a part.
    """

    itself: float
    events: float


def part_of(folder: str, parts: int) -> Part:
    """Write parts of recordings with a few calls, as the journal does, and measure what each takes."""
    config = TraceConfig(cassette_dir=folder)
    sessions = [TraceSession(config) for _ in range(parts)]
    for session in sessions:
        for number in range(IN_PART):
            session.call_began(http(number, with_secret=False))
    PartWriter(sessions[0].head(), (), folder, "01234567")
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    feeds = [EventFeed(session) for session in sessions]
    events = [feed.take(0.0) for feed in feeds]
    made = tracemalloc.get_traced_memory()[0]
    kept = [
        PartWriter(session.head(), found, folder, "01234567") for session, found in zip(sessions, events, strict=True)
    ]
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return Part((taken - made) / len(kept), (made - before) / len(kept))


def main() -> None:
    """Print the tables, and which goals were reached."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--events", type=int, default=EVENTS)
    arguments = parser.parse_args()
    events: int = arguments.events
    print(
        f"| {events:,} calls | msgpack alone, ms | opened | with its first answer | read whole "
        "| memory an event, B | all read | file |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        figures = {}
        for name, kind in KINDS.items():
            figures[name] = loaded(kind, folder, events, arguments.rounds)
            print(f"| {name} | {figures[name].row}", flush=True)
        below = f"{folder}/below"
        found = folder_ms(below, events, arguments.rounds)
        part = part_of(f"{folder}/parts", PARTS)
    print("\n| cassettes in a folder | opened the first time, ms | later | after a change | listed |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    print(f"| {events:,} | {' | '.join(f'{each:,.0f}' for each in found)} |")
    print(f"\nAn open part with {IN_PART} events takes {part.itself:,.0f} bytes of memory,", end="")
    print(f" and its events {part.events:,.0f}, which are made before the recording ends.")
    of_gets = figures["GET, another URL each"]
    kept: dict[str, Any] = {name: each._asdict() for name, each in figures.items()}
    results.keep("loading", {**kept, "folder": found._asdict(), "part": part._asdict()})
    results.state(
        [
            results.Goal(f"load {events:,} events", of_gets.opened_ms, LOADED_MS, "ms"),
            results.Goal(f"the first answer from {events:,} events", of_gets.first_ms, FIRST_MS, "ms"),
            results.Goal(f"open a folder of {events:,} cassettes, with its index", found.later, FOLDER_MS, "ms"),
            results.Goal(f"list {events:,} cassettes, with their index", found.listed, LISTED_MS, "ms"),
            results.Goal("memory of a loaded event", of_gets.opened_bytes, EVENT_BYTES, "bytes"),
            results.Goal(f"memory of an open part with {IN_PART} events", part.itself, PART_BYTES, "bytes"),
        ]
    )


if __name__ == "__main__":
    main()
