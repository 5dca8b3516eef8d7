"""Replacing a library's function, and taking the replacement out again, whoever else replaces it meanwhile."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import wrapt

from timetracer_otel.base.patching import Patch


def _library() -> Any:
    class Base:
        def inherited(self) -> str:
            return "inherited"

    class Library(Base):
        def method(self) -> str:
            return "method"

        @staticmethod
        def static() -> str:
            return "static"

        @classmethod
        def of_class(cls) -> str:
            return f"of_class {cls.__name__}"

    return Library


def _noting(note: list[str], name: str) -> Callable[[Any], Any]:
    def wrap(original: Any) -> Any:
        def replacement(*args: Any) -> Any:
            note.append(name)
            return original(*args)

        return replacement

    return wrap


@pytest.mark.parametrize("name", ["method", "static", "of_class", "inherited"])
class TestPatch:
    def test_it_has_the_signature_of_what_it_replaces(self, name: str) -> None:
        library = _library()
        before = inspect.signature(getattr(library, name)), inspect.signature(getattr(library(), name))
        patch = Patch(library, name, _noting([], "a"))
        patch.apply()
        assert (inspect.signature(getattr(library, name)), inspect.signature(getattr(library(), name))) == before
        assert inspect.unwrap(getattr(library, name)) == getattr(library, name)
        patch.undo()

    def test_it_comes_and_goes(self, name: str) -> None:
        library, note = _library(), list[str]()
        before, own = getattr(library(), name)(), dict(vars(library))
        patch = Patch(library, name, _noting(note, "a"))
        for _ in range(2):
            patch.apply()
            patch.apply()
            assert getattr(library(), name)() == before
            assert note == ["a"]
            patch.undo()
            patch.undo()
            assert getattr(library(), name)() == before
            assert note == ["a"]
            assert dict(vars(library)) == own
            note.clear()

    def test_one_that_was_away_when_it_was_undone_and_came_back_is_replaced_by_the_next(self, name: str) -> None:
        library, note = _library(), list[str]()
        before = getattr(library(), name)()
        for number in range(3):
            first = Patch(library, name, _noting(note, f"old {number}"))
            first.apply()
            with mock.patch.object(library, name, return_value="mocked"):
                first.undo()
                assert getattr(library(), name)() == "mocked"
        note.clear()
        patch = Patch(library, name, _noting(note, "new"))
        patch.apply()
        assert getattr(library(), name)() == before
        assert note == ["new"]
        patch.undo()
        assert getattr(library(), name)() == before
        assert note == ["new"]

    def test_two_that_are_applied_are_both_called(self, name: str) -> None:
        library, note = _library(), list[str]()
        outer, inner = (Patch(library, name, _noting(note, which)) for which in ("outer", "inner"))
        inner.apply()
        outer.apply()
        getattr(library(), name)()
        assert note == ["outer", "inner"]
        outer.undo()
        inner.undo()
        getattr(library(), name)()
        assert note == ["outer", "inner"]


def test_who_wraps_a_replacement_stays_when_the_next_one_comes() -> None:
    """`functools.wraps` copies all that a replacement carries."""
    library, note = _library(), list[str]()
    first = Patch(library, "method", _noting(note, "first"))
    first.apply()
    beneath = library.method

    @functools.wraps(beneath)
    def users(self: Any) -> Any:
        note.append("user's")
        return beneath(self)

    library.method = users
    first.undo()
    second = Patch(library, "method", _noting(note, "second"))
    second.apply()
    assert library().method() == "method"
    assert note == ["second", "user's", "first"]


def test_it_stands_beneath_a_proxy_and_leaves_the_proxy_where_it_is() -> None:
    library, note = _library(), list[str]()
    original = library.method
    proxy = wrapt.FunctionWrapper(original, lambda wrapped, _instance, args, kwargs: wrapped(*args, **kwargs))
    library.method = proxy
    patch = Patch(library, "method", _noting(note, "a"))
    patch.apply()
    assert vars(library)["method"] is proxy
    assert library().method() == "method"
    assert note == ["a"]
    patch.undo()
    assert proxy.__wrapped__ is original
