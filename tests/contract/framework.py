"""The contract of every library: bare, recorded and replayed calls look the same to the app.

Each case of a library runs at least three times: with the library untouched (bare), in a recording, and in a replay
for which the servers are stopped. What the app sees is written down as plain values: values with their types, errors
with their causes, all in their order. The runs must agree in all of it. `tests.contract.observation` writes down what
HTTP clients give, `tests.contract.sql_observation` what databases give, `typed` of `tests.contract.redis_contract`
what Redis gives.

A library gives a `Flavour`: its servers, how to run a case, and how to take the servers away. A test class inherits
`Contract` (or `AddingContract`, for runs that add their calls to a cassette) and names the flavour and its cases.
"""

from __future__ import annotations

import asyncio
import inspect
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, TypeVar

import pytest

from tests.contract.format_page import keys_of_replies
from tests.contract.observation import differences
from tests.examples import WHOLE, drawn, shared
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.constants import EventType
from timetracer_otel.session import ReplaySession

__all__ = [
    "AddingContract",
    "Case",
    "CaseList",
    "Contract",
    "Flavour",
    "Runs",
    "SharedTests",
    "Shares",
    "deadline",
    "drawing",
    "drive",
    "each",
    "methods_of",
    "network_attempts",
    "run_async",
    "settle",
]

T = TypeVar("T")
ContractClass = TypeVar("ContractClass", bound="Contract")

_CASE_SECONDS = 100


@dataclass(frozen=True)
class Case:
    """One thing that an app does with a client.

    Attributes:
        name: As in the names of tests.
        run: Gives what the app sees; the flavour knows what to hand in.
        calls: How many calls a recording of it holds; None where no test counts them.
        needs: Features that a flavour must have for it.
        repeatable: False where two runs with a server differ by nature (times, identifiers): only the replay is
            compared, with its own recording.
    """

    name: str
    run: Callable[[Any], Any]
    calls: int | None = None
    needs: frozenset[str] = frozenset()
    repeatable: bool = True


@dataclass
class CaseList:
    """Collects cases; an instance is the decorator's maker.

    Attributes:
        calls: How many calls a case makes that does not say it.
    """

    calls: int | None = 1
    cases: list[Case] = field(default_factory=list)

    def __call__(
        self, calls: int | None = None, *needs: str, repeatable: bool = True
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Add a function as a case that makes so many calls, for flavours with these features."""
        number = self.calls if calls is None else calls

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            self.cases.append(Case(function.__name__, function, number, frozenset(needs), repeatable))
            return function

        return add

    def fitting(self, features: frozenset[str]) -> list[Case]:
        """The cases that a flavour with these features can run."""
        return [case for case in self.cases if case.needs <= features]


class Flavour(ABC):
    """One library in one of its ways of use, with the servers that its cases talk to.

    Attributes:
        name: As in the names of tests.
        recording: Settings of the recordings.
        adding: Settings of the replays that add their calls to a cassette, beside ``record_mode``.
        replaying: Settings of the other replays.
        all_replayable: Whether no call of a recording may be marked as one that cannot be replayed.
    """

    name: str
    recording: Mapping[str, Any] = {}
    adding: Mapping[str, Any] = {}
    replaying: Mapping[str, Any] = {}
    all_replayable: bool = False

    @abstractmethod
    def start(self, folder: Path) -> None:
        """Start the servers; they may write into the folder."""

    @abstractmethod
    def reset(self) -> None:
        """Make the servers as if they had just been started, before each run; nothing where they are stopped."""

    @abstractmethod
    def stop(self) -> None:
        """Take the servers away: from now on there are replays alone."""

    @abstractmethod
    def tear_down(self) -> None:
        """Remove what `start` has made."""

    @abstractmethod
    def enable(self) -> None:
        """Enable the plugin."""

    @abstractmethod
    def disable(self) -> None:
        """Disable the plugin."""

    @abstractmethod
    def perform(self, case: Case) -> Any:
        """Run a case to its end; gives what the app saw, as plain values."""

    def expected_when_adding(self, case: Case, bare: Any) -> Any:
        """What a run that adds its calls shall see, given what the bare run saw: the same, if nothing is known."""
        return bare

    @abstractmethod
    def is_untouched(self) -> bool:
        """Whether the library is as it was imported."""

    def check_left(self) -> None:  # noqa: B027
        """More that shall hold behind a replay."""


@dataclass
class Run:
    """One run of a case: what it saw, or the error that came out of it."""

    seen: Any = None
    error: BaseException | None = None
    events: list[tuple[str, str | None]] = field(default_factory=list)
    """The calls that were kept: what was called, and the class of the error that it ended in."""
    not_replayable: list[str] = field(default_factory=list)
    """Why calls that were kept cannot be replayed."""
    reply_keys: set[tuple[str, str]] = field(default_factory=set)
    """What stands in replies of databases: plugins, each with a key."""
    misses: list[Any] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    attempts: list[str] = field(default_factory=list)

    def observation(self) -> Any:
        """What was seen; raises where the case did not get to its end."""
        if self.error is not None:
            raise self.error
        return self.seen


class Runs:
    """The runs of all cases of one flavour: those that need its servers, at once, and then the replays one by one.

    The flavour's servers are there at first, and stopped behind the runs that need them.
    """

    def __init__(self, flavour: Flavour, cases: Sequence[Case], folder: Path, *, adding: bool = False) -> None:
        self.flavour = flavour
        self.folder = folder
        flavour.disable()
        assert flavour.is_untouched()
        self.bare = {case.name: self._run(case) for case in cases}
        flavour.enable()
        self.recorded = {
            case.name: self._run(case, record(self.cassette(case), **flavour.recording), self.cassette(case))
            for case in cases
        }
        self.added = {case.name: self._add(case) for case in cases} if adding else {}
        flavour.stop()

    def cassette(self, case: Case, added: bool = False) -> Path:
        """The file of a case's recording, or of the calls that were added to an empty one."""
        return self.folder / f"{case.name}{'-added' * added}.msgpack"

    def replay(self, case: Case, added: bool = False) -> Run:
        """Run a case in a replay; the servers are stopped."""
        run = Run()
        session: Any
        with replay(self.cassette(case, added), **self.flavour.replaying) as session, network_attempts() as attempts:
            self._perform(case, run)
        assert isinstance(session, ReplaySession)
        run.misses = list(session.misses)
        run.left_over = [f"#{event.eid} {event.signature}" for event in session.get_unconsumed_events()]
        run.attempts = attempts
        return run

    def check_recording(self, case: Case) -> None:
        """A recording leaves everything as it is."""
        recorded = self.recorded[case.name]
        _same(self.bare[case.name].observation(), recorded.observation())
        if case.calls is not None:
            assert len(recorded.events) == case.calls, "number of recorded events"
        unnamed = recorded.reply_keys - keys_of_replies()
        assert not unnamed, f"docs/cassette-format.md, 'Replies of databases', does not name {sorted(unnamed)}"

    def check_adding(self, case: Case) -> None:
        """So does a run that adds its calls to an empty cassette (``new_episodes``)."""
        expected = self.flavour.expected_when_adding(case, self.bare[case.name].observation())
        _same(expected, self.added[case.name].observation())

    def check_added_calls(self, case: Case) -> None:
        """What was added is what a recording holds: the same calls, ended in the same way, as often."""
        # Tasks side by side have no order.
        assert Counter(self.added[case.name].events) == Counter(self.recorded[case.name].events)

    def check_replay(self, case: Case, added: bool = False) -> None:
        """A replay without servers looks the same, asks no server and uses the whole recording."""
        if self.flavour.all_replayable:
            assert (self.added if added else self.recorded)[case.name].not_replayable == []
        replayed = self.replay(case, added)
        original = self.added if added and not case.repeatable else self.recorded
        _same(original[case.name].observation(), replayed.observation())
        assert replayed.misses == []
        assert replayed.attempts == [] or case.calls == 0
        assert replayed.left_over == [], replayed.left_over
        self.flavour.check_left()

    def _add(self, case: Case) -> Run:
        cassette = self.cassette(case, added=True)
        with record(cassette, **self.flavour.recording):
            pass
        return self._run(case, replay(cassette, record_mode="new_episodes", **self.flavour.adding), cassette)

    def _run(self, case: Case, block: AbstractContextManager[Any] | None = None, cassette: Path | None = None) -> Run:
        run = Run()
        self.flavour.reset()
        try:
            with block or nullcontext():
                self._perform(case, run)
            kept = read_cassette(cassette).events if cassette else []
            run.events = [(event.signature.method, event.result.error_type) for event in kept]
            run.not_replayable = [event.not_replayable for event in kept if event.not_replayable is not None]
            run.reply_keys = {
                (event.signature.lib, key)
                for event in kept
                if event.event_type is EventType.DB_QUERY and type(event.result.reply) is dict
                for key in event.result.reply
            }
        except Exception as error:
            run.error = error
        return run

    def _perform(self, case: Case, run: Run) -> None:
        try:
            with deadline(_CASE_SECONDS):
                run.seen = self.flavour.perform(case)
        except Exception as error:
            run.error = error


def _same(expected: Any, actual: Any) -> None:
    found = differences(expected, actual)
    assert not found, "\n".join(found)


class Contract:
    """Inherit this, and name the flavour and its cases. The fixture ``runs`` makes all runs that need servers."""

    flavour: ClassVar[Flavour]
    cases: ClassVar[Sequence[Case]]
    adding: ClassVar[bool] = False
    shares: ClassVar[Shares | None] = None

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """One test for each case; a case that differs from run to run is only replayed."""
        if "case" in metafunc.fixturenames:
            replays = "replay" in metafunc.function.__name__
            tried = cls.cases if cls.shares is None else cls.shares.of(cls)
            cases = [case for case in tried if case.repeatable or replays]
            metafunc.parametrize("case", cases, ids=[case.name for case in cases])

    def test_recording_leaves_everything_as_it_is(self, runs: Runs, case: Case) -> None:
        runs.check_recording(case)

    def test_replay_without_servers_looks_the_same(self, runs: Runs, case: Case) -> None:
        runs.check_replay(case)

    def test_disabling_gives_the_library_back(self, runs: Runs) -> None:
        self.flavour.disable()
        try:
            assert self.flavour.is_untouched()
        finally:
            self.flavour.enable()


class AddingContract(Contract):
    """The same, and more: every call of a case is added to a cassette without any, and replayed from there."""

    adding = True

    def test_adding_new_calls_leaves_everything_as_it_is(self, runs: Runs, case: Case) -> None:
        runs.check_adding(case)
        runs.check_added_calls(case)

    def test_replay_of_added_calls_looks_the_same(self, runs: Runs, case: Case) -> None:
        runs.check_replay(case, added=True)


class Shares:
    """Test classes that share their cases: each case is run by one of the classes that have it, which the seed draws.

    The classes differ in one thing, such as the driver. In ``make test-whole``, ``make fuzz`` and wherever
    ``TEST_WHOLE=1`` is set, every class runs all of its cases. An instance decorates the classes.

    Args:
        name: Says what the classes differ in; another name draws other shares.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._classes: list[type[Contract]] = []

    def __call__(self, cls: type[ContractClass]) -> type[ContractClass]:
        """Let a class be one of them."""
        self._classes.append(cls)
        cls.shares = self
        marked: type[ContractClass] = pytest.mark.sweep(cls)
        return marked

    def of(self, cls: type[Contract]) -> Sequence[Case]:
        """What a class runs, in its own order. A class that is skipped has all of its cases, and the others too."""
        if WHOLE or _is_skipped(cls):
            return cls.cases
        sharing = {each: set(map(_identity, each.cases)) for each in self._classes if not _is_skipped(each)}
        chosen = shared(self._name, sharing)[cls]
        return [case for case in cls.cases if _identity(case) in chosen]


class SharedTests:
    """The same for test classes whose tests are their methods: each test is run by one of the classes that have it.

    An instance decorates the classes.

    Args:
        name: Says what the classes differ in; another name draws other shares.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._classes: list[type] = []

    def __call__(self, cls: type[T]) -> type[T]:
        """Let a class be one of them."""
        self._classes.append(cls)
        cls.shared_tests = self  # type: ignore[attr-defined]
        marked: type[T] = pytest.mark.sweep(cls)
        return marked

    def leaves(self, cls: type, test: str) -> bool:
        """Whether a class leaves a test to another one."""
        if WHOLE:
            return False
        names = {each: [name for name in dir(each) if name.startswith("test_")] for each in self._classes}
        return test not in shared(self._name, names)[cls]


def drawing(argument: str, *kinds: Sequence[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a test of several flavours: it is run with one of each kind, which the seed draws for this test.

    With ``TEST_WHOLE=1`` it is run with all.

    Args:
        argument: The parameter of the test.
        kinds: The flavours, each with a ``name``, or functions.
    """

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        chosen = drawn(kinds, "flavours", f"{test.__module__}.{test.__qualname__}")
        ids = [getattr(each, "name", None) or each.__name__ for each in chosen]
        return pytest.mark.sweep(pytest.mark.parametrize(argument, chosen, ids=ids)(test))

    return decorate


def _identity(case: Case) -> str:
    """The same for the same case in other classes. Some drivers have a function of their own under a common name.

    Where a case is run in a way of the flavour's, that way is a function which has the case as its first argument.
    """
    function = case.run.args[0] if isinstance(case.run, partial) else case.run
    return f"{case.name} {function.__module__} {function.__qualname__}"


def _is_skipped(cls: type[Contract]) -> bool:
    return any(mark.name == "skipif" and any(mark.args) for mark in getattr(cls, "pytestmark", ()))


def methods_of(*modules: ModuleType) -> dict[tuple[type, str], Any]:
    """All functions that the classes of some modules have: plugins put others in their place."""
    classes = {item for module in modules for item in vars(module).values() if isinstance(item, type)}
    return {(cls, name): item for cls in classes for name, item in vars(cls).items() if inspect.isfunction(item)}


_attempts: list[str] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _attempts is not None and event in {"socket.connect", "socket.getaddrinfo"}:
        _attempts.append(f"{event} {arguments[1:] if event == 'socket.connect' else arguments[:2]}")


@cache
def _listen() -> None:
    # An audit hook cannot be taken back: it stays, and does nothing outside `network_attempts`. Python calls it for
    # each import, each `id` and each `__code__`, so a process that runs none of these tests goes without.
    sys.addaudithook(_audit)


@contextmanager
def network_attempts() -> Iterator[list[str]]:
    """Collect the connections and name look-ups that this process tries."""
    global _attempts
    _listen()
    found: list[str] = []
    _attempts = found
    try:
        yield found
    finally:
        _attempts = None


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the main thread where a block takes longer, also inside a blocking call."""

    def late(*_: object) -> None:
        raise TimeoutError(f"still running after {seconds} s")

    started = time.monotonic()
    before = signal.signal(signal.SIGALRM, late)
    # Whoever else has set the timer (pytest-timeout does) has it back afterwards.
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - started), 0.001))


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("a case for a synchronous client waited")


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, whose task has no result.

    At its end `asyncio.run` asks for the handler of SIGINT. The module ``signal`` makes a text of that handler, with
    the task that it would cancel and that task's result: megabytes of what a case saw, for a text that nobody reads.
    """
    results: list[T] = []

    async def keep() -> None:
        results.append(await coroutine)

    asyncio.run(keep())
    return results[0]


async def settle(value: T | Awaitable[T]) -> T:
    """A value that a client returns: awaited where the client is asynchronous."""
    if inspect.isawaitable(value):
        awaited: T = await value
        return awaited
    return value


async def each(items: Any) -> AsyncIterator[Any]:
    """The items of a client's iterator, of either kind."""
    if hasattr(items, "__aiter__"):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
