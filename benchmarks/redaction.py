"""What redaction costs, of making and writing an event: ``python benchmarks/redaction.py``, or within ``make bench``.

Calls of each kind are recorded and written to files (`write_cassette`), with redaction and without it in turn, so
that a machine that slows down slows both. They are written in cassettes of many events, and of four, which is what a
request of a service has. The time is processor time, of all threads, and the least of the rounds: what else the
machine does only ever adds to it. The share is `(with - without) / with`, and the aim is 25 % at most.

Where `valgrind` is installed, the same is counted in instructions, which no other load changes; long cassettes have a
tenth of the events then. Who misses the aim is judged by these, since the same code gives the same number. The time
of a short cassette depends on what else the processor's cache holds: its share differs by some points from one run to
the next. Without `valgrind`, the time judges.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import callgrind
import results
from made_calls import ROWS, Ended, http, redis, sql

from timetracer_otel.cassette import write_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.session import TraceSession

AIM = 0.25
KINDS: dict[str, tuple[int, Callable[[int], Ended]]] = {
    "HTTP": (400, lambda number: http(number, with_secret=False)),
    "HTTP, with a token": (400, lambda number: http(number, with_secret=True)),
    "SELECT of one row": (400, lambda number: sql(number, ROWS[number : number + 1])),
    "SELECT of 1,000 rows": (10, lambda number: sql(number, ROWS)),
    "Redis GET": (400, redis),
}
"""How many events of a kind one recording has, and how a call of it is made."""


FEW = 4
"""Events of a cassette of a request."""
MODES = ("off", "default")


class Case(NamedTuple):
    """Events of one kind, in cassettes of one length."""

    kind: str
    calls: list[Ended]
    per_cassette: int

    def record(self, config: TraceConfig) -> None:
        """Record and write the calls."""
        for start in range(0, len(self.calls), self.per_cassette):
            session = TraceSession(config)
            for call in self.calls[start : start + self.per_cassette]:
                session.call_began(call)
            write_cassette(session, config)


def cases(factor: int = 1) -> Iterator[Case]:
    """All that is measured, with each number of events divided by a factor."""
    for kind, (events, make) in KINDS.items():
        calls = [make(number) for number in range(max(FEW, events // factor))]
        yield Case(kind, calls, len(calls))
        yield Case(kind, calls[: len(calls) // FEW * FEW], FEW)


def seconds(case: Case, rounds: int) -> Iterator[list[float]]:
    """Processor time of recording the calls, without redaction and with it, one pair a round."""
    for _ in range(rounds):
        taken = []
        for mode in MODES:
            with tempfile.TemporaryDirectory() as folder:
                config = TraceConfig(redact=mode, cassette_dir=folder)
                began_s = time.process_time()
                case.record(config)
                taken.append(time.process_time() - began_s)
        yield taken


FACTOR = 10
"""Under `valgrind`, all takes fifty times as long."""


def count() -> None:
    """Under `callgrind`: record each case without redaction and with it, each time after two rounds to warm up.

    In the first one more modules are imported, whose versions the second one looks up.
    """
    for case in cases(FACTOR):
        for mode in MODES:
            with tempfile.TemporaryDirectory() as folder:
                config = TraceConfig(redact=mode, cassette_dir=folder)
                for _ in range(2):
                    case.record(config)
                # A collection of all objects takes long where they are many, and would fall into some case.
                gc.collect()
                gc.freeze()
                callgrind.mark()
                case.record(config)
                callgrind.mark()


def instructions() -> list[list[float]]:
    """Instructions of recording the calls of each case, without redaction and with it; empty without `valgrind`."""
    if not callgrind.is_there():
        return []
    # Every second count is of what stands between two cases.
    measured = callgrind.between_marks(__file__, "--count")[::2]
    return [[float(number) for number in pair] for pair in zip(measured[::2], measured[1::2], strict=True)]


def share(off: float, default: float) -> float:
    """How much of the cost is redaction."""
    return (default - off) / default


def main() -> None:
    """Print a table, and which kinds miss the aim."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--count", action="store_true", help="record each case once, for callgrind")
    parser.add_argument("--time-only", action="store_true", help="count no instructions")
    arguments = parser.parse_args()
    if arguments.count:
        count()
        return
    counted = [] if arguments.time_only else instructions()
    missed = []
    goals = []
    print("| events | a cassette | without redaction, µs | with it, µs | share |", end="")
    print(" instructions without | with it | share |" if counted else "")
    print("| --- | ---: | ---: | ---: | ---: |", end="")
    print(" ---: | ---: | ---: |" if counted else "")
    for position, case in enumerate(cases()):
        rounds = list(seconds(case, arguments.rounds))
        off, default = (min(taken) / len(case.calls) * 1e6 for taken in zip(*rounds, strict=True))
        cost = share(off, default)
        line = f"| {case.kind} | {case.per_cassette} | {off:.0f} | {default:.0f} | {cost:.1%} |"
        if counted:
            events = max(FEW, KINDS[case.kind][0] // FACTOR) // FEW * FEW
            without, with_it = (number / events for number in counted[position])
            cost = share(without, with_it)
            line += f" {without:,.0f} | {with_it:,.0f} | {cost:.1%} |"
        print(line)
        name = f"redaction, of making and writing an event: {case.kind}, {case.per_cassette} a cassette"
        goals.append(results.Goal(name, cost, AIM, "share"))
        if cost > AIM:
            missed.append(f"{case.kind} ({case.per_cassette} a cassette)")
    print(f"\nThe aim is {AIM:.0%} at most. Missed: {', '.join(missed) or 'none'}.")
    results.state(goals)


if __name__ == "__main__":
    main()
