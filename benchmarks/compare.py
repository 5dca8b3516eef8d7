"""What recording and replaying cost: ``python benchmarks/compare.py``, or ``make bench`` with the peers beside us.

Each subject is one process (worker.py) that stays up and runs one batch of calls whenever it is told to. The
runner goes round all subjects again and again, so that a machine that slows down slows all of them; ratios are
taken within a round, and the median over the rounds is what counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

from workload import KINDS

HERE = Path(__file__).parent

OURS = {
    "bare": "httpx alone",
    "otel": "OTel instrumentation, batch processor, no-op exporter",
    "otel-no-exporter": "OTel instrumentation, no span processor",
    "record-otel": "timetracer-otel records, with the same OTel set-up",
    "record": "timetracer-otel records, no tracing",
    "mock": "httpx.MockTransport",
    "replay": "timetracer-otel replays, no tracing",
    "replay-otel": "timetracer-otel replays, with the same OTel set-up",
}
PEERS = {
    "bare": "httpx alone, in the environment of the packages below",
    "timetracer-record": "timetracer records",
    "timetracer-replay": "timetracer replays",
    "vcrpy-record": "vcrpy records",
    "vcrpy-replay": "vcrpy replays",
    "cassetter-record": "cassetter records",
    "cassetter-replay": "cassetter replays",
}
PEERS_EVERY = 3
"""The peers take part in every third round: ours are compared with narrower aims."""
IMPORTS = ("httpx", "opentelemetry.sdk.trace", "timetracer_otel", "timetracer_otel.plugins")
PEER_IMPORTS = ("timetracer", "vcr", "cassetter")


@dataclass
class Worker:
    """A subject's process, and what it measured: one figure per round."""

    label: str
    subject: str
    api: str
    peer: bool
    process: subprocess.Popen[str]
    versions: dict[str, str] = field(default_factory=dict)
    call_us: list[float] = field(default_factory=list)
    """Mean over the kinds of the median call of each kind, by the clock."""
    cpu_us: list[float] = field(default_factory=list)
    """The same in processor time of the calling thread: what the server and a busy machine take is not in it."""
    by_kind_us: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    around_us: list[float] = field(default_factory=list)
    """Opening and closing what stands around a batch, per call."""
    calls: int = 0
    wrong: int = 0

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(
                f"benchmark: the worker of {self.subject!r} ({self.api}) died; its traceback stands above"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run_batch(self, *, count: bool) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self.read()
        calls = {kind: [ns / 1000 for ns in answer["calls"][kind]] for kind in KINDS}
        if not count:
            return
        number = sum(map(len, calls.values()))
        self.calls += number
        self.wrong += answer["wrong"]
        for kind in KINDS:
            self.by_kind_us[kind].append(median(calls[kind]))
        self.call_us.append(mean(median(calls[kind]) for kind in KINDS))
        self.cpu_us.append(mean(median(answer["cpu"][kind]) / 1000 for kind in KINDS))
        self.around_us.append((answer["opened"] + answer["closed"]) / 1000 / number)


def main() -> int:
    parser = argparse.ArgumentParser(description="What recording and replaying cost, as ratios of one run.")
    parser.add_argument("--peers", help="a Python that has timetracer, vcrpy and cassetter (see peers.txt)")
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--warm-up", type=int, default=5, help="rounds that are not counted")
    parser.add_argument("--of-each", type=int, default=8, help="calls of each kind in a batch")
    parser.add_argument("--imports", type=int, default=10, help="how often each import is timed")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--write", type=Path, help="write the tables to this file as well")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        workers = start(arguments, Path(folder), stack)
        order = random.Random(arguments.seed)
        groups = neighbours(workers)
        progress(f"{len(workers)} subjects, {arguments.rounds} rounds of {3 * arguments.of_each} calls each")
        for round_number in range(-arguments.warm_up, arguments.rounds):
            for group in order.sample(groups, len(groups)):
                if group[0].peer and round_number % PEERS_EVERY:
                    continue
                for worker in order.sample(group, len(group)):
                    worker.run_batch(count=round_number >= 0)
            if round_number > 0 and round_number % 50 == 0:
                progress(f"round {round_number}")
    progress("imports")
    imports = import_times(arguments)
    text = report(arguments, workers, imports)
    print(text, end="")
    progress(f"done in {time.monotonic() - began:.0f} s")
    if arguments.write is not None:
        arguments.write.write_text(text, "utf-8")
    broken = [worker.label for worker in workers if worker.wrong and not worker.peer]
    if broken:
        print(f"benchmark: wrong answers from {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


def start(arguments: argparse.Namespace, folder: Path, stack: ExitStack) -> list[Worker]:
    """The server and all workers, ready for their first batch."""
    server = spawn(stack, [sys.executable, str(HERE / "workload.py")])
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    wanted = [(sys.executable, subject, api, False) for api in ("sync", "async") for subject in OURS]
    if arguments.peers:
        wanted += [(arguments.peers, subject, "sync", True) for subject in PEERS]
    workers = []
    for number, (python, subject, api, peer) in enumerate(wanted):
        own_folder = folder / str(number)
        own_folder.mkdir()
        command = [
            python,
            str(HERE / "worker.py"),
            subject,
            "--api",
            api,
            "--port",
            port,
            "--folder",
            str(own_folder),
        ]
        command += ["--seed", str(arguments.seed), "--of-each", str(arguments.of_each)]
        label = (PEERS if peer else OURS)[subject]
        worker = Worker(label, subject, api, peer, spawn(stack, command))
        worker.versions = worker.read()
        workers.append(worker)
    return workers


def neighbours(workers: list[Worker]) -> list[list[Worker]]:
    """What is compared with each other runs right after each other: one group calls the server, one need not."""
    groups: dict[tuple[bool, str, bool], list[Worker]] = {}
    for worker in workers:
        in_process = worker.subject.startswith(("mock", "replay"))
        groups.setdefault((worker.peer, worker.api, in_process), []).append(worker)
    return list(groups.values())


def spawn(stack: ExitStack, command: list[str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(), start_new_session=True
    )

    def end() -> None:
        process.terminate()
        process.communicate()

    stack.callback(end)
    return process


def environment() -> dict[str, str]:
    """This environment, less what would trace, record or import something else."""
    unwanted = ("OTEL_", "TIMETRACER_", "COV", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def import_times(arguments: argparse.Namespace) -> dict[str, float]:
    """Milliseconds that each import adds to a bare interpreter: median over interleaved runs."""
    wanted = [(sys.executable, name) for name in IMPORTS]
    if arguments.peers:
        wanted += [(arguments.peers, name) for name in PEER_IMPORTS]
    times: dict[tuple[str, str], list[float]] = {pair: [] for pair in [(sys.executable, "sys"), *wanted]}
    for _ in range(arguments.imports):
        for python, name in times:
            began = time.perf_counter()
            subprocess.run([python, "-c", f"import {name}"], check=True, env=environment())
            times[python, name].append((time.perf_counter() - began) * 1000)
    nothing = median(times.pop((sys.executable, "sys")))
    return {name: median(found) - nothing for (_, name), found in times.items()}


def report(arguments: argparse.Namespace, workers: list[Worker], imports: dict[str, float]) -> str:
    """Everything as Markdown: the aims, a table for each API, imports, and what it was measured with."""
    versions = {name: version for worker in workers for name, version in worker.versions.items()}
    lines = [
        "# Benchmark of httpx",
        "",
        f"{arguments.rounds} rounds of {3 * arguments.of_each} calls for each subject, seed {arguments.seed}.",
        f"Python {versions.pop('Python')} on {platform.system()}, {platform.machine()}.",
        ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + ".",
        "",
        "The calls go to a server on loopback that answers from memory, so the figures are the dearest case:",
        "the longer a real server takes, the nearer every ratio is to 1. Ratios are medians over the rounds, with",
        f"quartiles; a call is the mean of {', '.join(KINDS)}. Absolute times belong to the machine of the run.",
        "Processor time is that of the calling thread, without the server's work and a busy machine's pauses.",
        "",
        "## Aims",
        "",
        *aims(workers),
    ]
    for api in ("sync", "async"):
        lines += ["", f"## {'`httpx.Client`' if api == 'sync' else '`httpx.AsyncClient`'}", "", *table(workers, api)]
    lines += ["", "## Import", "", "| import | ms beyond a bare interpreter |", "| --- | ---: |"]
    lines += [f"| `{name}` | {ms:.0f} |" for name, ms in imports.items()]
    return "\n".join(lines) + "\n"


def aims(workers: list[Worker]) -> list[str]:
    """The two ratios that the project has set itself, beside what was measured."""
    columns = [(api, clock) for api in ("sync", "async") for clock in ("processor time", "clock")]
    lines = [f"| aim | at most | {' | '.join(f'{api}, {clock}' for api, clock in columns)} |"]
    lines.append("| --- | ---: |" + " ---: |" * len(columns))

    def row(text: str, limit: str, figure: Callable[[dict[str, list[float]]], str]) -> None:
        cells = []
        for api, clock in columns:
            ours = [worker for worker in workers if worker.api == api and not worker.peer]
            cells.append(figure({w.subject: w.cpu_us if clock == "processor time" else w.call_us for w in ours}))
        lines.append(f"| {text} | {limit} | {' | '.join(cells)} |")

    row(
        "record adds to OTel's own instrumentation, of what that adds to httpx",
        "15 %",
        lambda found: spread(added_share(found["record-otel"], found["otel"], found["bare"]), "{:.0f} %"),
    )
    row(
        "replay without tracing, against `httpx.MockTransport`",
        "1.10",
        lambda found: spread(ratios(found["replay"], found["mock"]), "{:.2f}"),
    )
    return lines


def added_share(ours: list[float], theirs: list[float], bare: list[float]) -> list[float]:
    """Percent that each round adds, of the median of what OTel adds: a quotient of small differences is noise."""
    added = median(one - other for one, other in zip(theirs, bare, strict=True))
    return [100 * (one - other) / added for one, other in zip(ours, theirs, strict=True)]


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def spread(values: list[float], form: str) -> str:
    """Median and quartiles."""
    low, middle, high = quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{form.format(middle)} ({form.format(low)} to {form.format(high)})"


def table(workers: list[Worker], api: str) -> list[str]:
    chosen = [worker for worker in workers if worker.api == api]
    lines = [
        "| subject | call, against httpx alone | in processor time | µs per call | "
        + " | ".join(KINDS)
        + " | open and close, µs per call | answers unlike the server's |",
        "| --- | ---: | ---: | ---: |" + " ---: |" * len(KINDS) + " ---: | ---: |",
    ]
    for worker in chosen:
        bare = next(other for other in chosen if other.subject == "bare" and other.peer == worker.peer)
        kinds = [f"{median(worker.by_kind_us[kind]):.0f}" for kind in KINDS]
        cells = [
            worker.label,
            spread(ratios(worker.call_us, bare.call_us), "{:.2f}"),
            spread(ratios(worker.cpu_us, bare.cpu_us), "{:.2f}"),
            f"{median(worker.call_us):.0f}",
            *kinds,
            f"{median(worker.around_us):.0f}",
            f"{worker.wrong} of {worker.calls}" if worker.wrong else "none",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def progress(line: str) -> None:
    print(f"benchmark: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
