"""The guard of a seam: what an app gets where a fault of ours strikes."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Callable, Generator
from typing import Any, NoReturn

import pytest

from tests.sample_cassettes import cassette
from timetracer_otel.base import faults
from timetracer_otel.calls import guarded as kernel
from timetracer_otel.calls import hooks
from timetracer_otel.calls.guarded import (
    ASK,
    AppStep,
    Done,
    Flow,
    Noted,
    OurStep,
    adding,
    answered,
    answered_async,
    guarded,
    guarded_async,
    guarded_generator,
    lending,
    lending_async,
    only,
    raising,
)
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.calls.noting import noting_beneath
from timetracer_otel.calls.whose_error import outside
from timetracer_otel.current import SESSION_KEY
from timetracer_otel.exceptions import CassetteError, ReplayMismatchError
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.threads import holding


class Library:
    """A library's function, sync, async or a generator, which counts its calls."""

    def __init__(self, kind: str) -> None:
        self.calls: list[Any] = []
        self.fails: BaseException | None = None
        self.about: Callable[[], Any] = lambda: None
        self.known: Any = None
        self._kind = kind

    def function(self, value: Any) -> Any:
        self.calls.append(value)
        self.known = self.about()
        if self.fails is not None:
            raise self.fails
        return value * 2

    async def coroutine_function(self, value: Any) -> Any:
        return self.function(value)

    def generator_function(self, value: Any) -> Generator[str, None, Any]:
        yield "waits"
        return self.function(value)

    @property
    def original(self) -> Callable[..., Any]:
        by_kind = {"sync": self.function, "async": self.coroutine_function, "generator": self.generator_function}
        return by_kind[self._kind]

    @property
    def may_raise_stop_iteration(self) -> bool:
        """Python lets neither a coroutine nor a generator do that."""
        return self._kind == "sync"

    def call(self, begin: Callable[..., Any], **options: Any) -> Any:
        """Call the replacement with 4."""
        if self._kind == "async":
            return asyncio.run(guarded_async("shop", self.original, begin, **options)(4))
        if self._kind == "generator":
            return _run(guarded_generator("shop", self.original, begin, **options)(4))
        return guarded("shop", self.original, begin, **options)(4)

    def call_answered(self, value_of: Callable[[Any], Any]) -> Any:
        """Call the replacement that answers at once, with 4."""
        if self._kind == "async":
            return asyncio.run(answered_async("shop", self.original, value_of)(4))
        return answered("shop", self.function, value_of)(4)

    def call_lending(self, above: CallAbove[Any]) -> Any:
        """Call the replacement that is known to be called while that lasts, with 4."""
        if self._kind == "async":
            return asyncio.run(lending_async("shop", self.original, above, "buy")(4))
        return lending("shop", self.function, above, "buy")(4)


def _run(generator: Generator[str, None, Any]) -> Any:
    """What a generator returns; it waits as the library's own does, where it calls that."""
    try:
        while True:
            assert next(generator) == "waits"
    except StopIteration as stop:
        return stop.value


@pytest.fixture(params=["sync", "async", "generator"])
def library(request: pytest.FixtureRequest) -> Library:
    return Library(request.param)


@pytest.fixture(autouse=True)
def recording(monkeypatch: pytest.MonkeyPatch) -> BaseSession:
    session = BaseSession()
    monkeypatch.setattr(faults, "raise_faults", False)
    monkeypatch.setattr(kernel, "get_current_session", lambda: session)
    return session


@pytest.fixture
def replaying(monkeypatch: pytest.MonkeyPatch) -> ReplaySession:
    session = ReplaySession(cassette([]), "x.msgpack")
    monkeypatch.setattr(kernel, "get_current_session", lambda: session)
    return session


def fault(*_: object) -> NoReturn:
    raise AttributeError("no such name in the new release")


def test_a_call_is_made_by_its_step(library: Library) -> None:
    def begin(session: BaseSession, value: Any) -> Flow:
        found = yield AppStep(library.original, value + 1)
        return [found]

    assert library.call(begin) == [10]
    assert library.calls == [5]


def test_a_call_without_steps_is_made_bare(library: Library) -> None:
    assert library.call(lambda session, value: None) == 8
    assert library.calls == [4]


@pytest.mark.parametrize("error", [AttributeError("new name"), StopIteration("empty"), CassetteError("odd")])
def test_a_fault_before_the_call_lets_it_be_made_bare(library: Library, error: Exception) -> None:
    def begin(session: BaseSession, value: Any) -> Flow:
        raise error

    before = faults.fault_counts().get("shop.seam", 0)
    assert library.call(begin) == 8
    assert library.calls == [4]
    assert faults.fault_counts()["shop.seam"] == before + 1


def test_a_fault_in_the_first_step_lets_the_call_be_made_bare(library: Library) -> None:
    def begin(session: BaseSession, value: Any) -> Flow:
        fault()
        yield AppStep(library.original, value)

    assert library.call(begin) == 8
    assert library.calls == [4]


def test_a_fault_after_the_call_gives_what_it_returned(library: Library) -> None:
    def begin(session: BaseSession, value: Any) -> Flow:
        yield AppStep(library.original, value)
        fault()

    assert library.call(begin) == 8
    assert library.calls == [4]


def test_the_end_of_a_loop_is_no_fault_where_it_passes_through_steps() -> None:
    library = Library("sync")
    library.fails = StopIteration("no more")
    before = faults.fault_counts()
    with pytest.raises(StopIteration) as raised:
        library.call(lambda session, value: only(AppStep(library.original, value)))
    assert raised.value is library.fails
    assert faults.fault_counts() == before


@pytest.mark.parametrize("error", [OSError("refused"), StopIteration("no more"), KeyboardInterrupt()])
def test_a_fault_after_a_failed_call_raises_what_that_raised(library: Library, error: BaseException) -> None:
    if isinstance(error, StopIteration) and not library.may_raise_stop_iteration:
        error = LookupError("neither a coroutine nor a generator can raise StopIteration")
    library.fails = error

    def begin(session: BaseSession, value: Any) -> Flow:
        try:
            return (yield AppStep(library.original, value))
        except BaseException:
            fault()

    with pytest.raises(type(error)) as raised:
        library.call(begin)
    assert raised.value is error
    assert raised.value.__context__ is None
    assert library.calls == [4]


def test_an_error_of_the_call_is_no_fault(library: Library) -> None:
    library.fails = OSError("refused")

    def begin(session: BaseSession, value: Any) -> Flow:
        try:
            return (yield AppStep(library.original, value))
        finally:
            pass

    before = faults.fault_counts()
    with pytest.raises(OSError, match="refused"):
        library.call(begin)
    assert faults.fault_counts() == before


def test_an_interrupt_in_our_part_passes(library: Library) -> None:
    def begin(session: BaseSession, value: Any) -> Flow:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        library.call(begin)
    assert not library.calls


def test_a_session_that_cannot_be_found_lets_the_call_be_made_bare(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "get_current_session", fault)
    assert library.call(lambda session, value: None) == 8


def test_a_fault_in_a_replay_is_a_miss_that_names_the_function(library: Library, replaying: ReplaySession) -> None:
    with pytest.raises(ReplayMismatchError, match=r"a fault of ours in test_guarded\.py:fault: AttributeError\('no"):
        library.call(fault)
    assert not library.calls
    assert len(replaying.verdict().misses) == 1


def test_a_replay_raises_its_own_errors_and_the_recorded_ones(library: Library, replaying: ReplaySession) -> None:
    refusal, recorded = ReplayMismatchError("nothing fits"), OSError("as recorded")

    def refusing(session: BaseSession, value: Any) -> Flow:
        raise refusal
        yield

    def answering(session: BaseSession, value: Any) -> Flow:
        yield raising(recorded)

    with pytest.raises(ReplayMismatchError) as missed:
        library.call(refusing)
    with pytest.raises(OSError, match="as recorded") as raised:
        library.call(answering)
    assert (missed.value, raised.value) == (refusal, recorded)
    assert not library.calls


def _looking_at_an_object_that_raises(session: BaseSession, value: Any) -> None:
    outside(int, "the app's object raises")


def test_an_object_of_the_apps_that_raises_is_no_fault(library: Library) -> None:
    before = faults.fault_counts()
    assert library.call(_looking_at_an_object_that_raises) == 8
    assert library.calls == [4]
    assert faults.fault_counts() == before


def test_an_object_of_the_apps_that_raises_does_so_in_a_replay(library: Library, replaying: ReplaySession) -> None:
    with pytest.raises(ValueError, match="the app's object raises"):
        library.call(_looking_at_an_object_that_raises)
    assert not library.calls
    assert not replaying.verdict().misses


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_step_of_ours_raises_what_it_calls_outside(
    library: Library, replaying: ReplaySession, is_ours: bool
) -> None:
    def step() -> NoReturn:
        if is_ours:
            fault()
        outside(fault)
        raise AssertionError

    def begin(session: BaseSession, value: Any) -> Flow:
        yield OurStep(step)

    with pytest.raises(ReplayMismatchError if is_ours else AttributeError, match="no such name in the new release"):
        library.call(begin)
    assert not library.calls


def test_a_fault_whose_log_fails_is_still_contained(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("the app's handler")

    handler = Broken()
    monkeypatch.setattr(faults, "_counts", type(faults._counts)())
    faults.logger.addHandler(handler)
    try:
        assert library.call(fault) == 8
    finally:
        faults.logger.removeHandler(handler)


def test_a_seam_is_told_of_a_fault(library: Library, replaying: ReplaySession) -> None:
    told: list[Any] = []

    def give_up(error: Exception, *args: Any) -> None:
        told.append((type(error), args))
        fault()

    with pytest.raises(ReplayMismatchError, match="a fault of ours"):
        library.call(fault, give_up=give_up)
    assert told == [(AttributeError, (4,))]


def test_a_fault_in_looking_for_sessions_is_no_fault_of_the_call(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(kernel, "get_current_session", lambda: None)
    monkeypatch.setattr(holding, "look", fault)
    monkeypatch.setattr(kernel, "_LOOK_EACH", 1)
    before = faults.fault_counts().get("threads", 0)
    assert library.call(fault, give_up=told.append) == 8
    assert told == [], "what is noted of the connection is still to be relied upon"
    assert faults.fault_counts()["threads"] == before + 1


def test_an_error_that_was_dealt_with_is_not_what_the_app_gets(library: Library, replaying: ReplaySession) -> None:
    def begin(session: BaseSession, value: Any) -> Flow:
        try:
            yield step(OSError("of a step that is not the app's"))
        except OSError:
            yield step(None)
        fault()

    def step(error: Exception | None) -> Callable[[], Any]:
        def plain() -> None:
            if error is not None:
                raise error

        async def awaited() -> None:
            plain()

        return awaited if inspect.iscoroutinefunction(library.original) else plain

    with pytest.raises(ReplayMismatchError, match="a fault of ours"):
        library.call(begin)


@pytest.mark.parametrize("fails", [None, OSError("refused")])
def test_what_is_called_is_known_while_that_lasts(library: Library, fails: BaseException | None) -> None:
    above: CallAbove[Any] = CallAbove("test")
    library.fails, library.about = fails, above.get
    with pytest.raises(OSError, match="refused") if fails is not None else contextlib.nullcontext():
        assert library.call_lending(above) == 8
    assert library.calls == [4]
    assert library.known == ("buy", (4,))
    assert above.get() is None


class Notes(Noted):
    """Notes what becomes of a call."""

    def __init__(self) -> None:
        self.noted: list[Any] = []

    def came(self, value: Any) -> Any:
        self.noted.append(value)
        return value

    def raised(self, error: BaseException) -> None:
        self.noted.append(error)


class BrokenNotes(Noted):
    """Raises for whatever becomes of a call."""

    def came(self, value: Any) -> Any:
        fault()

    def raised(self, error: BaseException) -> None:
        fault()


def test_a_call_that_is_only_noted_is_made_by_the_guard(library: Library) -> None:
    notes = Notes()
    assert library.call(lambda session, value: notes) == 8
    library.fails = OSError("refused")
    with pytest.raises(OSError, match="refused"):
        library.call(lambda session, value: notes)
    assert notes.noted == [8, library.fails]
    assert library.calls == [4, 4]


def test_a_fault_in_noting_leaves_the_app_its_outcome(library: Library) -> None:
    assert library.call(lambda session, value: BrokenNotes()) == 8
    library.fails = OSError("refused")
    with pytest.raises(OSError, match="refused") as raised:
        library.call(lambda session, value: BrokenNotes())
    assert raised.value is library.fails
    assert library.calls == [4, 4]


def test_a_fault_in_noting_gives_up_what_depends_on_it(library: Library) -> None:
    told: list[Any] = []
    library.call(lambda session, value: BrokenNotes(), give_up=lambda fault, value: told.append((type(fault), value)))
    assert told == [(AttributeError, 4)]


def test_a_step_with_other_arguments_takes_the_place_of_the_call(library: Library) -> None:
    assert library.call(lambda session, value: AppStep(library.original, value + 1)) == 10
    assert library.calls == [5]


def test_who_is_asked_first_may_decide_without_the_session(library: Library) -> None:
    notes = Notes()
    assert library.call(fault, quick=lambda value: notes) == 8
    assert library.call(fault, quick=lambda value: None) == 8
    assert library.call(lambda session, value: Done([value]), quick=lambda value: ASK) == [4]
    assert notes.noted == [8]
    assert library.call(lambda session, value: None, quick=fault) == 8
    assert library.calls == [4, 4, 4]


def test_a_value_that_is_there_already_is_given_without_a_call(library: Library) -> None:
    assert library.call(lambda session, value: Done([value])) == [4]
    assert not library.calls


def test_steps_of_another_call_end_with_a_value_that_is_there_already(library: Library) -> None:
    def begin(session: BaseSession, value: Any) -> Flow:
        found = yield from Done(value + 1)
        return (found, (yield AppStep(library.original, found)))

    assert library.call(begin) == (5, 10)


def test_a_function_is_answered_or_called(library: Library) -> None:
    assert library.call_answered(lambda value: [value]) == [4]
    assert not library.calls
    assert library.call_answered(lambda value: None) == 8


def test_a_fault_in_answering_lets_the_function_be_called(library: Library) -> None:
    assert library.call_answered(fault) == 8
    assert library.calls == [4]


def test_a_fault_in_answering_a_replay_is_a_miss(library: Library, replaying: ReplaySession) -> None:
    with pytest.raises(ReplayMismatchError, match="a fault of ours"):
        library.call_answered(fault)
    assert not library.calls


def _named(first: str, *, added: Any = None, other: int = 0) -> Any:
    return first, added, other


def test_a_function_gets_one_more_argument() -> None:
    called = adding("shop", _named, "added", lambda first, value: [first, value])
    assert called("a") == ("a", ["a", None], 0)
    assert called("a", added=1, other=2) == ("a", ["a", 1], 2)


def test_a_fault_in_adding_an_argument_lets_the_function_be_called_as_it_was() -> None:
    assert adding("shop", _named, "added", fault)("a", added=1) == ("a", 1, 0)


def test_a_fault_in_adding_an_argument_in_a_replay_is_a_miss(
    replaying: ReplaySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "guard", object())
    with pytest.raises(ReplayMismatchError, match="a fault of ours"):
        adding("shop", _named, "added", fault)("a")


def test_a_fault_before_the_session_is_asked_for_is_contained_beside_a_replay(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "guard", object())
    assert library.call(fault, quick=fault) == 8


def test_a_fault_in_finding_the_session_is_a_miss_beside_a_replay(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in the context need not be the session of the call. It is asked which session that is."""

    ended = BaseSession()
    ended.after = lambda: None
    monkeypatch.setattr(hooks, "guard", object())
    monkeypatch.setattr(kernel, "current_context", lambda: {SESSION_KEY: ended})
    monkeypatch.setattr(kernel, "get_current_session", fault)
    with pytest.raises(ReplayMismatchError, match="a fault of ours"):
        library.call(raising)
    assert library.calls == []


def test_a_function_beneath_a_call_is_noted_with_its_arguments() -> None:
    above, noted = CallAbove[list[Any]]("beneath"), []
    call = noting_beneath("shop", _named, above.get, lambda *facts: noted.append(facts), fault)
    assert call("a", other=1) == ("a", None, 1)
    assert noted == []
    with above.making(noted):
        assert call("a", other=1) == ("a", None, 1)
    assert noted == [(noted, ("a",), {"other": 1})]


def test_a_fault_in_noting_a_function_beneath_a_call_is_told_to_that() -> None:
    above, given_up = CallAbove[str]("beneath-a-fault"), []
    call = noting_beneath("shop", _named, above.get, fault, lambda *facts: given_up.append(facts))
    with above.making("the call"):
        assert call("a") == ("a", None, 0)
        assert noting_beneath("shop", _named, above.get, fault, fault)("a") == ("a", None, 0)
    assert [(who, type(error)) for who, error in given_up] == [("the call", AttributeError)]
