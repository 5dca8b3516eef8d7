"""SIGTERM in an app that does not handle it: the recordings are written, then the signal ends the process.

Python runs no `atexit` function in a process that a signal ends. So while a process records or replays, a handler of
ours stands in the place of ``signal.SIG_DFL``. It writes the recordings (or logs what the replay did), restores
``SIG_DFL`` and sends the signal again.

The app does not see our handler. `signal.signal` and `signal.getsignal` are patched: where our handler is set they
give ``SIG_DFL``, and where the app sets ``SIG_DFL`` they set ours. Example: uvicorn handles SIGTERM while it serves,
then sets what was there before and sends itself the signal again (``capture_signals``).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.guarded import AppStep, Flow, guarded

__all__ = ["LIMIT_S", "remove", "watch", "watch_forked"]

LIMIT_S = 5.0
"""How many seconds a process that is to end may go on writing."""

_LAST = -100
"""The priority of our function among multiprocessing's finalizers: it runs after the app's own."""

_finish: Callable[[], object] | None = None
_cut_short: Callable[[], object] | None = None

_SAYING_S = 1.0
"""How long it may take at most to say what was not written."""


def watch(finish: Callable[[], object], cut_short: Callable[[], object] | None = None) -> None:
    """Have a function called before SIGTERM ends the process; harmless when repeated.

    Args:
        finish: Called in a thread of its own, for which the handler waits no longer than `LIMIT_S`.
        cut_short: Called where that was not long enough: counts and says what is lost.
    """
    global _cut_short, _finish
    if sys.platform == "win32":
        return  # On Windows SIGTERM ends a process at once, whatever handler is set.
    _finish, _cut_short = finish, cut_short
    for patch in _PATCHES:
        patch.apply()
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        # Other threads than the main one may not set handlers. Then ours is set when the app sets the default again.
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def remove() -> None:
    """Undo `watch`; harmless when repeated."""
    global _cut_short, _finish
    _finish = _cut_short = None
    for patch in _PATCHES:
        patch.undo()
    if signal.getsignal(signal.SIGTERM) is _terminated:
        # Other threads than the main one may not set handlers. Then our handler stays, and only ends the process.
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def watch_forked(owner: object, finish: Callable[[], object]) -> None:
    """Have a function called at the end of a forked child that `multiprocessing` has made.

    Such a child ends by `os._exit`, which runs no `atexit` function. Example: an app with a pool of processes.
    """
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        # multiprocessing clears its list of finalizers right after the fork, and then calls the functions that are
        # registered here. So the finalizer is made in such a function.
        util.register_after_fork(owner, lambda _: util.Finalize(None, finish, exitpriority=_LAST))


def _terminated(number: int, frame: FrameType | None) -> None:
    finish, cut_short = _finish, _cut_short
    try:
        remove()
        # A second signal ends the process at once.
        signal.signal(number, signal.SIG_DFL)
        if finish is not None:
            # Not in this thread: the code that the handler has interrupted may hold a lock that the function needs.
            thread = threading.Thread(target=finish, name="timetracer-otel-exit", daemon=True)
            thread.start()
            thread.join(LIMIT_S)
            if cut_short is not None and thread.is_alive():
                thread = threading.Thread(target=cut_short, name="timetracer-otel-cut", daemon=True)
                thread.start()
                thread.join(_SAYING_S)
    finally:
        os.kill(os.getpid(), number)


def _signal_seam(original: Function) -> Function:
    def begin(_: None, signalnum: Any, handler: Any) -> Flow:
        ours = signalnum == signal.SIGTERM and handler == signal.SIG_DFL
        return _as_seen((yield AppStep(original, signalnum, _terminated if ours else handler)))

    return guarded("sigterm", original, begin, outside=True, session_of=_no_session)


def _getsignal_seam(original: Function) -> Function:
    def begin(_: None, signalnum: Any) -> Flow:
        return _as_seen((yield AppStep(original, signalnum)))

    return guarded("sigterm", original, begin, outside=True, session_of=_no_session)


def _no_session() -> None:
    """Signals are the process's."""


def _as_seen(handler: Any) -> Any:
    return signal.SIG_DFL if handler is _terminated else handler


_PATCHES = (Patch(signal, "signal", _signal_seam), Patch(signal, "getsignal", _getsignal_seam))
