"""What a benchmark found: goals, and figures. It is the one way in which all of them say so.

A benchmark prints tables for the eye. `state` prints one more, of the goals of the issue that it has figures for, and
`keep` keeps figures by name. Where `bench.py` runs the benchmark, both also go into the file that it names, from
which `results.md`, `results.json` and the picture are made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

FILE = "BENCHMARK_RESULTS"
"""The variable that names the file. Each line of it is a map in JSON."""
FORMS: dict[str, Callable[[float], str]] = {
    "share": lambda value: f"{value:.1%}" if value < 0.1 else f"{value:.0%}",
    "times": lambda value: f"{value:.2f} x",
    "ms": lambda value: f"{value:,.2f} ms" if value < 10 else f"{value:,.0f} ms",
    "µs": lambda value: f"{value:,.1f} µs" if value < 10 else f"{value:,.0f} µs",
    "bytes": lambda value: f"{value:,.0f} B",
}
"""How a figure is written, by its unit. A share is of 1, and so is a factor."""


class Goal(NamedTuple):
    """One figure, and what it may be.

    Attributes:
        name: What was measured, in words that nobody else uses.
        figure: What it is.
        bound: What it may be at most; where `at_least` is set, at least.
        unit: One of the `FORMS`.
        at_least: More is better.
    """

    name: str
    figure: float
    bound: float
    unit: str = "times"
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound

    @property
    def row(self) -> str:
        """Its row in a table."""
        form = FORMS[self.unit]
        limit = f"at {'least' if self.at_least else 'most'} {form(self.bound)}"
        return f"| {self.name} | {form(self.figure)} | {limit} | {'met' if self.met else '**missed**'} |"


HEAD = ("| goal | figure | wanted | |", "| --- | ---: | ---: | --- |")


def state(goals: Iterable[Goal]) -> None:
    """Print a table of goals, and hand them to `bench.py`."""
    stated = list(goals)
    if not stated:
        return
    print("", *HEAD, *(goal.row for goal in stated), sep="\n")
    for goal in stated:
        _write({"goal": goal._asdict()})


def keep(name: str, figures: Any) -> None:
    """Hand figures to `bench.py`: whatever JSON has a form for."""
    _write({"name": name, "figures": figures})


def _write(line: dict[str, Any]) -> None:
    path = os.environ.get(FILE)
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
