"""SIGTERM where nobody handles it: the process dies of it as before, but not before its recordings are written.

No `atexit` function runs in a process that a signal ends. So while a process records or replays, the system's own way
of dealing with SIGTERM is replaced by ours, which writes (or says what the replay did), then dies in that same way.
The program does not see it: to it, the signal's handler is ``signal.SIG_DFL``, as it was. And when it sets that again
it gets ours: servers handle the signal while they serve, and afterwards let it do what it did before (uvicorn's
``capture_signals``).
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

__all__ = ["LIMIT_S", "remove", "watch", "watch_forked"]

LIMIT_S = 5.0
"""How long a process that is to end may go on to write."""

_LAST = -100
"""Among the priorities of multiprocessing's finalizers: behind the app's own."""

_finish: Callable[[], object] | None = None


def watch(finish: Callable[[], object]) -> None:
    """Call a function before SIGTERM ends the process, as the system would; harmless when repeated.

    Args:
        finish: Called in a thread of its own, and waited for no longer than `LIMIT_S`.
    """
    global _finish
    if sys.platform == "win32":
        return  # There it ends a process at once, whatever handlers it has.
    _finish = finish
    for patch in _PATCHES:
        patch.apply()
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        with suppress(ValueError):  # Only the main thread may. There it is done when somebody sets the default again.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def remove() -> None:
    """Undo `watch`; harmless when repeated."""
    global _finish
    _finish = None
    for patch in _PATCHES:
        patch.undo()
    if signal.getsignal(signal.SIGTERM) is _terminated:
        with suppress(ValueError):  # Only the main thread may. Ours does what the system does from now on.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def watch_forked(owner: object, finish: Callable[[], object]) -> None:
    """In a forked child: call the function also where the child is one of multiprocessing's.

    Those end by `os._exit`, past all that `atexit` knows.
    """
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        # It forgets what it is to do at exit right after the fork, and only then calls this.
        util.register_after_fork(owner, lambda _: util.Finalize(None, finish, exitpriority=_LAST))


def _terminated(number: int, frame: FrameType | None) -> None:
    finish = _finish
    try:
        remove()
        # From now on a second signal ends the process at once.
        signal.signal(number, signal.SIG_DFL)
        if finish is not None:
            # Not here: the code that was interrupted may hold any lock, and does not go on meanwhile.
            thread = threading.Thread(target=finish, name="timetracer-otel-exit", daemon=True)
            thread.start()
            thread.join(LIMIT_S)
    finally:
        os.kill(os.getpid(), number)


def _signal_seam(original: Function) -> Function:
    def signal_(signalnum: Any, handler: Any) -> Any:
        ours = signalnum == signal.SIGTERM and handler == signal.SIG_DFL
        return _as_seen(original(signalnum, _terminated if ours else handler))

    return signal_


def _getsignal_seam(original: Function) -> Function:
    def getsignal(signalnum: Any) -> Any:
        return _as_seen(original(signalnum))

    return getsignal


def _as_seen(handler: Any) -> Any:
    return signal.SIG_DFL if handler is _terminated else handler


_PATCHES = (Patch(signal, "signal", _signal_seam), Patch(signal, "getsignal", _getsignal_seam))
