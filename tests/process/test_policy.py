"""A policy and a budget, over requests: which cassettes there are, what they were kept as, and what is told."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from timetracer_otel import counters
from timetracer_otel.cassette import CassetteStore, read_cassette
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import TraceMode
from timetracer_otel.incoming import wsgi
from timetracer_otel.process.runtime import runtime
from timetracer_otel.report import summary


def _ask(path: str, route: str | None, status: str = "200 OK") -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status, [])
        return [b""]

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": ""}
    assert b"".join(wsgi.serve(app, environ, lambda *_: None, "mine", lambda environ: route)) == b""


def _recorded(folder: Path, **settings: str) -> Counter[tuple[str, str]]:
    """How many cassettes there are of each route, by what they were kept as."""
    runtime().start_recording(TraceConfig(mode=TraceMode.RECORD, cassette_dir=str(folder), **settings))  # type: ignore[arg-type]
    try:
        for number in range(5):
            _ask(f"/users/{number}", "/users/{id}")
            _ask(f"/items/{number}", "/items/{id}")
            _ask(f"/users/{number}", "/users/{id}", "500 Internal Server Error")
            _ask(f"/nowhere/{number}", None, "404 Not Found")
    finally:
        runtime().stop()
    found = [read_cassette(row.path) for row in CassetteStore(folder).list()]
    return Counter((each.request.route_template or "none", each.policies.kept_as) for each in found)


def test_each_route_has_a_budget_and_failed_requests_their_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = counters()
    with caplog.at_level(logging.INFO, "timetracer_otel"):
        found = _recorded(tmp_path, budget="1/h,errors:2/h")
    # A tenth of a budget may be kept at once, and one at least.
    assert found == {("/users/{id}", ""): 1, ("/items/{id}", ""): 1, ("none", ""): 1, ("/users/{id}", "errors"): 1}
    now = counters()
    told = {
        reason: number - before.discarded_by_reason.get(reason, 0)
        for reason, number in now.discarded_by_reason.items()
        if reason.startswith("over") and number != before.discarded_by_reason.get(reason, 0)
    }
    assert told == {"over the budget of the route": 12, "over the budget of failed requests of the route": 4}
    assert now.cassettes_discarded - before.cassettes_discarded == 16
    assert now.sessions_open == 0
    assert "over the budget of failed requests of the route: " in caplog.messages[-1]
    assert "requests have no cassette, as the settings say (" in caplog.messages[-1]


def test_a_policy_keeps_what_it_names_and_show_says_why(tmp_path: Path) -> None:
    assert _recorded(tmp_path / "errors", policy="errors,slower:10min") == {("/users/{id}", "errors"): 5}
    slow = _recorded(tmp_path / "slow", policy="slower:0ms")
    assert slow == {("/users/{id}", "slower"): 5, ("/items/{id}", "slower"): 5, ("none", "slower"): 5}
    row = CassetteStore(tmp_path / "errors").list()[0]
    assert "policy errors,slower:10min, kept as errors" in "\n".join(summary(read_cassette(row.path)))
