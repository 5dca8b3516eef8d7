"""What a step of a call costs as a session grows: ``python benchmarks/steps.py``, or within ``make bench``.

Each step is timed after one call of its kind, since further queues are made at the first one. The time is processor
time, and the least of the rounds. A step is flat where it costs in the largest session at most twice what it costs in
the smallest one.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice, repeat
from typing import Any, NamedTuple
from uuid import NAMESPACE_DNS, NAMESPACE_URL, UUID, uuid5

import results

from timetracer_otel.cassette import open_cassette, reader, save_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import BodyEnd, EventType, TraceMode
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.libraries.redis.locks import next_token
from timetracer_otel.match.signature import PARTIAL_BODY, Signer
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.session import ReplaySession, TraceSession
from timetracer_otel.session.base import EndedSpan
from timetracer_otel.session.trace import EventFeed
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
    SpanFacts,
)

SIZES = (1_000, 4_000, 16_000)
CALLS = 300
"""How many calls of a step are timed."""
MISSES = 20
MOST_ROUNDS = 9
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
    subject: Callable[[int], Callable[[], Any]]
    """Takes the number of events, and gives what makes a session of so many, a new one for each round."""
    made: Callable[[Any, int], Any]
    """The step in such a session, with a number that is counted down from the number of events."""
    calls: int = CALLS
    """How many are timed."""
    rounds: int = MOST_ROUNDS
    """How often at most. Before some steps, the recording is looked through for seconds."""


def replaying(
    recorded: Callable[[int], Call],
    *first: int,
    settings: TraceConfig | None = None,
    is_strict: bool = True,
    change: Callable[[Cassette], Cassette] = lambda made: made,
) -> Callable[[int], Callable[[], ReplaySession]]:
    """A replay of some recorded calls, of which the ones with the numbers ``first`` were made."""

    def subject(size: int) -> Callable[[], ReplaySession]:
        made = change(cassette(map(recorded, range(size))))

        def begin() -> ReplaySession:
            session = ReplaySession(made, "recording", is_strict, settings)
            for number in first:
                session.match(present(recorded(number)))
            return session

        return begin

    return subject


class Ended:
    """A recorded call that has ended."""

    trace_id = span_id = eid = 0
    thread: int | None = None
    path: tuple[str, ...] = ()
    not_replayable: str | None = None
    transaction: object | None = None
    boundary: str | None = None
    started_s = 1.0
    returned_s: float | None = 1.0
    goes_on = False
    latest_s: float | None = None
    ended_s: float | None = 1.0

    def __init__(self, number: int) -> None:
        self._number = number

    def call(self) -> Call:
        return item(self._number)

    def result(self) -> EventResult:
        return EventResult(200)


def recording(size: int) -> Callable[[], TraceSession]:
    """A recording of so many calls, all of which have ended."""

    def begin() -> TraceSession:
        session = TraceSession(TraceConfig(mode=TraceMode.RECORD, max_events=10 * size))
        for number in range(size):
            session.call_began(Ended(number))
        return session

    return begin


def written_piece_by_piece(size: int) -> Callable[[], tuple[TraceSession, EventFeed]]:
    """A recording whose calls up to now are written."""

    def begin() -> tuple[TraceSession, EventFeed]:
        session = TraceSession(TraceConfig(mode=TraceMode.RECORD, max_events=10 * size, redact="off"))
        feed = EventFeed(session)
        for number in range(size):
            session.call_began(Ended(number))
            session.span_ended(EndedClient(number + 1))
        feed.take(0.0)
        return session, feed

    return begin


class EndedClient:
    """An ended span of a call that a plugin saw."""

    is_client = True
    scope: str | None = None
    thread = 0
    parent: EndedSpan | None = None

    def __init__(self, number: int) -> None:
        self.span_id = number

    def facts(self) -> SpanFacts:
        return SpanFacts(f"{1:032x}", f"{self.span_id:016x}")


def answered_all(size: int) -> Callable[[], ReplaySession]:
    """A replay of equal calls, each of which has answered."""
    begin = replaying(lambda _: get("http://service/"))(size)

    def behind() -> ReplaySession:
        session = begin()
        for each in session.events:
            session.claim(each)
        return session

    return behind


def from_file(size: int) -> Callable[[], ReplaySession]:
    """A replay of different calls from a file. An event is decoded when it answers, however many there are."""
    with tempfile.TemporaryDirectory() as folder:
        path = save_cassette(cassette(map(item, range(size))), f"{folder}/recording.msgpack")
        before, reader.DECODED_AT_ONCE = reader.DECODED_AT_ONCE, 0
        opened = [open_cassette(path) for _ in range(MOST_ROUNDS)]
        reader.DECODED_AT_ONCE = before

    def begin() -> ReplaySession:
        session = ReplaySession(opened.pop(), path)
        session.get_unconsumed_events()
        return session

    return begin


class Mapped(dict[str, Any]):
    """A map of a type that nobody has a hash for."""


def by_hand(session: ReplaySession, number: int) -> DependencyEvent:
    fields = {"lib": "httpx", "method": "GET", "url": f"http://service/items/{number}"}
    return session.get_next_event(EventType.HTTP_CLIENT, fields)


def redis_set(words: list[Any], node: int = 0) -> Call:
    return Call("redis", EventType.REDIS, "SET", f"redis://node{node}:6379/0", args=["SET", *words])


def acquisition(number: int) -> Call:
    return redis_set(["a lock", f"token {number}", "NX"])


def missed(session: ReplaySession, call: Call) -> None:
    with suppress(ReplayMismatchError):
        session.match(call)


TENANTS = [f"tok_{uuid5(NAMESPACE_URL, str(number)).hex}" for number in range(2)]
PSEUDONYMS = [f"tok_{uuid5(NAMESPACE_DNS, str(number)).hex}" for number in range(2)]


def of_tenant(number: int) -> Call:
    """Two tenants log in, and then make equal calls."""
    tenant = number % len(TENANTS)
    url = f"http://service/login/{number}" if number < len(TENANTS) else "http://service/items"
    token = (b"Authorization", b"Bearer " + PSEUDONYMS[tenant].encode())
    return Call("httpx", EventType.HTTP_CLIENT, "GET", url, (*HEADERS, token))


def present(call: Call) -> Call:
    """A recorded call with the tokens of this run."""
    headers = []
    for name, value in call.headers:
        for before, now in zip(PSEUDONYMS, TENANTS, strict=True):
            value = value.replace(before.encode(), now.encode())
        headers.append((name, value))
    return replace(call, headers=tuple(headers))


def pseudonymised(made: Cassette) -> Cassette:
    policies = AppliedPolicies(redaction_mode="default", pseudonymised=True)
    return replace(made, policies=policies, pseudonyms=tuple(PSEUDONYMS))


def fresh(number: int, run: str = "recorded", item: str = "") -> Call:
    """A call with an identifier that the app made."""
    name = UUID(bytes=uuid5(NAMESPACE_URL, f"{run} {number}").bytes, version=4)
    return post(f'{{"id": "{name}", "item": "{item}"}}'.encode())


def of_items(number: int, run: str = "recorded") -> Call:
    return fresh(number, run, f"item {number}")


def answered_alike(made: Cassette) -> Cassette:
    for each in made.events:
        each.result = EventResult(201)
    return made


def under_way_at_once(made: Cassette) -> Cassette:
    """All calls of a recording last until its end, and none has sent its whole body."""
    for each in made.events:
        each.duration_ms = 1e9
        each.signature.body_hash = PARTIAL_BODY
    return made


def failed_upload(session: ReplaySession, _: int) -> None:
    session.source_failed(post(None))


def whose_source_failed(made: Cassette) -> Cassette:
    for each in under_way_at_once(made).events:
        each.call = CallSnapshot(HeaderMap(HEADERS), BodySnapshot(True, "bytes", b"a", end=BodyEnd.FAILED))
    return made


def withdrawn(session: TraceSession, number: int) -> None:
    call = Ended(number)
    session.call_began(call)
    session.call_withdrawn(call)


def taken_piece(subject: tuple[TraceSession, EventFeed], number: int) -> None:
    session, feed = subject
    session.call_began(Ended(number))
    session.span_ended(EndedClient(10**6 + number))
    feed.take(0.0)


STEPS = (
    Step(
        "another call each time, the last first", replaying(item), lambda session, number: session.match(item(number))
    ),
    Step(
        "the same, and its answer from a file",
        from_file,
        lambda session, number: session.match(item(number)).result,
    ),
    Step(
        "equal calls",
        replaying(lambda _: get("http://service/")),
        lambda session, _: session.match(get("http://service/")),
    ),
    Step(
        "equal calls under other parents",
        replaying(lambda _: get("http://service/")),
        lambda session, number: session.match(get("http://service/"), PATHS[number % len(PATHS)]),
    ),
    Step(
        "equal calls of two tenants",
        replaying(of_tenant, 0, 1, change=pseudonymised),
        lambda session, number: session.match(present(of_tenant(number))),
        rounds=1,
    ),
    Step(
        "a call with an identifier that the app makes",
        replaying(of_items),
        lambda session, number: session.match(of_items(number, "present")),
        rounds=1,
    ),
    Step(
        "the same, of calls that say nothing else",
        replaying(fresh, change=answered_alike),
        lambda session, number: session.match(fresh(number, "present")),
        rounds=1,
    ),
    Step(
        "a matcher of the user in place of the body",
        replaying(
            lambda number: post(small_json(number, spaced=False)),
            settings=TraceConfig(match_on=["method", "url", same]),
        ),
        lambda session, _: session.match(post(b"anything")),
    ),
    Step(
        "a streamed upload, before its body is read",
        replaying(lambda number: post(small_json(number, spaced=False))),
        lambda session, _: session.expects_body(post(None)),
    ),
    Step(
        "the same, of many that were cut and under way at once",
        replaying(lambda number: post(small_json(number, spaced=False)), change=under_way_at_once),
        lambda session, _: session.expects_body(post(None)),
    ),
    Step(
        "a streamed upload whose source fails",
        replaying(lambda number: post(small_json(number, spaced=False)), change=whose_source_failed),
        failed_upload,
    ),
    Step(
        "equal JSON in another form, not strict",
        replaying(
            lambda number: post(small_json(number, spaced=False)), settings=TraceConfig(variables=[]), is_strict=False
        ),
        lambda session, number: session.match(post(small_json(number, spaced=True))),
    ),
    Step("a plugin written by hand", replaying(item), by_hand),
    Step(
        "the same, by a field that has no hash",
        replaying(item),
        lambda session, number: session.get_next_event(
            EventType.HTTP_CLIENT, {"url": f"http://service/items/{number}", "query": Mapped()}
        ),
    ),
    Step(
        "a look at the next event of a type",
        replaying(item),
        lambda session, _: session.peek_next_event(EventType.HTTP_CLIENT),
    ),
    Step(
        "a look ahead for a call that was not recorded",
        replaying(item),
        lambda session, number: session.upcoming(get(f"http://service/other/{number}")),
    ),
    Step(
        "a call that is repeated",
        replaying(item, settings=TraceConfig(allow_repeats=True)),
        lambda session, _: session.match(item(0)),
    ),
    Step(
        "the token of a lock that is acquired",
        replaying(acquisition),
        lambda session, _: session.match(redis_set(["a lock", next_token(session, "a lock"), "NX"])),
    ),
    Step(
        "the token of a lock that was not recorded, repeated",
        replaying(acquisition, settings=TraceConfig(allow_repeats=True)),
        lambda session, _: next_token(session, "another lock"),
    ),
    Step(
        "a command of a cluster client to another node",
        replaying(lambda number: redis_set([f"key {number}", "value"], number % 3)),
        lambda session, number: session.claim(
            session.waiting_elsewhere(redis_set([f"key {number}", "value"], number % 3 + 1))[0]
        ),
    ),
    Step(
        "a call without an answer",
        replaying(item),
        lambda session, number: missed(session, get(f"http://service/other/{number}")),
        MISSES,
    ),
    Step(
        "the same, behind equal ones",
        answered_all,
        lambda session, _: missed(session, get("http://service/")),
        MISSES,
    ),
    Step("a recorded call", recording, lambda session, number: session.call_began(Ended(number))),
    Step("a recorded call that is withdrawn", recording, withdrawn),
    Step("a look whether a recorded call is under way", recording, lambda session, _: session.is_calling),
    Step("a recorded call that is written at once", written_piece_by_piece, taken_piece),
    Step(
        "a recorded event of a plugin written by hand",
        recording,
        lambda session, number: session.add_event(event(number, item(number), ())),
    ),
)


def step_us(step: Step, size: int, rounds: int) -> float:
    """Microseconds for each call of a step, in a session of so many events."""
    begin = step.subject(size)
    best = float("inf")
    for _ in range(min(rounds, step.rounds)):
        subject = begin()
        step.made(subject, size - 1)
        gc.collect()
        began_s = time.process_time()
        for number in range(size - 2, size - 2 - step.calls, -1):
            step.made(subject, number)
        best = min(best, time.process_time() - began_s)
    return best / step.calls * 1e6


def main() -> None:
    """Print a table, and which steps are not flat."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, MOST_ROUNDS + 1))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    arguments = parser.parse_args()
    sizes: Sequence[int] = arguments.sizes
    print("| step | " + " | ".join(f"{size:,} events, µs" for size in sizes) + " |")
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
