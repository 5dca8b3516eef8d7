"""The session of a test: which cassette it uses, where it is current, and when it fails the test."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MethodType
from typing import Any, Literal

import pytest

from timetracer_otel.base.plugin_names import known_names, unknown_live_names, unknown_names
from timetracer_otel.blocks import check_verdict, replay
from timetracer_otel.calls.registry import load_plugins
from timetracer_otel.config import TraceConfig, is_ci, is_set
from timetracer_otel.exceptions import ConfigurationError, ReplayFailedError
from timetracer_otel.pytest_plugin.blocking import Blocking
from timetracer_otel.pytest_plugin.failure_reports import chain_of
from timetracer_otel.pytest_plugin.paths import path_for_test
from timetracer_otel.report import event_name, rerecording_lines, verdict_text
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.testing import everywhere, in_session
from timetracer_otel.types import Verdict

__all__ = [
    "CASSETTE",
    "REWRITTEN",
    "RULES",
    "UNUSED",
    "TestSession",
    "accounted",
    "checked",
    "configured",
    "default_record_mode",
    "following",
    "marked",
    "note_account",
    "note_age",
    "note_rerecorded",
    "note_unused",
    "note_used",
    "settings_of_block",
]

CASSETTE = "timetracer_cassette"
"""Name of the user property that says which cassette a test used. A test has one for each cassette."""
REWRITTEN = "timetracer_rewritten"
"""Name of the user property that says how a recording differs from the one whose place it took."""
UNUSED = "timetracer_unused"
"""Name of the user property that says which recorded call a test did not make. A test has one for each call."""
RULES = "timetracer_rules"
"""Name of the user property with the ``ignore`` rules, one a line, that are advised for a call without an answer."""

_SHORT_NAMES = {"mock": "mock_plugins", "live": "live_plugins"}
_OF_MARKER = ("name", "scope")
"""Arguments of the marker that are no settings."""


def marked(
    node: pytest.Item | pytest.Collector, config: object, marker: pytest.Mark | None = None
) -> tuple[str | None, dict[str, Any]]:
    """The name of the cassette that a marker gives, and its settings over those of `timetracer_config`.

    Args:
        node: What has the marker.
        config: What the fixture `timetracer_config` gives.
        marker: The marker; by default the nearest one of the node.

    Raises:
        ConfigurationError: There is an argument that is not allowed.
    """
    marker = node.get_closest_marker("timetracer") if marker is None else marker
    positional = marker.args if marker is not None else ()
    given = dict(marker.kwargs) if marker is not None else {}
    if len(positional) > 1:
        raise ConfigurationError("timetracer: one positional argument at most, the name of the cassette.")
    name = positional[0] if positional else given.get("name")
    if "mode" in given:
        node.warn(DeprecationWarning("timetracer(mode=...) is spelt record_mode=... now."))
        old = given.pop("mode")
        given.setdefault("record_mode", old)
    own = {field: value for field, value in given.items() if field not in _OF_MARKER}
    settings = {**configured(config), **_in_full(own)}
    told = node.config.getoption("--timetracer-record-mode")
    if told:
        settings["record_mode"] = told
    elif "record_mode" not in settings and not is_set("RECORD_MODE"):
        settings["record_mode"] = default_record_mode()
    settings.setdefault("fail_on_miss", True)
    return name, settings


def configured(config: object) -> dict[str, Any]:
    """The settings that the fixture `timetracer_config` gives.

    Raises:
        ConfigurationError: It gives something else.
    """
    if not isinstance(config, Mapping):
        raise ConfigurationError(f"timetracer_config: {config!r} is not allowed. Allowed: a dictionary of settings.")
    given: Mapping[str, Any] = config
    wrong = next((name for name in _OF_MARKER if name in given), None)
    if wrong is not None:
        raise ConfigurationError(f"timetracer_config: {wrong!r} is no setting: say it in the marker of the tests.")
    return _in_full(given)


def _in_full(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by the names of `TraceConfig`, with names of plugins checked to be known."""
    settings = {_SHORT_NAMES.get(name, name): value for name, value in given.items()}
    for field in ("mock_plugins", "live_plugins"):
        if field in settings:
            settings[field] = checked(settings[field], live=field == "live_plugins")
    return settings


class TestSession:
    """The session that the marker of one test asks for, or of a class of tests.

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
        name, settings = marked(request.node, request.getfixturevalue("timetracer_config"))
        self.path = path_for_test(request.node, folder, name)
        blocking = Blocking.of(item, settings)
        self._block = replay(self.path, config=TraceConfig.from_env(), **{**settings, **blocking.settings})
        self._allowed = blocking.allowed_hosts
        self._session: BaseSession | None = None
        self._error: BaseException | None = None

    @contextmanager
    def open(self) -> Generator[BaseSession, None, None]:
        """Begin the session, and make it current in this context until the end of the block."""
        note_used(self._item, self.path)
        self._session = session = self._block.__enter__()
        session.allowed_hosts = self._allowed
        note_age(self._item, session)
        try:
            with everywhere(session, self._request.instance):
                yield session
        finally:
            error = self._error
            note_unused(self._item, session, error)
            self._block.__exit__(type(error) if error is not None else None, error, None)
            note_rerecorded(self._item, session)

    @contextmanager
    def around(self, item: pytest.Item) -> Generator[None, None, None]:
        """Run the test in the session, and fail the test if its replay failed.

        Raises:
            ReplayFailedError: The test passed, but a call of it had no recorded answer.
        """
        try:
            with self._inside(item):
                yield
            self._judge()
        except BaseException as error:
            # `open` hands the error to the session, which then does not raise one of its own.
            self._error = error
            raise
        finally:
            note_account(item, self._verdict(), self._error)
            self._told()

    def _judge(self) -> None:
        """Fail the test where it must."""
        verdict = self._verdict()
        if isinstance(self._session, ReplaySession) and verdict is not None:
            _check(self._session, verdict)

    def _verdict(self) -> Verdict | None:
        """The account of this test; None where it is not replayed."""
        return self._session.verdict() if isinstance(self._session, ReplaySession) else None

    def _told(self) -> None:
        """The reader was told of all that happened up to now."""

    def around_fixture(self, fixturedef: pytest.FixtureDef[Any]) -> AbstractContextManager[None]:
        """Run an async fixture in the session, in whatever context its coroutine is run."""
        return following(fixturedef, self._session)

    def setup_failed(self, item: pytest.Item, error: BaseException) -> None:
        """Note that a fixture of the test raised, so that the reader is told of it."""
        self._error = error
        note_account(item, self._verdict(), error, "setup")
        self._told()

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


@contextmanager
def following(fixturedef: pytest.FixtureDef[Any], session: BaseSession | None) -> Generator[None, None, None]:
    """Run an async fixture that is set up in the block in a session, in whatever context its coroutine is run."""
    function: Any = fixturedef.func
    plain = getattr(function, "__func__", function)
    if session is None or not (inspect.isasyncgenfunction(plain) or inspect.iscoroutinefunction(plain)):
        yield
        return
    follower = _Follower(session)
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


def settings_of_block(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of a block in a test, besides those that its arguments say."""
    settings = configured(request.getfixturevalue("timetracer_config"))
    return {**settings, **Blocking.of(request.node, settings).settings}


def note_used(item: pytest.Item, path: Path) -> None:
    """Say in the test's report that it used a cassette. pytest-xdist sends the report back from its workers."""
    item.user_properties.append((CASSETTE, str(path)))


def note_age(item: pytest.Item, session: BaseSession) -> None:
    """Warn of a cassette that is older than the setting ``max_age`` allows."""
    if isinstance(session, ReplaySession) and session.overdue:
        item.warn(UserWarning(session.overdue))


def note_rerecorded(item: pytest.Item, session: BaseSession) -> None:
    """Say in the test's report how a recording differs from the one whose place it took."""
    if isinstance(session, TraceSession) and session.rerecorded is not None:
        item.user_properties.append((REWRITTEN, "\n".join(rerecording_lines(session.rerecorded))))


def note_account(
    item: pytest.Item, verdict: Verdict | None, error: BaseException | None, when: Literal["setup", "call"] = "call"
) -> None:
    """Put the verdict of the replay into the test's report. pytest shows it if the test fails, or with ``-rP``.

    Args:
        item: The test.
        verdict: The verdict; None where the test was not replayed.
        error: By what the test fails, which pytest shows: what it tells is not told again.
        when: The part of the test that it is about.
    """
    if verdict is None:
        return
    told = list(chain_of(error))
    if not any(isinstance(each, ReplayFailedError) for each in told):
        item.add_report_section(when, "timetracer", f"{verdict_text(verdict, told)}\n")
    for rules in dict.fromkeys(missed.rules for missed in verdict.misses if missed.rules):
        item.user_properties.append((RULES, "\n".join(rules)))


def _check(session: ReplaySession, verdict: Verdict) -> None:
    """Fail where the replay failed. Where the app swallowed the error of a call, the error leads to that call."""
    try:
        check_verdict(session, verdict)
    except ReplayFailedError as error:
        raise _leading_to_call(error) from None


def _leading_to_call(error: ReplayFailedError) -> ReplayFailedError:
    """The error with the way to the first call that failed, whose error somebody swallowed."""
    swallowed = (*error.verdict.misses, *error.verdict.blocked)
    where = next((each.__traceback__ for each in swallowed if each.__traceback__ is not None), None)
    return error.with_traceback(where or error.__traceback__)


class _Account:
    """Of a block in a test: its session, as soon as there is one."""

    session: BaseSession | None = None


@contextmanager
def accounted(item: pytest.Item) -> Generator[_Account, None, None]:
    """Put the verdict of the replay that runs inside the block into the test's report, when it has ended."""
    account = _Account()
    error: BaseException | None = None
    try:
        yield account
    except ReplayFailedError as raised:
        error = raised
        # Another one: `contextlib` gives an error that a block lets through its old traceback again.
        raise _leading_to_call(ReplayFailedError(str(raised), raised.verdict)) from None
    except BaseException as raised:
        error = raised
        raise
    finally:
        session = account.session
        note_account(item, session.verdict() if isinstance(session, ReplaySession) else None, error)
        if session is not None:
            note_unused(item, session, error)


def note_unused(item: pytest.Item, session: BaseSession, error: BaseException | None) -> None:
    """Say in the test's report which recorded calls it did not make. One that fails is told that in its account."""
    if isinstance(session, ReplaySession) and error is None:
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
