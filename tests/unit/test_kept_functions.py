"""Replacing a library's function also for those who took it before."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from timetracer_otel._kept_functions import KeptPatch


def _library() -> Any:
    class Base:
        def plain(self, number: int = 1, *, more: int = 2) -> tuple[int, int]:
            return number, more

    class Library(Base):
        def plain(self, number: int = 1, *, more: int = 2) -> tuple[int, int]:
            return number, more

        async def awaited(self, number: int = 1, *, more: int = 2) -> tuple[int, int]:
            return number, more

        def with_super(self, number: int = 1, *, more: int = 2) -> tuple[int, int]:
            return super().plain(number, more=more)

    return Library


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

        patch = KeptPatch(library, name, _noting(note, "a"))
        patch.apply()
        kept.__code__ = others.__code__
        patch.undo()
        assert kept(library()) == "other"


def test_a_function_with_free_variables_is_replaced_in_its_place_only() -> None:
    library, note = _library(), list[str]()
    kept = library.with_super
    patch = KeptPatch(library, "with_super", _noting(note, "a"))
    patch.apply()
    assert kept(library()) == library().with_super() == (1, 2)
    assert note == ["a"]
    patch.undo()
    assert library.with_super is kept
