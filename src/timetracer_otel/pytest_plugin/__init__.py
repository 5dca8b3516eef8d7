"""The pytest marker and the fixtures, loaded by pytest wherever this distribution is installed.

    @pytest.mark.timetracer
    def test_checkout():
        ...  # recorded where the cassette is missing, replayed where it is there

    def test_checkout(timetracer_auto):
        with timetracer_auto("checkout.msgpack"):
            ...  # the same for a part of a test

Every test run of an environment with this distribution loads this file. So it imports nothing of the package before a
marker or a fixture is used.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Literal, TypeAlias

    from timetracer_otel.config import Settings
    from timetracer_otel.pytest_plugin.sessions import TestSession
    from timetracer_otel.session import BaseSession, ReplaySession, TraceSession

    _RecordMode: TypeAlias = Literal["none", "once", "new_episodes", "all"]

__all__ = [
    "AutoFixture",
    "RecordFixture",
    "ReplayFixture",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_fixture_setup",
    "pytest_itemcollected",
    "pytest_runtest_call",
    "pytest_runtest_setup",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "timetracer_auto",
    "timetracer_cassette_dir",
    "timetracer_record",
    "timetracer_replay",
    "timetracer_session",
]

_INI = "timetracer_cassette_dir"
_RECORD_MODES = ("none", "once", "new_episodes", "all")
_MARKER = (
    "timetracer(name, *, record_mode, mock, live, match_on, **settings): record the calls of this test into a "
    "cassette, or replay them from it. name: of the cassette (default: of the test); record_mode: none, once "
    "(default; none where CI=true), new_episodes, all; mock, live: groups or libraries; settings: fields of "
    "TraceConfig."
)
_running: pytest.StashKey[TestSession] = pytest.StashKey()
_set_up: pytest.StashKey[pytest.Item] = pytest.StashKey()
_OF_DJANGO = ("django_db_setup", "_unittest_setUpClass_fixture_")
"""What the fixtures begin with that set up databases of Django's, and the data of a class of tests."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options and the ini option."""
    group = parser.getgroup("timetracer", "recording and replaying calls (timetracer-otel)")
    group.addoption(
        "--timetracer-record-mode",
        choices=_RECORD_MODES,
        help="record mode of every marked test and of timetracer_auto, whatever they say themselves",
    )
    group.addoption(
        "--timetracer-mode", choices=_RECORD_MODES, help="old name of --timetracer-record-mode (deprecated)"
    )
    group.addoption(
        "--timetracer-orphans",
        action="store_true",
        help="list the cassettes that no test used; fail the run for them if the whole suite ran",
    )
    parser.addini(
        _INI,
        "Folder of the cassettes, relative to the root folder of the tests (default: cassettes beside the test file)",
        default="",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and take the old name of an option."""
    config.addinivalue_line("markers", _MARKER)
    old = config.getoption("--timetracer-mode")
    if old:
        config.option.timetracer_record_mode = config.getoption("--timetracer-record-mode") or old
        if not hasattr(config, "workerinput"):  # a worker of pytest-xdist has the options of the process that says it
            config.issue_config_time_warning(
                DeprecationWarning("--timetracer-mode is called --timetracer-record-mode now."), stacklevel=2
            )


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let a marked test use `timetracer_session`, which is set up after the fixtures of wider scopes."""
    if item.get_closest_marker("timetracer") is None:
        return
    names: list[str] | None = getattr(item, "fixturenames", None)
    if names is not None:
        # A new list: pytest shares one among all sets of parameters of a test, and only some may have the marker.
        names = [name for name in names if name != "timetracer_session"]
        known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
        wider = (name for name in names if name in known and known[name][-1].scope != "function")
        names.insert(sum(1 for _ in wider), "timetracer_session")
        item.fixturenames = names  # type: ignore[attr-defined]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, object, object]:
    """Look for the marker again, since a suite may add it to tests in its own `pytest_collection_modifyitems`.

    As a wrapper this hook ends after all others, also those with ``trylast``.
    """
    result = yield
    for item in items:
        pytest_itemcollected(item)
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Make the session current in the test's async fixtures. They may run in another context than the test."""
    running = request.node.stash.get(_running, None)
    if running is None:
        of_django = fixturedef.argname.startswith(_OF_DJANGO) and "django" in sys.modules
        ended = _begin_of_django(fixturedef, request) if of_django else None
        try:
            return (yield)
        finally:
            if ended is not None:
                ended()
    with running.around_fixture(fixturedef):
        return (yield)


def _begin_of_django(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Callable[[], object] | None:
    from timetracer_otel.pytest_plugin import django_databases

    return django_databases.begin(fixturedef, request, request.config.stash[_set_up])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note for which test the fixtures of wider scopes are set up."""
    item.config.stash[_set_up] = item


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Make the session current in the test, and fail the test where its replay failed."""
    running = item.stash.get(_running, None)
    if running is None:
        return (yield)
    with running.around(item):
        return (yield)


@pytest.fixture
def timetracer_session(request: pytest.FixtureRequest, timetracer_cassette_dir: Path) -> Iterator[BaseSession]:
    """The session of this test, by its marker `timetracer`. Without the marker, as by one without arguments.

    It is a `TraceSession` while the test is recorded, and a `ReplaySession` while it is replayed. It is current in
    the test, and in the fixtures that are set up after this one.
    """
    from timetracer_otel.pytest_plugin.sessions import TestSession

    running = TestSession(request, timetracer_cassette_dir, request.node)
    with running.open() as session:
        request.node.stash[_running] = running
        try:
            yield session
        finally:
            del request.node.stash[_running]


@pytest.fixture
def timetracer_cassette_dir(request: pytest.FixtureRequest) -> Path:
    """The folder of the cassettes: the one that the ini option names, else ``cassettes/`` beside the test file.

    Override this fixture for another folder. The folder need not exist.
    """
    named = request.config.getini(_INI)
    return request.config.rootpath / named if named else request.path.parent / "cassettes"


class ReplayFixture(Protocol):
    """The type of `timetracer_replay`."""

    def __call__(
        self, cassette_path: str | Path, strict: bool | None = None, plugins: Sequence[str] | None = None
    ) -> AbstractContextManager[ReplaySession]:
        """Replay a cassette for as long as a block runs."""
        ...


class RecordFixture(Protocol):
    """The type of `timetracer_record`."""

    def __call__(
        self,
        cassette_name: str | Path | None = None,
        plugins: Sequence[str] | None = None,
        use_tmp: bool = False,
    ) -> AbstractContextManager[TraceSession]:
        """Record a cassette for as long as a block runs."""
        ...


class AutoFixture(Protocol):
    """The type of `timetracer_auto`."""

    def __call__(
        self, cassette_name: str | Path, plugins: Sequence[str] | None = None
    ) -> AbstractContextManager[TraceSession | ReplaySession]:
        """Replay a cassette, or record it where it is missing, for as long as a block runs."""
        ...


@pytest.fixture
def timetracer_replay(request: pytest.FixtureRequest, timetracer_cassette_dir: Path) -> ReplayFixture:
    """A function that replays a cassette, or a folder of cassettes.

        with timetracer_replay("name.msgpack") as session:

    With a folder, each request that an app gets in the block (by a test client, for instance) is answered from the
    cassette recorded for it, and what the recorded process called outside any request is answered as well. A cassette
    of one request is replayed together with that, too, where the recording of its process lies beside it.

    Its parameters are ``cassette_path`` (relative to `timetracer_cassette_dir`, or absolute), ``strict`` (False:
    a JSON body with equal content counts as equal; where it is left out, the setting ``strict_replay`` says) and
    ``plugins`` (groups or libraries that are answered from the cassette, the others stay live; all where it is left
    out). It raises `CassetteNotFoundError` where the file is missing, and `ReplayFailedError` at the end of the block
    where a call had no answer.
    """

    def replay(
        cassette_path: str | Path, strict: bool | None = None, plugins: Sequence[str] | None = None
    ) -> AbstractContextManager[ReplaySession]:
        return _replaying(request, timetracer_cassette_dir / cassette_path, strict, plugins)

    return replay


@pytest.fixture
def timetracer_record(request: pytest.FixtureRequest, timetracer_cassette_dir: Path, tmp_path: Path) -> RecordFixture:
    """A function that records a cassette.

        with timetracer_record("name.msgpack") as session:

    Its parameters are ``cassette_name`` (relative to `timetracer_cassette_dir`, or absolute; named after the
    time and the session where it is left out), ``plugins`` (groups or libraries that are recorded; all where it
    is left out) and ``use_tmp`` (True: below the test's ``tmp_path``). A cassette that stands there is replaced.
    """

    def record(
        cassette_name: str | Path | None = None, plugins: Sequence[str] | None = None, use_tmp: bool = False
    ) -> AbstractContextManager[TraceSession]:
        return _recording(request, tmp_path if use_tmp else timetracer_cassette_dir, cassette_name, plugins)

    return record


@pytest.fixture
def timetracer_auto(request: pytest.FixtureRequest, timetracer_cassette_dir: Path) -> AutoFixture:
    """A function that replays a cassette where it is there, and records it where it is not.

    Its parameters are ``cassette_name`` and ``plugins``, as in `timetracer_record` and `timetracer_replay`.
    Delete the file, or use ``--timetracer-record-mode=all``, to record anew. On a CI (``CI=true``) nothing is
    recorded: a missing file is an error.
    """
    from timetracer_otel.pytest_plugin.sessions import default_record_mode

    def auto(
        cassette_name: str | Path, plugins: Sequence[str] | None = None
    ) -> AbstractContextManager[TraceSession | ReplaySession]:
        path = timetracer_cassette_dir / cassette_name
        record_mode: _RecordMode = request.config.getoption("--timetracer-record-mode") or default_record_mode()
        if record_mode == "all" or (record_mode != "none" and not path.exists()):
            return _recording(request, timetracer_cassette_dir, cassette_name, plugins)
        return _replaying(request, path, None, plugins, record_mode)

    return auto


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run for orphans, where that was asked for."""
    config = session.config
    if config.getoption("--timetracer-orphans") and not hasattr(config, "workerinput"):
        from timetracer_otel.pytest_plugin.terminal_summary import orphans_of

        if session.exitstatus == pytest.ExitCode.OK and orphans_of(config).fail_the_run:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which recorded calls were not made, and which cassettes no test used."""
    noted = any(
        name.startswith("timetracer_")
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, _ in getattr(report, "user_properties", ())
    )
    if noted or config.getoption("--timetracer-orphans"):
        from timetracer_otel.pytest_plugin.terminal_summary import write_summary

        write_summary(terminalreporter, config)


@contextmanager
def _replaying(
    request: pytest.FixtureRequest,
    path: Path,
    strict: bool | None,
    plugins: Sequence[str] | None,
    record_mode: _RecordMode = "none",
) -> Generator[ReplaySession, None, None]:
    import timetracer_otel
    from timetracer_otel.config import TraceConfig
    from timetracer_otel.pytest_plugin.sessions import checked, note_account, note_age, note_unused, note_used
    from timetracer_otel.session import ReplaySession
    from timetracer_otel.testing import everywhere

    names = checked(plugins)
    for each in path.rglob("*.msgpack*") if path.is_dir() else [path]:
        note_used(request.node, each)
    # These fixtures give a replay, and so they do not record a cassette anew that is too old.
    max_age = TraceConfig.from_env().max_age.replace("record", "warn")
    settings: Settings = {"mock_plugins": names, "record_mode": record_mode, "max_age": max_age}
    if strict is not None:
        settings["strict_replay"] = strict
    with timetracer_otel.replay(path, **settings) as session:
        # `timetracer_auto` records by itself where the record mode is "all", so this is never a recording.
        assert isinstance(session, ReplaySession)
        note_age(request.node, session)
        try:
            # The session of a folder is current everywhere: it is that of the process.
            with nullcontext() if path.is_dir() else everywhere(session, request.instance):
                yield session
        finally:
            note_account(request.node, session)
    note_unused(request.node, session)


@contextmanager
def _recording(
    request: pytest.FixtureRequest, folder: Path, name: str | Path | None, plugins: Sequence[str] | None
) -> Generator[TraceSession, None, None]:
    import timetracer_otel
    from timetracer_otel.pytest_plugin.sessions import checked, note_used
    from timetracer_otel.testing import everywhere

    path = None if name is None else folder / name
    names = checked(plugins)
    if path is not None:
        note_used(request.node, path)
    recording = timetracer_otel.record(path, cassette_dir=str(folder), capture=names)
    with recording as session, everywhere(session, request.instance):
        yield session
