"""Which names modules have for an object: those of each module once, of new modules and of the main one again."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from timetracer_otel.base.module_names import forget, names_of


def _imported(monkeypatch: pytest.MonkeyPatch, name: str, **names: object) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def test_names_of_modules_are_found_when_they_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def original() -> None: ...

    def replacement() -> None: ...

    first = _imported(monkeypatch, "first_with_names", one=original, other=len, two=original)
    assert names_of(original) == [(first, "one"), (first, "two")]
    again = _imported(monkeypatch, "first_with_names", three=original)
    second = _imported(monkeypatch, "second_with_names", four=original)
    assert {(again, "three"), (second, "four")} <= set(names_of(original))
    names_of(original, replacement)
    third = _imported(monkeypatch, "third_with_names", taken=replacement)
    # Whoever asks for the names of another object looks through the new module for all of them.
    assert names_of(_imported) == [(sys.modules[__name__], "_imported")]
    assert (third, "taken") in names_of(original)
    forget(replacement)
    forget(replacement)
    fourth = _imported(monkeypatch, "fourth_with_names", taken=replacement)
    assert (fourth, "taken") not in names_of(original)


def test_the_main_module_is_looked_through_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def original() -> None: ...

    main = _imported(monkeypatch, "__main__")
    assert names_of(original) == []
    vars(main)["later"] = original
    assert names_of(original) == [(main, "later")]
    assert names_of(original) == [(main, "later")]


def test_a_module_that_is_gone_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    def original() -> None: ...

    with monkeypatch.context() as patch:
        _imported(patch, "gone_with_names", one=original)
        assert len(names_of(original)) == 1
    assert names_of(original) == []
