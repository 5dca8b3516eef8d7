"""The session of a test: which cassette it uses, where it is current, and when it fails the test."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MethodType
from typing import Any, Literal

import pytest

from timetracer_otel.base.plugin_names import known_names, unknown_live_names, unknown_names
from timetracer_otel.blocks import check_verdict, replay
from timetracer_otel.calls.registry import load_plugins
from timetracer_otel.config import TraceConfig, is_ci, is_set
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.pytest_plugin.paths import path_for_test
from timetracer_otel.report import event_name, verdict_text
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.testing import everywhere, in_session

__all__ = [
    "CASSETTE",
    "RULE",
    "UNUSED",
    "TestSession",
    "checked",
    "default_record_mode",
    "note_account",
    "note_age",
    "note_unused",
    "note_used",
]

CASSETTE = "timetracer_cassette"
"""Name of the user property that says which cassette a test used. A test has one for each cassette."""
UNUSED = "timetracer_unused"
"""Name of the user property that says which recorded call a test did not make. A test has one for each call."""
RULE = "timetracer_rule"
"""Name of the user property with an ``ignore`` rule that is advised for a call without an answer."""

_SHORT_NAMES = {"mock": "mock_plugins", "live": "live_plugins"}


class TestSession:
    """The session that the marker of one test, or of a class of tests, asks for.

    Args:
        request: Of a fixture of the test or of the class.
        folder: Of the cassettes.
        item: The test; the first one of a class.

    Raises:
        ConfigurationError: The marker has an unknown argument.
    """

    __test__ = False

    def __init__(self, request: pytest.FixtureRequest, folder: Path, item: pytest.Item) -> None:
        self._request = request
        self._item = item
        marker = request.node.get_closest_marker("timetracer")
        positional = marker.args if marker is not None else ()
        settings = dict(marker.kwargs) if marker is not None else {}
        if len(positional) > 1:
            raise ConfigurationError("timetracer: one positional argument at most, the name of the cassette.")
        name = positional[0] if positional else settings.pop("name", None)
        if "mode" in settings:
            request.node.warn(DeprecationWarning("timetracer(mode=...) is spelt record_mode=... now."))
            old = settings.pop("mode")
            settings.setdefault("record_mode", old)
        for short, field in _SHORT_NAMES.items():
            if short in settings:
                settings[field] = settings.pop(short)
        for field in ("mock_plugins", "live_plugins"):
            if field in settings:
                settings[field] = checked(settings[field], live=field == "live_plugins")
        told = request.config.getoption("--timetracer-record-mode")
        if told:
            settings["record_mode"] = told
        elif "record_mode" not in settings and not is_set("RECORD_MODE"):
            settings["record_mode"] = default_record_mode()
        self.path = path_for_test(request.node, folder, name)
        settings.setdefault("fail_on_miss", True)
        self._block = replay(self.path, config=TraceConfig.from_env(), **settings)
        self._session: BaseSession | None = None
        self._error: BaseException | None = None

    @contextmanager
    def open(self) -> Generator[BaseSession, None, None]:
        """Begin the session, and make it current in this context until the end of the block."""
        note_used(self._item, self.path)
        self._session = session = self._block.__enter__()
        note_age(self._item, session)
        try:
            with everywhere(session, self._request.instance):
                yield session
        finally:
            note_unused(self._item, session)
            error = self._error
            self._block.__exit__(type(error) if error is not None else None, error, None)

    @contextmanager
    def around(self, item: pytest.Item) -> Generator[None, None, None]:
        """Run the test in the session, and fail the test if its replay failed.

        Raises:
            ReplayFailedError: The test passed, but a call of it had no recorded answer.
        """
        try:
            try:
                with self._inside(item):
                    yield
            finally:
                note_account(item, self._session)
            if isinstance(self._session, ReplaySession):
                check_verdict(self._session)
        except BaseException as error:
            # `open` hands the error to the session, which then does not raise one of its own.
            self._error = error
            raise

    @contextmanager
    def around_fixture(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, None, None]:
        """Run an async fixture in the session, in whatever context its coroutine is run."""
        function: Any = fixturedef.func
        plain = getattr(function, "__func__", function)
        if self._session is None or not (inspect.isasyncgenfunction(plain) or inspect.iscoroutinefunction(plain)):
            yield
            return
        follower = _Follower(self._session)
        replacement = follower.of(plain)
        if plain is not function:
            # The fixture is a method, and pytest looks at the instance that it is bound to.
            replacement = MethodType(replacement, function.__self__)
        fixturedef.func = replacement  # type: ignore[misc]
        try:
            yield
        finally:
            follower.session = None
            # Another plugin may have wrapped it for good meanwhile (aiohttp's does), and counts on that.
            if fixturedef.func is replacement:
                fixturedef.func = function  # type: ignore[misc]

    @contextmanager
    def _inside(self, item: pytest.Item) -> Generator[None, None, None]:
        """Run the test's coroutine in the session. A plugin such as pytest-asyncio may run it in another context."""
        test = getattr(item, "obj", None)
        if self._session is None or not inspect.iscoroutinefunction(test):
            yield
            return
        item.obj = in_session(self._session, test)  # type: ignore[attr-defined]
        try:
            yield
        finally:
            item.obj = test  # type: ignore[attr-defined]


class _Follower:
    """Lets the function of an async fixture begin in a session, as long as there is one.

    Args:
        session: The session.
    """

    def __init__(self, session: BaseSession) -> None:
        self.session: BaseSession | None = session

    def of(self, function: Any) -> Any:
        """The function, a coroutine function or an asynchronous generator function, made to do so."""
        if inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            async def stepped(*args: Any, **kwargs: Any) -> Any:
                steps = self._now(function)(*args, **kwargs)
                try:
                    async for value in steps:
                        yield value
                finally:
                    await steps.aclose()

            return stepped

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            return await self._now(function)(*args, **kwargs)

        return awaited

    def _now(self, function: Any) -> Any:
        return function if self.session is None else in_session(self.session, function)


def default_record_mode() -> Literal["none", "once"]:
    """The record mode where nobody says one.

    On a CI nobody would keep what is recorded: a test whose cassette was forgotten would call the real services and
    pass.
    """
    return "none" if is_ci() else "once"


def note_used(item: pytest.Item, path: Path) -> None:
    """Say in the test's report that it used a cassette. pytest-xdist sends the report back from its workers."""
    item.user_properties.append((CASSETTE, str(path)))


def note_age(item: pytest.Item, session: BaseSession) -> None:
    """Warn of a cassette that is older than the setting ``max_age`` allows."""
    if isinstance(session, ReplaySession) and session.overdue:
        item.warn(UserWarning(session.overdue))


def note_account(item: pytest.Item, session: BaseSession | None) -> None:
    """Put the verdict of the replay into the test's report. pytest shows it if the test fails, or with ``-rP``."""
    if isinstance(session, ReplaySession):
        verdict = session.verdict()
        item.add_report_section("call", "timetracer", f"{verdict_text(verdict)}\n")
        for rule in dict.fromkeys(rule for error in verdict.misses for rule in error.rules):
            item.user_properties.append((RULE, rule))


def note_unused(item: pytest.Item, session: BaseSession) -> None:
    """Say in the test's report which recorded calls it did not make."""
    if isinstance(session, ReplaySession):
        for event in session.verdict().unused:
            item.user_properties.append((UNUSED, f"#{event.eid} {event_name(event)}"))


def checked(plugins: str | Sequence[str] | None, *, live: bool = False) -> list[str]:
    """Names of plugins and groups as a list, each checked to be known. The calls of an unknown one would stay live.

    Raises:
        ConfigurationError: A name is not known.
    """
    load_plugins()  # each plugin registers its name when it is loaded
    names = [plugins] if isinstance(plugins, str) else list(plugins or ())
    for name, nearest in (unknown_live_names if live else unknown_names)(names, known_names()):
        meant = f"; did you mean {nearest!r}?" if nearest else f". Known: {', '.join(sorted(known_names()))}."
        raise ConfigurationError(f"plugins=: nobody knows a plugin or group called {name!r}{meant}")
    return names
