"""A function of ours through which an error passes leaves no frame in its traceback."""

from __future__ import annotations

import sys
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from timetracer_otel.base import faults, tracebacks
from timetracer_otel.base.tracebacks import leave_no_frame


def _passed(original: Callable[..., Any]) -> Callable[..., Any]:
    def passing(*args: Any) -> Any:
        cleaned = []
        try:
            return original(*args)
        except BaseException as error:
            leave_no_frame(error)
            raise
        finally:
            cleaned.append(True)

    return passing


def _fails(text: str) -> int:
    return int(text)


def _in_a_generator(function: Callable[[str], Any]) -> Iterator[str]:
    try:
        raise KeyError("handled")
    except KeyError:
        yield _told(function)
        # What is being handled here is still that.
        yield str(sys.exc_info()[1])


def _told(function: Callable[[str], Any]) -> str:
    try:
        try:
            {}["none"]  # type: ignore[index]
        finally:
            function("x")
    except Exception:
        return traceback.format_exc()
    return "nothing"


@pytest.mark.parametrize("original", [_fails, int], ids=["in Python", "in C"])
def test_an_error_passes_with_the_traceback_and_the_context_that_it_has_without_us(
    original: Callable[..., Any],
) -> None:
    bare, passed = (list(_in_a_generator(function)) for function in (original, _passed(original)))
    assert passed == bare
    assert "'none'" in passed[0]
    assert "passing" not in passed[0]


class _OwnError(Exception):
    """Unlike a builtin one, it can be referred to weakly."""


def _raises() -> None:
    raise _OwnError


def test_nothing_of_an_error_stays_behind() -> None:
    passing = _passed(_raises)
    seen: list[weakref.ref[_OwnError]] = []

    def passes() -> None:
        try:
            passing()
        except _OwnError as error:
            seen[:] = [weakref.ref(error)]

    passes()
    before = sys.getrefcount(_OwnError)
    for _ in range(100):
        passes()
        assert seen[0]() is None
    assert sys.getrefcount(_OwnError) - before < 50


def test_the_error_arrives_though_its_traceback_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr(faults, "raise_faults", False)
    monkeypatch.setattr(tracebacks, "_take_out", refuses)
    with pytest.raises(ValueError, match="invalid literal"):
        _passed(int)("x")
