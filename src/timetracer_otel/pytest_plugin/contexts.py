"""Makes a session current in contexts that were made before the session began.

The current session is a context variable. Code that runs in an older copy of the context does not see it. Example:
`unittest.IsolatedAsyncioTestCase` copies the context when the test case is made, and runs the test in that copy.
No other module of the plugin reads private attributes of unittest.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from contextvars import Context
from typing import Any

import pytest

from timetracer_otel.context import get_current_session, reset_session, set_session
from timetracer_otel.session import BaseSession

__all__ = ["current", "everywhere"]


@contextmanager
def current(session: BaseSession) -> Generator[None, None, None]:
    """Make a session current in this context until the block ends. Harmless if it is current already."""
    if get_current_session() is session:
        yield
        return
    token = set_session(session)
    try:
        yield
    finally:
        reset_session(token)


@contextmanager
def everywhere(session: BaseSession, instance: object) -> Generator[None, None, None]:
    """Make a session current in the other contexts of a test: that of a unittest test case, and those of runners.

    Args:
        session: The session, which is current in this context.
        instance: The instance of the test's class, or None.
    """
    with ExitStack() as stack:
        # From Python 3.11 on, IsolatedAsyncioTestCase copies its context when it is made. In 3.10 the test runs in a
        # task that is made later, with the session in its context.
        context = getattr(instance, "_asyncioTestContext", None)
        if isinstance(context, Context):
            inside = current(session)
            context.run(inside.__enter__)
            stack.callback(context.run, inside.__exit__, None, None, None)
        # Python 3.10 has no Runner. There, `run_until_complete` of a loop runs in the context of its caller.
        runner: Any = getattr(asyncio, "Runner", None)
        if runner is not None:
            stack.enter_context(pytest.MonkeyPatch.context()).setattr(runner, "run", _following(runner.run))
        yield


def _following(original: Any) -> Any:
    """`asyncio.Runner.run`, made to run in the session of its caller.

    A runner copies the context when it is first used, and runs everything in that copy. Example: pytest-asyncio may
    use one runner for many tests.
    """

    @functools.wraps(original)
    def run(self: Any, coro: Any, *, context: Context | None = None) -> Any:
        session = get_current_session()
        # If the caller chose a context, that context decides which session is current.
        if session is not None and context is None and asyncio.iscoroutine(coro):
            coro = _await_in_session(session, coro)
        return original(self, coro, context=context)

    return run


async def _await_in_session(session: BaseSession, coro: Any) -> Any:
    with current(session):
        return await coro
