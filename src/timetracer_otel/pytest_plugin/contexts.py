"""Code of a test that runs in a context made before its session, which therefore has to be taken there.

The one module that reads what unittest keeps to itself.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import Context
from typing import Any

import pytest

from timetracer_otel.context import get_current_session, reset_session, set_session
from timetracer_otel.session import BaseSession

__all__ = ["current", "everywhere"]


@contextmanager
def current(session: BaseSession) -> Iterator[None]:
    """Make a session current in this context, where it is not."""
    if get_current_session() is session:
        yield
        return
    token = set_session(session)
    try:
        yield
    finally:
        reset_session(token)


@contextmanager
def everywhere(session: BaseSession, instance: object) -> Iterator[None]:
    """Take a session, current here, where contexts do not: into a test case of unittest, and what a runner runs.

    Args:
        session: It.
        instance: That of the test's class, or None.
    """
    with ExitStack() as stack:
        # IsolatedAsyncioTestCase copies its context when it is made, from Python 3.11 on; 3.10 has a task of its own
        # for the test, made when that runs.
        context = getattr(instance, "_asyncioTestContext", None)
        if isinstance(context, Context):
            inside = current(session)
            context.run(inside.__enter__)
            stack.callback(context.run, inside.__exit__, None, None, None)
        # Python 3.10 has none, and a loop's run_until_complete runs in the context of its caller.
        runner: Any = getattr(asyncio, "Runner", None)
        if runner is not None:
            stack.enter_context(pytest.MonkeyPatch.context()).setattr(runner, "run", _following(runner.run))
        yield


def _following(original: Any) -> Any:
    """`asyncio.Runner.run`, in the session of its caller: a runner keeps the context of its first use."""

    @functools.wraps(original)
    def run(self: Any, coro: Any, *, context: Context | None = None) -> Any:
        session = get_current_session()
        # A context that the caller chose is taken as it is.
        if session is not None and context is None and asyncio.iscoroutine(coro):
            coro = _awaited_in(session, coro)
        return original(self, coro, context=context)

    return run


async def _awaited_in(session: BaseSession, coro: Any) -> Any:
    with current(session):
        return await coro
