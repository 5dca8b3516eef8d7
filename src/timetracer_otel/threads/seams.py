"""The functions that start threads, executors' tasks and greenlets, replaced by ours while sessions are carried.

- ``Thread.start`` is the one function that every class of threads goes through, whatever its ``run`` is.
- ``_thread.start_new_thread`` is for code that does without that class.
- An executor's task runs in the session of the code that submits it, whoever started the worker.
- gevent's greenlets are started in C. It calls a function of ours for each one that starts.

Private names of Python's and gevent's: ``Thread._bootstrap``, which the new thread runs, and ``Thread._context``, in
which Python 3.14 and newer run ``Thread.run``.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar, Token
from functools import partial
from types import ModuleType
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from timetracer_otel.base import faults
from timetracer_otel.base.module_names import names_of
from timetracer_otel.base.otel_context import current_context
from timetracer_otel.base.patching import Function, Patch, Seams, Undoable
from timetracer_otel.threads import carrying

__all__ = ["install", "remove"]

_THEIRS = "opentelemetry.instrumentation.threading"
"""The module whose function OpenTelemetry's instrumentation submits to an executor in the place of the app's."""

_submitting: ContextVar[bool] = ContextVar("timetracer_otel_submitting", default=False)
"""Whether an executor is given a task at this moment, so that a thread that starts is its worker."""

_is_new_worker: ContextVar[bool] = ContextVar("timetracer_otel_new_worker", default=False)
"""Whether this thread is the worker of an executor, and has run no task yet."""


def install() -> None:
    """Replace the functions, now or when their module is imported; harmless when repeated."""
    _seams.install()


def remove() -> None:
    """Put the originals back; harmless when repeated."""
    _seams.remove()


def _thread_patches(module: ModuleType) -> Iterator[Undoable]:
    yield Patch(module.Thread, "start", _starting)


def _function_patches(module: ModuleType) -> Iterator[Undoable]:
    for name in ("start_new_thread", "start_new", "start_joinable_thread"):
        if hasattr(module, name):
            yield Patch(module, name, _starting_function)
    # Modules that did `from _thread import start_new_thread` have the function itself. (`threading` has it under
    # another name. Its threads are seen already.)
    original = module.start_new_thread
    for other, name in names_of(original):
        if other is not module and name == "start_new_thread" and vars(other).get(name) is original:
            yield Patch(other, name, _starting_function)


def _executor_patches(module: ModuleType) -> Iterator[Undoable]:
    yield Patch(module.ThreadPoolExecutor, "submit", _submitting_task)


def _greenlet_patches(module: ModuleType) -> Iterator[Undoable]:
    yield _SpawnCallback(module.Greenlet)


def _pool_patches(module: ModuleType) -> Iterator[Undoable]:
    yield Patch(module.ThreadPool, "spawn", _submitting_task)


_PATCHES: dict[str, Callable[[ModuleType], Iterable[Undoable]]] = {
    "threading": _thread_patches,
    "_thread": _function_patches,
    "concurrent.futures.thread": _executor_patches,
    "gevent.greenlet": _greenlet_patches,
    "gevent.threadpool": _pool_patches,
}

_RELIED_UPON: dict[str, Sequence[str]] = {
    "threading": ("Thread.start", "Thread._bootstrap"),
    "_thread": ("start_new_thread",),
    "concurrent.futures.thread": ("ThreadPoolExecutor.submit",),
    "gevent.greenlet": ("Greenlet.add_spawn_callback", "Greenlet.remove_spawn_callback", "Greenlet.gr_context"),
    "gevent.threadpool": ("ThreadPool.spawn",),
}


def _name(module: ModuleType) -> str:
    """The name that a module is imported by. Where gevent is compiled, this one calls itself otherwise."""
    return "gevent.greenlet" if module.__name__.endswith("greenlet") else module.__name__


def _missing(module: ModuleType) -> Iterator[str]:
    for name in _RELIED_UPON[_name(module)]:
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is None:
            yield f"{module.__name__}:{name}"


# One object for the life of the process: it asks the importer only once to be told of modules that are imported.
_seams = Seams(
    "threads",
    tuple(_PATCHES),
    lambda module: list(_PATCHES[_name(module)](module)),
    check=_missing,
    said="Calls in threads that such a function starts belong to no session.",
)


# The functions that an app calls, or a thread of its runs, are guards: what is ours runs in a `try`. After a fault
# the thread starts and the task runs, in no session. In a replay, the code that starts it gets a miss. A thread that
# dies before it is up would let `Thread.start` wait for ever.


def _starting(original: Function) -> Function:
    def start(self: Any) -> Any:
        if carrying.starts_for_library.get() is not None:
            return original(self)
        restore = None
        try:
            restore = _bootstrapped(self)
        except Exception as fault:
            carrying.contain("threads.start", fault)
        try:
            return original(self)
        finally:
            # The new thread has the function by now, or has failed to start.
            if restore is not None:
                restore()

    return start


def _bootstrapped(thread: Any) -> Callable[[], Any] | None:
    """Let a thread begin in the context of this code; gives what takes that back, None where there is none."""
    context = carrying.carried()
    if context is None:
        return None
    own = vars(thread)
    before = own.get("_bootstrap")
    ours = _InContext(thread._bootstrap, context, thread)
    own["_bootstrap"] = ours
    return partial(own.pop, "_bootstrap", None) if before is None else partial(own.__setitem__, "_bootstrap", before)


def _starting_function(original: Function) -> Function:
    def start_new_thread(*args: Any, **kwargs: Any) -> Any:
        given = args
        try:
            context = carrying.carried() if args and callable(args[0]) else None
            if context is not None:
                given = (_InContext(args[0], context), *args[1:])
        except Exception as fault:
            carrying.contain("threads.start", fault)
        return original(*given, **kwargs)

    return start_new_thread


def _submitting_task(original: Function) -> Function:
    def submit(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = args
        try:
            if args and callable(args[0]) and getattr(args[0], "__module__", None) != _THEIRS:
                given = (_Task(args[0], carrying.carried()), *args[1:])
        except Exception as fault:
            carrying.contain("threads.submit", fault)
        token = _submitting.set(True)
        try:
            return original(self, *given, **kwargs)
        finally:
            _submitting.reset(token)

    return submit


class _InContext:
    """A function that a new thread runs, in a context that it did not inherit.

    Args:
        function: What the thread runs.
        context: What it gets.
        thread: The thread's object, where it has one.
    """

    __slots__ = ("_context", "_function", "_is_worker", "_thread")

    def __init__(self, function: Callable[..., Any], context: Context, thread: Any = None) -> None:
        self._function = function
        self._context = context
        self._thread = thread
        self._is_worker = _submitting.get()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leave = None
        try:
            leave = self._entered()
        except Exception as fault:
            faults.contain("threads.context", fault)
        try:
            return self._function(*args, **kwargs)
        finally:
            if leave is not None:
                leave()

    def _entered(self) -> Callable[[], Any] | None:
        # Python 3.14 and newer run `Thread.run` in this context, which may be one that the app has given.
        inner = getattr(self._thread, "_context", None)
        context, self._context, self._thread = self._context, Context(), None
        if not isinstance(inner, contextvars.Context):
            _enter(context, self._is_worker)
            return None
        try:
            token = inner.run(_enter, context, self._is_worker)
        except RuntimeError:
            # Another thread runs in the context that the app has given. Python will say so.
            return None
        return lambda: inner.run(otel_context.detach, token)

    def __repr__(self) -> str:
        # Python names the function of a thread that ended by an exception.
        return repr(self._function)


def _enter(context: Context, is_worker: bool) -> Token[Context]:
    """Put a context into the one of the thread that begins. What stands there already was chosen by the app."""
    chosen = current_context()
    _is_new_worker.set(is_worker)
    return otel_context.attach(Context({**context, **chosen}) if chosen else context)


class _Task:
    """A task for an executor, in the context of the code that submits it.

    The worker that runs it was begun in the session of the code that submitted the first task. The initializer of the
    executor runs in that session. It must not last longer: the worker may live as long as the process, and its later
    tasks have nothing to do with that session.
    """

    __slots__ = ("_context", "_function")

    def __init__(self, function: Callable[..., Any], context: Context | None) -> None:
        self._function = function
        self._context = context

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = None
        try:
            token = self._attached()
        except Exception as fault:
            faults.contain("threads.context", fault)
        # An executor may run the task within `submit`, and the task may start threads of its own.
        submitting = _submitting.set(False)
        try:
            return self._function(*args, **kwargs)
        finally:
            _submitting.reset(submitting)
            if token is not None:
                otel_context.detach(token)

    def _attached(self) -> Token[Context] | None:
        if _is_new_worker.get():
            _is_new_worker.set(False)
            otel_context.attach(Context())
        if self._context is None:
            return None
        return otel_context.attach(Context({**current_context(), **self._context}))


class _SpawnCallback:
    """While applied, greenlets of a class get the session of the code that starts them."""

    def __init__(self, greenlet_class: Any) -> None:
        self._class = greenlet_class

    def apply(self) -> None:
        """Begin; harmless when repeated."""
        self._class.add_spawn_callback(_spawned)

    def undo(self) -> None:
        """Stop; harmless when repeated."""
        self._class.remove_spawn_callback(_spawned)


def _spawned(greenlet: Any) -> None:
    try:
        context = carrying.carried()
        if context is None:
            return
        own = greenlet.gr_context
        if own is None:
            own = greenlet.gr_context = contextvars.Context()
        own.run(_enter, context, False)
    except Exception as error:
        # An exception here would end the greenlet before it began.
        faults.contain("threads.greenlet", error)
