"""What calls cost beside other packages: ``python benchmarks/compare.py``, or within ``make bench``.

For each client library, each subject is one process (worker.py) that stays up and runs a batch of calls whenever it
is told to. The runner goes round the subjects again and again, so that a machine that slows down slows all of them;
ratios are taken within a round, to the bare calls of the same environment, and the median over the rounds counts.
The servers are other processes. A replay begins after its server has stopped, or has lost what it held: an answer
that comes from the server after all is counted as unlike.

All figures are processor time. That of the calling thread is of one call (the median of its batch). The whole is of
all threads of the process, from opening a cassette until it is written, per call of its batch.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import results
from libraries import LIBRARIES
from servers import SERVERS
from subjects import STAND_INS
from workload import CALLS, SIZES

HERE = Path(__file__).parent
OURS = {
    "bare": "bare",
    "otel": "OTel instrumentation",
    "record-otel": "timetracer-otel records, with OTel",
    "record": "timetracer-otel records",
    "replay": "timetracer-otel replays",
    "replay-otel": "timetracer-otel replays, with OTel",
    "stand-in": "{stand_in}",
}
PEERS = {
    "bare": "bare, in the environment of the packages below",
    "timetracer-record": "timetracer records",
    "timetracer-replay": "timetracer replays",
    "vcrpy-record": "vcrpy records",
    "vcrpy-replay": "vcrpy replays",
    "cassetter-record": "cassetter records",
    "cassetter-replay": "cassetter replays",
    "tusk-record": "tusk-drift records",
    "tusk-replay": "tusk-drift replays",
}
PEERS_EVERY = 4
"""The peers have a quarter of the rounds: some take a second for a batch."""
LARGE, LARGE_EVERY = 100_000, 4
"""Bodies of so many bytes have a quarter of the rounds as well."""
REPLAYS_AT_MOST = 1.0
"""Of the cost of the stand-in."""


@dataclass
class Worker:
    """A subject's process, and what it measured: for each size, one figure per round."""

    label: str
    subject: str
    python: str
    process: subprocess.Popen[str]
    versions: dict[str, str] = field(default_factory=dict)
    thread_us: dict[str, list[float]] = field(default_factory=dict)
    whole_us: dict[str, list[float]] = field(default_factory=dict)
    disk_bytes: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    unlike: dict[str, int] = field(default_factory=dict)
    first: str | None = None

    @property
    def wrong(self) -> int:
        """How many answers were not the server's."""
        return sum(self.unlike.values())

    def read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"benchmark: the worker of {self.label!r} died; its traceback stands above")
        return json.loads(line)

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)

    def run_batch(self, size: str, *, count: bool) -> None:
        self.tell(size)
        answer = self.read()
        if not count:
            return
        self.calls[size] = self.calls.get(size, 0) + CALLS[size]
        self.unlike[size] = self.unlike.get(size, 0) + answer["wrong"]
        self.first = self.first or answer["first"]
        if answer["disk"] is not None:
            self.disk_bytes[size] = answer["disk"]
        # A batch whose cassette could not be opened has made no call.
        self.thread_us.setdefault(size, []).append(median(answer["calls"] or [0.0]))
        self.whole_us.setdefault(size, []).append(answer["whole"])


class Measured:
    """What was measured of one library."""

    def __init__(self, workers: list[Worker]) -> None:
        self.workers = workers

    def worker(self, label: str) -> Worker:
        return next(worker for worker in self.workers if worker.label == label)

    def bare(self, worker: Worker) -> Worker:
        """The bare calls in the environment of a worker."""
        return next(each for each in self.workers if each.subject == "bare" and each.python == worker.python)

    def ratio(self, worker: Worker, size: str, *, whole: bool) -> float:
        """The cost of a worker's calls, of that of the bare calls."""
        ours, bare = ((each.whole_us if whole else each.thread_us)[size] for each in (worker, self.bare(worker)))
        # They ran in turn, and the peers in fewer rounds.
        return median(one / other for one, other in zip(ours, bare, strict=False))

    def against(self, one: Worker, other: Worker, size: str) -> float:
        """How the calling thread's cost of one compares with that of another in the same environment."""
        pairs = zip(one.thread_us[size], other.thread_us[size], strict=False)
        return median(mine / theirs for mine, theirs in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", help="a Python that has the packages of peers.txt")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--warm-up", type=int, default=2, help="rounds that are not counted")
    parser.add_argument("--only", choices=LIBRARIES, action="append", help="measure these libraries alone")
    parser.add_argument("--sizes", choices=SIZES, nargs="+", default=list(SIZES))
    parser.add_argument("--seed", type=int, default=20)
    arguments = parser.parse_args()
    broken: list[str] = []
    unable: list[str] = []
    goals: list[results.Goal] = []
    versions: dict[str, str] = {}
    figures: dict[str, Any] = {}
    for name in arguments.only or LIBRARIES:
        began = time.monotonic()
        measured = measure(arguments, name)
        print(f"\n### {name}\n", *table(measured, arguments.sizes), sep="\n", flush=True)
        figures[name] = {worker.label: of_worker(measured, worker, arguments.sizes) for worker in measured.workers}
        unable += [f"- {name}: {line}" for line in told(measured)]
        broken += [f"{worker.label} ({name})" for worker in measured.workers if is_ours(worker) and worker.wrong]
        goals += stated(measured, name, arguments.sizes)
        for worker in measured.workers:
            # Where the two environments differ, ours counts, which comes first.
            versions = worker.versions | versions
        progress(f"{name}: {time.monotonic() - began:.0f} s")
    print("\n### What the other packages did not do\n", *(unable or ["Nothing."]), sep="\n")
    print("\nMeasured with " + ", ".join(f"{name} {number}" for name, number in sorted(versions.items())) + ".")
    results.keep("versions", versions)
    results.keep("calls", figures)
    results.keep("unable", unable)
    results.state(goals)
    if broken:
        print(f"benchmark: wrong answers from {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


def measure(arguments: argparse.Namespace, name: str) -> Measured:
    """Start the workers of a library, and go round them."""
    rounds: int = arguments.rounds
    order = random.Random(arguments.seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address = stack.enter_context(SERVERS[LIBRARIES[name].server]())
        workers = list(start_all(stack, arguments, name, address, folder))
        ours = [worker for worker in workers if worker.python == sys.executable]
        for size in arguments.sizes:
            few = max(rounds // LARGE_EVERY, 1) if SIZES[size] >= LARGE else rounds
            for number in range(-arguments.warm_up, few):
                peers_too = number < 0 or number % PEERS_EVERY == 0
                turn = workers if peers_too else ours
                for worker in order.sample(turn, len(turn)):
                    worker.run_batch(size, count=number >= 0)
    return Measured(workers)


def start_all(
    stack: ExitStack, arguments: argparse.Namespace, name: str, address: str, folder: Path
) -> Iterator[Worker]:
    """The workers of a library, with ours first."""
    numbers = itertools.count()
    kinds = [(sys.executable, OURS)]
    if arguments.peers:
        kinds.append((arguments.peers, PEERS))
    for python, labels in kinds:
        for subject, label in labels.items():
            if subject == "stand-in" and name == "aiohttp":
                # It is not in our environment.
                continue
            yield start(stack, arguments, name, address, folder, python, subject, label, next(numbers))
    if arguments.peers and name == "aiohttp":
        label = OURS["stand-in"]
        yield start(stack, arguments, name, address, folder, arguments.peers, "stand-in", label, next(numbers))


def start(
    stack: ExitStack,
    arguments: argparse.Namespace,
    name: str,
    address: str,
    folder: Path,
    python: str,
    subject: str,
    label: str,
    number: int,
) -> Worker:
    """Start a worker, and give it when it is ready."""
    own = ExitStack()
    is_replay, is_http = "replay" in subject, LIBRARIES[name].server == "http"
    if is_replay and is_http:
        address = own.enter_context(SERVERS["http"]())
    place = folder / str(number)
    place.mkdir()
    command = [python, str(HERE / "worker.py"), subject, "--library", name, "--address", address]
    command += ["--name", f"values_{number}", "--folder", str(place), "--sizes", *arguments.sizes]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(), start_new_session=True
    )

    def end() -> None:
        process.terminate()
        process.communicate()

    stack.callback(end)
    label = label.format(stand_in=STAND_INS[name][0])
    worker = Worker(label, subject, python, process)
    said = worker.read()
    if said == "recorded":
        own.close()
        worker.tell("")
        said = worker.read()
    # One that never records has no server to stop.
    own.close()
    worker.versions = said
    return worker


def environment() -> dict[str, str]:
    """This environment, less what would trace, record or import something else."""
    unwanted = ("OTEL_", "TIMETRACER_", "TUSK_", "COV", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def is_ours(worker: Worker) -> bool:
    return worker.python == sys.executable


def table(measured: Measured, sizes: list[str]) -> Iterator[str]:
    """A row for each subject: for each size, the calling thread and the whole."""
    columns = [f"{size}: {cost}" for size in sizes for cost in ("thread, µs", "whole, µs")]
    yield f"| subject | {' | '.join(columns)} | on disk, B a call | unlike the server's |"
    yield "| --- |" + " ---: |" * (len(columns) + 2)
    for worker in measured.workers:
        cells = [worker.label]
        for size in sizes:
            for whole, costs in ((False, worker.thread_us), (True, worker.whole_us)):
                if worker.unlike[size] == worker.calls[size]:
                    # What it costs to fail is nobody's question.
                    cells.append("")
                    continue
                ratio = measured.ratio(worker, size, whole=whole)
                cells.append(f"{median(costs[size]):,.0f} ({ratio:.2f})")
        cells.append(" / ".join(f"{size:,.0f}" for size in worker.disk_bytes.values()))
        cells.append(f"**{worker.wrong} of {sum(worker.calls.values())}**" if worker.wrong else "none")
        yield f"| {' | '.join(cells)} |"


def of_worker(measured: Measured, worker: Worker, sizes: list[str]) -> dict[str, Any]:
    """The figures of a worker, for JSON."""
    costs = {
        size: {
            "thread_us": round(median(worker.thread_us[size]), 2),
            "whole_us": round(median(worker.whole_us[size]), 2),
            "thread_of_bare": round(measured.ratio(worker, size, whole=False), 3),
            "whole_of_bare": round(measured.ratio(worker, size, whole=True), 3),
            "disk_bytes": worker.disk_bytes.get(size),
        }
        for size in sizes
    }
    return {"sizes": costs, "calls": worker.calls, "unlike": worker.unlike, "first_unlike": worker.first}


def told(measured: Measured) -> Iterator[str]:
    """Which packages recorded nothing, or gave other answers than the server's."""
    for worker in measured.workers:
        unlike = [size for size, number in worker.unlike.items() if number]
        if unlike:
            number = f"{worker.wrong} of {sum(worker.calls[size] for size in unlike)}"
            yield f"{worker.label} ({', '.join(unlike)}): {number} answers are unlike; the first: `{worker.first}`"
        empty = [size for size, stored in worker.disk_bytes.items() if not stored]
        if empty:
            yield f"{worker.label} ({', '.join(empty)}): no call stands in its recording"


def stated(measured: Measured, name: str, sizes: list[str]) -> Iterator[results.Goal]:
    """The goals that this has figures for. `stand_ins.py` has those of the other libraries."""
    if name.startswith("httpx"):
        replay, stand_in = measured.worker(OURS["replay"]), measured.worker("httpx.MockTransport")
        for size in sizes:
            figure = measured.against(replay, stand_in, size)
            yield results.Goal(f"replay against MockTransport: {name}, {size}", figure, REPLAYS_AT_MOST)


def progress(line: str) -> None:
    print(f"benchmark: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
