"""Which names modules have for an object: those of each module once, of new modules and of the main one again."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from timetracer_otel.base import module_names
from timetracer_otel.base.module_names import forget, look_for, names_of


def _imported(monkeypatch: pytest.MonkeyPatch, name: str, **names: object) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def _looked_through(monkeypatch: pytest.MonkeyPatch) -> list[ModuleType]:
    """Grows by each module that is looked through from now on."""
    looked: list[ModuleType] = []
    look = module_names._look_through

    def counted(module: ModuleType, looked_for: dict[int, Any]) -> None:
        looked.append(module)
        look(module, looked_for)

    monkeypatch.setattr(module_names, "_look_through", counted)
    return looked


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


def test_a_module_is_looked_through_once_for_an_object_that_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    def earlier() -> None: ...

    def original() -> None: ...

    looked = _looked_through(monkeypatch)
    replaced = _imported(monkeypatch, "replaced_with_names", one=original)
    names_of(earlier)
    assert looked.count(replaced) == 1
    taking = _imported(monkeypatch, "replaced_with_names", two=original)
    added = _imported(monkeypatch, "added_with_names", three=original)
    looked.clear()
    assert {(taking, "two"), (added, "three")} <= set(names_of(original))
    assert (looked.count(taking), looked.count(added), looked.count(replaced)) == (1, 1, 0)


def test_a_module_in_the_place_of_another_is_found_for_a_new_object(monkeypatch: pytest.MonkeyPatch) -> None:
    def earlier() -> None: ...

    def original() -> None: ...

    _imported(monkeypatch, "taken_with_names", one=earlier)
    names_of(earlier)
    names_of(earlier)
    # There are as many modules as before, and the same one came last.
    taking = _imported(monkeypatch, "taken_with_names", two=original)
    assert names_of(original) == [(taking, "two")]


def test_several_objects_are_looked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def one() -> None: ...

    def other() -> None: ...

    module = _imported(monkeypatch, "module_with_two", first=one, second=other, third=one)
    names_of(len)
    looked = _looked_through(monkeypatch)
    look_for([one, other, one])
    assert looked.count(module) == 1
    assert names_of(one) == [(module, "first"), (module, "third")]
    assert names_of(other) == [(module, "second")]
    assert looked.count(module) == 1
