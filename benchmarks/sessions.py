"""What a session costs besides its calls: ``python benchmarks/sessions.py``, or within ``make bench``.

A recording and a replay are opened and ended as a block, and a request as in a recorded service. Of the request, the
time is that of its own thread: a thread of ours writes the cassette. The time is processor time, and the least of the
rounds: what else the machine does only ever adds to it. Beside it stands what the system's own part takes: the same
calls of the system, made in turn with the sessions and with nothing around them. Where `valgrind` is installed, the
instructions of the process are counted, of all threads and until what was recorded is written, without those of the
system. The aim is 100 µs at most without the system's part.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import callgrind
import results
from made_calls import Ended

import timetracer_otel
from timetracer_otel.cassette import save_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import EventType, TraceMode
from timetracer_otel.incoming.scope import IncomingRequest
from timetracer_otel.plugins import enable_requests
from timetracer_otel.process.runtime import runtime
from timetracer_otel.session import TraceSession
from timetracer_otel.types import BodySnapshot, Call, EventResult, HeaderMap

AIM_US = 100.0
WARM_UP = 20
AT_ONCE = 10
BATCHES = 4
"""How often instructions are counted; the least counts. When threads wait for each other differs from run to run."""
HEADERS = ((b"Host", b"api.example.com"), (b"Accept", b"*/*"), (b"User-Agent", b"python-requests/2.32"))
EVENTS = 4


def called(number: int) -> Ended:
    """A GET of requests."""
    call = Call("requests", EventType.HTTP_CLIENT, "GET", f"https://api.example.com/v1/items/{number}", HEADERS)
    data = json.dumps([{"id": item, "name": f"Item {item}"} for item in range(8)]).encode()

    def result() -> EventResult:
        body = BodySnapshot(True, "bytes", data, size_bytes=len(data), chunks=((1.0, len(data)),))
        return EventResult(status=200, headers=HeaderMap(((b"Content-Type", b"application/json"),)), body=body)

    return Ended(call, result)


class Kind(NamedTuple):
    """Something that is opened and ended."""

    session: Callable[[Path], None]
    system: Callable[[Path], None]
    """Makes the calls of the system that the session makes, and nothing else."""


def record(folder: Path) -> None:
    # A path as text: to make a `Path` is no part of a session.
    with timetracer_otel.record(f"{folder}/{time.perf_counter_ns()}.msgpack"):
        pass


def write(folder: Path) -> None:
    """As a recording does: look for the file, try the folder, write a new file, and rename it."""
    path, temporary = (folder / f"{time.perf_counter_ns()}.{suffix}" for suffix in ("msgpack", "tmp"))
    os.path.lexists(path)
    os.close(os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o600))
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(handle, bytes(500))
    os.close(handle)
    temporary.replace(path)


def replay(folder: Path) -> None:
    with timetracer_otel.replay(f"{folder}/recorded.msgpack"):
        pass


def read(folder: Path) -> None:
    """As a replay does: look whether it is a folder, and read the file."""
    path = folder / "recorded.msgpack"
    path.stat()
    path.read_bytes()


REQUEST = IncomingRequest("GET", "/items/1", "/items/1", HEADERS)


def request(_: Path) -> None:
    scope = runtime().request_began(REQUEST)
    assert scope is not None
    with scope:
        pass
    scope.response_began(200, ())
    scope.end()


def nothing(_: Path) -> None:
    """A request's own thread opens no file."""


KINDS = {
    "a recording": Kind(record, write),
    f"a replay of {EVENTS} events": Kind(replay, read),
    "the recorded session of a request": Kind(request, nothing),
}


def prepare(folder: Path) -> None:
    """Write what is replayed, and begin to record requests."""
    enable_requests()
    config = TraceConfig(mode=TraceMode.RECORD, cassette_dir=str(folder / "requests"))
    session = TraceSession(config)
    for number in range(EVENTS):
        session.call_began(called(number))
    save_cassette(session.to_cassette(), str(folder / "recorded.msgpack"))
    runtime().start_recording(config)
    gc.collect()
    gc.freeze()


def least_us(way: Callable[[Path], None], folder: Path) -> float:
    """Microseconds of processor time of this thread, the least of some."""
    best = float("inf")
    # No more sessions are begun than may wait to be written.
    runtime().flush()
    for _ in range(AT_ONCE):
        began = time.thread_time_ns()
        way(folder)
        best = min(best, (time.thread_time_ns() - began) / 1000)
    return best


def count(folder: Path) -> None:
    """Under `callgrind`: open and end each kind so often, between two marks, in each batch."""
    for kind in KINDS.values():
        for _ in range(WARM_UP):
            kind.session(folder)
        runtime().flush()
        for _ in range(BATCHES):
            callgrind.mark()
            for _ in range(AT_ONCE):
                kind.session(folder)
            # How much of the writing another thread has done by now differs from run to run. Here it has done all.
            runtime().flush()
            callgrind.mark()


def instructions() -> list[float]:
    """Instructions of each kind, of all threads; empty without `valgrind`."""
    if not callgrind.is_there():
        return []
    # Every second count is of what stands between two batches.
    totals = callgrind.between_marks(__file__, "--count")[::2]
    return [min(totals[at : at + BATCHES]) / AT_ONCE for at in range(0, len(totals), BATCHES)]


def main() -> None:
    """Print a table, and which kinds miss the aim."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--count", action="store_true", help="open and end each kind, for callgrind")
    parser.add_argument("--time-only", action="store_true", help="count no instructions")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        if arguments.count:
            count(folder)
            return
        counted = [] if arguments.time_only else instructions()
        print(
            "| opened and ended | µs | the system's part, µs | the rest, µs |", " instructions |" if counted else ""
        )
        print("| --- | ---: | ---: | ---: |", " ---: |" if counted else "")
        missed = []
        goals = []
        for position, (what, kind) in enumerate(KINDS.items()):
            least_us(kind.session, folder)
            pairs = [(least_us(kind.session, folder), least_us(kind.system, folder)) for _ in range(arguments.rounds)]
            whole, system = (min(found) for found in zip(*pairs, strict=True))
            line = f"| {what} | {whole:.0f} | {system:.0f} | {whole - system:.0f} |"
            print(f"{line} {counted[position]:,.0f} |" if counted else line, flush=True)
            goals.append(
                results.Goal(f"open and end {what}, without the system's part", whole - system, AIM_US, "µs")
            )
            if whole - system > AIM_US:
                missed.append(what)
        runtime().stop()
    print(f"\nThe aim is {AIM_US:.0f} µs at most without the system's part. Missed: {', '.join(missed) or 'none'}.")
    results.state(goals)


if __name__ == "__main__":
    main()
