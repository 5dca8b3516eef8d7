"""What cassettes of many events cost: ``python benchmarks/growth.py``, or within ``make bench``.

The same httpx call, with another URL each time, is recorded into one cassette and replayed from it, by us and by the
packages that can: each in a process of its own, with the server in another one, which stops before the replay. A
package that takes longer than so many seconds for one of the two is not asked for more calls.

All figures are processor time, on all threads. Recording counts until the cassette is written. The first answer is
that of the first call: timetracer 1.6 answers in the order of the recording alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import results
from compare import environment
from libraries import LIBRARIES
from servers import SERVERS
from subjects import SUBJECTS, Setting
from worker import told
from workload import SIZES, body

EVENTS = (1_000, 10_000, 100_000)
PEERS_AT_MOST = 10_000
GIVEN_UP_S = 30.0
SIZE = "300 B"
OURS = {"bare": "bare", "record": "timetracer-otel"}
PEERS = {"timetracer-record": "timetracer", "vcrpy-record": "vcrpy", "cassetter-record": "cassetter"}


class Grown(NamedTuple):
    """What a cassette of so many events cost.

    Attributes:
        record_us: Making and recording a call.
        disk_bytes: The cassette, per call.
        open_ms: Opening it for a replay, and ending that without a call.
        first_ms: Opening it, and its first answer.
        replay_us: A replayed call, without the opening.
    """

    record_us: float
    disk_bytes: float | None = None
    open_ms: float | None = None
    first_ms: float | None = None
    replay_us: float | None = None


class TooSlowError(Exception):
    """It took longer than it may."""


def work(arguments: argparse.Namespace) -> None:
    """Be the process that records and replays."""
    library, folder = LIBRARIES["httpx"], arguments.folder
    base: str = arguments.address
    client = library.client((base, ""), None)

    def make_calls(numbers: range) -> None:
        until = time.perf_counter() + GIVEN_UP_S * (1 if arguments.limited else 100)
        for number in numbers:
            content = client.get(f"{base}/{SIZES[SIZE]}/{number}").content
            assert content == body(SIZES[SIZE])
            if time.perf_counter() > until:
                raise TooSlowError

    def record_all(around: Callable[[str], AbstractContextManager[object]]) -> None:
        began = time.process_time()
        with around(SIZE):
            make_calls(range(arguments.events))
        say((time.process_time() - began) / arguments.events * 1e6)
        # The server is stopped now.
        sys.stdin.readline()

    def replay(around: Callable[[str], AbstractContextManager[object]], events: int) -> float:
        began = time.process_time()
        with around(SIZE):
            make_calls(range(events))
            return time.process_time() - began
        raise AssertionError

    setting = Setting("httpx", library, (base, ""), folder, [SIZE], record_all)
    try:
        subject = SUBJECTS[arguments.subject.replace("record", "replay")](setting)
        if arguments.subject == "bare":
            record_all(subject.around)
            return
        disk_bytes = max(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / arguments.events
        opened_s, first_s = (min(replay(subject.around, calls) for _ in range(3)) for calls in (0, 1))
        all_s = replay(subject.around, arguments.events)
    except TooSlowError:
        say(f"more than {GIVEN_UP_S:.0f} s")
        return
    except Exception as error:
        if not arguments.limited:
            raise
        # Another package may be unable to read what it wrote.
        say(told(error))
        return
    say([disk_bytes, opened_s * 1e3, first_s * 1e3, (all_s - opened_s) / arguments.events * 1e6])


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


def grown(python: str, subject: str, events: int, *, limited: bool) -> tuple[Grown | None, str]:
    """Measure one cassette in a process. Gives what it measured, and why it did not measure all."""
    with ExitStack() as stack:
        server = stack.enter_context(ExitStack())
        address = server.enter_context(SERVERS["http"]())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        command = [python, __file__, "--subject", subject, "--address", address, "--folder", folder]
        command += ["--events", str(events), *(["--limited"] if limited else [])]
        # We keep 10,000 calls of a recording, unless we are told otherwise.
        variables = {**environment(), "TIMETRACER_MAX_EVENTS": str(events)}
        process = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables)
        )
        assert process.stdin is not None
        assert process.stdout is not None
        record_us: Any = json.loads(process.stdout.readline())
        if isinstance(record_us, str):
            return None, record_us
        if subject == "bare":
            return Grown(record_us), ""
        server.close()
        print(file=process.stdin, flush=True)
        rest: Any = json.loads(process.stdout.readline())
        return (Grown(record_us), rest) if isinstance(rest, str) else (Grown(record_us, *rest), "")


def cells(found: Grown) -> str:
    figures = zip(found, ("{:,.0f}", "{:,.0f}", "{:,.1f}", "{:,.1f}", "{:,.0f}"), strict=True)
    return " | ".join("" if figure is None else form.format(figure) for figure, form in figures)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", help="a Python that has the packages of peers.txt")
    parser.add_argument("--events", type=int, nargs="+", default=list(EVENTS))
    parser.add_argument("--subject", choices=SUBJECTS, help="be the process of this subject")
    parser.add_argument("--address", default="")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--limited", action="store_true")
    arguments = parser.parse_args()
    if arguments.subject:
        (arguments.events,) = arguments.events
        work(arguments)
        return
    wanted = [(sys.executable, subject, label) for subject, label in OURS.items()]
    if arguments.peers:
        wanted += [(arguments.peers, subject, label) for subject, label in PEERS.items()]
    print(
        "| events | package | record, µs a call | on disk, B a call | open, end, ms | first answer, ms | replay, µs |"
    )
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    figures: dict[str, dict[int, dict[str, float | None]]] = {label: {} for _, _, label in wanted}
    unable: dict[str, str] = {}
    for events in arguments.events:
        for python, subject, label in wanted:
            is_peer = python != sys.executable
            if is_peer and (events > PEERS_AT_MOST or label in unable):
                continue
            found, why = grown(python, subject, events, limited=is_peer)
            if why:
                unable[label] = f"- {label}, {events:,} calls: {'replay' if found else 'record'}: `{why}`"
            if found is not None:
                print(f"| {events:,} | {label} | {cells(found)} |", flush=True)
                figures[label][events] = found._asdict()
    print(f"\nThe other packages were asked for {PEERS_AT_MOST:,} calls at most, and for {GIVEN_UP_S:.0f} s.")
    print(*unable.values(), sep="\n")
    results.keep("growth", figures)


if __name__ == "__main__":
    main()
