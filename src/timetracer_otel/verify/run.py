"""A whole run against a service that listens: its progress bar, and its report in the manner of test runners."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timezone

from timetracer_otel.config import TraceConfig
from timetracer_otel.match.advice import Wording
from timetracer_otel.report import printable
from timetracer_otel.verify.jobs import JobQueue
from timetracer_otel.verify.planning import Planned
from timetracer_otel.verify.reports import Reports, call_lines
from timetracer_otel.verify.runner import Outcome, Result, Runner
from timetracer_otel.verify.service import Service

__all__ = ["ProgressBar", "verify"]

_WIDTH = max(len(outcome.value) for outcome in Outcome)


def verify(
    runner: Runner,
    service: Service,
    planned: Sequence[Planned],
    jobs: int,
    reports: Reports,
    say: Callable[[str], None],
    queue: JobQueue | None = None,
) -> bool:
    """Send what was planned, and report; False where something failed.

    Args:
        runner: Sends the requests and judges the answers.
        service: The service that the requests go to; it listens already.
        planned: The recordings, those that are not sent as well.
        jobs: How many requests may be under way at once.
        reports: Files for the results.
        say: Takes each line of the report that follows the results.
        queue: Gives the jobs to a worker, where jobs are verified, and not requests.

    Raises:
        OSError: A report cannot be written.
    """
    began, began_s = datetime.now(timezone.utc), time.monotonic()
    bar = ProgressBar(len(planned))

    def tell(result: Result) -> None:
        bar.say(_result_line(result))
        bar.step()

    try:
        if queue is None:
            results = runner.run(planned, jobs, tell)
        else:
            results = []
            for each in planned:
                results.append(runner.judge_job(each, queue))
                tell(results[-1])
    finally:
        bar.close()
        if queue is not None:
            # A worker that waits for a job may not hear the signal that asks it to end.
            queue.close()
    took_s = time.monotonic() - began_s
    for line in (
        *_details(results),
        *_advice(results),
        *_last_output(service, results),
        "",
        _summary_line(results, took_s),
    ):
        say(line)
    reports.write(results, took_s, began)
    return all(result.outcome is not Outcome.FAILED for result in results)


class ProgressBar:
    """A bar on standard error, shown only where that is a terminal, with the printed lines above it."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, unit=" requests", leave=False, disable=None, mininterval=0, file=sys.stderr)

    def say(self, line: str) -> None:
        """Print a line on standard output, above the bar."""
        self._bar.write(line, file=sys.stdout)
        sys.stdout.flush()

    def step(self) -> None:
        """Count one more request as done."""
        self._bar.update()

    def close(self) -> None:
        """Take the bar off the terminal."""
        self._bar.close()


def _last_output(service: Service, results: Sequence[Result]) -> list[str]:
    """What the service printed, where something is wrong with it that no missed call explains."""
    if not any(result.is_unexplained for result in results):
        return []
    how, lines = service.ending, service.last_lines()
    ended = f"The service {how}; it" if how is not None else "The service"
    title = f"{ended} printed{', at last:' if lines else ' nothing.'}"
    return ["", title, *(f"  {printable(line)}" for line in lines)]


def _result_line(result: Result) -> str:
    """``passed    GET /users/7 -> 200 in 12 ms``."""
    line = f"{result.outcome.value:<{_WIDTH}}  {printable(result.planned.name)}"
    if result.outcome in (Outcome.PASSED, Outcome.FAILED):
        if result.planned.is_job:
            return f"{line} in {result.took_s * 1000:.0f} ms"
        status = "no answer" if result.status is None else str(result.status)
        return f"{line} -> {status} in {result.took_s * 1000:.0f} ms"
    return f"{line}: {'; '.join(map(printable, result.problems))}"


def _details(results: Sequence[Result]) -> list[str]:
    """What failed, and how; and what is to be known of those that passed."""
    lines: list[str] = []
    for result in results:
        failed = result.outcome is Outcome.FAILED
        differs = result.calls is not None and result.calls.differs
        if failed or ((result.notes or differs) and result.outcome is Outcome.PASSED):
            lines += ["", f"== {printable(result.planned.name)} ({printable(result.planned.cassette)})"]
            lines += _indented(result.problems if failed else [])
            lines += _indented([f"note: {note}" for note in result.notes])
            if result.calls is not None and result.calls.differs:
                lines += ["  calls, recorded and now:", *(f"    {line}" for line in call_lines(result.calls))]
    return lines


def _advice(results: Sequence[Result]) -> list[str]:
    """The setting that leaves out what changes from run to run, over all calls that had no answer."""
    rules = dict.fromkeys(rule for result in results for rule in result.rules)
    if not rules:
        return []
    wording = Wording(True, tuple(TraceConfig.from_env().ignore))
    return ["", f"To leave out the values of calls that change from run to run: {wording.ignoring(rules)}"]


def _summary_line(results: Sequence[Result], took_s: float) -> str:
    """``1 failed, 6 passed, 1 not sent in 3.2 s``; at its end, the paid calls to language models."""
    counts = Counter(result.outcome for result in results)
    order = (Outcome.FAILED, Outcome.PASSED, Outcome.NOT_SENT, Outcome.LEFT_OUT)
    told = [f"{counts[outcome]} {outcome.value}" for outcome in order if counts[outcome]]
    otherwise = sum(result.calls is not None and result.calls.differs for result in results)
    calls = f"; {otherwise} with other calls" if otherwise else ""
    paid = [result.paid for result in results if result.paid is not None]
    calls += f"; paid calls: {sum(paid)}" if paid else ""
    return f"{', '.join(told) or 'nothing to send'} in {took_s:.1f} s{calls}"


def _indented(texts: Sequence[str]) -> list[str]:
    return [f"  {printable(line)}" for text in texts for line in text.splitlines()]
