"""What a recording of many events costs a replay: ``python benchmarks/steps.py``, or within ``make bench``.

The first table is of opening a recording, against msgpack's own unpacking of the same file, which is timed in turn
with it. Only the ratios can be compared between machines. The last one is of single steps of a call, as the number
of events grows. Each step is timed after one call of its kind, since further queues are made at the first one. The
time is processor time, and the least of the rounds. A step is flat where the largest recording costs at most twice
what the smallest one costs.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice, repeat
from pathlib import Path
from typing import Any, NamedTuple

import results
from msgpack import Unpacker  # type: ignore[import-untyped,unused-ignore]

from timetracer_otel.cassette import open_cassette, read_cassette, save_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.redis.locks import next_token
from timetracer_otel.match.folder_index import FolderIndex
from timetracer_otel.match.signature import Signer
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session import ReplaySession
from timetracer_otel.types import (
    AppliedPolicies,
    BodySnapshot,
    Call,
    CallSnapshot,
    CallView,
    Cassette,
    DependencyEvent,
    EventResult,
    HeaderMap,
    RequestSnapshot,
    ResponseSnapshot,
    SessionMeta,
)

SIZES = (1_000, 4_000, 16_000)
CALLS = 300
"""How many calls of a step are timed."""
MISSES = 20
FLAT = 2.0
POLICIES = AppliedPolicies(redaction_mode="off")
SIGNER = Signer(Redactor.from_policies(POLICIES))
HEADERS = (
    (b"Server", b"uvicorn"),
    (b"Date", b"Mon, 01 Jan 2024 00:00:00 GMT"),
    (b"Content-Type", b"application/json"),
    (b"Content-Length", b"200"),
)
PATHS = [(f"GET /{number}",) for number in range(50)]


def get(url: str) -> Call:
    return Call("httpx", EventType.HTTP_CLIENT, "GET", url, HEADERS)


def post(body: bytes | None) -> Call:
    return Call("httpx", EventType.HTTP_CLIENT, "POST", "http://service/upload", HEADERS, body)


def item(number: int) -> Call:
    return get(f"http://service/items/{number}")


def small_json(number: int, *, spaced: bool) -> bytes:
    return (b'{ "b": 1, "a": %d }' if spaced else b'{"a": %d, "b": 1}') % number


def event(eid: int, call: Call, path: tuple[str, ...]) -> DependencyEvent:
    made = SIGNER.redacted(call)
    sent = BodySnapshot(True, "bytes", call.body) if call.body else None
    answer = BodySnapshot(True, "bytes", b'{"number": %d, "text": "%s"}' % (eid, b"x" * 160), size_bytes=200)
    return DependencyEvent(
        eid,
        call.event_type,
        float(eid),
        0.5,
        made.signature,
        EventResult(200, HeaderMap(HEADERS), answer),
        CallSnapshot(HeaderMap(call.headers), sent, call.args),
        path=path,
    )


def cassette(calls: Iterable[Call], path: str = "/", number: int = 0) -> Cassette:
    events = [event(eid, call, PATHS[eid % len(PATHS)]) for eid, call in enumerate(calls, 1)]
    meta = SessionMeta(f"{number:032}", "2024-01-01T00:00:00+00:00", "service", "test")
    return Cassette("1", meta, RequestSnapshot("GET", path), ResponseSnapshot(200), events, POLICIES)


def same(_: CallView, __: CallView) -> bool:
    return True


class Step(NamedTuple):
    name: str
    recorded: Callable[[int], Call]
    made: Callable[[ReplaySession, int], Any]
    """The call with a number, counted from the end of the recording."""
    settings: TraceConfig | None = None
    is_strict: bool = True


def by_hand(session: ReplaySession, number: int) -> DependencyEvent:
    fields = {"lib": "httpx", "method": "GET", "url": f"http://service/items/{number}"}
    return session.get_next_event(EventType.HTTP_CLIENT, fields)


def redis_set(words: list[Any], node: int = 0) -> Call:
    return Call("redis", EventType.REDIS, "SET", f"redis://node{node}:6379/0", args=["SET", *words])


def acquisition(number: int) -> Call:
    return redis_set(["a lock", f"token {number}", "NX"])


def missed(session: ReplaySession, number: int) -> None:
    with suppress(ReplayMismatchError):
        session.match(get(f"http://service/other/{number}"))


STEPS = (
    Step("another call each time, the last first", item, lambda session, number: session.match(item(number))),
    Step("equal calls", lambda _: get("http://service/"), lambda session, _: session.match(get("http://service/"))),
    Step(
        "equal calls under other parents",
        lambda _: get("http://service/"),
        lambda session, number: session.match(get("http://service/"), PATHS[number % len(PATHS)]),
    ),
    Step(
        "a matcher of the user in place of the body",
        lambda number: post(small_json(number, spaced=False)),
        lambda session, _: session.match(post(b"anything")),
        TraceConfig(match_on=["method", "url", same]),
    ),
    Step(
        "a streamed upload, before its body is read",
        lambda number: post(small_json(number, spaced=False)),
        lambda session, _: session.expects_body(post(None)),
    ),
    Step(
        "equal JSON in another form, not strict",
        lambda number: post(small_json(number, spaced=False)),
        lambda session, number: session.match(post(small_json(number, spaced=True))),
        TraceConfig(variables=[]),
        is_strict=False,
    ),
    Step("a plugin written by hand", item, by_hand),
    Step(
        "the token of a lock that is acquired",
        acquisition,
        lambda session, _: session.match(redis_set(["a lock", next_token(session, "a lock"), "NX"])),
    ),
    Step(
        "a command of a cluster client to another node",
        lambda number: redis_set([f"key {number}", "value"], number % 3),
        lambda session, number: session.claim(
            session.waiting_elsewhere(redis_set([f"key {number}", "value"], number % 3 + 1))[0]
        ),
    ),
    Step("a call without an answer", item, missed),
)


def step_us(step: Step, size: int, rounds: int) -> float:
    """Microseconds for each call of a step, in a recording of so many events."""
    recorded = cassette(map(step.recorded, range(size)))
    calls = MISSES if step.made is missed else CALLS
    best = float("inf")
    for _ in range(rounds):
        session = ReplaySession(recorded, "recording", step.is_strict, step.settings)
        step.made(session, size - 1)
        gc.collect()
        began_s = time.process_time()
        for number in range(size - 2, size - 2 - calls, -1):
            step.made(session, number)
        best = min(best, time.process_time() - began_s)
    return best / calls * 1e6


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
    stream = Unpacker(max_buffer_size=0, strict_map_key=False)
    stream.feed(Path(path).read_bytes())
    return list(stream)


def opening(path: str, size: int, rounds: int) -> str:
    """A row of the first table."""

    def first_answer() -> object:
        return ReplaySession(open_cassette(path), path).match(item(size // 2)).result

    plain, opened, whole, answered = least_ms(
        rounds, lambda: unpacked(path), lambda: open_cassette(path), lambda: read_cassette(path), first_answer
    )
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    session = ReplaySession(open_cassette(path), path)
    each = (tracemalloc.get_traced_memory()[0] - before) / len(session.events)
    tracemalloc.stop()
    return (
        f"| {size:,} | {plain:.1f} | {opened:.1f} ({opened / plain:.2f}) | {answered:.1f} ({answered / plain:.2f}) "
        f"| {whole:.1f} ({whole / plain:.2f}) | {each:,.0f} | {Path(path).stat().st_size / size:,.0f} |"
    )


def folder_ms(folder: str, size: int, rounds: int) -> tuple[float, float]:
    """Milliseconds of opening a folder of so many cassettes: the first time, and later."""
    for number in range(size):
        save_cassette(cassette([item(number)], f"/{number}", number), f"{folder}/{number}.msgpack")
    # A folder that has just changed is not yet trusted to tell its next change.
    os.utime(folder, (0, 0))
    first = least_ms(1, lambda: FolderIndex(folder))[0]
    return first, least_ms(rounds, lambda: FolderIndex(folder))[0]


def main() -> None:
    """Print the tables, and which steps are not flat."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    arguments = parser.parse_args()
    sizes: Sequence[int] = arguments.sizes
    print("| events | msgpack alone, ms | opened | with its first answer | read whole | memory an event | file |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            path = save_cassette(cassette(map(item, range(size))), f"{folder}/{size}.msgpack")
            print(opening(path, size, arguments.rounds))
        print("\n| cassettes in a folder | opened the first time, ms | later |\n| ---: | ---: | ---: |")
        for size in sizes:
            print("| {:,} | {:.0f} | {:.0f} |".format(size, *folder_ms(f"{folder}/{size}", size, arguments.rounds)))
    print("\n| step | " + " | ".join(f"{size:,} events, µs" for size in sizes) + " |")
    print("| --- |" + "".join(islice(repeat(" ---: |"), len(sizes))))
    growing = []
    goals = []
    for step in STEPS:
        taken = [step_us(step, size, arguments.rounds) for size in sizes]
        print(f"| {step.name} | " + " | ".join(f"{each:,.1f}" for each in taken) + " |")
        name = f"from {sizes[0]:,} to {sizes[-1]:,} events: {step.name}"
        goals.append(results.Goal(name, taken[-1] / taken[0], FLAT))
        if taken[-1] > FLAT * taken[0]:
            growing.append(step.name)
    print(f"\nEach step is to be flat. Not flat: {', '.join(growing) or 'none'}.")
    results.state(goals)


if __name__ == "__main__":
    main()
