"""Making a session current in everything that a test runs: what the pytest marker does, as functions.

They are for other test frameworks, and for plugins and suites that begin their sessions themselves:

    class TestCheckout(unittest.IsolatedAsyncioTestCase):
        def setUp(self):
            session = self.enterContext(replay("checkout.msgpack"))
            self.enterContext(everywhere(session, self))

The current session is a context variable. Code that runs in an older copy of the context does not see it. Example:
`unittest.IsolatedAsyncioTestCase` copies the context when the test case is made, and runs the test in that copy.
No other module of ours reads private attributes of unittest.
"""

# pyright: strict

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import ExitStack, contextmanager
from contextvars import Context, ContextVar
from typing import Any, TypeVar, cast

from timetracer_otel.base.patching import Patch
from timetracer_otel.context import get_current_session, reset_session, set_session
from timetracer_otel.session import BaseSession

__all__ = ["current", "everywhere", "in_session"]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


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
def everywhere(session: BaseSession, *places: object) -> Generator[None, None, None]:
    """Make a session current in this context, and in others in which the test runs code, until the block ends.

    Threads, tasks and greenlets that begin within the block have the session anyway. So does a coroutine that an
    `asyncio.Runner` runs there, in whatever context the runner was made.

    Args:
        session: The session: of `record`, `replay`, a fixture, or made by hand.
        places: Contexts that were copied before: each a `contextvars.Context`, or a test case of unittest, which may
            have one of its own. Any other object is ignored, so that pytest's ``request.instance`` can be given.

    Raises:
        RuntimeError: Other code runs in one of these contexts at this moment, so that it cannot be entered.
    """
    with ExitStack() as stack:
        stack.enter_context(current(session))
        for place in places:
            context = _context_of(place)
            if context is not None and not _is_current(context):
                inside = current(session)
                context.run(inside.__enter__)
                stack.callback(context.run, inside.__exit__, None, None, None)
        stack.enter_context(_following_runners())
        yield


def _context_of(place: object) -> Context | None:
    """The context that ``place`` is or that it runs its test in; None where it has none of its own."""
    if isinstance(place, Context):
        return place
    # From Python 3.11 on, IsolatedAsyncioTestCase copies its context when it is made.
    own: object = getattr(place, "_asyncioTestContext", None)
    if own is None:
        # In 3.10 it runs all steps of a test in a task, which is made before `setUp`. A task does not tell its
        # context, but the collector of garbage knows what it refers to.
        task: object = getattr(place, "_asyncioCallsTask", None)
        own = next((each for each in gc.get_referents(task) if isinstance(each, Context)), None)
    return own if isinstance(own, Context) else None


_here: ContextVar[object] = ContextVar("timetracer_otel_here")


def _is_current(context: Context) -> bool:
    """Whether the caller runs in this context, which can then not be entered again."""
    mark = object()
    token = _here.set(mark)
    try:
        return context.get(_here) is mark
    finally:
        _here.reset(token)


def in_session(session: BaseSession, function: FunctionT) -> FunctionT:
    """A function that runs in a session, in whatever context it is called or stepped through.

    Test frameworks may run a coroutine, and the two halves of an async fixture, in contexts of their own making.

    Args:
        session: The session.
        function: Any function: a plain one, a coroutine function, or an asynchronous generator function.
    """
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def stepped(*args: Any, **kwargs: Any) -> Any:
            steps = function(*args, **kwargs)
            # Set-up and tear-down are two steps of the generator, and may run in different contexts.
            try:
                while True:
                    with current(session):
                        try:
                            value = await steps.__anext__()
                        except StopAsyncIteration:
                            return
                    yield value
            finally:
                await steps.aclose()

        return cast("FunctionT", stepped)
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            with current(session):
                return await function(*args, **kwargs)

        return cast("FunctionT", awaited)

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        with current(session):
            return function(*args, **kwargs)

    return cast("FunctionT", called)


_lock = threading.RLock()
_followed = 0
_runner_patch: Patch | None = None


@contextmanager
def _following_runners() -> Generator[None, None, None]:
    """While it lasts, `asyncio.Runner.run` runs in the session of its caller."""
    global _followed, _runner_patch
    # Python 3.10 has no Runner. There, `run_until_complete` of a loop runs in the context of its caller.
    runner = getattr(asyncio, "Runner", None)
    with _lock:
        _followed += 1
        if _runner_patch is None and runner is not None:
            _runner_patch = Patch(runner, "run", _following)
            _runner_patch.apply()
    try:
        yield
    finally:
        with _lock:
            _followed -= 1
            if not _followed and _runner_patch is not None:
                _runner_patch.undo()
                _runner_patch = None


def _following(original: Callable[..., Any]) -> Callable[..., Any]:
    """`asyncio.Runner.run`, made to run in the session of its caller.

    A runner copies the context when it is first used, and runs everything in that copy. Example: pytest-asyncio may
    use one runner for many tests.
    """

    def run(self: Any, coro: Any, *, context: Context | None = None) -> Any:
        session = get_current_session()
        # If the caller chose a context, that context decides which session is current.
        if session is not None and context is None and asyncio.iscoroutine(coro):
            coro = _await_in_session(session, coro)
        return original(self, coro, context=context)

    return run


async def _await_in_session(session: BaseSession, coro: Coroutine[Any, Any, Any]) -> Any:
    with current(session):
        return await coro
