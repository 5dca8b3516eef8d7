"""A whole run against a service that listens: from the first request to the last line of the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from timetracer_otel.report import printable
from timetracer_otel.verify.junit import write_junit
from timetracer_otel.verify.planning import Planned
from timetracer_otel.verify.progress_bar import Progress
from timetracer_otel.verify.runner import Outcome, Result, Runner
from timetracer_otel.verify.service import Service
from timetracer_otel.verify.text import details, result_line, summary_line

__all__ = ["verify"]


def verify(
    runner: Runner,
    service: Service,
    planned: Sequence[Planned],
    jobs: int,
    junit_xml: Path | None,
    say: Callable[[str], None],
) -> bool:
    """Send what was planned, and report; False where something failed.

    Args:
        runner: Sends and judges.
        service: Which listens.
        planned: The recordings.
        jobs: How many requests may be under way at once.
        junit_xml: File for the results as JUnit XML; None for none.
        say: Takes each line of the report that follows the results.

    Raises:
        OSError: ``junit_xml`` cannot be written.
    """
    began, began_s = datetime.now(timezone.utc), time.monotonic()
    progress = Progress(len(planned))

    def tell(result: Result) -> None:
        progress.say(result_line(result))
        progress.step()

    try:
        results = runner.run(planned, jobs, tell)
    finally:
        progress.close()
    took_s = time.monotonic() - began_s
    for line in (*details(results), *_last_words(service, results), "", summary_line(results, took_s)):
        say(line)
    if junit_xml is not None:
        write_junit(junit_xml, results, took_s, began)
    return all(result.outcome is not Outcome.FAILED for result in results)


def _last_words(service: Service, results: Sequence[Result]) -> list[str]:
    """What the service printed, where something is wrong with it that no missed call explains."""
    if not any(result.is_unexplained for result in results):
        return []
    how, lines = service.ending, service.last_lines()
    ended = f"The service {how}; it" if how is not None else "The service"
    title = f"{ended} printed{', at last:' if lines else ' nothing.'}"
    return ["", title, *(f"  {printable(line)}" for line in lines)]
