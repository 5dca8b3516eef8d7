"""Replacing a library's function also for those who took it before."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Callable
from types import FunctionType
from typing import Any
from unittest import mock

import pytest

from timetracer_otel.base.kept_functions import KeptPatch

_SOURCE = """
class Base:
    def plain(self, number=1, *, more=2):
        return number, more

class Library(Base):
    def plain(self, number=1, *, more=2):
        return number, more

    async def awaited(self, number=1, *, more=2):
        return number, more

    def with_super(self, number=1, *, more=2):
        return super().plain(number, more=more)
"""


def _library() -> Any:
    """A class of another package."""
    names = {"__name__": "a_library.of_others"}
    exec(_SOURCE, names)
    return names["Library"]


def _noting(note: list[str], name: str) -> Callable[[Any], Any]:
    def wrap(original: Any) -> Any:
        def replacement(*args: Any, **kwargs: Any) -> Any:
            note.append(name)
            return original(*args, **kwargs)

        async def async_replacement(*args: Any, **kwargs: Any) -> Any:
            note.append(name)
            return await original(*args, **kwargs)

        return async_replacement if inspect.iscoroutinefunction(original) else replacement

    return wrap


def _result(value: Any) -> Any:
    return asyncio.run(value) if inspect.iscoroutine(value) else value


@pytest.mark.parametrize("name", ["plain", "awaited"])
class TestKept:
    def test_who_took_the_function_reaches_the_replacement_while_it_stands(self, name: str) -> None:
        library, note = _library(), list[str]()
        kept, own = getattr(library, name), dict(vars(library))
        code, defaults = kept.__code__, kept.__kwdefaults__
        for _ in range(2):
            patch = KeptPatch(library, name, _noting(note, "a"))
            patch.apply()
            patch.apply()
            assert inspect.iscoroutinefunction(kept) == (name == "awaited")
            assert _result(kept(library())) == (1, 2)
            assert _result(kept(library(), 3, more=4)) == (3, 4)
            assert _result(getattr(library(), name)(number=5)) == (5, 2)
            assert note == ["a", "a", "a"]
            patch.undo()
            patch.undo()
            assert _result(kept(library())) == (1, 2)
            assert note == ["a", "a", "a"]
            assert dict(vars(library)) == own
            assert (kept.__code__, kept.__kwdefaults__) == (code, defaults)
            note.clear()

    def test_a_mock_that_stands_in_its_place_lets_calls_through_to_it(self, name: str) -> None:
        library, note = _library(), list[str]()
        kept = getattr(library, name)
        patch = KeptPatch(library, name, _noting(note, "a"))
        patch.apply()
        with mock.patch.object(library, name, lambda self: kept(self, 7)):
            assert _result(getattr(library(), name)()) == (7, 2)
            assert note == ["a"]
            patch.undo()
            assert _result(getattr(library(), name)()) == (7, 2)
            assert note == ["a"]

    def test_two_that_are_applied_are_both_called(self, name: str) -> None:
        library, note = _library(), list[str]()
        outer, inner = (KeptPatch(library, name, _noting(note, which)) for which in ("outer", "inner"))
        inner.apply()
        outer.apply()
        _result(getattr(library(), name)())
        assert note == ["outer", "inner"]
        outer.undo()
        inner.undo()
        _result(getattr(library(), name)())
        assert note == ["outer", "inner"]

    def test_who_gave_the_function_other_code_keeps_it(self, name: str) -> None:
        library, note = _library(), list[str]()
        kept = getattr(library, name)

        def others(self: Any) -> str:
            return "other"

        async def awaited_others(self: Any) -> str:
            return "other"

        patch = KeptPatch(library, name, _noting(note, "a"))
        patch.apply()
        kept.__code__ = (awaited_others if name == "awaited" else others).__code__
        patch.undo()
        assert _result(kept(library())) == "other"


class _Proxy:
    """Says that it is a function, as proxies do."""

    __class__ = FunctionType  # type: ignore[assignment]

    def __init__(self, function: Any) -> None:
        self.function = function

    def __get__(self, instance: Any, owner: Any) -> Any:
        return lambda *args: self.function(instance, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)


@pytest.mark.parametrize("name", ["plain", "awaited"])
@pytest.mark.parametrize("kind", ["mock", "wrapper", "proxy"])
class TestStandIns:
    """Something of others stands in the function's place when a patch is applied."""

    @staticmethod
    def _stand_in(kind: str, function: Any) -> Any:
        if kind == "mock":
            return mock.MagicMock(return_value="mocked")
        return (lambda *args: function(*args)) if kind == "wrapper" else _Proxy(function)

    def test_it_stays_and_has_the_first_word(self, name: str, kind: str) -> None:
        library, note = _library(), list[str]()
        stand_in = self._stand_in(kind, library.__dict__[name])
        with mock.patch.object(library, name, stand_in):
            patch = KeptPatch(library, name, _noting(note, "a"))
            patch.apply()
            assert library.__dict__[name] is stand_in
            assert _result(getattr(library(), name)()) == ("mocked" if kind == "mock" else (1, 2))
            assert note == ([] if kind == "mock" else ["a"])
            patch.undo()
            _result(getattr(library(), name)())
            assert library.__dict__[name] is stand_in
        assert note == ([] if kind == "mock" else ["a"])

    @pytest.mark.parametrize("seen", [True, False])
    def test_the_function_leads_to_the_replacement_when_it_is_put_back(
        self, name: str, kind: str, seen: bool
    ) -> None:
        library, note = _library(), list[str]()
        if seen:
            before = KeptPatch(library, name, _noting(note, "before"))
            before.apply()
            before.undo()
        function = library.__dict__[name]
        patch = KeptPatch(library, name, _noting(note, "a"))
        with mock.patch.object(library, name, self._stand_in(kind, function)):
            patch.apply()
        assert library.__dict__[name] is function
        assert _result(getattr(library(), name)()) == (1, 2)
        assert note == ["a"]
        patch.undo()
        assert _result(getattr(library(), name)()) == (1, 2)
        assert note == ["a"]


def test_what_took_the_place_of_a_function_that_is_no_more_is_replaced() -> None:
    library, note = _library(), list[str]()
    library.plain = others = lambda self: "other"
    gc.collect()
    patch = KeptPatch(library, "plain", _noting(note, "a"))
    patch.apply()
    assert library().plain() == "other"
    assert note == ["a"]
    patch.undo()
    assert library.plain is others


def test_a_function_with_free_variables_is_replaced_in_its_place_only() -> None:
    library, note = _library(), list[str]()
    kept = library.with_super
    patch = KeptPatch(library, "with_super", _noting(note, "a"))
    patch.apply()
    assert kept(library()) == library().with_super() == (1, 2)
    assert note == ["a"]
    patch.undo()
    assert library.with_super is kept
