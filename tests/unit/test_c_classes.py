"""Methods of classes in C, replaced in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import cimpl

from timetracer_otel.base.c_classes import InPlace, can_be_changed


def test_objects_that_exist_and_derived_classes_have_the_replacement_until_it_is_taken_out() -> None:
    made: Any = cimpl.Producer
    before = dict(vars(made))
    calls: list[str] = []

    def noting(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            def called(*args: Any, **kwargs: Any) -> Any:
                calls.append(name)
                return original(*args, **kwargs)

            return called

        return wrap

    class Derived(made):  # type: ignore[misc]
        pass

    class Other:
        def __init__(self, number: int) -> None:
            self.number = number

    settings = {"log_level": 0}
    existing = made(settings)
    patches = [InPlace(made, name, noting(name)) for name in ("__init__", "__len__", "poll")]
    assert can_be_changed(made)
    # Each turn a class has another version, by which Python's caches go.
    for _ in range(3):
        for each in patches:
            each.apply()
            each.apply()
        Derived(settings)
        assert (len(made(settings)), existing.poll(0), Other(7).number) == (0, 0, 7)
        assert calls == ["__init__", "__init__", "__len__", "poll"]
        for each in patches:
            each.undo()
            each.undo()
        calls.clear()
        assert (len(Derived(settings)), existing.poll(0), Other(8).number, calls) == (0, 0, 8, [])
        assert dict(vars(made)) == before
    with pytest.raises(TypeError):
        made.more = 1
