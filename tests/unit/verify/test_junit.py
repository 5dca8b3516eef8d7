"""Results as JUnit XML."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import junitparser

from timetracer_otel.verify import Planned
from timetracer_otel.verify.junit import write_junit
from timetracer_otel.verify.runner import Outcome, Result


def test_every_result_of_a_request_is_a_case(tmp_path: Path) -> None:
    failed = Result(
        Planned("GET /a", "d/a.msgpack"), Outcome.FAILED, ["status: \x1b", "<more>"], ["note"], 500, 1.23456
    )
    not_sent = Result(Planned("PUT /b", "b.msgpack"), Outcome.NOT_SENT, ["its body broke off"])
    passed = Result(Planned("GET /c", "c.msgpack"), Outcome.PASSED, status=200, took_s=0.1)
    left_out = Result(Planned("process.msgpack", "process.msgpack"), Outcome.LEFT_OUT, ["not a request"])
    path = tmp_path / "results.xml"
    write_junit(path, [failed, not_sent, passed, left_out], 2.0, datetime(2026, 3, 1, tzinfo=timezone.utc))
    (suite,) = junitparser.JUnitXml.fromfile(str(path))
    assert (suite.tests, suite.failures, suite.skipped, suite.errors, suite.time) == (3, 1, 1, 0, 2.0)
    assert suite.timestamp == "2026-03-01T00:00:00+00:00"
    cases = list(suite)
    assert [(case.classname, case.name, case.time) for case in cases] == [
        ("d/a.msgpack", "GET /a", 1.235),
        ("b.msgpack", "PUT /b", 0.0),
        ("c.msgpack", "GET /c", 0.1),
    ]
    (failure,) = cases[0].result
    assert (failure.message, failure.text) == ("status: \ufffd", "status: \ufffd\n<more>")
    assert cases[0].system_out == "note"
    (skipped,) = cases[1].result
    assert skipped.message == "its body broke off"
    assert cases[2].result == []
