"""What a replay gives the app: a fault of ours in one of its methods is a miss, and what is the app's passes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from timetracer_otel.base import faults
from timetracer_otel.calls.guarded import Flow
from timetracer_otel.calls.guarded_objects import ReplayObject, in_steps
from timetracer_otel.calls.whose_error import outside, raise_for_app
from timetracer_otel.exceptions import ReplayMismatchError


@pytest.fixture(autouse=True)
def _faults_stay_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "raise_faults", False)


def _fault() -> None:
    raise KeyError("ours")


class _Cursor(ReplayObject, called=("_by_the_library",)):
    _lib = "sqlalchemy"

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.told: Exception | None = None

    def method(self) -> Any:
        return self.work()

    def outer(self) -> Any:
        return self.method()

    @property
    def value(self) -> Any:
        return self.work()

    def __iter__(self) -> Iterator[Any]:
        yield self.work()

    def _by_the_library(self) -> Any:
        return self.work()

    async def awaited(self) -> Any:
        return self.work()

    @in_steps
    def stepped(self, step: Any = None) -> Flow:
        if step is not None:
            return (yield step)
        return self.work()

    def _met_fault(self, miss: Exception) -> None:
        self.told = miss


_WAYS: dict[str, Callable[[_Cursor], Any]] = {
    "method": lambda cursor: cursor.method(),
    "method within a method": lambda cursor: cursor.outer(),
    "property": lambda cursor: cursor.value,
    "iteration": list,
    "private name": lambda cursor: cursor._by_the_library(),
    "coroutine": lambda cursor: asyncio.run(cursor.awaited()),
    "steps": lambda cursor: asyncio.run(cursor.stepped()),
}


@pytest.mark.parametrize("way", _WAYS)
def test_a_fault_is_a_miss_that_names_the_function(way: str) -> None:
    cursor = _Cursor(_fault)
    with pytest.raises(ReplayMismatchError, match=r"call of sqlalchemy met a fault of ours in .*:_fault") as caught:
        _WAYS[way](cursor)
    assert isinstance(caught.value.__cause__, KeyError)
    assert cursor.told is caught.value


@pytest.mark.parametrize("way", _WAYS)
@pytest.mark.parametrize("marked", [partial(outside, _fault), partial(raise_for_app, KeyError("ours"))])
def test_what_is_for_the_app_passes(way: str, marked: Callable[[], Any]) -> None:
    cursor = _Cursor(marked)
    with pytest.raises(KeyError, match="ours"):
        _WAYS[way](cursor)
    assert cursor.told is None


def test_what_a_step_raises_is_the_librarys() -> None:
    async def fails() -> None:
        raise KeyError("the library's")

    with pytest.raises(KeyError, match="the library's"):
        asyncio.run(_Cursor(_fault).stepped(fails))


def test_a_miss_passes_as_it_is() -> None:
    miss = ReplayMismatchError("nothing recorded")

    def missed() -> None:
        raise miss

    with pytest.raises(ReplayMismatchError) as caught:
        _Cursor(missed).outer()
    assert caught.value is miss
