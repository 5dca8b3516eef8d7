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
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Any, Literal, TypeAlias

    from typing_extensions import Unpack

    from timetracer_otel.config import Settings
    from timetracer_otel.pytest_plugin.reproducing import Reproduced
    from timetracer_otel.pytest_plugin.sessions import TestSession
    from timetracer_otel.pytest_plugin.wide_sessions import WideSession
    from timetracer_otel.session import BaseSession, ReplaySession, TraceSession

    _RecordMode: TypeAlias = Literal["none", "once", "new_episodes", "all", "rewrite"]

__all__ = [
    "AutoFixture",
    "RecordFixture",
    "ReplayFixture",
    "ReproduceFixture",
    "VerifyFixture",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_fixture_setup",
    "pytest_itemcollected",
    "pytest_runtest_call",
    "pytest_runtest_makereport",
    "pytest_runtest_setup",
    "pytest_runtest_teardown",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "timetracer_auto",
    "timetracer_cassette_dir",
    "timetracer_config",
    "timetracer_record",
    "timetracer_replay",
    "timetracer_reproduce",
    "timetracer_session",
    "timetracer_verify",
]

_INI = "timetracer_cassette_dir"
_BLOCK_INI = "timetracer_block_network"
_HOSTS_INI = "timetracer_allowed_hosts"
_RECORD_MODES = ("none", "once", "new_episodes", "all", "rewrite")
_MARKER = (
    "timetracer(name, *, record_mode, mock, live, match_on, scope, **settings): record the calls of this test into a "
    "cassette, or replay them from it. name: of the cassette (default: of the test); record_mode: none, once "
    "(default; none where CI=true), new_episodes, all, rewrite; mock, live: groups or libraries; scope: function "
    "(default), class, module, package, session: the tests that share the cassette; settings: fields of TraceConfig."
)
_BLOCK_MARKER = (
    "block_network(enabled=True, *, allowed_hosts): refuse the connections of this test that no plugin makes for its "
    "recording or replay. allowed_hosts: hosts, host:port or networks that it may connect to."
)
_WIDE_SESSIONS = "timetracer_otel.pytest_plugin.wide_sessions"
"""Imported by the first test that needs it."""
_running: pytest.StashKey[TestSession] = pytest.StashKey()
_set_up: pytest.StashKey[pytest.Item] = pytest.StashKey()
"""In the stash of the run: the test that runs."""
_WIDE = ("session", "package", "module", "class")
_SCOPES = (*_WIDE, "function")
_OF_DJANGO = ("django_db_setup", "_unittest_setUpClass_fixture_")
"""What the fixtures begin with that set up databases of Django's, and the data of a class of tests."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options and the ini option."""
    group = parser.getgroup("timetracer", "recording and replaying calls (timetracer-otel)")
    group.addoption(
        "--timetracer-record-mode",
        "--timetracer-mode",
        choices=_RECORD_MODES,
        help="record mode of every marked test and of timetracer_auto, whatever they say themselves",
    )
    group.addoption(
        "--timetracer-orphans",
        action="store_true",
        help="list the cassettes that no test used; fail the run for them if the whole suite ran",
    )
    parser.addini(_BLOCK_INI, "Whether connections of every test are refused that no plugin makes", type="bool")
    parser.addini(_HOSTS_INI, "Hosts, host:port or networks that block_network lets through", type="linelist")
    parser.addini(
        _INI,
        "Folder of the cassettes, relative to the root folder of the tests (default: cassettes beside the test file)",
        default="",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    for marker in (_MARKER, _BLOCK_MARKER):
        config.addinivalue_line("markers", marker)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist how the tests are distributed."""
    node.workerinput["timetracer_dist"] = node.config.getoption("dist", "no")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let a marked test use the fixtures of its session, which are set up before others of the same scope."""
    marker = item.get_closest_marker("timetracer")
    needed = []
    if marker is not None:
        needed = ["timetracer_session"]
        if marker.kwargs.get("scope") in _WIDE:
            needed.append(f"_timetracer_{marker.kwargs['scope']}")
    elif (
        item.get_closest_marker("block_network") is not None
        or item.config.getini(_BLOCK_INI)
        or _has_own_config(item)
    ):
        needed = ["_timetracer_blocked"]
    names: list[str] | None = getattr(item, "fixturenames", None)
    if not needed or names is None:
        return
    # A new list: pytest shares one among all sets of parameters of a test, and only some may have the marker.
    names = [name for name in names if name not in needed]
    known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    scopes = [known[name][-1].scope if name in known else "function" for name in names]
    for name in needed:
        scope = name.removeprefix("_timetracer_")
        wider = _SCOPES[: _SCOPES.index(scope if scope in _WIDE else "function")]
        at = sum(1 for each in scopes if each in wider)
        names.insert(at, name)
        scopes.insert(at, scope if scope in _WIDE else "function")
    item.fixturenames = names  # type: ignore[attr-defined]


def _has_own_config(item: pytest.Item) -> bool:
    """Whether the fixture `timetracer_config` that a test sees is overridden."""
    manager = getattr(item.session, "_fixturemanager", None)
    return manager is not None and len(manager.getfixturedefs("timetracer_config", item) or ()) > 1


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
    running = request.node.stash.get(_running, None) or _entered(request.config)
    if running is None:
        of_django = fixturedef.argname.startswith(_OF_DJANGO) and "django" in sys.modules
        ended = _begin_of_django(fixturedef, request) if of_django else None
        try:
            return (yield)
        finally:
            if ended is not None:
                ended()
    with running.around_fixture(fixturedef):
        try:
            return (yield)
        except Exception as error:
            running.setup_failed(request.config.stash[_set_up], error)
            raise


def _begin_of_django(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Callable[[], object] | None:
    from timetracer_otel.pytest_plugin import django_databases

    return django_databases.begin(fixturedef, request, request.config.stash[_set_up])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note for which test fixtures are set up, and make the session current that it shares with others."""
    item.config.stash[_set_up] = item
    if _WIDE_SESSIONS in sys.modules:
        from timetracer_otel.pytest_plugin.wide_sessions import open_for

        wide = open_for(item)
        if wide is not None:
            wide.enter()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Let a session that tests share be current between none of them."""
    try:
        return (yield)
    finally:
        entered = _entered(item.config)
        if entered is not None:
            entered.leave()


def _entered(config: pytest.Config) -> WideSession | None:
    """The session of several tests that is current."""
    if _WIDE_SESSIONS not in sys.modules:
        return None
    from timetracer_otel.pytest_plugin.wide_sessions import ENTERED

    return config.stash.get(ENTERED, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Make the session current in the test, and fail the test where its replay failed."""
    running = item.stash.get(_running, None)
    if running is None:
        return (yield)
    with running.around(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show of a test that fails the lines of the test and the app, not ours; all of them with ``--full-trace``."""
    used = "timetracer_otel.session" in sys.modules
    if used and call.excinfo is not None and not item.config.getoption("fulltrace", False):
        from timetracer_otel.pytest_plugin.failure_reports import shorten

        shorten(call.excinfo)
    return (yield)


@pytest.fixture(scope="session")
def timetracer_config() -> Mapping[str, Any]:
    """The settings of all recordings and replays of tests, by name: those of the marker, and fields of `TraceConfig`.

        @pytest.fixture(scope="module")
        def timetracer_config():
            return {"match_on": ["method", "url"], "redact_extra": ["x-tenant"]}

    Override this fixture in a `conftest.py`, a module or a class, with any scope; the nearest one counts. For tests
    that share a session, its scope must be as wide as theirs. What the marker or the arguments of a fixture say wins.
    """
    return {}


@pytest.fixture
def timetracer_session(request: pytest.FixtureRequest, timetracer_cassette_dir: Path) -> Iterator[BaseSession]:
    """The session of this test, by its marker `timetracer`. Without the marker, as by one without arguments.

    It is a `TraceSession` while the test is recorded, and a `ReplaySession` while it is replayed. It is current in
    the test, and in the fixtures that are set up after this one. With ``scope=`` in the marker, tests share it.
    """
    from timetracer_otel.pytest_plugin.sessions import TestSession
    from timetracer_otel.pytest_plugin.wide_sessions import PartOfWide, open_for

    wide = open_for(request.node)
    running = (
        TestSession(request, timetracer_cassette_dir, request.node)
        if wide is None
        else PartOfWide(wide, request, request.node)
    )
    with running.open() as session:
        request.node.stash[_running] = running
        try:
            yield session
        finally:
            del request.node.stash[_running]


def _shared_session(request: pytest.FixtureRequest) -> Iterator[WideSession]:
    """The session that the tests of one scope share."""
    from timetracer_otel.pytest_plugin.wide_sessions import open_wide

    with open_wide(request, lambda: request.config.stash[_set_up]) as wide:
        yield wide


_timetracer_class = pytest.fixture(_shared_session, scope="class", name="_timetracer_class")
_timetracer_module = pytest.fixture(_shared_session, scope="module", name="_timetracer_module")
_timetracer_package = pytest.fixture(_shared_session, scope="package", name="_timetracer_package")
_timetracer_run = pytest.fixture(_shared_session, scope="session", name="_timetracer_session")


@pytest.fixture
def _timetracer_blocked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuses the connections of a test without a session: by `block_network`, as marker, setting or ini option."""
    from timetracer_otel.pytest_plugin.blocked_tests import BlockedTest
    from timetracer_otel.pytest_plugin.blocking import Blocking
    from timetracer_otel.pytest_plugin.sessions import configured

    blocking = Blocking.of(request.node, configured(request.getfixturevalue("timetracer_config")))
    if not blocking.is_on:
        yield
        return
    running = BlockedTest(request, blocking)
    with running.open():
        request.node.stash[_running] = running
        try:
            yield
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


class ReproduceFixture(Protocol):
    """The type of `timetracer_reproduce`."""

    def __call__(
        self,
        recording: str | Path,
        app: Any,
        *,
        raises: bool = False,
        headers: Mapping[str, str] | None = None,
        ignore_in_answer: Sequence[str] = (),
        **settings: Unpack[Settings],
    ) -> Reproduced:
        """Send a recorded request to an app of this process."""
        ...


class VerifyFixture(Protocol):
    """The type of `timetracer_verify`."""

    def __call__(self, folder: str | Path, command: Sequence[str], *options: str) -> None:
        """Start a service by a command, and send it the recorded requests of a folder."""
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
    from timetracer_otel.pytest_plugin.sessions import default_record_mode, settings_of_block

    def auto(
        cassette_name: str | Path, plugins: Sequence[str] | None = None
    ) -> AbstractContextManager[TraceSession | ReplaySession]:
        path = timetracer_cassette_dir / cassette_name
        record_mode: _RecordMode = (
            request.config.getoption("--timetracer-record-mode")
            or settings_of_block(request).get("record_mode")
            or default_record_mode()
        )
        if record_mode in ("all", "rewrite") or (record_mode != "none" and not path.exists()):
            return _recording(request, timetracer_cassette_dir, cassette_name, plugins, record_mode)
        return _replaying(request, path, None, plugins, record_mode)

    return auto


@pytest.fixture
def timetracer_reproduce(request: pytest.FixtureRequest, timetracer_cassette_dir: Path) -> ReproduceFixture:
    """A function that sends a recorded request to an app of this process, and compares the answers.

        answer = timetracer_reproduce("orders/request.msgpack", "shop:app")
        assert answer.is_as_recorded, answer.difference

    No server is started, and the calls of the app are answered from the recording (and from those of its process that
    lie beside it). ``timetracer-otel to-test`` writes such tests.

    Its parameters are ``recording`` (the cassette of a request, relative to `timetracer_cassette_dir`, or absolute),
    ``app`` (an ASGI or WSGI app; or, as text, where it is: ``module:app`` or ``module:factory()``; then calls that it
    makes while it is imported are answered as well), ``raises`` (an exception of the app goes on, also one that its
    framework makes an answer of), ``headers`` (values that replace recorded ones, which may be redacted),
    ``ignore_in_answer`` (what of the answer is not compared: ``header:<name>``, ``body:<JSON path from $>``) and the
    fields of `TraceConfig`. It raises `ReplayFailedError` where a call of the app had no recorded answer.
    """

    def reproduce(
        recording: str | Path,
        app: Any,
        *,
        raises: bool = False,
        headers: Mapping[str, str] | None = None,
        ignore_in_answer: Sequence[str] = (),
        **settings: Unpack[Settings],
    ) -> Reproduced:
        from timetracer_otel.pytest_plugin.reproducing import reproduce

        __tracebackhide__ = True
        path = timetracer_cassette_dir / recording
        return reproduce(request, path, app, raises, headers or {}, ignore_in_answer, settings)

    return reproduce


@pytest.fixture
def timetracer_verify(request: pytest.FixtureRequest, timetracer_cassette_dir: Path) -> VerifyFixture:
    """A function that runs ``timetracer-otel verify`` on a folder of recordings, and fails by its report.

        timetracer_verify("orders", ["python", "app.py"], "--url", "http://127.0.0.1:8000")

    Its parameters are ``folder`` (relative to `timetracer_cassette_dir`, or absolute), ``command`` (what starts the
    service, as it stands behind ``--``) and options of the command ``verify``.
    """

    def verify(folder: str | Path, command: Sequence[str], *options: str) -> None:
        from timetracer_otel.pytest_plugin.reproducing import verify_by_command

        __tracebackhide__ = True
        verify_by_command(request, timetracer_cassette_dir / folder, command, options)

    return verify


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
    from timetracer_otel.pytest_plugin.blocking import Blocking
    from timetracer_otel.pytest_plugin.sessions import accounted, checked, note_age, note_used, settings_of_block
    from timetracer_otel.session import ReplaySession
    from timetracer_otel.testing import everywhere

    settings: Any = {**settings_of_block(request), "record_mode": record_mode}
    # These fixtures give a replay, and so they do not record a cassette anew that is too old.
    max_age = settings.get("max_age") or TraceConfig.from_env().max_age
    settings["max_age"] = max_age.replace("record", "warn")
    if plugins is not None:
        settings["mock_plugins"] = checked(plugins)
    if strict is not None:
        settings["strict_replay"] = strict
    for each in path.rglob("*.msgpack*") if path.is_dir() else [path]:
        note_used(request.node, each)
    with accounted(request.node) as account, timetracer_otel.replay(path, **settings) as session:
        # `timetracer_auto` records by itself where the record mode is "all", so this is never a recording.
        assert isinstance(session, ReplaySession)
        note_age(request.node, session)
        account.session = session
        session.allowed_hosts = Blocking.of(request.node, settings).allowed_hosts
        # The session of a folder is current everywhere: it is that of the process.
        with nullcontext() if path.is_dir() else everywhere(session, request.instance):
            yield session


@contextmanager
def _recording(
    request: pytest.FixtureRequest,
    folder: Path,
    name: str | Path | None,
    plugins: Sequence[str] | None,
    record_mode: _RecordMode = "none",
) -> Generator[TraceSession, None, None]:
    import timetracer_otel
    from timetracer_otel.pytest_plugin.blocking import Blocking
    from timetracer_otel.pytest_plugin.sessions import checked, note_rerecorded, note_used, settings_of_block
    from timetracer_otel.testing import everywhere

    settings: Any = {**settings_of_block(request), "record_mode": record_mode}
    settings = {**settings, "cassette_dir": str(folder)}
    if plugins is not None:
        settings["capture"] = checked(plugins)
    path = None if name is None else folder / name
    if path is not None:
        note_used(request.node, path)
    with timetracer_otel.record(path, **settings) as session, everywhere(session, request.instance):
        session.allowed_hosts = Blocking.of(request.node, settings).allowed_hosts
        yield session
    note_rerecorded(request.node, session)
