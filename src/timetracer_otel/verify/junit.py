"""The results of a run as JUnit XML, which CI systems read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from timetracer_otel.verify.runner import Outcome, Result

__all__ = ["write_junit"]


def write_junit(path: Path, results: Sequence[Result], took_s: float, began: datetime) -> None:
    """Write a run as one test suite. A recording that was not sent is a skipped test.

    Args:
        path: The file; an older one is replaced.
        results: The results of the run.
        took_s: How long the whole run took, in seconds.
        began: When the run began.

    Raises:
        OSError: The file cannot be written.
    """
    import junitparser

    suite = junitparser.TestSuite("timetracer-otel verify")
    suite.timestamp = began.isoformat(timespec="seconds")
    for result in results:
        if result.outcome is Outcome.LEFT_OUT:
            continue
        case = junitparser.TestCase(_xml(result.planned.name), _xml(result.planned.cassette), round(result.took_s, 3))
        problems = _text(result, result.problems)
        if result.outcome is Outcome.FAILED:
            case.result = [junitparser.Failure(problems.partition("\n")[0], "difference")]
            case.result[0].text = problems
        elif result.outcome is Outcome.NOT_SENT:
            case.result = [junitparser.Skipped(problems)]
        told = [
            *result.notes,
            *(result.calls.lines()[2:] if result.calls is not None and result.calls.differs else []),
        ]
        if told:
            case.system_out = _text(result, told)
        suite.add_testcase(case)
    suite.time = round(took_s, 3)
    document = junitparser.JUnitXml()
    document.add_testsuite(suite)
    document.write(str(path), pretty=True)


def _text(result: Result, lines: Sequence[str]) -> str:
    text = "\n".join(lines)
    entry = result.planned.entry
    if entry is not None:
        # Files of several machines are put together: where the folder stands on one of them is not in it.
        text = text.replace(entry.path, result.planned.cassette)
    return _xml(text)


_NO_XML = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no document of XML 1.0 may hold (section 2.2)."""


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
