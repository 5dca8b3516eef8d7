"""Which call the code that runs now is part of."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Generator

from timetracer_otel.calls.flow import run
from timetracer_otel.calls.nesting import CallAbove


def test_a_call_is_above_until_it_returns_and_the_one_around_it_is_then_again() -> None:
    above: CallAbove[str] = CallAbove("shop")
    assert above.get() is None
    with above.making("outer"):
        with above.making("inner"):
            assert above.get() == "inner"
        assert above.get() == "outer"
    assert above.get() is None


def test_a_call_that_raises_is_above_no_more() -> None:
    above: CallAbove[str] = CallAbove("shop")
    try:
        with above.making("outer"):
            raise LookupError
    except LookupError:
        pass
    assert above.get() is None


def test_a_step_of_a_flow_is_part_of_the_call() -> None:
    above: CallAbove[str] = CallAbove("shop")
    assert run(above.around("outer", above.get)) == "outer"
    assert above.get() is None


def test_calls_of_two_libraries_are_no_parts_of_each_other() -> None:
    shop: CallAbove[str] = CallAbove("shop")
    bank: CallAbove[str] = CallAbove("bank")
    with shop.making("outer"):
        assert bank.get() is None


def test_tasks_that_a_call_starts_are_part_of_it_and_later_ones_are_not() -> None:
    above: CallAbove[str] = CallAbove("shop")
    seen: list[str | None] = []

    async def look() -> None:
        seen.append(above.get())

    async def call() -> None:
        with above.making("outer"):
            task = asyncio.create_task(look())
        await asyncio.create_task(look())
        await task

    asyncio.run(call())
    assert seen == ["outer", None]


def test_steps_may_be_closed_in_another_context_than_they_were_begun_in() -> None:
    above: CallAbove[str] = CallAbove("shop")
    steps: Generator[object, object, object] = above.around("outer", lambda: None)
    contextvars.copy_context().run(next, steps)
    steps.close()
    assert above.get() is None
