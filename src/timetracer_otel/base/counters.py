"""Counts, for the whole process, of what was recorded and what was lost. Imports nothing of ours but `faults`.

Law 8 of the design: what is lost is counted and shown. Code that drops something calls a function here. `counters`
gives all numbers, and the room ``otel`` offers the same as OpenTelemetry metrics.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from timetracer_otel.base import faults

__all__ = [
    "Counters",
    "calls_late",
    "calls_without_plugin",
    "connection_without_plugin",
    "clients_without_plugin",
    "cassette_cut",
    "cassette_discarded",
    "cassette_dropped",
    "cassette_written",
    "counters",
    "discarded_text",
    "event_dropped",
    "forget",
    "log_discarded",
    "log_losses",
    "session_began",
    "session_ended",
    "shipped",
    "tell_without_plugin",
]


@dataclass(frozen=True, slots=True)
class Counters:
    """The numbers of this process since it began (in a forked child: since the fork)."""

    sessions_open: int
    """Requests (jobs, messages) that are being recorded, or wait for being written, now."""
    cassettes_written: int
    """Finished cassettes on disk."""
    cassettes_cut: int
    """Cassettes of requests that were under way when the process ended. They hold the calls that had ended."""
    cassettes_discarded: int
    """Requests that the settings leave without a cassette: they were not chosen, or their recording was thrown away.
    The paths of ``exclude_paths`` do not count."""
    cassettes_dropped: Mapping[str, int]
    """Recordings lost as a whole, by reason. Empty is the good news."""
    events_dropped: Mapping[str, int]
    """Calls, bodies and the like that a cassette lacks, by reason. Empty is the good news."""
    calls_late: int
    """Calls that began after the end of their request and stand in its cassette all the same."""
    faults: Mapping[str, int]
    """Contained faults of the recorder, by place. Empty is the good news."""
    without_plugin: Mapping[str, int] = field(default_factory=dict)
    """Recorded calls that no plugin captured, so that no replay can answer them, by library."""
    connections: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Connections of clients that have no plugin and left no span, by library and by address."""
    discarded_by_reason: Mapping[str, int] = field(default_factory=dict)
    """The numbers that `cassettes_discarded` is the sum of, by reason."""
    cassettes_shipped: int = 0
    """Cassettes that the shippers of this process have put into object storage, up to their last pass."""
    shipped_bytes: int = 0
    """What these take there, without the indexes."""
    shipping_failures: int = 0
    """Passes of shippers that ended before their end, as where the storage could not be reached."""
    cassettes_waiting: int = 0
    """Cassettes that the last pass has left in the folder. Zero where another process ships the folder."""
    waiting_bytes: int = 0
    """What these take in the folder."""

    @property
    def lost(self) -> bool:
        """Whether anything was lost."""
        return bool(self.cassettes_dropped or self.events_dropped or self.faults)

    def __str__(self) -> str:
        parts = [f"{self.cassettes_written} cassettes written"]
        if self.cassettes_cut:
            parts.append(f"{self.cassettes_cut} cut short")
        if self.cassettes_shipped:
            parts.append(f"{self.cassettes_shipped} shipped")
        if self.shipping_failures:
            parts.append(f"{self.shipping_failures} passes of shipping failed")
        for what, by_reason in (
            ("cassettes dropped", self.cassettes_dropped),
            ("events dropped", self.events_dropped),
            ("faults", self.faults),
        ):
            if by_reason:
                reasons = ", ".join(f"{reason}: {number}" for reason, number in sorted(by_reason.items()))
                parts.append(f"{sum(by_reason.values())} {what} ({reasons})")
        return ", ".join(parts)


_Number = tuple[int, str]
"""How many, and which recording was counted last by its name. Both are set in one step, so that a thread that dies
while it counts has counted or has not, and whoever goes on can tell.
"""


class _Numbers:
    def __init__(self) -> None:
        # Reentrant: a signal handler may count in the middle of a count.
        self.lock = threading.RLock()
        self.plain: dict[str, _Number] = {}
        self.cassettes_dropped: dict[str, _Number] = {}
        self.discarded: Counter[str] = Counter()
        self.events_dropped: Counter[str] = Counter()
        self.without_plugin: Counter[str] = Counter()
        self.connections: dict[str, Counter[str]] = {}
        self.told: set[str] = set()
        self.logged: Counters | None = None
        self.logged_discarded = 0


_numbers = _Numbers()


def session_began() -> None:
    """A request is recorded from now on."""
    _add("open", 1)


def session_ended(of: str = "") -> None:
    """A recording that `session_began` counted was written, dropped or discarded; ``of`` as in `cassette_written`."""
    _add("open", -1, of)


def cassette_written(of: str = "") -> None:
    """A finished cassette is on disk. Where ``of`` names its session, it is not counted again for the same one."""
    _add("written", 1, of)


def shipped(cassettes: int, size_bytes: int, failures: int, waiting: int, waiting_bytes: int) -> None:
    """A shipper has come so far. The first three are added to those before, the others stand in their place."""
    with _numbers.lock:
        _count(_numbers.plain, "shipped", cassettes, "")
        _count(_numbers.plain, "shipped_bytes", size_bytes, "")
        _count(_numbers.plain, "shipping_failures", failures, "")
        _numbers.plain["waiting"] = waiting, ""
        _numbers.plain["waiting_bytes"] = waiting_bytes, ""


def cassette_cut() -> None:
    """A recording ended before its request did, and is on disk as far as it had come."""
    _add("cut", 1)


def cassette_discarded(reason: str) -> None:
    """The settings leave a request without a cassette; ``reason`` is one of few constant texts."""
    with _numbers.lock:
        _numbers.discarded[reason] += 1


def cassette_dropped(reason: str, of: str = "") -> None:
    """A whole recording was lost; ``reason`` is one of few constant texts, and ``of`` as in `cassette_written`."""
    with _numbers.lock:
        _count(_numbers.cassettes_dropped, reason, 1, of)


def event_dropped(reason: str, number: int = 1) -> None:
    """Something that belongs in a cassette was lost; ``reason`` is one of few constant texts."""
    with _numbers.lock:
        _numbers.events_dropped[reason] += number


def calls_late(number: int) -> None:
    """Calls that began after the end of their request were kept."""
    _add("late", number)


def calls_without_plugin(libraries: Mapping[str, int]) -> None:
    """Calls of these libraries were recorded by their spans alone."""
    with _numbers.lock:
        _numbers.without_plugin.update(libraries)


def connection_without_plugin(library: str, address: str) -> None:
    """A recording noted a connection that no plugin makes."""
    with _numbers.lock:
        _numbers.connections.setdefault(library, Counter())[address] += 1


def _add(name: str, number: int, of: str = "") -> None:
    with _numbers.lock:
        _count(_numbers.plain, name, number, of)


def _count(numbers: dict[str, _Number], what: str, number: int, of: str) -> None:
    before, last = numbers.get(what, (0, ""))
    if not of or of != last:
        numbers[what] = before + number, of or last


def counters() -> Counters:
    """What this process recorded and lost up to now. Safe from any thread.

    OpenTelemetry's metrics API has the same numbers as ``timetracer.*`` while the process records its requests. The
    losses of `record` blocks are counted, too.
    """
    with _numbers.lock:
        # Of copies, which are made in one step: a signal handler may count meanwhile.
        plain = {what: number for what, (number, _) in _numbers.plain.copy().items()}
        discarded = dict(_numbers.discarded)
        return Counters(
            sessions_open=plain.get("open", 0),
            cassettes_written=plain.get("written", 0),
            cassettes_cut=plain.get("cut", 0),
            cassettes_discarded=sum(discarded.values()),
            cassettes_dropped={reason: number for reason, (number, _) in _numbers.cassettes_dropped.copy().items()},
            events_dropped=dict(_numbers.events_dropped),
            calls_late=plain.get("late", 0),
            faults=faults.fault_counts(),
            without_plugin=dict(sorted(_numbers.without_plugin.items())),
            connections={name: dict(each) for name, each in sorted(_numbers.connections.items())},
            discarded_by_reason=discarded,
            cassettes_shipped=plain.get("shipped", 0),
            shipped_bytes=plain.get("shipped_bytes", 0),
            shipping_failures=plain.get("shipping_failures", 0),
            cassettes_waiting=plain.get("waiting", 0),
            waiting_bytes=plain.get("waiting_bytes", 0),
        )


def log_losses() -> None:
    """Say in one line what was lost since the last such line; nothing where nothing was."""
    now = counters()
    if now.lost and now != _numbers.logged:
        _numbers.logged = now
        faults.logger.warning("timetracer-otel: recording lost something: %s.", now)


def log_discarded() -> None:
    """Say in one line of level INFO how many requests the settings left without a cassette, and why; nothing where
    there are none since the last such line.
    """
    by_reason = dict(_numbers.discarded)
    number = sum(by_reason.values())
    if number != _numbers.logged_discarded:
        _numbers.logged_discarded = number
        faults.logger.info("timetracer-otel: %s.", discarded_text(by_reason))


def discarded_text(by_reason: Mapping[str, int]) -> str:
    """``12 requests have no cassette, as the settings say (did not fail: 12)``."""
    number = sum(by_reason.values())
    reasons = ", ".join(f"{reason}: {each}" for reason, each in sorted(by_reason.items()))
    return f"{number} request{'s have' if number != 1 else ' has'} no cassette, as the settings say ({reasons})"


def tell_without_plugin(
    libraries: Mapping[str, int] | None = None, connections: Mapping[str, Mapping[str, int]] | None = None
) -> None:
    """Say which libraries a recording has no answers of, once for each library.

    Args:
        libraries: Those of one recording, with the number of calls; without it, those of the whole process.
        connections: The connections of others, by library and address.
    """
    with _numbers.lock:
        if libraries is None:
            libraries, connections = _numbers.without_plugin, _numbers.connections
        found = {*libraries, *(connections or {})}
        anything_new = not _numbers.told.issuperset(found)
        _numbers.told.update(found)
        text = clients_without_plugin(libraries, connections)
    if anything_new:
        faults.logger.warning(
            "timetracer-otel: recorded, but no replay can answer: %s. No plugin captures these libraries, so a "
            "replay refuses their calls. What to do: docs/replay-in-tests.md, 'A closed world'. "
            "TIMETRACER_UNCAPTURED=record takes this line away.",
            text,
        )


def clients_without_plugin(
    libraries: Mapping[str, int], connections: Mapping[str, Mapping[str, int]] | None = None
) -> str:
    """``grpc (1 call), psycopg2 (2 calls), socket (1 connection to 10.0.0.7:25)``.

    Args:
        libraries: Those whose spans were recorded, with the number of calls.
        connections: By library and address: how many connections of clients were noted. Those of a library whose
            spans were recorded are not named a second time.
    """
    parts = {name: f"{name} ({number} call{'s' if number > 1 else ''})" for name, number in libraries.items()}
    for name, addresses in (connections or {}).items():
        number = sum(addresses.values())
        first, *others = sorted(addresses)
        more = f" and {len(others)} other address{'es' if len(others) > 1 else ''}" if others else ""
        parts.setdefault(name, f"{name} ({number} connection{'s' if number > 1 else ''} to {first}{more})")
    return ", ".join(parts[name] for name in sorted(parts))


def forget() -> None:
    """Begin at zero, in a forked child: the counts are the parent's, and a thread of the parent may hold the lock."""
    global _numbers
    _numbers = _Numbers()
    faults.forget()
