"""A cassette for many tests: the session of a class, a module, a package or the whole run.

It is current in the tests that have the marker with this scope, and in the fixtures that are set up for them, also
those of wider scopes than a test. It is not current in other tests that run in between.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from contextvars import Token
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.context import Context

from timetracer_otel.blocks import check_verdict, replay
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import RecordMode
from timetracer_otel.current import attach_session, detach_session
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.pytest_plugin.blocking import Blocking
from timetracer_otel.pytest_plugin.paths import path_for_scope
from timetracer_otel.pytest_plugin.sessions import TestSession, following, marked, note_account, note_age, note_used
from timetracer_otel.report import event_name
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.testing import everywhere
from timetracer_otel.types import Verdict

__all__ = [
    "ENTERED",
    "SCOPES",
    "SHARED",
    "PartOfWide",
    "WideSession",
    "open_for",
    "open_wide",
    "scope_of",
]

_OPEN: pytest.StashKey[WideSession] = pytest.StashKey()
"""In the stash of a class, a module and so on: its session."""
ENTERED: pytest.StashKey[WideSession] = pytest.StashKey()
"""In the stash of the run: the session that is current."""

SCOPES: Final = ("session", "package", "module", "class")
"""The scopes besides that of a test, the widest first."""
SHARED: Final = "timetracer_shared"
"""Name of the user property that says which calls of a cassette of many tests a process made, and which not; as JSON.
"""

_SAFE_DISTRIBUTIONS: Final = {"class": ("loadscope", "loadfile"), "module": ("loadscope", "loadfile")}
"""The values of ``--dist`` of pytest-xdist with which one process runs all tests of a scope."""


def scope_of(marker: pytest.Mark | None) -> str | None:
    """The scope that a marker asks for; None for that of the test.

    Raises:
        ConfigurationError: There is no such scope.
    """
    scope = marker.kwargs.get("scope", "function") if marker is not None else "function"
    if scope == "function":
        return None
    if scope not in SCOPES:
        raise ConfigurationError(
            f"timetracer: scope={scope!r} is not allowed. Allowed: function, {', '.join(SCOPES)}."
        )
    return str(scope)


class WideSession:
    """The session of a class, a module, a package or a run.

    Args:
        request: Of a fixture of this scope.
        item: The test for which the fixture is set up.

    Raises:
        ConfigurationError: The marker has an argument that is not allowed, or several processes would record.
    """

    def __init__(self, request: pytest.FixtureRequest, item: pytest.Item) -> None:
        self._item = item
        self._stash = item.config.stash
        self._marker = marker = item.get_closest_marker("timetracer")
        self.scope = scope_of(marker) or "function"
        name, own = marked(item, request.getfixturevalue("timetracer_config"), marker)
        self.path = path_for_scope(item, self.scope, _folder(request, item, self.scope), name)
        blocking = Blocking.of(item, own)
        settings: dict[str, Any] = {**own, **blocking.settings}
        self._fails_on_unused = bool(settings.pop("fail_on_unused", TraceConfig.from_env().fail_on_unused))
        self._worker = getattr(item.config, "workerinput", None)
        if not self._one_process:
            # A cassette that is too old cannot be recorded anew by each of several processes.
            max_age = settings.get("max_age") or TraceConfig.from_env().max_age
            settings["max_age"] = max_age.replace("record", "fail")
        self._block = replay(self.path, config=TraceConfig.from_env(), **settings)
        self._refuse_many(RecordMode(settings.get("record_mode") or TraceConfig.from_env().record_mode))
        self._allowed = blocking.allowed_hosts
        self._token: Token[Context] | None = None
        self._seen = (0, 0)
        self._error: BaseException | None = None
        self.session: BaseSession | None = None

    def is_of(self, item: pytest.Item) -> bool:
        """Whether the marker of a test is the one that this session was begun by."""
        return item.get_closest_marker("timetracer") == self._marker

    def begin(self) -> None:
        """Begin the session, and make it current."""
        self.session = self._block.begin()
        self.session.allowed_hosts = self._allowed
        note_age(self._item, self.session)
        self.enter()

    def enter(self) -> None:
        """Make it current in this context; harmless when repeated."""
        if self._token is None and self.session is not None:
            self._token = attach_session(self.session)
            self._stash[ENTERED] = self

    def leave(self) -> None:
        """Make it not current any more; harmless when repeated."""
        token, self._token = self._token, None
        if token is not None:
            del self._stash[ENTERED]
            detach_session(token)

    def around_fixture(self, fixturedef: pytest.FixtureDef[Any]) -> AbstractContextManager[None]:
        """Run an async fixture in the session."""
        return following(fixturedef, self.session)

    def failed(self, error: BaseException) -> None:
        """Note that a test of it failed."""
        self._error = error

    def setup_failed(self, item: pytest.Item, error: BaseException) -> None:
        """Note that a fixture of a test raised, so that the reader is told of it."""
        self._error = error
        note_account(item, self.verdict_of_now(), error, "setup")
        self.told()

    def verdict_of_now(self) -> Verdict | None:
        """The account of what was done since `told`; None for a recording."""
        if not isinstance(self.session, ReplaySession):
            return None
        verdict = self.session.verdict()
        misses, blocked = self._seen
        # Which calls are not made at all is not known before the end.
        return replace(verdict, misses=verdict.misses[misses:], blocked=verdict.blocked[blocked:], unused=())

    def told(self) -> None:
        """Note that the reader was told of all that happened up to now."""
        if isinstance(self.session, ReplaySession):
            verdict = self.session.verdict()
            self._seen = len(verdict.misses), len(verdict.blocked)

    def end(self, item: pytest.Item) -> None:
        """End the session.

        Args:
            item: The last test that it was for.

        Raises:
            ReplayFailedError: A call of a fixture of wider scope had no answer; or calls were not made that must be.
        """
        self.leave()
        session = self.session
        if not isinstance(session, ReplaySession):
            self._block.end(self._error)
            return
        now, last = self.verdict_of_now(), session.verdict()
        assert now is not None
        # The reader was told of what happened in the tests: the block need not judge that again.
        self._block.end(self._error or _JudgedError())
        counts = self._error is None and self._one_process
        if self._error is None:
            self._note_unused(item, last)
        unused = last.unused if counts and self._fails_on_unused else ()
        check_verdict(session, replace(now, unused=unused, fail_on_unused=bool(unused)))

    def _note_unused(self, item: pytest.Item, verdict: Verdict) -> None:
        said = {
            "path": str(self.path),
            "made": Counter(map(event_name, verdict.hits)),
            "unused": {event.eid: event_name(event) for event in verdict.unused},
        }
        item.user_properties.append((SHARED, json.dumps(said)))

    @property
    def _one_process(self) -> bool:
        """Whether one process runs all tests of this session."""
        if self._worker is None or self._worker.get("workercount") == 1:
            return True
        return self._worker.get("timetracer_dist") in _SAFE_DISTRIBUTIONS.get(self.scope, ())

    def _refuse_many(self, record_mode: RecordMode) -> None:
        is_replay = record_mode is RecordMode.NONE or (record_mode is RecordMode.ONCE and self.path.exists())
        if self._one_process or is_replay:
            return
        cure = " or with --dist loadfile" if self.scope in _SAFE_DISTRIBUTIONS else ""
        raise ConfigurationError(
            f"timetracer: several processes would each record their part of {self.path.name}, which is of scope "
            f"{self.scope}. Record it without -n{cure}; it is replayed in any number of processes."
        )


class _JudgedError(Exception):
    """Ends a block whose verdict is looked at by others."""


class PartOfWide(TestSession):
    """What one test has of the session of its class, module, package or run.

    Args:
        wide: That session.
        request: Of a fixture of the test.
        item: The test.

    Raises:
        ConfigurationError: The session was begun by another marker.
    """

    def __init__(self, wide: WideSession, request: pytest.FixtureRequest, item: pytest.Item) -> None:
        if not wide.is_of(item):
            raise ConfigurationError(
                f"timetracer: another marker of scope {wide.scope} has begun {wide.path.name} already. Let all tests "
                f"of this {wide.scope} have the same marker."
            )
        self._wide = wide
        self._request = request
        self._item = item
        self._session = wide.session
        self._error: BaseException | None = None

    @contextmanager
    def open(self) -> Generator[BaseSession, None, None]:
        """Make the session current in the contexts of this test as well."""
        session = self._wide.session
        assert session is not None
        note_used(self._item, self._wide.path)
        try:
            with everywhere(session, self._request.instance):
                yield session
        finally:
            if self._error is not None:
                self._wide.failed(self._error)

    def _verdict(self) -> Verdict | None:
        return self._wide.verdict_of_now()

    def _told(self) -> None:
        self._wide.told()


def open_for(item: pytest.Item) -> WideSession | None:
    """The session that the marker of a test asks for, where it is of a wider scope and open."""
    scope = scope_of(item.get_closest_marker("timetracer"))
    if scope is None:
        return None
    return next((node.stash[_OPEN] for node in _nodes(item, scope) if _OPEN in node.stash), None)


def _nodes(item: pytest.Item, scope: str) -> list[Any]:
    kinds: dict[str, Any] = {
        "class": pytest.Class,
        "module": pytest.Module,
        "package": (pytest.Package, pytest.Session),
        "session": pytest.Session,
    }
    return [node for node in reversed(item.listchain()) if isinstance(node, kinds[scope])]


@contextmanager
def open_wide(
    request: pytest.FixtureRequest, running: Callable[[], pytest.Item]
) -> Generator[WideSession, None, None]:
    """The session of a scope, from the first test that asks for it to the end of the scope.

    Args:
        request: Of a fixture of this scope.
        running: Gives the test that runs.
    """
    node = request.node
    wide = WideSession(request, running())
    wide.begin()
    node.stash[_OPEN] = wide
    try:
        yield wide
    finally:
        del node.stash[_OPEN]
        wide.end(running())


def _folder(request: pytest.FixtureRequest, item: pytest.Item, scope: str) -> Path:
    """The folder of the cassette, where nothing names another one."""
    named = item.config.getini("timetracer_cassette_dir")
    if named:
        return Path(item.config.rootpath, named)
    try:
        # A suite may override the fixture with one of this scope or a wider one.
        return Path(request.getfixturevalue("timetracer_cassette_dir"))
    except pytest.fail.Exception:
        if scope == "session":
            return item.config.rootpath / "cassettes"
        path = Path(request.node.path if scope == "package" else item.path)
        return (path if path.is_dir() else path.parent) / "cassettes"
