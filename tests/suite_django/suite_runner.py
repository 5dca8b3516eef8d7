"""Django's test runner with a recording or a replay of its own for each test (``SUITE_MODE``).

What a class of tests does before and behind its tests has recordings of its own, and so has what Django asks a
database about its features when the run begins. Each test's outcome is written to the file ``SUITE_OUTCOMES``.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connections
from django.test.runner import DiscoverRunner

_MODE = os.environ["SUITE_MODE"]
_FOLDER = Path(os.environ["SUITE_CASSETTES"])
if _MODE != "bare":
    from timetracer_otel import plugins

    # Connections are opened before the first test.
    plugins.enable_django_orm()
    plugins.enable_psycopg()
    plugins.enable_sqlite3()

_outcomes: dict[str, list[str]] = {}
_within: list[str] = []
"""What has a recording now: what is called within it has none of its own."""


@contextmanager
def _session(name: str) -> Iterator[None]:
    if _MODE == "bare" or _within or not name:
        yield
        return
    from timetracer_otel import record, replay
    from timetracer_otel.session import ReplaySession

    path = _FOLDER / (hashlib.sha256(name.encode()).hexdigest()[:20] + ".msgpack")
    _within.append(name)
    try:
        if _MODE == "record":
            with record(path, redact="off"):
                yield
        elif path.exists():
            with replay(path, fail_on_miss=False) as session:
                yield
            assert isinstance(session, ReplaySession)
            refused = [*map(str, session.misses), *map(str, session.blocked)]
            if refused and _outcomes.get(name, ["passed"])[0] == "passed":
                # The test itself caught the error of what was refused. It did not have what it has live.
                _outcomes[name] = ["failed", "\n".join(refused)]
        else:
            yield
    finally:
        _within.pop()


def _around(owner: Any, method: str, name_of: Callable[..., str]) -> None:
    original = getattr(owner, method)

    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        name = name_of(self, *args)
        # What a test draws at random is the same in each run.
        random.seed(name)
        with _session(name):
            return original(self, *args, **kwargs)

    setattr(owner, method, called)


_around(unittest.TestCase, "__call__", lambda test, *_: test.id())
_around(
    unittest.TestSuite, "_handleClassSetUp", lambda _, test, result: _of_class("before", type(test), test, result)
)
_around(
    unittest.TestSuite,
    "_tearDownPreviousClass",
    lambda _, test, result: _of_class("behind", _previous(result), test, result),
)


def _of_class(what: str, cls: Any, test: Any, result: Any) -> str:
    """The name of what is done before or behind a class of tests; empty where the last test was of that class."""
    if cls is None or _previous(result) is type(test):
        return ""
    return f"{what} {cls.__module__}.{cls.__qualname__}"


def _previous(result: Any) -> Any:
    return getattr(result, "_previousTestClass", None)


class _Result(unittest.TextTestResult):
    """Keeps each outcome; what fails first stays."""


def _keeping(method: str, outcome: str) -> None:
    original = getattr(unittest.TextTestResult, method)

    def called(self: Any, test: Any, *args: Any) -> None:
        original(self, test, *args)
        error = args[-1] if args and isinstance(args[-1], tuple) else None
        known = _outcomes.get(test.id(), ["passed"])
        if known[0] == "passed" and not (method == "addSubTest" and error is None):
            said = "" if error is None else self._exc_info_to_string(error, test)[-6000:]
            _outcomes[test.id()] = [outcome, said]

    setattr(_Result, method, called)


for _method, _outcome in {
    **dict.fromkeys(("addSuccess", "addExpectedFailure"), "passed"),
    **dict.fromkeys(("addError", "addFailure", "addSubTest", "addUnexpectedSuccess"), "failed"),
    "addSkip": "skipped",
}.items():
    _keeping(_method, _outcome)


# The outermost of a test's calls has the session: Django's classes have a method of their own.
from django.test import SimpleTestCase  # noqa: E402 - behind the patches of unittest

_around(SimpleTestCase, "__call__", lambda test, *_: test.id())


class Runner(DiscoverRunner):  # type: ignore[misc, unused-ignore]
    """Runs the tests one after the other, in their order."""

    def get_resultclass(self) -> Any:
        """Keeps outcomes."""
        return _Result

    def setup_databases(self, **kwargs: Any) -> Any:
        """A replay makes no databases."""
        if _MODE != "replay":
            made = super().setup_databases(**kwargs)
        with _session("features"):
            if _MODE == "replay":
                made = super().setup_databases(**kwargs)
            for connection in connections.all():
                connection.creation.mark_expected_failures_and_skips()
        return made

    def teardown_databases(self, old_config: Any, **kwargs: Any) -> None:
        """Also where a replay made none."""
        with _session("the end"):
            super().teardown_databases(old_config, **kwargs)

    def run_suite(self, suite: Any, **kwargs: Any) -> Any:
        """Run them, and write the outcomes."""
        try:
            return super().run_suite(suite, **kwargs)
        finally:
            Path(os.environ["SUITE_OUTCOMES"]).write_text(json.dumps(_outcomes))
