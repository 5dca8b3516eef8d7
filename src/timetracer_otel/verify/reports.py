"""The results of a run as files: JUnit XML, JSON and Markdown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from timetracer_otel.report import Comparison, printable
from timetracer_otel.verify.junit import write_junit
from timetracer_otel.verify.runner import Outcome, Result

__all__ = ["Reports", "call_lines"]


def call_lines(calls: Comparison) -> list[str]:
    """Lines on how the calls of a request differ from the recorded ones."""
    return [line for line in calls.lines()[2:] if line]


@dataclass(frozen=True, slots=True)
class Reports:
    """The files that results are written to; None for those that nobody wants."""

    junit_xml: Path | None = None
    json: Path | None = None
    markdown: Path | None = None

    def write(self, results: Sequence[Result], took_s: float, began: datetime) -> None:
        """Write all of them. Older files are replaced.

        Raises:
            OSError: One cannot be written.
        """
        if self.junit_xml is not None:
            write_junit(self.junit_xml, results, took_s, began)
        if self.json is not None:
            text = json.dumps(_as_json(results, took_s, began), indent=2, ensure_ascii=False)
            self.json.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        if self.markdown is not None:
            text = "\n".join(map(printable, _as_markdown(results).split("\n")))
            self.markdown.write_text(text, encoding="utf-8", errors="backslashreplace")


def _as_json(results: Sequence[Result], took_s: float, began: datetime) -> dict[str, Any]:
    counts = Counter(result.outcome.value for result in results)
    return {
        "began": began.isoformat(timespec="seconds"),
        "took_s": round(took_s, 3),
        "outcomes": {outcome.value: counts[outcome.value] for outcome in Outcome},
        "requests": [
            {
                "request": result.planned.name,
                "cassette": result.planned.cassette,
                "outcome": result.outcome.value,
                "status": result.status,
                "took_s": round(result.took_s, 3),
                "problems": result.problems,
                "notes": result.notes,
                "paid": result.paid,
                "calls": result.calls.as_json() if result.calls is not None else None,
            }
            for result in results
        ],
    }


def _as_markdown(results: Sequence[Result]) -> str:
    counts = Counter(result.outcome for result in results)
    told = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome])
    lines = [f"**timetracer-otel verify**: {told or 'nothing to send'}", ""]
    for result in results:
        differs = result.calls is not None and result.calls.differs
        if result.outcome is Outcome.FAILED:
            lines += [f"- {_code(result.planned.name)} failed", *(f"  - {_code(each)}" for each in result.problems)]
        elif differs:
            lines.append(f"- {_code(result.planned.name)} makes other calls")
    if len(lines) > 2:
        lines.append("")
    for result in results:
        if result.calls is not None and result.calls.differs:
            lines.append(result.calls.markdown())
    return "\n".join(lines)


def _code(text: str) -> str:
    return f"`{text.partition(chr(10))[0].replace('`', chr(39))}`"
