"""The report of a run for the terminal, in the manner of test runners."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from timetracer_otel.report import printable
from timetracer_otel.verify.runner import Outcome, Result

__all__ = ["details", "result_line", "summary_line"]

_WIDTH = max(len(outcome.value) for outcome in Outcome)


def result_line(result: Result) -> str:
    """``passed    GET /users/7 -> 200 in 12 ms``."""
    line = f"{result.outcome.value:<{_WIDTH}}  {printable(result.planned.name)}"
    if result.outcome in (Outcome.PASSED, Outcome.FAILED):
        status = "no answer" if result.status is None else str(result.status)
        return f"{line} -> {status} in {result.took_s * 1000:.0f} ms"
    return f"{line}: {'; '.join(map(printable, result.problems))}"


def details(results: Sequence[Result]) -> list[str]:
    """What failed, and how; and what is to be known of those that passed."""
    lines: list[str] = []
    for result in results:
        failed = result.outcome is Outcome.FAILED
        if failed or (result.notes and result.outcome is Outcome.PASSED):
            lines += ["", f"== {printable(result.planned.name)} ({printable(result.planned.cassette)})"]
            lines += _indented(result.problems if failed else [])
            lines += _indented([f"note: {note}" for note in result.notes])
    return lines


def summary_line(results: Sequence[Result], took_s: float) -> str:
    """``1 failed, 6 passed, 1 not sent in 3.2 s``."""
    counts = Counter(result.outcome for result in results)
    order = (Outcome.FAILED, Outcome.PASSED, Outcome.NOT_SENT, Outcome.LEFT_OUT)
    told = [f"{counts[outcome]} {outcome.value}" for outcome in order if counts[outcome]]
    return f"{', '.join(told) or 'nothing to send'} in {took_s:.1f} s"


def _indented(texts: Sequence[str]) -> list[str]:
    return [f"  {printable(line)}" for text in texts for line in text.splitlines()]
