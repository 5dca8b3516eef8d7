"""What recording and replaying cost: ``python benchmarks/compare.py``, or ``make bench`` with the peers beside us.

Each subject is one process (worker.py) that stays up and runs one batch of calls whenever it is told to. The
runner goes round the subjects that are compared with each other again and again, so that a machine that slows down
slows all of them; ratios are taken within a round, and the median over the rounds is what counts. Only those run
at a time: a service does not share its processor's caches with two dozen interpreters, and what is cold is dear.
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
from math import nan, sqrt
from pathlib import Path
from statistics import mean, median, quantiles, variance
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
"""The peers have a third of the rounds: ours are compared with narrower aims."""
STARTS_OF_MADE_CALLS = 25
"""Two starts of one program differ by as much as recording adds, so many are needed to see that."""
GROUPS = {
    "sync": ("bare", "otel", "otel-no-exporter", "record-otel", "record"),
    "sync, in the process": ("bare", "mock", "replay", "replay-otel"),
    "async": ("bare", "otel", "otel-no-exporter", "record-otel", "record"),
    "async, in the process": ("bare", "mock", "replay", "replay-otel"),
    "peers": tuple(PEERS),
}
"""What is compared with each other; ``bare`` is what the others of its group are ratios to."""
MADE_CALLS = ("sync", "async")
TITLES = {
    "sync": "`httpx.Client`: calls that are made",
    "sync, in the process": "`httpx.Client`: calls that are answered in the process",
    "async": "`httpx.AsyncClient`: calls that are made",
    "async, in the process": "`httpx.AsyncClient`: calls that are answered in the process",
    "peers": "Other packages, `httpx.Client`",
}
IMPORTS = ("httpx", "opentelemetry.sdk.trace", "timetracer_otel", "timetracer_otel.plugins")
PEER_IMPORTS = ("timetracer", "vcr", "cassetter")


@dataclass
class Worker:
    """A subject's process, and what it measured: one figure per round."""

    label: str
    subject: str
    process: subprocess.Popen[str] | None = None
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
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"benchmark: the worker of {self.subject!r} died; its traceback stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run_batch(self, *, count: bool) -> None:
        assert self.process is not None
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
    parser.add_argument("--starts", type=int, default=3, help="how often each process is started anew")
    parser.add_argument(
        "--starts-of-made-calls", type=int, default=STARTS_OF_MADE_CALLS, help="the same where calls are recorded"
    )
    parser.add_argument("--warm-up", type=int, default=5, help="rounds that are not counted")
    parser.add_argument("--of-each", type=int, default=8, help="calls of each kind in a batch")
    parser.add_argument("--imports", type=int, default=10, help="how often each import is timed")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--write", type=Path, help="write the tables to this file as well")
    arguments = parser.parse_args()
    began = time.monotonic()
    groups: dict[str, list[Worker]] = {}
    paired: dict[str, list[Paired]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        port = start_server(stack)
        for group, subjects in GROUPS.items():
            if group != "peers" or arguments.peers:
                groups[group] = measure(arguments, group, subjects, port, Path(folder) / group)
        for api in ("sync", "async"):
            paired[api] = [pair(arguments, api, port, folder) for _ in range(arguments.starts)]
    progress("imports")
    imports = import_times(arguments)
    text = report(arguments, groups, paired, imports)
    print(text, end="")
    progress(f"done in {time.monotonic() - began:.0f} s")
    if arguments.write is not None:
        arguments.write.write_text(text, "utf-8")
    broken = [w.label for group, workers in groups.items() for w in workers if w.wrong and group != "peers"]
    if broken:
        print(f"benchmark: wrong answers from {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


def start_server(stack: ExitStack) -> str:
    """The server that answers from memory; its port."""
    server = spawn(stack, [sys.executable, str(HERE / "workload.py")])
    assert server.stdout is not None
    return server.stdout.readline().strip()


def measure(
    arguments: argparse.Namespace, group: str, subjects: tuple[str, ...], port: str, folder: Path
) -> list[Worker]:
    """Go round a group's workers; each is started several times, since where its memory lies is a matter of luck."""
    rounds = max(arguments.rounds // PEERS_EVERY, 1) if group == "peers" else arguments.rounds
    starts = arguments.starts_of_made_calls if group in MADE_CALLS else arguments.starts
    progress(
        f"{group}: {len(subjects)} subjects, {rounds} rounds of {3 * arguments.of_each} calls, {starts} starts each"
    )
    labels = PEERS if group == "peers" else OURS
    workers = [Worker(labels[subject], subject) for subject in subjects]
    order = random.Random(arguments.seed)
    for start in range(starts):
        with ExitStack() as stack:
            for worker in workers:
                command = command_of(arguments, group, worker.subject, port, folder / worker.subject / str(start))
                worker.process = spawn(stack, command)
                worker.versions = worker.read()
            for number in range(-arguments.warm_up, max(rounds // starts, 1)):
                for worker in order.sample(workers, len(workers)):
                    worker.run_batch(count=number >= 0)
    return workers


Paired = dict[str, dict[str, float]]
"""By clock and by client: microseconds of a call, as the mean over the kinds of their medians."""


def pair(arguments: argparse.Namespace, api: str, port: str, folder: str) -> Paired:
    """What recording adds to a call, by one process (paired.py)."""
    progress(f"{api}: calls in turn in one process")
    command = [sys.executable, str(HERE / "paired.py"), "--api", api, "--port", port, "--folder", folder]
    command += ["--seed", str(arguments.seed), "--of-each", str(arguments.of_each)]
    command += ["--rounds", str(max(arguments.rounds // arguments.starts, 1))]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"benchmark: paired.py failed ({api}); what went wrong stands above")
    found = json.loads(done.stdout)
    return {
        clock: {
            client: mean(median(times) / 1000 for times in kinds.values()) for client, kinds in found[clock].items()
        }
        for clock in ("cpu", "clock")
    }


def command_of(arguments: argparse.Namespace, group: str, subject: str, port: str, folder: Path) -> list[str]:
    """What starts a worker."""
    folder.mkdir(parents=True)
    python = arguments.peers if group == "peers" else sys.executable
    api = "async" if group.startswith("async") else "sync"
    command = [python, str(HERE / "worker.py"), subject, "--api", api, "--port", port, "--folder", str(folder)]
    return [*command, "--seed", str(arguments.seed), "--of-each", str(arguments.of_each)]


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


def report(
    arguments: argparse.Namespace,
    groups: dict[str, list[Worker]],
    paired: dict[str, list[Paired]],
    imports: dict[str, float],
) -> str:
    """Everything as Markdown: the aims, a table for each group, imports, and what it was measured with."""
    versions = {name: version for workers in groups.values() for w in workers for name, version in w.versions.items()}
    lines = [
        "# Benchmark of httpx",
        "",
        f"{arguments.rounds} rounds of {3 * arguments.of_each} calls for each subject, a third of them for the other",
        f"packages, in {arguments.starts} processes one after the other, where calls are made in",
        f"{arguments.starts_of_made_calls}; seed {arguments.seed}.",
        f"Python {versions.pop('Python')} on {platform.system()}, {platform.machine()}.",
        ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + ".",
        "",
        "The calls go to a server on loopback that answers from memory, so the figures are the dearest case:",
        "the longer a real server takes, the nearer every ratio is to 1. Ratios are medians over the rounds, with",
        f"quartiles; a call is the mean of {', '.join(KINDS)}. Absolute times belong to the machine of the run.",
        "Processor time is that of the calling thread, without the server's work and a busy machine's pauses.",
        "The subjects of one table ran in turn, a batch each, while no others ran.",
        "",
        "## Aims",
        "",
        *aims(groups, paired, arguments.starts_of_made_calls),
    ]
    for group, workers in groups.items():
        lines += ["", f"## {TITLES[group]}", "", *table(workers)]
    lines += ["", "## Import", "", "| import | ms beyond a bare interpreter |", "| --- | ---: |"]
    lines += [f"| `{name}` | {ms:.0f} |" for name, ms in imports.items()]
    return "\n".join(lines) + "\n"


def aims(groups: dict[str, list[Worker]], paired: dict[str, list[Paired]], starts: int) -> list[str]:
    """The two ratios that the project has set itself, beside what was measured."""
    columns = [(api, clock) for api in ("sync", "async") for clock in ("processor time", "clock")]
    lines = [f"| aim | at most | {' | '.join(f'{api}, {clock}' for api, clock in columns)} |"]
    lines.append("| --- | ---: |" + " ---: |" * len(columns))

    def row(text: str, limit: str, place: str, figure: Callable[[dict[str, list[float]]], str]) -> None:
        cells = []
        for api, clock in columns:
            workers = groups[api + place]
            cells.append(figure({w.subject: w.cpu_us if clock == "processor time" else w.call_us for w in workers}))
        lines.append(f"| {text} | {limit} | {' | '.join(cells)} |")

    added = "record adds to OTel's own instrumentation, of what that adds to httpx"
    cells = [paired_share(paired[api], clock) for api, clock in columns]
    lines.append(f"| {added}: calls in turn in one process (lowest and highest start) | 15 % | {' | '.join(cells)} |")
    row(f"{added}: each in processes of its own (standard error)", "15 %", "", lambda found: own_share(found, starts))
    row(
        "replay without tracing, against `httpx.MockTransport`",
        "1.10",
        ", in the process",
        lambda found: spread(ratios(found["replay"], found["mock"]), "{:.2f}"),
    )
    return lines


def paired_share(starts: list[Paired], clock: str) -> str:
    """Percent that recording adds of what OTel adds: the median of the starts, with their ends."""
    found = [each["cpu" if clock == "processor time" else "clock"] for each in starts]
    shares = [100 * (us["record"] - us["otel"]) / (us["otel"] - us["bare"]) for us in found]
    return f"{median(shares):.0f} % ({min(shares):.0f} % to {max(shares):.0f} %)"


def own_share(found: dict[str, list[float]], starts: int) -> str:
    """Percent that recording adds of what OTel adds, each in processes of its own: the mean of the starts."""
    by_start = {subject: medians(figures, starts) for subject, figures in found.items()}
    ours, theirs, bare = (by_start[subject] for subject in ("record-otel", "otel", "bare"))
    added = mean(theirs) - mean(bare)
    error = sqrt((variance(ours) + variance(theirs)) / len(ours)) if len(ours) > 1 else nan
    return f"{100 * (mean(ours) - mean(theirs)) / added:.0f} % (± {100 * error / added:.0f})"


def medians(figures: list[float], starts: int) -> list[float]:
    """The median of each start's rounds, of which all have the same number."""
    rounds = len(figures) // starts
    return [median(figures[first : first + rounds]) for first in range(0, len(figures), rounds)]


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def spread(values: list[float], form: str) -> str:
    """Median and quartiles."""
    low, middle, high = quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{form.format(middle)} ({form.format(low)} to {form.format(high)})"


def table(workers: list[Worker]) -> list[str]:
    lines = [
        "| subject | call, against httpx alone | in processor time | µs per call | "
        + " | ".join(KINDS)
        + " | open and close, µs per call | answers unlike the server's |",
        "| --- | ---: | ---: | ---: |" + " ---: |" * len(KINDS) + " ---: | ---: |",
    ]
    bare = next(worker for worker in workers if worker.subject == "bare")
    for worker in workers:
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
