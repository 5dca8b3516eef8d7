"""Draws what calls cost, from `results.json`: ``python benchmarks/picture.py results.json costs.svg``.

For each library a block of bars: recorded calls on the left, replayed ones on the right, as multiples of the bare
call. A bar begins at the bare call, and the scale is logarithmic, so that twice and half are equally long. The
colours follow the reader's choice of light or dark.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from html import escape
from math import log10
from pathlib import Path
from typing import Any, NamedTuple

SIZE = "300 B"
RECORDED = {
    "OTel instrumentation": "OTel alone",
    "timetracer-otel records, with OTel": "timetracer-otel and OTel",
    "timetracer-otel records": "timetracer-otel",
    "timetracer records": "timetracer",
    "vcrpy records": "vcrpy",
    "cassetter records": "cassetter",
    "tusk-drift records": "tusk-drift",
}
REPLAYED = {
    "timetracer-otel replays": "timetracer-otel",
    "timetracer replays": "timetracer",
    "vcrpy replays": "vcrpy",
    "cassetter replays": "cassetter",
    "tusk-drift replays": "tusk-drift",
}
OURS = "timetracer-otel"
LANE, GAP, TOP = 17, 18, 104
TICKS = (0.1, 1, 10)
WIDTH = 990
NOTE = (
    "Processor time, with opening and writing the cassette. A bar begins at the bare call; the scale is logarithmic."
)


class Panel(NamedTuple):
    """One scale.

    Attributes:
        title: What stands over it.
        left: Where it begins.
        width: How wide it is.
        low: The ratio with which it begins; below it, bars are cut off.
        high: The ratio with which it ends.
    """

    title: str
    left: float
    width: float
    low: float
    high: float

    def at(self, ratio: float) -> float:
        """Where a ratio stands."""
        share = log10(min(max(ratio, self.low), self.high) / self.low) / log10(self.high / self.low)
        return self.left + self.width * share


PANELS = (Panel("recorded", 190, 290, 0.7, 64), Panel("replayed, its server stopped", 690, 220, 0.05, 32))
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f; paint-order: stroke; stroke: #ffffff; stroke-width: 4 }
  .title { font-size: 16px; font-weight: 600 }
  .head { font-size: 13px; font-weight: 600 }
  .quiet { fill: #57606a }
  .grid { stroke: #d0d7de; stroke-width: 1 }
  .bare { stroke: #57606a; stroke-width: 1.5 }
  .ours { fill: #3f51b5 } .other { fill: #a8b0b9 }
  .paper { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; stroke: #0d1117 } .quiet { fill: #9da7b1 }
    .grid { stroke: #343b44 } .bare { stroke: #9da7b1 }
    .ours { fill: #8c9eff } .other { fill: #5b6570 } .paper { fill: #0d1117 }
  }
"""


def svg(found: dict[str, Any]) -> str:
    """The picture; without calls in the results, one that says so."""
    calls: dict[str, Any] = found["parts"].get("compare", {}).get("calls", {})
    lines = list(drawn(calls)) if calls else ['<text x="20" y="60">No calls were measured.</text>']
    height = TOP + sum(block_height(subjects) for subjects in calls.values()) + 40
    title = f"What one call of {SIZE} costs, all threads, as a multiple of the bare call"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    return "\n".join(
        [
            head,
            f"<title>{title}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
            f'<text class="title" x="20" y="30">{title}</text>',
            f'<text class="quiet" x="20" y="52">{NOTE}</text>',
            *lines,
            "</svg>\n",
        ]
    )


def block_height(subjects: dict[str, Any]) -> int:
    return LANE * (1 + max(len(RECORDED), len(REPLAYED) + 1)) + GAP


def drawn(calls: dict[str, Any]) -> Iterator[str]:
    """The two panels."""
    bottom = TOP + sum(map(block_height, calls.values())) - GAP + 4
    for panel in PANELS:
        yield f'<text class="head" x="{panel.left}" y="82">{panel.title}</text>'
        for tick in TICKS:
            if tick < panel.low:
                continue
            x = panel.at(tick)
            kind = "bare" if tick == 1 else "grid"
            yield f'<line class="{kind}" x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}"/>'
            name = "bare call" if tick == 1 else f"{tick:g} x"
            yield f'<text class="quiet" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{name}</text>'
    y = TOP
    for library, subjects in calls.items():
        yield f'<text class="head" x="20" y="{y + 4}">{escape(library)}</text>'
        stand_ins = {label: label for label in subjects if is_stand_in(label)}
        for panel, wanted in zip(PANELS, (RECORDED, REPLAYED | stand_ins), strict=True):
            for lane, (subject, name) in enumerate(wanted.items(), 1):
                yield from bar(panel, subjects.get(subject), name, y + LANE * lane)
        y += block_height(subjects)


def is_stand_in(label: str) -> bool:
    """Whether a subject is neither bare, nor OTel alone, nor a recorder."""
    return not label.startswith(("bare", "OTel")) and " records" not in label and " replays" not in label


def bar(panel: Panel, subject: Any, name: str, y: float) -> Iterator[str]:
    """A name, and how far its cost is from the bare call."""
    kind = "ours" if name.startswith(OURS) else "other"
    yield f'<text x="{panel.left - 8}" y="{y + 4}" text-anchor="end">{escape(name)}</text>'
    why = unable(subject)
    one = panel.at(1)
    if why:
        yield f'<text class="quiet" x="{one + 6:.1f}" y="{y + 4}">{why}</text>'
        return
    ratio = subject["sizes"][SIZE]["whole_of_bare"]
    end = panel.at(ratio)
    start, length = min(one, end), max(abs(end - one), 1.5)
    yield f'<rect class="{kind}" x="{start:.1f}" y="{y - 6}" width="{length:.1f}" height="12" rx="2"/>'
    yield f'<text class="quiet" x="{max(one, end) + 6:.1f}" y="{y + 4}">{ratio:.2f} x</text>'


def unable(subject: Any) -> str:
    """Why there is no bar; empty where there is one."""
    if subject is None or SIZE not in subject["sizes"]:
        return "not measured"
    if subject["unlike"][SIZE]:
        return "no right answer"
    return "records nothing" if subject["sizes"][SIZE]["disk_bytes"] == 0 else ""


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(svg(json.loads(Path(sys.argv[1]).read_text("utf-8"))), "utf-8")
