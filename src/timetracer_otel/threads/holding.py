"""From when until when there may be a session, so that it is carried into new threads."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

from timetracer_otel.base.holds import Holds

__all__ = ["follow", "hold", "linger", "look", "present", "release"]

_lock = threading.RLock()
_holds = Holds()
_lingering: WeakKeyDictionary[object, float] = WeakKeyDictionary()
"""Sessions that nobody holds any more, and in which a thread or a task may still run; and until when they count."""
_carries = False
"""Whether the functions that start threads are replaced."""
present = False
"""Whether a session may be current anywhere in the process: somebody holds, or a session that was held still exists.

Read at each span, so it is no function. Where a session has just gone, it is still true until `look`."""
_followers: list[Callable[[], None]] = []


def hold(session: object = None) -> None:
    """Carry sessions into threads that start from now on, until `release`. May be repeated, and is counted.

    Args:
        session: Who holds, where nobody need call `release`: the session is held weakly.
    """
    with _lock:
        _holds.add(session)
        _adjust()


def release(session: object = None) -> None:
    """Undo one `hold`; harmless where there was none.

    After the last one nothing of ours is left in Python's modules.
    """
    with _lock:
        _holds.remove(session)
        if session is not None:
            _lingering[session] = math.inf
        _adjust()


def linger(session: object, seconds: float = math.inf) -> None:
    """Say of a session that was held by others that it ends: what was started in it may run on in it.

    Called before `release`.

    Args:
        session: It counts as `present` for as long as the object exists.
        seconds: And for so long at most. A timer of a library keeps the context in which it was set, and with it the
            session. Example: that of aiohttp's idle connections, which sets itself again.
    """
    with _lock:
        _lingering[session] = time.monotonic() + seconds


def look() -> None:
    """Look whether sessions are gone that nobody needed to release. Does nothing where others are at it."""
    # Calls of the app come here: they wait for nobody.
    if _lock.acquire(blocking=False):
        try:
            _adjust()
        finally:
            _lock.release()


def follow(follower: Callable[[], None]) -> None:
    """Have a function called whenever `present` has changed.

    It runs before `hold` returns, of any thread: a session that another thread attaches at the same moment finds
    what the function does. So it must not wait for a lock under which somebody calls `hold` or `release`.
    """
    _followers.append(follower)


def _adjust() -> None:
    global _carries, present
    wanted = bool(_holds)
    if wanted is not _carries:
        _carries = wanted
        # Imported here: a program that sets no session does not pay for the tools of patching.
        from timetracer_otel.threads import seams

        if wanted:
            seams.install()
        else:
            seams.remove()
    for session, until_s in list(_lingering.items()) if _lingering else ():
        if until_s < time.monotonic():
            del _lingering[session]
    there = wanted or len(_lingering) > 0
    if there is not present:
        present = there
        for follower in _followers:
            follower()
