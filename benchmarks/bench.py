"""All that `make bench` measures, in one run: ``python benchmarks/bench.py``.

Each part is a script, run as a process of its own, one after the other. What they print stands in `results.md`, below
one table of all goals; the same as data stands in `results.json`, of which `picture.py` makes a picture. With
`--docs`, a page of the documentation gets the table of goals, and the picture stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import callgrind
import picture
import results

HERE = Path(__file__).parent


class Part(NamedTuple):
    """One script.

    Attributes:
        script: Its name.
        title: Its heading.
        small: Options with which it takes seconds, for a try. Its figures mean nothing then.
        with_peers: It takes `--peers`.
    """

    script: str
    title: str
    small: str
    with_peers: bool = False


PARTS = (
    Part("recording", "Recording, counted", "--fewer 10 --rounds 3 --only sqlite"),
    Part("idle", "Calls outside sessions", "--calls 2 --client requests"),
    Part("stand_ins", "Replaying, beside a stand-in", "--rounds 2 --only Redis --time-only"),
    Part("sessions", "Opening and ending", "--rounds 2 --time-only"),
    Part("steps", "Long recordings, step by step", "--rounds 1 --sizes 400 800"),
    Part("loading", "Loading, and memory", "--rounds 1 --events 1200"),
    Part("growth", "Cassettes of many events", "--events 100 200", with_peers=True),
    Part(
        "compare", "Five libraries, beside other packages", "--rounds 1 --warm-up 0 --sizes '300 B'", with_peers=True
    ),
    Part("under_load", "A service under load", "--slices 2 --seconds 0.5"),
    Part("startup", "Starting", "--imports 1 --starts 1", with_peers=True),
    Part("redaction", "Redaction", "--rounds 1 --time-only"),
)
"""In the order of the report. A script that does not exist is left out."""


class Done(NamedTuple):
    """What a part found."""

    part: Part
    seconds: float
    code: int
    text: str
    goals: list[results.Goal]
    figures: dict[str, Any]


def run(part: Part, peers: str | None, *, small: bool) -> Done:
    """Run one part, and show what it prints as it comes."""
    command = [sys.executable, str(HERE / f"{part.script}.py")]
    if small:
        command += shlex.split(part.small)
    if part.with_peers and peers:
        command += ["--peers", peers]
    print(f"\n# {part.title} ({part.script}.py)\n", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results")
        path.touch()
        environment = {**os.environ, results.FILE: str(path), "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            lines = list(shown(process.stdout))
        kept = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    goals = [results.Goal(**line["goal"]) for line in kept if "goal" in line]
    figures = {line["name"]: line["figures"] for line in kept if "name" in line}
    return Done(part, time.monotonic() - began, process.returncode, "".join(lines), goals, figures)


def shown(lines: Iterator[str] | Any) -> Iterator[str]:
    for line in lines:
        print(line, end="", flush=True)
        yield line


def about(part: Part) -> str:
    """What a script says of itself, without its first line, which tells how it is started."""
    source = (HERE / f"{part.script}.py").read_text("utf-8")
    text = source.split('"""', 2)[1]
    return text.partition("\n\n")[2].strip()


def without_goals(text: str) -> str:
    """What a part printed, without its table of goals: that stands at the top."""
    lines = text.splitlines()
    if results.HEAD[0] not in lines:
        return text.strip()
    at = lines.index(results.HEAD[0])
    end = next((number for number in range(at, len(lines)) if not lines[number].startswith("|")), len(lines))
    return "\n".join([*lines[:at], *lines[end:]]).strip()


def markdown(done: list[Done], machine: str) -> str:
    """The whole report."""
    goals = [goal for each in done for goal in each.goals]
    met = sum(goal.met for goal in goals)
    lines = ["# Benchmark", "", machine, "", f"## Goals: {met} of {len(goals)} met", "", *results.HEAD]
    lines += [goal.row for goal in goals]
    for each in done:
        lines += ["", f"## {each.part.title}", "", about(each.part), "", without_goals(each.text)]
        if each.code:
            lines += ["", f"**{each.part.script}.py failed.**"]
    return "\n".join(lines) + "\n"


BEGIN, END = "<!-- Written by `make bench`. -->", "<!-- Until here. -->"


def with_goals(page: str, done: list[Done], machine: str) -> str:
    """A page with the goals of this run between its two marks."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    goals = [goal for each in done for goal in each.goals]
    text = [machine, "", *results.HEAD, *(goal.row for goal in goals)]
    return f"{head}{BEGIN}\n\n{chr(10).join(text)}\n\n{END}{tail}"


def main() -> int:
    """Run the parts, and write what they found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", help="a Python that has the packages of peers.txt")
    parser.add_argument("--only", choices=[part.script for part in PARTS], action="append", help="run these alone")
    parser.add_argument("--small", action="store_true", help="a try: the figures mean nothing")
    parser.add_argument("--folder", type=Path, help="write results.md and results.json here")
    parser.add_argument("--docs", type=Path, help="write the goals into this page, and costs.svg beside it")
    arguments = parser.parse_args()
    began = time.monotonic()
    chosen = [part for part in PARTS if not arguments.only or part.script in arguments.only]
    done = [
        run(part, arguments.peers, small=arguments.small) for part in chosen if (HERE / f"{part.script}.py").exists()
    ]
    machine = (
        f"Python {platform.python_version()} on {platform.system()}, {platform.machine()}, {os.cpu_count()} cores."
    )
    if not callgrind.is_there():
        machine += " Nothing counted instructions: that needs valgrind."
    text = markdown(done, machine)
    print("\n".join(text.splitlines()[4 : 8 + sum(len(each.goals) for each in done)]))
    for each in done:
        print(f"{each.part.script}: {each.seconds:.0f} s{', FAILED' if each.code else ''}")
    print(f"in all: {time.monotonic() - began:.0f} s")
    if arguments.folder is not None:
        folder: Path = arguments.folder
        found = {
            "machine": machine,
            "goals": [{**goal._asdict(), "met": goal.met} for each in done for goal in each.goals],
            "parts": {each.part.script: {"text": each.text, **each.figures} for each in done},
        }
        (folder / "results.md").write_text(text, "utf-8")
        (folder / "results.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        if arguments.docs is not None:
            page: Path = arguments.docs
            page.write_text(with_goals(page.read_text("utf-8"), done, machine), "utf-8")
            page.with_name("costs.svg").write_text(picture.svg(found), "utf-8")
    return 1 if any(each.code for each in done) else 0


if __name__ == "__main__":
    sys.exit(main())
