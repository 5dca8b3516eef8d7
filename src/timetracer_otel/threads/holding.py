"""From when until when there may be a session, so that it is carried into new threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

from timetracer_otel.base.holds import Holds

__all__ = ["follow", "hold", "is_held", "release"]

_lock = threading.RLock()
_holds = Holds()
_carries = False
"""Whether somebody holds, so that the functions that start threads are replaced."""
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
        _adjust()


def is_held() -> bool:
    """Whether somebody holds: where nobody does, no session is current anywhere in the process."""
    return _carries


def follow(follower: Callable[[], None]) -> None:
    """Have a function called whenever `is_held` has changed: before a session is current, and after it was.

    It runs before `hold` returns, of any thread: a session that another thread attaches at the same moment finds
    what the function does. So it must not wait for a lock under which somebody calls `hold` or `release`.
    """
    _followers.append(follower)


def _adjust() -> None:
    global _carries
    wanted = bool(_holds)
    if wanted is not _carries:
        _carries = wanted
        # Imported here: a program that sets no session does not pay for the tools of patching.
        from timetracer_otel.threads import seams

        if wanted:
            seams.install()
        else:
            seams.remove()
        for follower in _followers:
            follower()
