"""Runs the suite bare, in a recording, or in a replay (``SUITE_MODE``), and writes each test's outcome to a file.

What a test invents itself (``uuid.uuid4``, ``random``) is the same in each run: seeded with the test's own name. What
the database answers is not touched.
"""

from __future__ import annotations

import json
import os
import random
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: F403
from sqlalchemy.testing.plugin.pytestplugin import pytest_sessionstart as _start

from timetracer_otel import record, replay
from timetracer_otel.plugins import enable_sqlalchemy

_MODE = os.environ["SUITE_MODE"]
_CASSETTE = os.environ["SUITE_CASSETTE"]
_OUTCOMES: dict[str, list[str]] = {}
_scope: Any = None

pytest.register_assert_rewrite("sqlalchemy.testing.assertions")


def pytest_sessionstart(session: Any) -> None:  # type: ignore[no-redef]
    """Begin the one recording or replay of the run, before the suite connects."""
    global _scope
    if _MODE != "bare":
        enable_sqlalchemy()
        # The whole suite is one recording: no limit is to end it.
        limits: Any = {"max_events": 1_000_000, "max_session_kb": 1_000_000}
        if _MODE == "record":
            _scope = record(_CASSETTE, redact="off", **limits)
        else:
            # What has no answer fails its test, which is what is counted.
            _scope = replay(_CASSETTE, fail_on_miss=False)
        _scope.__enter__()
    _seed("session")
    from sqlalchemy.dialects.postgresql import provision

    # Extensions that the suite wants and no test of it uses; a server for tests need not have them.
    provision._extensions.clear()
    _start(session)


@pytest.hookimpl(trylast=True)  # type: ignore[no-redef]
def pytest_unconfigure(config: Any) -> None:  # type: ignore[no-redef]
    """End it, and write the outcomes."""
    from sqlalchemy.testing.plugin.pytestplugin import pytest_unconfigure as finish

    finish(config)
    if _scope is not None:
        _scope.__exit__(None, None, None)
    Path(os.environ["SUITE_OUTCOMES"]).write_text(json.dumps(_OUTCOMES))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: Any) -> None:
    """Let each test invent the same values in each run."""
    _seed(item.nodeid)


def pytest_runtest_logreport(report: Any) -> None:  # type: ignore[no-redef]
    """Keep the outcome, with the last line of what failed."""
    if report.when == "call" or report.outcome != "passed":
        text = str(report.longrepr)[-3000:] if report.outcome == "failed" else ""
        known = _OUTCOMES.get(report.nodeid)
        if known is None or known[0] != "failed":
            _OUTCOMES[report.nodeid] = [report.outcome, text]


def _seed(name: str) -> None:
    source = random.Random(name)
    random.seed(name)
    uuid.uuid4 = lambda: uuid.UUID(int=source.getrandbits(128), version=4)  # type: ignore[assignment]
